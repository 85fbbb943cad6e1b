//! Components in a running host: which adapter serves, and how another one takes its place while sessions go on.
//!
//! ```text
//! read ─ compile ─ open ─ health ─ smoke test ─ same store? or copy ─ remember ─ publish ─ drain the one before
//! ```
//!
//! Until it is published a candidate touches nothing but a scratch session of its own, and whatever goes wrong leaves the present generation serving. From then on new calls
//! go to it, running ones end where they began. A generation in which a function fails its first calls is rolled back by itself.

mod generation;
mod shelf;
mod smoke;
mod swapping;
mod switch;
mod watch;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_host_session::ports::store::Store;
use agent_host_session::time::Timestamp;
use async_trait::async_trait;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::generation::Generation;
pub use self::generation::{Origin, Plan, Record};
pub use self::shelf::Error as ShelfError;
use self::shelf::{Shelf, State};
pub use self::swapping::{Candidate, Phase, Report, Request, SwapError};
use self::switch::{RolledBack, Switch};
pub use self::watch::{Watch, WatchError};
use crate::component::{LoadError, Source};
use crate::engine::Engine;
use crate::metrics::{Inventory, Role, Standing};
use crate::persistence::{Concurrency, Persistence, PersistenceOptions, StartError};
use crate::stats::Counts;

/// Events that are remembered: what an operator looks at after something went wrong.
const MAX_OCCURRENCES: usize = 100;

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

/// Which of the two is in force when the host starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStart {
    /// What served last.
    Last,
    /// What is configured.
    Configured,
}

/// How components are exchanged.
#[derive(Clone, Debug)]
pub struct SwapSettings {
    /// Which generation a start begins with.
    pub on_start: OnStart,
    /// Generations that can be gone back to, the present one not counted.
    pub keep: usize,
    /// How long the calls of a generation that is retired may go on before nobody waits for them any more.
    pub drain_timeout: Duration,
    /// First calls of a function that have to fail until the generation is rolled back; 0 for never.
    pub rollback_after: u64,
    /// For so long after it was published a generation can be rolled back by itself.
    pub probation: Duration,
}

impl Default for SwapSettings {
    fn default() -> Self {
        Self {
            on_start: OnStart::Last,
            keep: 5,
            // Longer than a call may take.
            drain_timeout: Duration::from_secs(30),
            rollback_after: 5,
            probation: Duration::from_secs(10 * 60),
        }
    }
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
    settings: SwapSettings,
    shelf: Shelf,
    switch: Arc<Switch>,
    /// Held while a component is exchanged: one at a time.
    exchange: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    candidate: Mutex<Option<CandidateStatus>>,
    occurrences: Mutex<VecDeque<Occurrence>>,
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
        settings: SwapSettings,
    ) -> Result<Arc<Self>, Error> {
        let shelf = Shelf::open(directory)?;
        let mut state = shelf.state()?;
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
            candidate: Mutex::default(),
            occurrences: Mutex::default(),
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
        let state = lock(&self.state);
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
        let persistence = PersistenceStatus { serving: generation, candidate: lock(&self.candidate).clone(), earlier };
        Status { persistence, events: lock(&self.occurrences).iter().cloned().collect() }
    }

    /// Lets no call begin any more, and waits for those that run until `deadline` has passed.
    pub async fn shutdown(&self, deadline: Duration) {
        self.shutdown.cancel();
        lock(&self.probation).cancel();
        self.switch.current().persistence.shutdown(deadline).await;
    }

    fn note(&self, event: &'static str, record: &Record, detail: Option<String>) {
        let mut occurrences = lock(&self.occurrences);
        if occurrences.len() == MAX_OCCURRENCES {
            occurrences.pop_front();
        }
        let (generation, name, version) = (record.generation, record.name.clone(), record.version.clone());
        occurrences.push_back(Occurrence { at: Timestamp::now(), event, generation, name, version, detail });
    }

    fn rolled_back(&self, RolledBack { failed, serving, operation }: RolledBack) {
        tracing::error!(
            failed = %failed.record,
            operation,
            serving = %serving.record,
            "the new persistence adapter does not work; the one before it serves again"
        );
        let mut state = lock(&self.state);
        state.persistence.retain(|record| record.generation != failed.record.generation);
        if let Err(error) = self.shelf.keep(&state) {
            tracing::error!(%error, "failed to remember that the adapter was rolled back; a restart would begin with the one that does not work");
        }
        drop(state);
        self.engine.metrics().rolled_back(Role::Persistence);
        self.note("rolled-back", &failed.record, Some(format!("the first calls of {operation} failed")));
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
        // A few kilobytes are written.
        components.rolled_back(event);
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
    let plan = Plan { origin: Origin::Configured, config: None, grants: None };
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

/// Something that happened to the components.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Occurrence {
    /// When.
    pub at: Timestamp,
    /// `swapped`, `refused` or `rolled-back`.
    pub event: &'static str,
    /// The generation that it is about; 0 for one that never served.
    pub generation: u64,
    /// Its adapter's name; empty if that is not known.
    pub name: String,
    /// Its adapter's version; empty if that is not known.
    pub version: String,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is a single assignment or insertion, which a panic elsewhere cannot have left half-done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
