//! The host's components: what the configuration says of them, and the admin calls over them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_host_api::admin::{Admin, AdminError, Component as Named, Replacement};
use agent_host_wasm::grants::{Access, Directory};
use agent_host_wasm::sql::OpenDatabases;
use agent_host_wasm::swap::{Candidate, Components, Configuration, Origin, Plan, Request, SwapError};
use agent_host_wasm::{Engine, EngineOptions, Grants, Limits, PersistenceOptions, Source, SqliteOptions};
use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::config::environment::Process;
use crate::config::grant::{Component, Database};
use crate::config::{Sources, read_grants, schema};

/// What users call the components that ship with the host, and what the host does.
const BUILTIN: [(&str, &str); 2] = [("sqlite", "sql"), ("memory", "memory")];

/// The database that the built-in `sqlite` opens, unless it is granted another one by this name.
const MAIN: &str = "main";

/// The component of a name that users know.
pub fn builtin(name: &str) -> Option<Source> {
    BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, component)| Source::Builtin((*component).to_owned()))
}

/// The names that users know.
pub fn builtin_names() -> String {
    BUILTIN.map(|(name, _)| name).join(", ")
}

/// What the configuration file says of the persistence adapter.
pub struct Configured {
    persistence: schema::Persistence,
    /// The database file of the built-in `sqlite`.
    main: PathBuf,
    working_dir: PathBuf,
    databases: Arc<OpenDatabases>,
}

impl Configured {
    /// `main` is the database file of the built-in `sqlite`.
    pub fn new(persistence: schema::Persistence, main: PathBuf) -> anyhow::Result<Self> {
        let working_dir = std::env::current_dir().context("failed to find the working directory")?;
        Ok(Self { persistence, main, working_dir, databases: Arc::default() })
    }

    fn grants_of(&self, plan: &Plan) -> Result<schema::Grants, String> {
        let Some(grants) = &plan.grants else { return Ok(self.persistence.grants.clone()) };
        let flags = BTreeMap::new();
        let sources = Sources { file: None, flags: &flags, environment: &Process, working_dir: &self.working_dir };
        read_grants(grants, &sources).map_err(|error| error.to_string())
    }

    /// Whether the component is, or takes the place of, the built-in one whose database need not be named.
    fn has_main(&self, plan: &Plan) -> bool {
        match &plan.origin {
            Origin::Builtin(name) => name == "sql",
            Origin::Configured | Origin::File(_) | Origin::Upload => self.persistence.component == Component::Sqlite,
        }
    }
}

#[async_trait]
impl Configuration for Configured {
    fn source(&self) -> Source {
        match &self.persistence.component {
            Component::Sqlite => Source::Builtin("sql".to_owned()),
            Component::Memory => Source::Builtin("memory".to_owned()),
            Component::File(path) => Source::File(path.clone()),
        }
    }

    async fn options(&self, plan: &Plan) -> Result<PersistenceOptions, String> {
        let grants = self.grants_of(plan)?;
        let mut databases = grants.databases;
        if self.has_main(plan) {
            databases.entry(MAIN.to_owned()).or_insert_with(|| Database::Sqlite(self.main.clone()));
        }
        let open = Arc::clone(&self.databases);
        let opening = move || {
            let open = |(name, Database::Sqlite(path)): (String, Database)| match open.sqlite(&path, &SqliteOptions::default()) {
                Ok(database) => Ok((name, database)),
                Err(error) => Err(format!("failed to open the database {name:?}, {}: {error}", path.display())),
            };
            databases.into_iter().map(open).collect::<Result<BTreeMap<_, _>, _>>()
        };
        let databases =
            tokio::task::spawn_blocking(opening).await.map_err(|error| format!("opening the databases broke off: {error}"))??;
        let directories = grants.dirs.iter().map(|directory| Directory {
            host: directory.host.clone(),
            guest: directory.guest.clone(),
            access: if directory.write { Access::ReadWrite } else { Access::ReadOnly },
        });
        let environment = grants.env.iter().map(|(name, value)| (name.clone(), value.value().expose_secret().to_owned()));
        let persistence = &self.persistence;
        let config = plan.config.as_ref().unwrap_or(&persistence.config);
        Ok(PersistenceOptions {
            config: config.clone().into_iter().collect(),
            grants: Grants {
                directories: directories.collect(),
                environment: environment.collect(),
                databases,
                network: grants.net,
                http: grants.http,
            },
            limits: Limits {
                memory: memory(persistence.memory),
                call_timeout: persistence.call_timeout,
                cpu: persistence.cpu_timeout,
                open_timeout: persistence.open_timeout,
                log_bytes: memory(persistence.log),
                ..Limits::default()
            },
            wait_timeout: persistence.queue_timeout,
            instances: u32::try_from(persistence.pool).map_err(|_| "persistence.pool is too large".to_owned())?,
        })
    }
}

/// A size in memory; one that this machine cannot address is no limit.
fn memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The admin calls.
pub struct Operator(pub Arc<Components>);

#[async_trait]
impl Admin for Operator {
    async fn components(&self) -> Value {
        json(&self.0.status())
    }

    async fn swap_persistence(&self, replacement: Replacement) -> Result<Value, AdminError> {
        let Replacement { component, config, grants, migrate } = replacement;
        let candidate = match component {
            Named::Bytes(bytes) => Candidate::Bytes(bytes),
            Named::Path(path) => Candidate::File(path),
            Named::Digest(digest) => Candidate::Digest(digest),
            Named::Builtin(name) => match builtin(&name) {
                Some(Source::Builtin(component)) => Candidate::Builtin(component),
                _ => {
                    let reason = format!("there is no built-in component {name:?}; there are {}", builtin_names());
                    return Err(AdminError::Refused { phase: "read".to_owned(), reason });
                }
            },
            Named::Configured => Candidate::Configured,
        };
        let report = self.0.swap(Request { candidate, config, grants, migrate }).await;
        report.map(|report| json(&report)).map_err(refused)
    }

    async fn roll_back_persistence(&self, migrate: bool) -> Result<Value, AdminError> {
        let report = self.0.rollback(migrate).await;
        report.map(|report| json(&report)).map_err(refused)
    }
}

fn refused(error: SwapError) -> AdminError {
    match error {
        SwapError::Busy => AdminError::Busy(error.to_string()),
        SwapError::NothingEarlier => AdminError::NotFound(error.to_string()),
        SwapError::Refused { phase, reason } => AdminError::Refused { phase: phase.to_string(), reason },
    }
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_else(|error| {
        // Only a map with keys that are not text could fail here, and there is none.
        tracing::error!(%error, "failed to write JSON");
        Value::Null
    })
}

/// Writes a component that ships with the host to a file.
pub fn export(name: &str, file: &Path) -> anyhow::Result<()> {
    let source = builtin(name).with_context(|| format!("there is no built-in component {name:?}; there are {}", builtin_names()))?;
    let bytes: Bytes = source.bytes()?;
    std::fs::write(file, &bytes).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(())
}

/// Says what a component imports, exports and needs, and whether this host can run it.
pub async fn inspect(file: &Path, as_json: bool) -> anyhow::Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
    let engine = Engine::new(EngineOptions::default())?;
    let inspection = agent_host_wasm::inspect::inspect(&engine, bytes).await;
    if as_json {
        println!("{:#}", json(&inspection));
    } else {
        print!("{inspection}");
    }
    Ok(())
}
