//! What the configuration grants a component, and how much of it, made into what the component gets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use agent_host_wasm::grants::{Access, Directory};
use agent_host_wasm::limits::HttpLimits;
use agent_host_wasm::sql::OpenDatabases;
use agent_host_wasm::{Grants, Limits, SqliteOptions};
use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::config::database::Database;
use crate::config::environment::Process;
use crate::config::{Sources, read_grants, schema};

/// Makes grants out of what is configured or asked for. Clones share the databases that are open.
#[derive(Clone)]
pub struct Grantor {
    working_dir: PathBuf,
    databases: Arc<OpenDatabases>,
}

impl Grantor {
    /// One that has opened no database yet.
    pub fn new() -> anyhow::Result<Self> {
        let working_dir = std::env::current_dir().context("failed to find the working directory")?;
        Ok(Self { working_dir, databases: Arc::default() })
    }

    /// What an operator asked for, as it would be written under `key` in the configuration; what is configured if nothing.
    pub fn asked(&self, key: &str, asked: Option<&Value>, configured: &schema::Grants) -> Result<schema::Grants, String> {
        let Some(asked) = asked else { return Ok(configured.clone()) };
        let flags = BTreeMap::new();
        let sources = Sources { file: None, flags: &flags, environment: &Process, working_dir: &self.working_dir };
        read_grants(key, asked, &sources).map_err(|error| error.to_string())
    }

    /// Opens what has to be open.
    pub async fn open(&self, grants: schema::Grants) -> Result<Grants, String> {
        let schema::Grants { databases, dirs, net, http, env } = grants;
        let mut open = BTreeMap::new();
        for (name, database) in databases {
            let opened = self.open_database(database).await.map_err(|error| format!("failed to open the database {name:?}: {error}"))?;
            open.insert(name, opened);
        }
        let directory = |directory: crate::config::grant::Directory| Directory {
            host: directory.host,
            guest: directory.guest,
            access: if directory.write { Access::ReadWrite } else { Access::ReadOnly },
        };
        Ok(Grants {
            directories: dirs.into_iter().map(directory).collect(),
            environment: env.into_iter().map(|(name, value)| (name, value.value().expose_secret().to_owned())).collect(),
            databases: open,
            network: net,
            http,
        })
    }

    async fn open_database(&self, database: Database) -> Result<agent_host_wasm::Database, String> {
        match database {
            Database::Sqlite(path) => {
                let databases = Arc::clone(&self.databases);
                let opening = tokio::task::spawn_blocking(move || databases.sqlite(&path, &SqliteOptions::default()));
                opening.await.map_err(|error| format!("it broke off: {error}"))?.map_err(|error| error.to_string())
            }
            Database::Postgresql(options) => self.databases.postgres(&options).await.map_err(|error| error.to_string()),
        }
    }
}

/// How much a component may use.
pub(super) fn limits(configured: &schema::ComponentLimits) -> Limits {
    let limits = configured;
    Limits {
        memory: memory(limits.memory),
        cpu: limits.cpu_timeout,
        call_timeout: limits.call_timeout,
        open_timeout: limits.open_timeout,
        log_bytes: memory(limits.log),
        resources: limits.resources,
        argument_bytes: memory(limits.arguments),
        random_bytes: limits.random,
        http: HttpLimits {
            request_bytes: memory(limits.http_request),
            response_bytes: memory(limits.http_response),
            headers: limits.http_headers,
            header_bytes: memory(limits.http_header_bytes),
            timeout: limits.http_timeout,
        },
    }
}

/// A number of instances. The configuration allows a hundred at most.
pub fn instances(configured: &schema::ComponentLimits) -> u32 {
    u32::try_from(configured.instances).unwrap_or(u32::MAX)
}

/// A size in memory; one that this machine cannot address is no limit.
pub fn memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
