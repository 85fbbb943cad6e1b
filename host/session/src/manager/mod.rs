//! All sessions of a host: creating, finding, loading, listing, shutting down.
//!
//! A session is loaded when something is to happen to it, by whoever comes first; all others wait for the same loading. Reading one that is not loaded reads the
//! store and loads nothing.

mod control;
mod create;
mod error;
mod import;
pub(crate) mod leases;
mod messages;
mod observe;
mod outside;
mod request;
mod settings;
mod take_up;

use std::collections::BTreeMap;
use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{OnceCell, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::error::Error;
pub use self::outside::{Kept, KeptListing, Transcript};
pub use self::request::{Create, Created, ListChange, Listed, Listing, SessionState, Subscribed};
pub use self::settings::{InterruptedTurn, Leases, Settings};
use crate::event::Runtime;
use crate::id::{ProfileId, Sequence, SessionId};
use crate::log::Reveal;
use crate::metrics::Metrics;
use crate::path::RelativePath;
use crate::ports::agenda::Agenda;
use crate::ports::agent::Architecture;
use crate::ports::archive::Archive;
use crate::ports::environment::Environment;
use crate::ports::hooks::Hooks;
use crate::ports::sandbox::Provider;
use crate::ports::store::{self, Store};
use crate::profile::{Profile, ProfileSummary};
use crate::record::{Options, RecordChanges, SessionRecord};
use crate::state::View;
use crate::task::{self, Command, Context, Handle, Reply};

/// List changes that may wait for a slow listener, which is told when it misses one.
const LIST_CHANGES: usize = 1024;

/// How often a request tries again when its session is unloaded under it, which normally happens once.
const TRIES: usize = 4;

/// A session that is loaded or being loaded.
type Slot = Arc<OnceCell<Handle>>;

/// The last one to let go of a slot into which no session was loaded takes it away, be it that the loading failed or that nobody waits for it any more: not
/// earlier, for another may be about to load into the same slot.
struct SlotGuard<'a> {
    sessions: &'a DashMap<SessionId, Slot>,
    id: &'a SessionId,
}

impl Drop for SlotGuard<'_> {
    fn drop(&mut self) {
        self.sessions.remove_if(self.id, |_, slot| !slot.initialized() && Arc::strong_count(slot) == 1);
    }
}

/// What sessions speak to the world through.
pub struct Ports {
    /// The persistence adapter.
    pub store: Arc<dyn Store>,
    /// Who makes sandboxes.
    pub provider: Arc<dyn Provider>,
    /// The agent programs that can be run.
    pub architectures: Vec<Arc<dyn Architecture>>,
    /// The clock and the source of names.
    pub environment: Arc<dyn Environment>,
    /// Who is told of events, and decides.
    pub hooks: Arc<dyn Hooks>,
    /// What a host that is killed has to take up again.
    pub agenda: Arc<dyn Agenda>,
    /// What has left the sessions' event logs.
    pub archive: Arc<dyn Archive>,
}

/// All sessions of a host.
pub struct Manager {
    context: Arc<Context>,
    sessions: Arc<DashMap<SessionId, Slot>>,
    tasks: TaskTracker,
}

impl Manager {
    /// A manager without sessions.
    pub fn new(ports: Ports, settings: Settings) -> Arc<Self> {
        let Ports { store, provider, architectures, environment, hooks, agenda, archive } = ports;
        let architectures: BTreeMap<_, _> = architectures.into_iter().map(|architecture| (architecture.name(), architecture)).collect();
        let (changes, _) = broadcast::channel(LIST_CHANGES);
        let shutdown = CancellationToken::new();
        let metrics = Arc::new(Metrics::default());
        let context =
            Arc::new(Context { store, provider, architectures, environment, hooks, agenda, archive, settings, metrics, changes, shutdown });
        Arc::new(Self { context, sessions: Arc::new(DashMap::new()), tasks: TaskTracker::new() })
    }

    /// A page of sessions, newest first; `limit` is moved into 1 to 1000.
    ///
    /// # Errors
    /// Those of the store; a cursor that it did not give is `Invalid`.
    pub async fn list(&self, cursor: Option<&str>, limit: u32) -> Result<Listing, Error> {
        let page = self.context.store.list_sessions(cursor, limit.clamp(1, 1000)).await?;
        let sessions = page.sessions.into_iter().map(|record| Listed { runtime: self.runtime(&record.id), record }).collect();
        Ok(Listing { sessions, next: page.next })
    }

    /// A session as it is now. One that is not loaded is read from the store.
    ///
    /// # Errors
    /// If there is no such session, or the store fails.
    pub async fn get(&self, id: &SessionId) -> Result<View, Error> {
        let shares_store = self.context.settings.leases.is_some();
        let stored = |loaded: task::Loaded| {
            // Nothing comes between this and the first event of the host that loads the session next, unless that may be another host before this one.
            let sequence = if shares_store { Sequence(0) } else { Sequence::before(loaded.epoch.next()) };
            (loaded.state.view(sequence), None)
        };
        let (view, reveal) = self.look(id, |reply| Command::View { reply }, stored).await?;
        self.revealed(id, reveal).await?;
        Ok(view)
    }

    /// Asks a session if it is loaded, and reads it from the store if it is not.
    async fn look<T>(
        &self,
        id: &SessionId,
        command: impl Fn(Reply<T>) -> Command,
        stored: impl FnOnce(task::Loaded) -> T,
    ) -> Result<T, Error> {
        for _ in 0..TRIES {
            if let Some(handle) = self.loaded(id) {
                match handle.ask(&command).await {
                    Ok(answer) => return answer,
                    // What is stored is complete when the task has ended, not before.
                    Err(task::Unloading) => self.wait_for_end(id, &handle).await?,
                }
            }
            let mut loaded = task::load(self.context.store.as_ref(), id).await?.ok_or_else(|| Error::SessionNotFound(id.clone()))?;
            self.show_outside(id, &mut loaded).await?;
            // A session that was loaded meanwhile may have been read in the middle of a change.
            if !self.sessions.contains_key(id) {
                return Ok(stored(loaded));
            }
        }
        Err(Error::Busy(id.clone()))
    }

    /// Waits until a picture of the session may be shown.
    async fn revealed(&self, id: &SessionId, reveal: Option<Reveal>) -> Result<(), Error> {
        let Some(reveal) = reveal else { return Ok(()) };
        let revealed = tokio::time::timeout(self.context.settings.request_timeout, reveal.wait()).await;
        revealed.map_err(|_| Error::Busy(id.clone()))
    }

    async fn wait_for_end(&self, id: &SessionId, handle: &Handle) -> Result<(), Error> {
        let ended = tokio::time::timeout(self.context.settings.request_timeout, handle.ended()).await;
        ended.map_err(|_| Error::Busy(id.clone()))
    }

    /// Ends the running turn of a session; whether there was one. Messages that wait are kept.
    ///
    /// # Errors
    /// If there is no such session, or the store fails.
    pub async fn interrupt(&self, id: &SessionId) -> Result<bool, Error> {
        let Some(handle) = self.loaded(id) else { return self.check_exists(id).await.map(|()| false) };
        match handle.ask(|reply| Command::Interrupt { reply }).await {
            Ok(answer) => answer,
            // Unloading ends the turn by itself.
            Err(task::Unloading) => Ok(false),
        }
    }

    /// Ends a session's turn and sandbox, stores everything and takes it out of memory.
    ///
    /// # Errors
    /// If there is no such session, or the store fails.
    pub async fn unload(&self, id: &SessionId) -> Result<(), Error> {
        self.check_exists(id).await?;
        match self.loaded(id) {
            Some(handle) => self.ask_to_leave(id, &handle, |reply| Command::Unload { reply }).await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }

    /// Stores everything of a session that is not stored yet.
    ///
    /// # Errors
    /// If there is no such session, or the store fails.
    pub async fn sync(&self, id: &SessionId) -> Result<(), Error> {
        match self.loaded(id) {
            Some(_) => self.ask(id, |reply| Command::Sync { reply }).await,
            None => self.check_exists(id).await,
        }
    }

    /// Changes a session's options by a JSON merge patch (`null` removes), and gives all of them. What the agent can take over while it runs it does; the
    /// rest is in force when it starts the next time.
    ///
    /// # Errors
    /// If the architecture does not know an option or its value, or the store fails.
    pub async fn update_options(&self, id: &SessionId, patch: Options) -> Result<Options, Error> {
        self.ask(id, |reply| Command::UpdateOptions { patch: patch.clone(), reply }).await
    }

    /// Ends a session's sandbox and removes everything that is stored of it.
    ///
    /// # Errors
    /// If there is no such session, or the store fails; then the session is still there.
    pub async fn delete(&self, id: &SessionId) -> Result<(), Error> {
        self.delete_if(id, |_| Ok(())).await
    }

    /// [Deletes](Self::delete) a session, if `check` has nothing against its record as it is when nobody else can change it any more.
    async fn delete_if(&self, id: &SessionId, check: fn(&SessionRecord) -> Result<(), Error>) -> Result<(), Error> {
        self.check_open()?;
        for _ in 0..TRIES {
            let _guard = SlotGuard { sessions: &self.sessions, id };
            let slot = Arc::clone(&self.sessions.entry(id.clone()).or_default());
            // Nobody can load the session as long as this holds its place.
            match slot.get_or_try_init(|| async { Err(self.delete_stored(id, check).await) }).await {
                Err(result) => return result,
                Ok(handle) => {
                    check(&handle.listed().record)?;
                    if let Some(result) = self.ask_to_leave(id, handle, |reply| Command::Delete { reply }).await {
                        return result;
                    }
                }
            }
        }
        Err(Error::Busy(id.clone()))
    }

    async fn delete_stored(&self, id: &SessionId, check: fn(&SessionRecord) -> Result<(), Error>) -> Result<(), Error> {
        self.acquire(id).await?;
        let store = &self.context.store;
        let deleted = async {
            let snapshot = store.load_session(id).await?.ok_or_else(|| Error::SessionNotFound(id.clone()))?;
            check(&snapshot.record)?;
            Ok(store.delete_session(snapshot.epoch.next(), id).await?)
        };
        if let Err(error) = deleted.await {
            leases::release(&self.context, id).await;
            return Err(error);
        }
        self.context.provider.discard(id);
        drop(self.context.changes.send(ListChange::Deleted(id.clone())));
        Ok(())
    }

    /// Follows a session, from where it is now or from where the client was.
    ///
    /// # Errors
    /// If there is no such session, or the store fails.
    pub async fn subscribe(&self, id: &SessionId, since: Option<Sequence>) -> Result<Subscribed, Error> {
        let (subscribed, reveal) = self.ask(id, |reply| Command::Subscribe { since, reply }).await?;
        self.revealed(id, reveal).await?;
        Ok(subscribed)
    }

    /// The stored contents of a workspace file.
    ///
    /// # Errors
    /// If there is no such session or file, or the store fails.
    pub async fn read_file(&self, id: &SessionId, path: &RelativePath) -> Result<Vec<u8>, Error> {
        match store::read_file(self.context.store.as_ref(), id, path).await {
            Ok(content) => Ok(content),
            Err(store::Error::NotFound(_)) => Err(Error::FileNotFound(path.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// All profiles, sorted by id.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list_profiles(&self) -> Result<Vec<ProfileSummary>, Error> {
        Ok(self.context.store.list_profiles().await?)
    }

    /// A profile.
    ///
    /// # Errors
    /// If there is no such profile, or the store fails.
    pub async fn load_profile(&self, id: &ProfileId) -> Result<Profile, Error> {
        self.context.store.load_profile(id).await?.ok_or_else(|| Error::ProfileNotFound(id.clone()))
    }

    /// Adds or replaces a profile. Sandboxes that run already keep the old one.
    ///
    /// # Errors
    /// If no sandbox could be made from it, or the store fails.
    pub async fn save_profile(&self, profile: &Profile) -> Result<(), Error> {
        profile.check().map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(self.context.store.save_profile(profile).await?)
    }

    /// Removes a profile. Its sessions stay, and cannot start a sandbox until there is one of that id again.
    ///
    /// # Errors
    /// If there is no such profile, or the store fails.
    pub async fn delete_profile(&self, id: &ProfileId) -> Result<(), Error> {
        self.load_profile(id).await?;
        Ok(self.context.store.delete_profile(id).await?)
    }

    /// Whether the host can do its work; if only for sessions that are loaded, why.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn health(&self) -> Result<Option<String>, Error> {
        self.check_open()?;
        self.context.store.health().await?;
        Ok(self.context.store.degradation())
    }

    /// What changes in the list of sessions from now on.
    pub fn watch_list(&self) -> broadcast::Receiver<ListChange> {
        self.context.changes.subscribe()
    }

    /// Lets running turns end for a while, stores everything, ends all sandboxes, and then returns. Nothing can be begun any more.
    pub async fn shutdown(&self) {
        self.context.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.context.provider.close().await;
    }

    fn architecture(&self, name: &str) -> Result<&Arc<dyn Architecture>, Error> {
        let architectures = &self.context.architectures;
        architectures.get(name).ok_or_else(|| Error::UnknownArchitecture {
            name: name.chars().take(100).collect(),
            known: architectures.keys().copied().collect::<Vec<_>>().join(", "),
        })
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.context.shutdown.is_cancelled() { Err(Error::ShuttingDown) } else { Ok(()) }
    }

    async fn check_exists(&self, id: &SessionId) -> Result<(), Error> {
        if self.loaded(id).is_some() {
            return Ok(());
        }
        match self.context.store.load_session(id).await? {
            Some(_) => self.check_free(id).await,
            None => Err(Error::SessionNotFound(id.clone())),
        }
    }

    fn loaded(&self, id: &SessionId) -> Option<Handle> {
        self.sessions.get(id).and_then(|slot| slot.get().cloned())
    }

    fn runtime(&self, id: &SessionId) -> Runtime {
        self.loaded(id).map_or_else(Runtime::default, |handle| handle.listed().runtime.clone())
    }

    /// Loads the session if need be and asks it; again if it was unloaded under the question.
    async fn ask<T>(&self, id: &SessionId, command: impl Fn(Reply<T>) -> Command) -> Result<T, Error> {
        let asking = async {
            for _ in 0..TRIES {
                let handle = self.handle(id).await?;
                match handle.ask(&command).await {
                    Ok(answer) => return answer,
                    Err(task::Unloading) => handle.ended().await,
                }
            }
            Err(Error::Busy(id.clone()))
        };
        match tokio::time::timeout(self.context.settings.request_timeout, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(store::Error::Unavailable(format!("session {id} could not be read or written in time")).into()),
        }
    }

    /// Asks a loaded session to leave memory and waits until it has; `None` if it left for another reason.
    async fn ask_to_leave(&self, id: &SessionId, handle: &Handle, command: impl FnOnce(Reply<()>) -> Command) -> Option<Result<(), Error>> {
        let leaving = async {
            let answer = handle.ask(command).await;
            if !matches!(answer, Ok(Err(_))) {
                handle.ended().await;
            }
            answer.ok()
        };
        match tokio::time::timeout(self.context.settings.request_timeout, leaving).await {
            Ok(answer) => answer,
            Err(_) => Some(Err(Error::Busy(id.clone()))),
        }
    }

    async fn handle(&self, id: &SessionId) -> Result<Handle, Error> {
        // A host that ends waits for what is being loaded.
        let _token = self.tasks.token();
        self.check_open()?;
        if let Some(handle) = self.loaded(id) {
            return Ok(handle);
        }
        let limit = self.context.settings.sessions;
        if self.sessions.len() >= limit {
            return Err(Error::TooManySessions(limit));
        }
        // Declared before the slot, so that it looks after this one has let go.
        let _guard = SlotGuard { sessions: &self.sessions, id };
        let slot = Arc::clone(&self.sessions.entry(id.clone()).or_default());
        slot.get_or_try_init(|| self.load(id, &slot)).await.cloned()
    }

    async fn load(&self, id: &SessionId, slot: &Slot) -> Result<Handle, Error> {
        self.check_runs_here(id).await?;
        self.acquire(id).await?;
        let loaded = match self.load_acquired(id).await {
            Ok(loaded) => loaded,
            Err(error) => {
                leases::release(&self.context, id).await;
                return Err(error);
            }
        };
        let (sessions, slot, session) = (Arc::clone(&self.sessions), Arc::downgrade(slot), id.clone());
        let on_end = move || {
            sessions.remove_if(&session, |_, there| std::ptr::eq(Arc::as_ptr(there), slot.as_ptr()));
        };
        let (handle, task) = task::spawn(Arc::clone(&self.context), loaded, on_end);
        self.tasks.spawn(task);
        Ok(handle)
    }

    /// Reads a session that is this host's. Where hosts share the store, the epoch is taken before: what an earlier process had under way could come to the store after the session
    /// was read, and not be known here.
    async fn load_acquired(&self, id: &SessionId) -> Result<task::Loaded, Error> {
        let store = self.context.store.as_ref();
        let taken = match &self.context.settings.leases {
            Some(_) => {
                let snapshot = store.load_session(id).await?.ok_or_else(|| Error::SessionNotFound(id.clone()))?;
                let epoch = snapshot.epoch.next();
                store.update_session(epoch, id, &RecordChanges::default()).await?;
                Some(epoch)
            }
            None => None,
        };
        let loaded = task::load(store, id).await?.ok_or_else(|| Error::SessionNotFound(id.clone()))?;
        match taken {
            // Another host has taken the session since.
            Some(epoch) if loaded.epoch != epoch => Err(Error::Busy(id.clone())),
            Some(_) => Ok(task::Loaded { is_taken: true, ..loaded }),
            None => Ok(loaded),
        }
    }
}
