//! The store of sessions over a persistence adapter.

pub(crate) mod convert;
mod world;

use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{Error, Lease, MAX_READ_BYTES, Owner, Store as StorePort};
use agent_host_session::profile::{Profile, ProfileSummary};
use agent_host_session::record::{FileInfo, Page, RecordChanges, SessionRecord, Snapshot, StreamName};
use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use wasmtime::Store;

use crate::bindings::agent_host::types::types as wit;
use crate::bindings::exports::agent_host::persistence::lifecycle::{AdapterInfo, Concurrency as WitConcurrency};
use crate::call;
use crate::component::{Component, LoadError};
use crate::engine::Engine;
use crate::grants::{Denials, Grants};
use crate::instance::Factory;
use crate::limits::Limits;
use crate::pool::{Call, Pool, Use};
use crate::state::State;
use crate::stats::{Counts, Stats};

pub(crate) use self::world::Adapter;

/// Most sessions that one page may have, as the contract says.
const MAX_PAGE: u32 = 1000;

/// Longest name and version of an adapter that is kept, in characters.
const MAX_NAME_CHARS: usize = 100;

/// How an adapter is run.
#[derive(Clone, Debug)]
pub struct PersistenceOptions {
    /// What the adapter is told at `open`.
    pub config: Vec<(String, String)>,
    /// What it may use.
    pub grants: Grants,
    /// How much of it.
    pub limits: Limits,
    /// Instances at most, if the adapter can be run in several.
    pub instances: u32,
    /// How long a call waits for a free instance.
    pub wait_timeout: Duration,
    /// Whether it must keep leases, because several hosts share its store.
    pub needs_leases: bool,
}

impl Default for PersistenceOptions {
    fn default() -> Self {
        Self {
            config: Vec::new(),
            grants: Grants::default(),
            limits: Limits::default(),
            // A call is mostly waiting for its database: enough to keep the readers and the writer busy, and each costs a few megabytes.
            instances: 16,
            // Longer than a burst takes to be worked off, shorter than clients' patience.
            wait_timeout: Duration::from_secs(10),
            needs_leases: false,
        }
    }
}

/// How an adapter may be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Concurrency {
    /// In one instance, which holds its state.
    Single,
    /// In any number of instances.
    Pooled,
}

/// What an adapter says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it may be run.
    pub concurrency: Concurrency,
}

/// Why an adapter could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is something else.
    #[error(transparent)]
    NotAnAdapter(#[from] LoadError),
    /// It wants something that the host does not give, or its types are not those of the contract.
    #[error("failed to link the component {component}: {reason}")]
    Link {
        /// Which component.
        component: String,
        /// Why.
        reason: String,
    },
    /// The engine has promised its instances to others.
    #[error("there is no room for {wanted} instances of the component {component}; {limit} is the limit for all components together")]
    NoRoom {
        /// Which component.
        component: String,
        /// Instances that were asked for.
        wanted: u32,
        /// The engine's limit.
        limit: u32,
    },
    /// It is allowed more memory than the engine was made for.
    #[error("the component {component} may have {wanted} bytes of memory, but the engine was made for {limit} at most")]
    TooMuchMemory {
        /// Which component.
        component: String,
        /// What its limits say.
        wanted: usize,
        /// What the engine's options say.
        limit: usize,
    },
    /// Hosts share its store, and it cannot say which of them has a session.
    #[error("the component {component} does not export agent-host:persistence/leases, which hosts on one store need")]
    NoLeases {
        /// Which component.
        component: String,
    },
    /// Its first instance could not be opened.
    #[error(transparent)]
    Open(call::Error),
    /// It does not answer, or its store does not.
    #[error("the component {component} was opened, but is not healthy: {reason}")]
    Unhealthy {
        /// Which component.
        component: String,
        /// Why.
        reason: Error,
    },
}

/// A persistence adapter at work.
pub struct Persistence {
    pool: Arc<Pool<Adapter>>,
    info: Info,
    wit_version: String,
    stats: Stats,
}

impl Persistence {
    /// Opens one instance, learns from it how the adapter may be run, and asks whether its store answers.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong with the component, its configuration or its store.
    pub async fn start(engine: &Engine, component: Component, options: PersistenceOptions) -> Result<Self, StartError> {
        let wit_version = component.check_persistence()?;
        let name = component.name().to_owned();
        let (wanted, limit) = (options.limits.memory, engine.options().memory_limit);
        if wanted > limit {
            return Err(StartError::TooMuchMemory { component: name, wanted, limit });
        }
        if options.needs_leases && !component.has_leases() {
            return Err(StartError::NoLeases { component: name });
        }
        let no_room = |wanted| StartError::NoRoom { component: name.clone(), wanted, limit: engine.options().max_instances };
        let mut room = engine.reserve(1).ok_or_else(|| no_room(1))?;
        let factory = Factory::new(engine.clone(), component, options.grants, options.limits, options.config, None)
            .map_err(|error| StartError::Link { component: name.clone(), reason: format!("{error:#}") })?;
        let factory = Arc::new(factory);
        let (first, info) = Pool::first(&factory).await.map_err(StartError::Open)?;
        let info = Info::from(info);
        if info.concurrency == Concurrency::Pooled && options.instances > 1 {
            room.merge(engine.reserve(options.instances - 1).ok_or_else(|| no_room(options.instances))?);
        }
        let usage = match info.concurrency {
            Concurrency::Single => Use::Stateful,
            Concurrency::Pooled => Use::Alike,
        };
        let pool = Pool::new(factory, first, usage, options.wait_timeout, room);
        let persistence = Self { pool, info, wit_version, stats: Stats::default() };
        persistence.health().await.map_err(|reason| StartError::Unhealthy { component: name.clone(), reason })?;
        let Info { name: adapter, version, concurrency } = &persistence.info;
        tracing::info!(component = name, adapter, version, ?concurrency, "persistence adapter opened");
        Ok(persistence)
    }

    /// What the component was refused.
    pub fn denials(&self) -> &Arc<Denials> {
        self.pool.denials()
    }

    /// What the adapter says of itself.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The version of the contract that it exports.
    pub fn wit_version(&self) -> String {
        self.wit_version.clone()
    }

    /// Instances that there are.
    pub fn instances(&self) -> usize {
        self.pool.instances()
    }

    /// Instances that there may be.
    pub fn max_instances(&self) -> usize {
        self.pool.max_instances()
    }

    /// Instances that were replaced because their calls had taken more than half of the memory that was left for them.
    pub fn retired(&self) -> u64 {
        self.pool.retired()
    }

    /// Calls so far.
    pub fn counts(&self) -> Counts {
        self.stats.total()
    }

    /// Counts calls from now on: those before were a trial.
    pub(crate) fn count_anew(&self) {
        self.stats.reset();
    }

    /// A function that has failed at least `calls` times, and never done anything else.
    pub(crate) fn hopeless(&self, calls: u64) -> Option<&'static str> {
        self.stats.hopeless(calls)
    }

    /// Lets no new call begin, and waits for those that run until `deadline` has passed.
    pub async fn shutdown(&self, deadline: Duration) {
        self.pool.shut_down(deadline).await;
    }

    /// Calls the adapter; for those who must tell a trap from a timeout.
    async fn try_call<T, F>(&self, operation: &'static str, call: F) -> Result<T, call::Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Adapter, &'a mut Store<State>) -> Call<'a, T> + Send + 'static,
    {
        let result = self.pool.call(operation, call).await;
        self.stats.record(operation, result.as_ref().err());
        result
    }

    async fn call<T, F>(&self, operation: &'static str, call: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Adapter, &'a mut Store<State>) -> Call<'a, T> + Send + 'static,
    {
        self.try_call(operation, call).await.map_err(convert::error)
    }
}

impl From<AdapterInfo> for Info {
    fn from(info: AdapterInfo) -> Self {
        let short = |text: String| text.chars().filter(|character| !character.is_control()).take(MAX_NAME_CHARS).collect();
        let concurrency = match info.concurrency {
            WitConcurrency::Single => Concurrency::Single,
            WitConcurrency::Pooled => Concurrency::Pooled,
        };
        Self { name: short(info.name), version: short(info.version), concurrency }
    }
}

#[async_trait]
impl StorePort for Persistence {
    async fn health(&self) -> Result<(), Error> {
        self.call("health", |adapter, store| Box::pin(async { adapter.agent_host_persistence_lifecycle().call_health(store).await })).await
    }

    async fn create_session(&self, epoch: Epoch, record: &SessionRecord) -> Result<(), Error> {
        let record = convert::record(record)?;
        self.call("create-session", move |adapter, store| {
            Box::pin(async move { adapter.agent_host_persistence_sessions().call_create_session(store, epoch.0, &record).await })
        })
        .await
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Snapshot>, Error> {
        let name = id.to_string();
        let found = self.call("load-session", move |adapter, store| {
            Box::pin(async move { adapter.agent_host_persistence_sessions().call_load_session(store, &name).await })
        });
        found.await?.map(|snapshot| convert::snapshot(id, snapshot)).transpose()
    }

    async fn update_session(&self, epoch: Epoch, id: &SessionId, changes: &RecordChanges) -> Result<(), Error> {
        let (name, changes) = (id.to_string(), convert::changes(changes)?);
        self.call("update-session", move |adapter, store| {
            Box::pin(async move { adapter.agent_host_persistence_sessions().call_update_session(store, epoch.0, &name, &changes).await })
        })
        .await
    }

    async fn delete_session(&self, epoch: Epoch, id: &SessionId) -> Result<(), Error> {
        let name = id.to_string();
        self.call("delete-session", move |adapter, store| {
            Box::pin(async move { adapter.agent_host_persistence_sessions().call_delete_session(store, epoch.0, &name).await })
        })
        .await
    }

    async fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page, Error> {
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Error::Invalid(format!("a page of {limit} sessions was asked for; it may have 1 to {MAX_PAGE}")));
        }
        let cursor = cursor.map(convert::cursor).transpose()?;
        let page = self.call("list-sessions", move |adapter, store| {
            Box::pin(async move { adapter.agent_host_persistence_sessions().call_list_sessions(store, cursor.as_deref(), limit).await })
        });
        convert::page(page.await?, limit)
    }

    async fn append(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, offset: u64, data: Bytes) -> Result<u64, Error> {
        let (session, name) = (session.to_string(), stream.to_text());
        let least = offset.checked_add(data.len() as u64).filter(|end| *end < convert::NUMBER_LIMIT);
        let least = least.ok_or_else(|| Error::Invalid(format!("the offset {offset} is none: streams end below 2^53 bytes")))?;
        let length = self.call("append", move |adapter, store| {
            Box::pin(
                async move { adapter.agent_host_persistence_streams().call_append(store, epoch.0, &session, &name, offset, &data).await },
            )
        });
        // It may be longer: an append that is repeated after others have followed.
        convert::length(length.await?, least..)
    }

    async fn read(&self, session: &SessionId, stream: &StreamName, offset: u64, max: u32) -> Result<Bytes, Error> {
        let max = read_size(max)?;
        let (session, name) = (session.to_string(), stream.to_text());
        let data = self.call("read", move |adapter, store| {
            Box::pin(async move { adapter.agent_host_persistence_streams().call_read(store, &session, &name, offset, max).await })
        });
        convert::data(data.await?, max)
    }

    async fn replace(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, data: Bytes) -> Result<u64, Error> {
        let (session, name) = (session.to_string(), stream.to_text());
        let whole = data.len() as u64;
        let length = self.call("replace", move |adapter, store| {
            Box::pin(async move { adapter.agent_host_persistence_streams().call_replace(store, epoch.0, &session, &name, &data).await })
        });
        convert::length(length.await?, whole..=whole)
    }

    async fn save_file(&self, epoch: Epoch, session: &SessionId, file: &FileInfo, content: Bytes) -> Result<(), Error> {
        let (session, file) = (session.to_string(), convert::file(file)?);
        self.call("save-file", move |adapter, store| {
            Box::pin(async move { adapter.agent_host_persistence_files().call_save_file(store, epoch.0, &session, &file, &content).await })
        })
        .await
    }

    async fn read_file(&self, session: &SessionId, path: &RelativePath, offset: u64, max: u32) -> Result<Bytes, Error> {
        let max = read_size(max)?;
        let (session, path) = (session.to_string(), path.to_string());
        let data = self.call("read-file", move |adapter, store| {
            Box::pin(async move { adapter.agent_host_persistence_files().call_read_file(store, &session, &path, offset, max).await })
        });
        convert::data(data.await?, max)
    }

    async fn delete_file(&self, epoch: Epoch, session: &SessionId, path: &RelativePath) -> Result<(), Error> {
        let (session, path) = (session.to_string(), path.to_string());
        self.call("delete-file", move |adapter, store| {
            Box::pin(async move { adapter.agent_host_persistence_files().call_delete_file(store, epoch.0, &session, &path).await })
        })
        .await
    }

    async fn acquire_lease(&self, session: &SessionId, owner: &Owner, ttl: Duration) -> Result<Lease, Error> {
        let (session, owner, ttl) = (session.to_string(), convert::owner_out(owner), convert::millis(ttl));
        let lease = self.call("acquire-lease", move |adapter, store| {
            Box::pin(async move {
                match adapter.leases() {
                    Some(leases) => leases.call_acquire(store, &session, &owner, ttl).await,
                    None => Ok(Err(no_leases())),
                }
            })
        });
        convert::lease(lease.await?)
    }

    async fn renew_leases(&self, owner: &str, ttl: Duration, sessions: &[SessionId]) -> Result<Vec<SessionId>, Error> {
        let (owner, ttl) = (owner.to_owned(), convert::millis(ttl));
        let asked: Vec<String> = sessions.iter().map(ToString::to_string).collect();
        let lost = self.call("renew-leases", move |adapter, store| {
            Box::pin(async move {
                match adapter.leases() {
                    Some(leases) => leases.call_renew(store, &owner, ttl, &asked).await,
                    None => Ok(Err(no_leases())),
                }
            })
        });
        let lost = lost.await?;
        Ok(sessions.iter().filter(|session| lost.iter().any(|lost| lost == session.as_str())).cloned().collect())
    }

    async fn release_lease(&self, session: &SessionId, owner: &str) -> Result<(), Error> {
        let (session, owner) = (session.to_string(), owner.to_owned());
        self.call("release-lease", move |adapter, store| {
            Box::pin(async move {
                match adapter.leases() {
                    Some(leases) => leases.call_release(store, &session, &owner).await,
                    None => Ok(Err(no_leases())),
                }
            })
        })
        .await
    }

    async fn lease(&self, session: &SessionId) -> Result<Option<Lease>, Error> {
        let session = session.to_string();
        let lease = self.call("get-lease", move |adapter, store| {
            Box::pin(async move {
                match adapter.leases() {
                    Some(leases) => leases.call_get(store, &session).await,
                    None => Ok(Err(no_leases())),
                }
            })
        });
        lease.await?.map(convert::lease).transpose()
    }

    async fn list_profiles(&self) -> Result<Vec<ProfileSummary>, Error> {
        let listed = self.call("list-profiles", |adapter, store| {
            Box::pin(async { adapter.agent_host_persistence_profiles().call_list_profiles(store).await })
        });
        listed.await?.into_iter().map(convert::profile_summary).collect()
    }

    async fn load_profile(&self, id: &ProfileId) -> Result<Option<Profile>, Error> {
        let name = id.to_string();
        let document = self.call("load-profile", move |adapter, store| {
            Box::pin(async move { adapter.agent_host_persistence_profiles().call_load_profile(store, &name).await })
        });
        document.await?.map(|document| convert::profile(id, &document)).transpose()
    }

    async fn save_profile(&self, profile: &Profile) -> Result<(), Error> {
        let (summary, document) = convert::profile_out(profile)?;
        self.call("save-profile", move |adapter, store| {
            Box::pin(async move { adapter.agent_host_persistence_profiles().call_save_profile(store, &summary, &document).await })
        })
        .await
    }

    async fn delete_profile(&self, id: &ProfileId) -> Result<(), Error> {
        let name = id.to_string();
        self.call("delete-profile", move |adapter, store| {
            Box::pin(async move { adapter.agent_host_persistence_profiles().call_delete_profile(store, &name).await })
        })
        .await
    }
}

fn no_leases() -> wit::Error {
    wit::Error::Other("the component does not export agent-host:persistence/leases".to_owned())
}

fn read_size(max: u32) -> Result<u32, Error> {
    if max > MAX_READ_BYTES {
        return Err(Error::Invalid(format!("{max} bytes were to be read at once; {MAX_READ_BYTES} is the limit")));
    }
    Ok(max)
}
