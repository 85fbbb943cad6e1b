//! The Store port in front of another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{Error, Lease, Owner, Store};
use agent_host_session::profile::{Profile, ProfileSummary};
use agent_host_session::record::{FileInfo, Page, RecordChanges, SessionRecord, Snapshot, StreamName};
use async_trait::async_trait;
use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::disk::{Disk, OpenError, Options};
use crate::lane::{JournaledFile, Lane, PutError};
use crate::metrics;
use crate::record::Head;
use crate::replay;

/// So many calls in a row that fail are no accident: until one succeeds, writes go into the journal at once, and reads are tried once.
const AWAY_AFTER: u32 = 3;

/// How often an operation that changes nothing, or the same again, is tried, and the pauses between: a database that restarts is back within two seconds, and a client waits.
const TRIES: usize = 6;
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// For so long a store counts as away after a call failed, if nobody has asked since.
const BELIEVED: Duration = Duration::from_secs(60);

/// How long whoever wants to read a session waits for the journal to give back what it has of it.
const SETTLE: Duration = Duration::from_secs(5);

/// A store whose writes outlast that the one behind it is away.
pub struct JournaledStore {
    inner: Arc<dyn Store>,
    disk: Arc<Disk>,
    /// Of the sessions that this host writes, the epoch under which the store has taken a write.
    taken: DashMap<SessionId, Epoch>,
    reads: Arc<Availability>,
    writes: Arc<Availability>,
    is_unhealthy: AtomicBool,
    _replay: DropGuard,
}

/// Whether the store behind takes calls of one kind. A database that is locked, or full, may answer what reads and take no write.
#[derive(Debug)]
pub(crate) struct Availability {
    /// What is said when it takes none any more.
    away: &'static str,
    /// Calls that failed since the last one that did not.
    failures: AtomicU32,
    failed_at: Mutex<Option<Instant>>,
}

impl Availability {
    fn new(away: &'static str) -> Arc<Self> {
        Arc::new(Self { away, failures: AtomicU32::new(0), failed_at: Mutex::new(None) })
    }

    pub(crate) fn answered(&self) {
        // Looked at first: all sessions share it, and nearly always nothing changes.
        if self.failures.load(Ordering::Relaxed) != 0 && self.failures.swap(0, Ordering::Relaxed) >= AWAY_AFTER {
            tracing::info!(before = self.away, "the store answers again");
        }
    }

    pub(crate) fn failed(&self, error: &Error) {
        *self.failed_at.lock() = Some(Instant::now());
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 == AWAY_AFTER {
            tracing::error!(%error, "{}", self.away);
        }
    }

    fn is_away(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= AWAY_AFTER
    }

    /// Whether it was away when it was last asked, and that is not long ago: nobody may have asked since.
    fn is_away_by_now(&self) -> bool {
        self.is_away() && self.failed_at.lock().is_some_and(|failed_at| failed_at.elapsed() < BELIEVED)
    }

    fn note<T>(&self, result: &Result<T, Error>) {
        match result {
            Err(error) if error.is_transient() => self.failed(error),
            Ok(_) | Err(_) => self.answered(),
        }
    }
}

impl JournaledStore {
    /// Opens the journal in front of a store, and begins to give back what an earlier process has left in it. Must be called in a Tokio runtime; blocks while it reads what is there.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub fn open(inner: Arc<dyn Store>, options: Options) -> Result<Arc<Self>, OpenError> {
        let disk = Disk::open(options)?;
        let reads = Availability::new("the store is away: it cannot be read");
        let writes = Availability::new("the store is away: what loaded sessions write is kept in the journal, if there is one");
        let stop = CancellationToken::new();
        let replay = replay::run(Arc::clone(&disk), Arc::clone(&inner), Arc::clone(&writes));
        // What it is in the middle of is done again, by the next one.
        tokio::spawn(stop.clone().run_until_cancelled_owned(replay));
        Ok(Arc::new(Self {
            inner,
            disk,
            taken: DashMap::new(),
            reads,
            writes,
            is_unhealthy: AtomicBool::new(false),
            _replay: stop.drop_guard(),
        }))
    }

    /// Shows in a registry what is counted.
    pub fn register_metrics(&self, registry: &mut Registry) {
        metrics::register(&self.disk, registry);
    }

    async fn write(&self, session: &SessionId, head: Head, body: Bytes) -> Result<u64, Error> {
        let epoch = head.epoch();
        if epoch == Epoch::FIRST {
            // Nobody has taken the session, and there may be several who write: whether a write continues what is there only the store can say. Each may be repeated.
            let apply = || apply(self.inner.as_ref(), session, &head, body.clone());
            return self.patiently(&self.writes, apply).await;
        }
        loop {
            let lane = match self.disk.lane(session) {
                Some(lane) => lane,
                None => {
                    let can_be_kept = self.disk.is_kept() && self.taken.get(session).is_some_and(|taken| *taken == epoch);
                    if !can_be_kept || !self.writes.is_away() {
                        let written = apply(self.inner.as_ref(), session, &head, body.clone()).await;
                        self.writes.note(&written);
                        match written {
                            Ok(length) => {
                                self.disk.is_not_needed();
                                if !can_be_kept {
                                    self.taken.insert(session.clone(), epoch);
                                }
                                return Ok(length);
                            }
                            Err(error) if error.is_transient() && can_be_kept => {
                                tracing::warn!(%session, %error, "the store did not take a write, which goes into the journal");
                            }
                            Err(error) => return Err(error),
                        }
                    }
                    self.disk.begin(session)
                }
            };
            match self.put(lane, head.clone(), body.clone()).await {
                Ok(()) => return Ok(head.length(&body)),
                // The journal has given back everything meanwhile.
                Err(PutError::Closed) => {}
                Err(error) => {
                    return Err(Error::Unavailable(format!("neither the persistence component nor the journal takes writes: {error}")));
                }
            }
        }
    }

    async fn put(&self, lane: Arc<Lane>, head: Head, body: Bytes) -> Result<(), PutError> {
        let disk = Arc::clone(&self.disk);
        let put = tokio::task::spawn_blocking(move || disk.put(&lane, head, &body));
        put.await.unwrap_or_else(|error| Err(PutError::Write(std::io::Error::other(error))))
    }

    /// Tries an operation of a kind again while the store does not answer.
    async fn patiently<T, F>(&self, kind: &Availability, operation: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (first, longest) = PAUSE;
        let pauses = ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest).with_max_times(TRIES - 1).with_jitter();
        let mut pauses = pauses.build();
        loop {
            let result = operation().await;
            kind.note(&result);
            match result {
                Err(error) if error.is_transient() && !kind.is_away() => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
                result => return result,
            }
        }
    }

    /// Waits until the store has everything of a session that it was to have.
    async fn settle(&self, session: &SessionId) -> Result<(), Error> {
        let Some(lane) = self.disk.lane(session) else { return Ok(()) };
        self.disk.hurry.notify_one();
        let settled = tokio::time::timeout(SETTLE, lane.closed()).await;
        settled.map_err(|_| Error::Unavailable(format!("writes to session {session} are waiting in the journal")))
    }
}

impl Head {
    fn epoch(&self) -> Epoch {
        match self {
            Self::Append { epoch, .. }
            | Self::Replace { epoch, .. }
            | Self::SaveFile { epoch, .. }
            | Self::DeleteFile { epoch, .. }
            | Self::Update { epoch, .. } => *epoch,
        }
    }

    /// How long the stream is afterwards, if it is one.
    fn length(&self, body: &Bytes) -> u64 {
        match self {
            Self::Append { offset, .. } => offset.saturating_add(body.len() as u64),
            Self::Replace { .. } => body.len() as u64,
            Self::SaveFile { .. } | Self::DeleteFile { .. } | Self::Update { .. } => 0,
        }
    }
}

/// Gives a write to a store; the length of the stream, if it is one.
pub(crate) async fn apply(store: &dyn Store, session: &SessionId, head: &Head, body: Bytes) -> Result<u64, Error> {
    let stream = |name: &str| StreamName::parse(name).ok_or_else(|| Error::Invalid(format!("there is no stream {name:?}")));
    match head {
        Head::Append { epoch, stream: name, offset } => store.append(*epoch, session, &stream(name)?, *offset, body).await,
        Head::Replace { epoch, stream: name } => store.replace(*epoch, session, &stream(name)?, body).await,
        Head::SaveFile { epoch, file } => store.save_file(*epoch, session, file, body).await.map(|()| 0),
        Head::DeleteFile { epoch, path } => store.delete_file(*epoch, session, path).await.map(|()| 0),
        Head::Update { epoch, changes } => store.update_session(*epoch, session, &changes.clone().into()).await.map(|()| 0),
    }
}

#[async_trait]
impl Store for JournaledStore {
    async fn health(&self) -> Result<(), Error> {
        let health = self.inner.health().await;
        self.reads.note(&health);
        let is_away = health.as_ref().is_err_and(Error::is_transient);
        self.is_unhealthy.store(is_away, Ordering::Relaxed);
        if self.disk.is_full() {
            return Err(Error::Unavailable("neither the persistence component nor the journal takes writes".to_owned()));
        }
        // Loaded sessions go on, and do not lose anything.
        if is_away && self.disk.is_kept() { Ok(()) } else { health }
    }

    fn degradation(&self) -> Option<String> {
        let (bytes, sessions) = (self.disk.bytes(), self.disk.lanes().len());
        if sessions > 0 {
            let max = self.disk.max_bytes();
            return Some(format!(
                "the store does not take all writes: {bytes} of at most {max} bytes, of {sessions} sessions, wait in the journal"
            ));
        }
        let is_away = self.is_unhealthy.load(Ordering::Relaxed) || self.reads.is_away_by_now() || self.writes.is_away_by_now();
        let kept = if self.disk.is_kept() { "; what loaded sessions write is kept in the journal" } else { "" };
        is_away.then(|| format!("the store does not take all calls{kept}"))
    }

    fn is_behind(&self, session: &SessionId) -> bool {
        self.disk.lane(session).is_some()
    }

    fn release(&self, session: &SessionId) {
        self.taken.remove(session);
    }

    async fn create_session(&self, epoch: Epoch, record: &SessionRecord) -> Result<(), Error> {
        self.patiently(&self.writes, || self.inner.create_session(epoch, record)).await
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Snapshot>, Error> {
        self.settle(id).await?;
        self.patiently(&self.reads, || self.inner.load_session(id)).await
    }

    async fn update_session(&self, epoch: Epoch, id: &SessionId, changes: &RecordChanges) -> Result<(), Error> {
        self.write(id, Head::Update { epoch, changes: changes.into() }, Bytes::new()).await.map(drop)
    }

    async fn delete_session(&self, epoch: Epoch, id: &SessionId) -> Result<(), Error> {
        self.patiently(&self.writes, || self.inner.delete_session(epoch, id)).await?;
        if let Some(lane) = self.disk.lane(id) {
            let disk = Arc::clone(&self.disk);
            // A panic, which there is none, would leave what the store then refuses.
            drop(tokio::task::spawn_blocking(move || disk.discard(&lane)).await);
        }
        Ok(())
    }

    async fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page, Error> {
        self.patiently(&self.reads, || self.inner.list_sessions(cursor, limit)).await
    }

    async fn append(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, offset: u64, data: Bytes) -> Result<u64, Error> {
        self.write(session, Head::append(epoch, stream, offset), data).await
    }

    async fn read(&self, session: &SessionId, stream: &StreamName, offset: u64, max: u32) -> Result<Bytes, Error> {
        self.settle(session).await?;
        self.patiently(&self.reads, || self.inner.read(session, stream, offset, max)).await
    }

    async fn replace(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, data: Bytes) -> Result<u64, Error> {
        self.write(session, Head::replace(epoch, stream), data).await
    }

    async fn save_file(&self, epoch: Epoch, session: &SessionId, file: &FileInfo, content: Bytes) -> Result<(), Error> {
        self.write(session, Head::SaveFile { epoch, file: file.clone() }, content).await.map(drop)
    }

    async fn read_file(&self, session: &SessionId, path: &RelativePath, offset: u64, max: u32) -> Result<Bytes, Error> {
        if let Some(lane) = self.disk.lane(session) {
            let wanted = path.clone();
            let journaled = tokio::task::spawn_blocking(move || lane.read_file(&wanted, offset, max)).await;
            match journaled.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
                Ok(JournaledFile::Saved(content)) => return Ok(content),
                Ok(JournaledFile::Deleted) => return Err(Error::NotFound(path.to_string())),
                Ok(JournaledFile::Unknown) => {}
                Err(error) => return Err(Error::Unavailable(format!("failed to read the journal of session {session}: {error}"))),
            }
        }
        self.patiently(&self.reads, || self.inner.read_file(session, path, offset, max)).await
    }

    async fn delete_file(&self, epoch: Epoch, session: &SessionId, path: &RelativePath) -> Result<(), Error> {
        self.write(session, Head::DeleteFile { epoch, path: path.clone() }, Bytes::new()).await.map(drop)
    }

    async fn acquire_lease(&self, session: &SessionId, owner: &Owner, ttl: Duration) -> Result<Lease, Error> {
        self.patiently(&self.writes, || self.inner.acquire_lease(session, owner, ttl)).await
    }

    async fn renew_leases(&self, owner: &str, ttl: Duration, sessions: &[SessionId]) -> Result<Vec<SessionId>, Error> {
        self.patiently(&self.writes, || self.inner.renew_leases(owner, ttl, sessions)).await
    }

    async fn release_lease(&self, session: &SessionId, owner: &str) -> Result<(), Error> {
        self.patiently(&self.writes, || self.inner.release_lease(session, owner)).await
    }

    async fn lease(&self, session: &SessionId) -> Result<Option<Lease>, Error> {
        self.patiently(&self.reads, || self.inner.lease(session)).await
    }

    async fn list_profiles(&self) -> Result<Vec<ProfileSummary>, Error> {
        self.patiently(&self.reads, || self.inner.list_profiles()).await
    }

    async fn load_profile(&self, id: &ProfileId) -> Result<Option<Profile>, Error> {
        self.patiently(&self.reads, || self.inner.load_profile(id)).await
    }

    async fn save_profile(&self, profile: &Profile) -> Result<(), Error> {
        self.patiently(&self.writes, || self.inner.save_profile(profile)).await
    }

    async fn delete_profile(&self, id: &ProfileId) -> Result<(), Error> {
        self.patiently(&self.writes, || self.inner.delete_profile(id)).await
    }
}
