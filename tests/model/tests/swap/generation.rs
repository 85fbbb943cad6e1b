//! Generations over stores in memory, in the place of those over components.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{Error, Lease, Owner, Store};
use agent_host_session::profile::{Profile, ProfileSummary};
use agent_host_session::record::{FileInfo, Page, RecordChanges, SessionRecord, Snapshot, StreamName};
use async_trait::async_trait;
use bytes::Bytes;
use fake_ports::store::MemoryStore;
use shuttle::future::yield_now;

pub(crate) struct Generation {
    pub(crate) persistence: Persistence,
}

impl Generation {
    pub(crate) fn over(store: &Arc<MemoryStore>, works: bool) -> Arc<Self> {
        let persistence = Persistence { store: Arc::clone(store), works, calls: AtomicU64::new(0), is_shut: AtomicBool::new(false) };
        Arc::new(Self { persistence })
    }
}

/// An adapter. Each of its calls takes a while, before and after it does what it does.
pub(crate) struct Persistence {
    store: Arc<MemoryStore>,
    works: bool,
    calls: AtomicU64,
    is_shut: AtomicBool,
}

impl Persistence {
    pub(crate) fn count_anew(&self) {
        self.calls.store(0, Ordering::SeqCst);
    }

    pub(crate) fn hopeless(&self, calls: u64) -> Option<&'static str> {
        (!self.works && self.calls.load(Ordering::SeqCst) >= calls).then_some("append")
    }

    pub(crate) fn shut_down(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.is_shut.load(Ordering::SeqCst)
    }

    /// Whether a call may be made.
    async fn begin(&self) -> Result<(), Error> {
        if self.is_shut() {
            return Err(Error::Unavailable("it has ended".to_owned()));
        }
        yield_now().await;
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.works { Ok(()) } else { Err(Error::Other("it does not work".to_owned())) }
    }
}

macro_rules! call {
    ($self:ident.$function:ident($($argument:expr),*)) => {{
        $self.begin().await?;
        let result = $self.store.$function($($argument),*).await;
        yield_now().await;
        result
    }};
}

#[async_trait]
impl Store for Persistence {
    async fn health(&self) -> Result<(), Error> {
        call!(self.health())
    }

    async fn create_session(&self, epoch: Epoch, record: &SessionRecord) -> Result<(), Error> {
        call!(self.create_session(epoch, record))
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Snapshot>, Error> {
        call!(self.load_session(id))
    }

    async fn update_session(&self, epoch: Epoch, id: &SessionId, changes: &RecordChanges) -> Result<(), Error> {
        call!(self.update_session(epoch, id, changes))
    }

    async fn delete_session(&self, epoch: Epoch, id: &SessionId) -> Result<(), Error> {
        call!(self.delete_session(epoch, id))
    }

    async fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page, Error> {
        call!(self.list_sessions(cursor, limit))
    }

    async fn append(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, offset: u64, data: Bytes) -> Result<u64, Error> {
        call!(self.append(epoch, session, stream, offset, data))
    }

    async fn read(&self, session: &SessionId, stream: &StreamName, offset: u64, max: u32) -> Result<Bytes, Error> {
        call!(self.read(session, stream, offset, max))
    }

    async fn replace(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, data: Bytes) -> Result<u64, Error> {
        call!(self.replace(epoch, session, stream, data))
    }

    async fn save_file(&self, epoch: Epoch, session: &SessionId, file: &FileInfo, content: Bytes) -> Result<(), Error> {
        call!(self.save_file(epoch, session, file, content))
    }

    async fn read_file(&self, session: &SessionId, path: &RelativePath, offset: u64, max: u32) -> Result<Bytes, Error> {
        call!(self.read_file(session, path, offset, max))
    }

    async fn delete_file(&self, epoch: Epoch, session: &SessionId, path: &RelativePath) -> Result<(), Error> {
        call!(self.delete_file(epoch, session, path))
    }

    async fn acquire_lease(&self, session: &SessionId, owner: &Owner, ttl: Duration) -> Result<Lease, Error> {
        call!(self.acquire_lease(session, owner, ttl))
    }

    async fn renew_leases(&self, owner: &str, ttl: Duration, sessions: &[SessionId]) -> Result<Vec<SessionId>, Error> {
        call!(self.renew_leases(owner, ttl, sessions))
    }

    async fn release_lease(&self, session: &SessionId, owner: &str) -> Result<(), Error> {
        call!(self.release_lease(session, owner))
    }

    async fn lease(&self, session: &SessionId) -> Result<Option<Lease>, Error> {
        call!(self.lease(session))
    }

    async fn list_profiles(&self) -> Result<Vec<ProfileSummary>, Error> {
        call!(self.list_profiles())
    }

    async fn load_profile(&self, id: &ProfileId) -> Result<Option<Profile>, Error> {
        call!(self.load_profile(id))
    }

    async fn save_profile(&self, profile: &Profile) -> Result<(), Error> {
        call!(self.save_profile(profile))
    }

    async fn delete_profile(&self, id: &ProfileId) -> Result<(), Error> {
        call!(self.delete_profile(id))
    }
}
