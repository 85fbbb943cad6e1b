//! The store that sessions see: whichever generation of the adapter serves at the moment.
//!
//! A call takes the generation that serves when it begins and holds it to its end, so that replacing one is the exchange of a pointer. A call that fails because its
//! generation gives way is made again on the next: every call of the contract may be repeated.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{Error, Lease, Owner, Store};
use agent_host_session::profile::{Profile, ProfileSummary};
use agent_host_session::record::{FileInfo, Page, RecordChanges, SessionRecord, Snapshot, StreamName};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::generation::Generation;
use super::smoke;
use super::sync::{ArcSwap, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How often a call is made on another generation. Each time one has to have given way meanwhile, so this is hardly ever reached.
const TRIES: usize = 4;

/// The store over the generation that serves.
pub(super) struct Switch {
    current: ArcSwap<Generation>,
    /// What serves again if the new generation turns out not to work.
    fallback: Mutex<Option<Fallback>>,
    /// Held for reading by each write, and for writing by a migration's last step.
    gate: RwLock<()>,
    /// What was written since a migration began; `None` if there is none.
    changes: Mutex<Option<Changes>>,
    /// Told when the fallback has taken over.
    rolled_back: mpsc::UnboundedSender<RolledBack>,
}

/// The generation before the present one, and when to go back to it.
struct Fallback {
    generation: Arc<Generation>,
    /// First calls of a function that have to fail.
    failures: u64,
}

/// The fallback serves again.
pub(super) struct RolledBack {
    pub(super) failed: Arc<Generation>,
    pub(super) serving: Arc<Generation>,
    /// The function that did not work.
    pub(super) operation: &'static str,
}

/// What was written since it was last asked for.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Sessions in which something was written, or that were created or deleted.
    pub(super) sessions: BTreeSet<SessionId>,
    /// Streams that were begun anew, so that what a copy has of them is worth nothing.
    pub(super) replaced: BTreeSet<(SessionId, StreamName)>,
    /// Whether profiles were written.
    pub(super) profiles: bool,
}

impl Switch {
    pub(super) fn new(first: Arc<Generation>) -> (Self, mpsc::UnboundedReceiver<RolledBack>) {
        let (rolled_back, receiver) = mpsc::unbounded_channel();
        let (fallback, gate, changes) = (Mutex::new(None), RwLock::new(()), Mutex::new(None));
        (Self { current: ArcSwap::new(first), fallback, gate, changes, rolled_back }, receiver)
    }

    /// The generation that serves.
    pub(super) fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Lets `next` serve from the next call on, and gives what served before. With `failures`, that serves again if a function of `next` fails so many times without ever
    /// having worked, until it [is not needed](Self::needs) any more.
    pub(super) fn publish(&self, next: Arc<Generation>, failures: Option<u64>) -> Arc<Generation> {
        let mut fallback = self.fallback.lock();
        next.persistence.count_anew();
        let previous = self.current.swap(next);
        *fallback = failures.map(|failures| Fallback { generation: Arc::clone(&previous), failures });
        previous
    }

    /// Whether a generation serves, or may have to serve again. With `forget` it has not to, since its standby is over: the one after it stays, whatever it does.
    pub(super) fn needs(&self, previous: &Arc<Generation>, forget: bool) -> bool {
        let mut fallback = self.fallback.lock();
        if forget {
            fallback.take_if(|fallback| Arc::ptr_eq(&fallback.generation, previous));
        }
        Arc::ptr_eq(previous, &self.current.load()) || fallback.as_ref().is_some_and(|fallback| Arc::ptr_eq(&fallback.generation, previous))
    }

    /// Begins to note what is written.
    pub(super) fn watch_changes(&self) {
        *self.changes.lock() = Some(Changes::default());
    }

    /// What was written since it was last asked for.
    pub(super) fn take_changes(&self) -> Changes {
        self.changes.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes what was taken again: it was not copied.
    pub(super) fn give_back(&self, taken: Changes) {
        if let Some(changes) = self.changes.lock().as_mut() {
            changes.sessions.extend(taken.sessions);
            changes.replaced.extend(taken.replaced);
            changes.profiles |= taken.profiles;
        }
    }

    /// Notes no more.
    pub(super) fn stop_watching(&self) {
        *self.changes.lock() = None;
    }

    /// Waits for the writes that run, and lets none begin until the guard is dropped.
    pub(super) async fn hold_writes(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }

    /// Waits while writes are held.
    async fn begin<'a>(&'a self, written: Written<'a>) -> Write<'a> {
        Write { written, switch: self, _held: self.gate.read().await }
    }

    /// Whether a call that ended like this is worth making again: it failed, and another generation serves now.
    fn has_given_way<T>(&self, generation: &Arc<Generation>, result: &Result<T, Error>) -> bool {
        let Err(Error::Unavailable(_) | Error::Corrupt(_) | Error::Other(_)) = result else { return false };
        self.review(generation);
        !Arc::ptr_eq(generation, &self.current.load())
    }

    /// A call has failed: goes back to the fallback if the generation is one that does not work.
    fn review(&self, generation: &Arc<Generation>) {
        let mut fallback = self.fallback.lock();
        let Some(there) = fallback.as_ref().filter(|_| Arc::ptr_eq(generation, &self.current.load())) else { return };
        let Some(operation) = generation.persistence.hopeless(there.failures) else { return };
        let Some(Fallback { generation: serving, .. }) = fallback.take() else { return };
        self.current.store(Arc::clone(&serving));
        // Fails only when the host is about to end.
        drop(self.rolled_back.send(RolledBack { failed: Arc::clone(generation), serving, operation }));
    }
}

/// What a write is about.
enum Written<'a> {
    Session(&'a SessionId),
    Replaced(&'a SessionId, &'a StreamName),
    Profiles,
}

/// A write that runs. It is noted when it has ended, however it ended: had it been noted before, a migration could take the note, copy, and miss what is written then.
struct Write<'a> {
    written: Written<'a>,
    switch: &'a Switch,
    /// Given back after the note was made.
    _held: RwLockReadGuard<'a, ()>,
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        let mut changes = self.switch.changes.lock();
        let Some(changes) = changes.as_mut() else { return };
        match self.written {
            Written::Session(session) => drop(changes.sessions.insert(session.clone())),
            Written::Replaced(session, stream) => {
                changes.sessions.insert(session.clone());
                changes.replaced.insert((session.clone(), stream.clone()));
            }
            Written::Profiles => changes.profiles = true,
        }
    }
}

/// Calls the generation that serves.
macro_rules! ask {
    ($switch:ident.$function:ident($($argument:expr),*)) => {{
        let mut tries = 1;
        loop {
            let generation = $switch.current();
            let result = generation.persistence.$function($($argument),*).await;
            if tries == TRIES || !$switch.has_given_way(&generation, &result) {
                break result;
            }
            tries += 1;
        }
    }};
}

#[async_trait]
impl Store for Switch {
    async fn health(&self) -> Result<(), Error> {
        ask!(self.health())
    }

    async fn create_session(&self, epoch: Epoch, record: &SessionRecord) -> Result<(), Error> {
        let _write = self.begin(Written::Session(&record.id)).await;
        ask!(self.create_session(epoch, record))
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Snapshot>, Error> {
        ask!(self.load_session(id))
    }

    async fn update_session(&self, epoch: Epoch, id: &SessionId, changes: &RecordChanges) -> Result<(), Error> {
        let _write = self.begin(Written::Session(id)).await;
        ask!(self.update_session(epoch, id, changes))
    }

    async fn delete_session(&self, epoch: Epoch, id: &SessionId) -> Result<(), Error> {
        let _write = self.begin(Written::Session(id)).await;
        ask!(self.delete_session(epoch, id))
    }

    async fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page, Error> {
        let mut page = ask!(self.list_sessions(cursor, limit))?;
        page.sessions.retain(|record| !smoke::is_scratch(&record.id));
        Ok(page)
    }

    async fn append(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, offset: u64, data: Bytes) -> Result<u64, Error> {
        let _write = self.begin(Written::Session(session)).await;
        ask!(self.append(epoch, session, stream, offset, data.clone()))
    }

    async fn read(&self, session: &SessionId, stream: &StreamName, offset: u64, max: u32) -> Result<Bytes, Error> {
        ask!(self.read(session, stream, offset, max))
    }

    async fn replace(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, data: Bytes) -> Result<u64, Error> {
        let _write = self.begin(Written::Replaced(session, stream)).await;
        ask!(self.replace(epoch, session, stream, data.clone()))
    }

    async fn save_file(&self, epoch: Epoch, session: &SessionId, file: &FileInfo, content: Bytes) -> Result<(), Error> {
        let _write = self.begin(Written::Session(session)).await;
        ask!(self.save_file(epoch, session, file, content.clone()))
    }

    async fn read_file(&self, session: &SessionId, path: &RelativePath, offset: u64, max: u32) -> Result<Bytes, Error> {
        ask!(self.read_file(session, path, offset, max))
    }

    async fn delete_file(&self, epoch: Epoch, session: &SessionId, path: &RelativePath) -> Result<(), Error> {
        let _write = self.begin(Written::Session(session)).await;
        ask!(self.delete_file(epoch, session, path))
    }

    async fn acquire_lease(&self, session: &SessionId, owner: &Owner, ttl: Duration) -> Result<Lease, Error> {
        ask!(self.acquire_lease(session, owner, ttl))
    }

    async fn renew_leases(&self, owner: &str, ttl: Duration, sessions: &[SessionId]) -> Result<Vec<SessionId>, Error> {
        ask!(self.renew_leases(owner, ttl, sessions))
    }

    async fn release_lease(&self, session: &SessionId, owner: &str) -> Result<(), Error> {
        ask!(self.release_lease(session, owner))
    }

    async fn lease(&self, session: &SessionId) -> Result<Option<Lease>, Error> {
        ask!(self.lease(session))
    }

    async fn list_profiles(&self) -> Result<Vec<ProfileSummary>, Error> {
        ask!(self.list_profiles())
    }

    async fn load_profile(&self, id: &ProfileId) -> Result<Option<Profile>, Error> {
        ask!(self.load_profile(id))
    }

    async fn save_profile(&self, profile: &Profile) -> Result<(), Error> {
        let _write = self.begin(Written::Profiles).await;
        ask!(self.save_profile(profile))
    }

    async fn delete_profile(&self, id: &ProfileId) -> Result<(), Error> {
        let _write = self.begin(Written::Profiles).await;
        ask!(self.delete_profile(id))
    }
}
