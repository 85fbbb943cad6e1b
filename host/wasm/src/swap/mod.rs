//! Components in a running host: which adapter serves, and how another one takes its place while sessions go on.
//!
//! ```text
//! read ─ compile ─ open ─ health ─ smoke test ─ same store? or copy ─ remember ─ publish ─ drain the one before
//! ```
//!
//! Until it is published a candidate touches nothing but a scratch session of its own, and whatever goes wrong leaves the present generation serving. From then on new calls
//! go to it, running ones end where they began. A generation in which a function fails its first calls is rolled back by itself.

mod generation;
mod migration;
mod smoke;
mod swapping;
mod switch;
mod sync;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::ports::store::Store;
use agent_host_session::time::Timestamp;
use async_trait::async_trait;
use parking_lot::Mutex;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::generation::Generation;
pub use self::generation::Record;
use self::generation::State;
pub use self::swapping::{Report, Request};
use self::switch::{RolledBack, Switch};
use crate::component::{LoadError, Source};
use crate::engine::Engine;
use crate::exchange::{
    self, Candidate, Change, History, Occurrence, OnStart, Origin, Phase, Plan, Settings, Shelf, ShelfError, Watch, WatchError,
};
use crate::metrics::{Inventory, Role, Standing};
use crate::persistence::{Concurrency, Persistence, PersistenceOptions, StartError};
use crate::stats::Counts;

/// What the configuration says of the persistence adapter, and what it makes of what others say.
#[async_trait]
pub trait Configuration: Send + Sync + 'static {
    /// The component that is configured.
    fn source(&self) -> Source;

    /// How an adapter is run by this plan.
    ///
    /// # Errors
    /// Names the key that is wrong.
    async fn options(&self, plan: &Plan) -> Result<PersistenceOptions, String>;
}

/// Why the components cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is remembered cannot be read or written.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The component cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The component cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// What is configured for it cannot be used.
    #[error("{0}")]
    Options(String),
    /// The generation that served last cannot be started.
    #[error(
        "the component that was swapped in last ({name} {version}, generation {generation}) cannot be started: {reason}; to start with the configured one: --components.on-start=configured"
    )]
    Last {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// Its number.
        generation: u64,
        /// Why.
        reason: String,
    },
}

/// The components of a host.
pub struct Components {
    engine: Engine,
    configuration: Arc<dyn Configuration>,
    settings: Settings,
    shelf: Shelf,
    switch: Arc<Switch>,
    /// Held while a component is exchanged: one at a time.
    exchange: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// Held while the state is changed and written.
    remembering: tokio::sync::Mutex<()>,
    candidate: Mutex<Option<CandidateStatus>>,
    history: History,
    /// Ends the probation of the present generation.
    probation: Mutex<CancellationToken>,
    shutdown: CancellationToken,
}

impl Components {
    /// Starts the adapter that served last, or the one that is configured. `directory` is where components are remembered; it is made if need be.
    ///
    /// # Errors
    /// [`Error`] says what is wrong, and what to do about it.
    pub async fn start(
        engine: Engine,
        configuration: Arc<dyn Configuration>,
        directory: PathBuf,
        settings: Settings,
    ) -> Result<Arc<Self>, Error> {
        let shelf = Shelf::open(directory)?;
        let mut state: State = shelf.state()?;
        let last = state.persistence.last().filter(|record| record.plan.origin != Origin::Configured).cloned();
        let first = match last.filter(|_| settings.on_start == OnStart::Last) {
            Some(record) => {
                tracing::info!(
                    name = record.name,
                    version = record.version,
                    generation = record.generation,
                    "the persistence adapter is the one that was swapped in last, not the configured one (components.on_start)"
                );
                start_last(&engine, configuration.as_ref(), &shelf, record).await?
            }
            None => start_configured(&engine, configuration.as_ref(), &shelf, &mut state).await?,
        };
        let (switch, rolled_back) = Switch::new(Arc::new(first));
        let components = Arc::new(Self {
            engine,
            configuration,
            settings,
            shelf,
            switch: Arc::new(switch),
            exchange: tokio::sync::Mutex::new(()),
            state: Mutex::new(state),
            remembering: tokio::sync::Mutex::new(()),
            candidate: Mutex::default(),
            history: History::default(),
            probation: Mutex::new(CancellationToken::new()),
            shutdown: CancellationToken::new(),
        });
        tokio::spawn(note_rollbacks(Arc::downgrade(&components), rolled_back));
        Ok(components)
    }

    /// What the components run on.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The store over whichever adapter serves.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.switch) as Arc<dyn Store>
    }

    /// What serves, what is being prepared, what served, and what happened.
    pub fn status(&self) -> Status {
        let current = self.switch.current();
        let state = self.state.lock();
        let generation = GenerationStatus {
            record: current.record.clone(),
            wit_version: current.persistence.wit_version(),
            state: "serving",
            concurrency: current.persistence.info().concurrency,
            instances: current.persistence.instances(),
            max_instances: current.persistence.max_instances(),
            counts: current.persistence.counts(),
        };
        let earlier = state.persistence.iter().filter(|record| record.generation != current.record.generation).cloned().collect();
        let persistence = PersistenceStatus { serving: generation, candidate: self.candidate.lock().clone(), earlier };
        Status { persistence, events: self.history.list() }
    }

    /// Swaps the configured component in whenever its file changes. A change that is refused leaves the present one serving, and the log says why.
    ///
    /// # Errors
    /// If the file's directory cannot be watched.
    pub fn watch(self: &Arc<Self>, file: &Path) -> Result<Watch, WatchError> {
        let components = Arc::downgrade(self);
        let current = self.switch.current();
        let in_force = (current.record.plan.origin == Origin::Configured).then(|| current.record.digest.clone());
        exchange::watch(file, in_force, move |digest| {
            let components = components.upgrade();
            async move {
                let Some(components) = components else { return Change::Gone };
                if digest == components.switch.current().record.digest {
                    return Change::Settled;
                }
                let request = Request { candidate: Candidate::Configured, config: None, grants: None, migrate: false };
                Change::of(&components.swap(request).await)
            }
        })
    }

    /// Lets no call begin any more, and waits for those that run until `deadline` has passed.
    pub async fn shutdown(&self, deadline: Duration) {
        self.shutdown.cancel();
        self.probation.lock().cancel();
        self.switch.current().persistence.shutdown(deadline).await;
    }

    /// Changes what is to be in force after a restart, and writes it down. After an error it is as before.
    async fn remember(&self, change: impl FnOnce(&mut State)) -> Result<(), ShelfError> {
        let _remembering = self.remembering.lock().await;
        let mut state = self.state.lock().clone();
        change(&mut state);
        self.shelf.keep_aside(&state).await?;
        *self.state.lock() = state;
        Ok(())
    }

    async fn rolled_back(&self, RolledBack { failed, serving, operation }: RolledBack) {
        tracing::error!(
            failed = %failed.record,
            operation,
            serving = %serving.record,
            "the new persistence adapter does not work; the one before it serves again"
        );
        let forget = |state: &mut State| state.persistence.retain(|record| record.generation != failed.record.generation);
        if let Err(error) = self.remember(forget).await {
            // It is so, whether it can be written down or not.
            forget(&mut self.state.lock());
            tracing::error!(%error, "failed to remember that the adapter was rolled back; a restart would begin with the one that does not work");
        }
        self.engine.metrics().rolled_back(Role::Persistence);
        self.history.note("rolled-back", failed.record.subject(), Some(format!("the first calls of {operation} failed")));
    }
}

impl Inventory for Components {
    fn standings(&self) -> Vec<Standing> {
        let serving = &self.switch.current().persistence;
        let (instances, max_instances) = (serving.instances(), serving.max_instances());
        vec![Standing { role: Role::Persistence, instances, max_instances, backlog: None }]
    }
}

async fn note_rollbacks(components: std::sync::Weak<Components>, mut rolled_back: tokio::sync::mpsc::UnboundedReceiver<RolledBack>) {
    while let Some(event) = rolled_back.recv().await {
        let Some(components) = components.upgrade() else { return };
        components.rolled_back(event).await;
    }
}

async fn start_configured(
    engine: &Engine,
    configuration: &dyn Configuration,
    shelf: &Shelf,
    state: &mut State,
) -> Result<Generation, Error> {
    let source = configuration.source();
    let component = engine.load(source.clone()).await?;
    let (component_digest, digest) = (component.digest, component.digest());
    let plan = Plan::configured();
    let options = configuration.options(&plan).await.map_err(Error::Options)?;
    let persistence = Persistence::start(engine, component, options).await?;
    let before = state.persistence.last().filter(|record| record.plan.origin == Origin::Configured && record.digest == digest);
    let generation = match before {
        Some(record) => record.generation,
        None => {
            state.newest += 1;
            state.newest
        }
    };
    let record = Record {
        generation,
        digest,
        plan,
        name: persistence.info().name.clone(),
        version: persistence.info().version.clone(),
        since: Timestamp::now(),
        migrated: false,
    };
    state.persistence.retain(|known| known.generation != generation);
    state.persistence.push(record.clone());
    // What is swapped in next can be rolled back to this.
    shelf.put(&component_digest, &source.read()?)?;
    shelf.keep(state)?;
    Ok(Generation { record, persistence })
}

async fn start_last(engine: &Engine, configuration: &dyn Configuration, shelf: &Shelf, record: Record) -> Result<Generation, Error> {
    let failed =
        |reason: String| Error::Last { name: record.name.clone(), version: record.version.clone(), generation: record.generation, reason };
    shelf.get(&record.digest).map_err(|error| failed(error.to_string()))?;
    let component = engine.load(shelf.source(&record.plan.origin, &record.digest)).await.map_err(|error| failed(error.to_string()))?;
    let options = configuration.options(&record.plan).await.map_err(&failed)?;
    let persistence = Persistence::start(engine, component, options).await.map_err(|error| failed(error.to_string()))?;
    let record = Record { since: Timestamp::now(), ..record };
    Ok(Generation { record, persistence })
}

/// What there is to see of the components.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The persistence adapter.
    pub persistence: PersistenceStatus,
    /// What happened since the host started, the latest last.
    pub events: Vec<Occurrence>,
}

/// The persistence adapter.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PersistenceStatus {
    /// The generation that serves.
    #[serde(flatten)]
    pub serving: GenerationStatus,
    /// What is about to take its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateStatus>,
    /// Generations that served before and can be gone back to, the last one last.
    pub earlier: Vec<Record>,
}

/// A generation that serves.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationStatus {
    /// What it is.
    #[serde(flatten)]
    pub record: Record,
    /// The version of the contract that it exports.
    pub wit_version: String,
    /// `serving`.
    pub state: &'static str,
    /// How it may be run.
    pub concurrency: Concurrency,
    /// Instances that there are.
    pub instances: usize,
    /// Instances that there may be.
    pub max_instances: usize,
    /// Calls since it began to serve.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A component that is being prepared.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateStatus {
    /// Where it came from.
    pub origin: Origin,
    /// What is being done.
    pub phase: Phase,
    /// Since when this phase runs.
    pub since: Timestamp,
    /// How far copying is, while that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied: Option<crate::copy::Totals>,
}
