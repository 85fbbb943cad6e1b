//! What the configuration says of the persistence adapter.

use std::path::PathBuf;
use std::sync::Arc;

use agent_host_registry::Registry;
use agent_host_wasm::exchange::{Origin, Plan};
use agent_host_wasm::swap::Configuration;
use agent_host_wasm::{PersistenceOptions, Source};
use async_trait::async_trait;

use super::granted::{Grantor, instances, limits};
use super::registry;
use crate::config::database::Database;
use crate::config::grant::Component;
use crate::config::schema;

/// The database that the built-in `sqlite` and `postgresql` open, unless their configuration names another.
const MAIN: &str = "main";

/// The built-in component whose database has to be named.
const POSTGRESQL: &str = "postgresql";

/// What the configuration file says of the persistence adapter.
pub struct Configured {
    persistence: schema::Persistence,
    source: Source,
    registry: Arc<Registry>,
    /// The database file of the built-in `sqlite`.
    main: PathBuf,
    grantor: Grantor,
    /// Whether hosts share the store.
    needs_leases: bool,
}

impl Configured {
    /// `main` is the database file of the built-in `sqlite`; `needs_leases` whether hosts share the store.
    ///
    /// # Errors
    /// If the component is in a registry, and cannot be had.
    pub async fn new(
        persistence: schema::Persistence,
        registry: Arc<Registry>,
        main: PathBuf,
        grantor: Grantor,
        needs_leases: bool,
    ) -> Result<Self, agent_host_registry::Error> {
        let source = match &persistence.component {
            Component::Sqlite => Source::Builtin("sql".to_owned()),
            Component::Postgresql => Source::Builtin(POSTGRESQL.to_owned()),
            Component::Memory => Source::Builtin("memory".to_owned()),
            Component::File(path) => Source::File(path.clone()),
            Component::Registry(reference) => registry::pulled(&registry, reference).await?,
        };
        Ok(Self { persistence, source, registry, main, grantor, needs_leases })
    }

    /// Whether the component is, or takes the place of, the built-in one whose database need not be named.
    fn has_main(&self, plan: &Plan) -> bool {
        match &plan.origin {
            Origin::Builtin(name) => name == "sql",
            // Whoever says what it may use says all of it.
            Origin::Configured | Origin::File(_) | Origin::Registry(_) | Origin::Upload => {
                plan.grants.is_none() && self.persistence.component == Component::Sqlite
            }
        }
    }
}

#[async_trait]
impl Configuration for Configured {
    fn source(&self) -> Source {
        self.source.clone()
    }

    async fn options(&self, plan: &Plan) -> Result<PersistenceOptions, String> {
        registry::check(&self.registry, &plan.origin).await?;
        let persistence = &self.persistence;
        let mut grants = self.grantor.asked("persistence.grants", plan.grants.as_ref(), &persistence.grants)?;
        if self.has_main(plan) {
            grants.databases.entry(MAIN.to_owned()).or_insert_with(|| Database::Sqlite(self.main.clone()));
        }
        let needs_database = match &plan.origin {
            Origin::Builtin(name) => name == POSTGRESQL,
            Origin::Configured => persistence.component == Component::Postgresql,
            Origin::File(_) | Origin::Registry(_) | Origin::Upload => false,
        };
        if needs_database && !grants.databases.values().any(|database| matches!(database, Database::Postgresql(_))) {
            return Err("the component \"postgresql\" needs the database that it keeps everything in: persistence.grants.databases = \
                        { main = \"postgres://USER@HOST/DATABASE\" }"
                .to_owned());
        }
        let config = plan.config.as_ref().unwrap_or(&persistence.config);
        Ok(PersistenceOptions {
            config: config.clone().into_iter().collect(),
            grants: self.grantor.open(grants).await?,
            limits: limits(&persistence.limits),
            wait_timeout: persistence.limits.queue_timeout,
            instances: instances(&persistence.limits),
            needs_leases: self.needs_leases,
        })
    }
}
