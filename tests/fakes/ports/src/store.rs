//! The persistence adapter, in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{Error, Lease, Owner, Store};
use agent_host_session::profile::{Profile, ProfileSummary};
use agent_host_session::record::{FileInfo, Page, RecordChanges, SessionRecord, Snapshot, StreamName};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

/// A store in memory, shared by as many hosts as a test wants.
#[derive(Debug, Default)]
pub struct MemoryStore {
    sessions: Mutex<BTreeMap<SessionId, Session>>,
    profiles: Mutex<BTreeMap<ProfileId, Profile>>,
    fails: AtomicBool,
    fails_reads: AtomicBool,
    read_time: Mutex<Duration>,
    loses_answers: AtomicBool,
    writes: AtomicUsize,
    /// How many writes take effect before the others fail, if they do.
    fails_after: Mutex<Option<usize>>,
}

#[derive(Debug)]
struct Session {
    epoch: Epoch,
    record: SessionRecord,
    streams: BTreeMap<StreamName, Vec<u8>>,
    files: BTreeMap<RelativePath, (FileInfo, Bytes)>,
    lease: Option<Held>,
}

/// A lease, and when it ends.
#[derive(Debug)]
struct Held {
    owner: Owner,
    until: Instant,
}

impl Held {
    fn lease(&self) -> Lease {
        Lease { owner: self.owner.clone(), expires_in: self.until.saturating_duration_since(Instant::now()) }
    }
}

impl MemoryStore {
    /// From now on writes have no effect and are `Unavailable`.
    pub fn fail_writes(&self, fail: bool) {
        self.fails.store(fail, Ordering::SeqCst);
        *self.fails_after.lock() = None;
    }

    /// From now on reading a profile, a stream or a file is `Unavailable`.
    pub fn fail_reads(&self, fail: bool) {
        self.fails_reads.store(fail, Ordering::SeqCst);
    }

    /// From now on reading a part of a stream takes so long.
    pub fn slow_reads(&self, time: Duration) {
        *self.read_time.lock() = time;
    }

    /// From the write behind so many on, writes have no effect and are `Unavailable`, until [`fail_writes`](Self::fail_writes) says otherwise.
    pub fn fail_writes_after(&self, writes: usize) {
        *self.fails_after.lock() = Some(self.writes() + writes);
    }

    /// From now on writes take effect, but are answered by `Unavailable`.
    pub fn lose_answers(&self, lose: bool) {
        self.loses_answers.store(lose, Ordering::SeqCst);
    }

    /// How many writes took effect.
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// All of a stream.
    pub fn stream(&self, id: &SessionId, stream: &StreamName) -> Vec<u8> {
        self.sessions.lock().get(id).and_then(|session| session.streams.get(stream).cloned()).unwrap_or_default()
    }

    /// The highest epoch that a write carried.
    pub fn epoch(&self, id: &SessionId) -> Option<Epoch> {
        self.sessions.lock().get(id).map(|session| session.epoch)
    }

    /// A stored file.
    pub fn file(&self, id: &SessionId, path: &str) -> Option<Bytes> {
        let sessions = self.sessions.lock();
        sessions.get(id)?.files.values().find(|(file, _)| file.path.as_str() == path).map(|(_, content)| content.clone())
    }

    /// Adds a profile.
    pub fn add_profile(&self, profile: Profile) {
        self.profiles.lock().insert(profile.id.clone(), profile);
    }

    fn check_reads(&self) -> Result<(), Error> {
        if self.fails_reads.load(Ordering::SeqCst) { Err(Error::Unavailable("ordered to fail".to_owned())) } else { Ok(()) }
    }

    fn write<T>(&self, epoch: Epoch, id: &SessionId, write: impl FnOnce(&mut Session) -> Result<T, Error>) -> Result<T, Error> {
        let fails_by_now = self.fails_after.lock().is_some_and(|after| self.writes() >= after);
        if self.fails.load(Ordering::SeqCst) || fails_by_now {
            return Err(Error::Unavailable("ordered to fail".to_owned()));
        }
        let mut sessions = self.sessions.lock();
        let session = sessions.get_mut(id).ok_or_else(|| Error::NotFound(id.to_string()))?;
        if epoch < session.epoch {
            return Err(Error::StaleEpoch(session.epoch));
        }
        session.epoch = epoch;
        let result = write(session)?;
        self.writes.fetch_add(1, Ordering::SeqCst);
        if self.loses_answers.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("ordered to lose the answer".to_owned()));
        }
        Ok(result)
    }
}

fn range(bytes: &[u8], offset: u64, max: u32) -> Bytes {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    Bytes::copy_from_slice(
        bytes.get(start..).unwrap_or_default().get(..max as usize).unwrap_or_else(|| bytes.get(start..).unwrap_or_default()),
    )
}

#[async_trait]
impl Store for MemoryStore {
    async fn health(&self) -> Result<(), Error> {
        let fails_by_now = self.fails_after.lock().is_some_and(|after| self.writes() >= after);
        if self.fails.load(Ordering::SeqCst) || fails_by_now { Err(Error::Unavailable("ordered to fail".to_owned())) } else { Ok(()) }
    }

    async fn create_session(&self, epoch: Epoch, record: &SessionRecord) -> Result<(), Error> {
        let fails_by_now = self.fails_after.lock().is_some_and(|after| self.writes() >= after);
        if self.fails.load(Ordering::SeqCst) || fails_by_now {
            return Err(Error::Unavailable("ordered to fail".to_owned()));
        }
        let mut sessions = self.sessions.lock();
        if sessions.contains_key(&record.id) {
            return Err(Error::AlreadyExists(record.id.to_string()));
        }
        let session = Session { epoch, record: record.clone(), streams: BTreeMap::new(), files: BTreeMap::new(), lease: None };
        sessions.insert(record.id.clone(), session);
        Ok(())
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Snapshot>, Error> {
        Ok(self.sessions.lock().get(id).map(|session| Snapshot {
            epoch: session.epoch,
            record: session.record.clone(),
            streams: session.streams.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect(),
            files: session.files.values().map(|(file, _)| file.clone()).collect(),
        }))
    }

    async fn update_session(&self, epoch: Epoch, id: &SessionId, changes: &RecordChanges) -> Result<(), Error> {
        self.write(epoch, id, |session| {
            let RecordChanges { last_activity, name, options, origin } = changes.clone();
            session.record.last_activity = last_activity.unwrap_or(session.record.last_activity);
            session.record.name = name.or_else(|| session.record.name.take());
            if let Some(options) = options {
                session.record.options = options;
            }
            session.record.origin = origin.or_else(|| session.record.origin.take());
            Ok(())
        })
    }

    async fn delete_session(&self, epoch: Epoch, id: &SessionId) -> Result<(), Error> {
        match self.write(epoch, id, |_| Ok(())) {
            Ok(()) => {
                self.sessions.lock().remove(id);
                Ok(())
            }
            Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page, Error> {
        let mut records: Vec<SessionRecord> = self.sessions.lock().values().map(|session| session.record.clone()).collect();
        let key = |record: &SessionRecord| format!("{:020}/{}", record.created_at.as_millis(), record.id);
        records.sort_by_key(|record| std::cmp::Reverse(key(record)));
        records.retain(|record| cursor.is_none_or(|cursor| key(record).as_str() < cursor));
        let more = records.len() > limit as usize;
        records.truncate(limit as usize);
        let next = more.then(|| records.last().map(key)).flatten();
        Ok(Page { sessions: records, next })
    }

    async fn append(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, offset: u64, data: Bytes) -> Result<u64, Error> {
        self.write(epoch, session, |session| {
            let there = session.streams.entry(stream.clone()).or_default();
            let mismatch = Error::OffsetMismatch(there.len() as u64);
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let overlap = there.get(start..).ok_or_else(|| mismatch.clone())?;
            let common = overlap.len().min(data.len());
            if overlap.get(..common) != data.get(..common) {
                return Err(mismatch);
            }
            there.extend_from_slice(data.get(common..).unwrap_or_default());
            Ok(there.len() as u64)
        })
    }

    async fn read(&self, session: &SessionId, stream: &StreamName, offset: u64, max: u32) -> Result<Bytes, Error> {
        self.check_reads()?;
        let time = *self.read_time.lock();
        // Where orders of threads are tried, there is no clock to ask.
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        let sessions = self.sessions.lock();
        let session = sessions.get(session).ok_or_else(|| Error::NotFound(session.to_string()))?;
        Ok(session.streams.get(stream).map_or_else(Bytes::new, |bytes| range(bytes, offset, max)))
    }

    async fn replace(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, data: Bytes) -> Result<u64, Error> {
        self.write(epoch, session, |session| {
            session.streams.insert(stream.clone(), data.to_vec());
            Ok(data.len() as u64)
        })
    }

    async fn save_file(&self, epoch: Epoch, session: &SessionId, file: &FileInfo, content: Bytes) -> Result<(), Error> {
        self.write(epoch, session, |session| {
            session.files.insert(file.path.clone(), (file.clone(), content));
            Ok(())
        })
    }

    async fn read_file(&self, session: &SessionId, path: &RelativePath, offset: u64, max: u32) -> Result<Bytes, Error> {
        self.check_reads()?;
        let sessions = self.sessions.lock();
        let session = sessions.get(session).ok_or_else(|| Error::NotFound(session.to_string()))?;
        let (_, content) = session.files.get(path).ok_or_else(|| Error::NotFound(path.to_string()))?;
        Ok(range(content, offset, max))
    }

    async fn delete_file(&self, epoch: Epoch, session: &SessionId, path: &RelativePath) -> Result<(), Error> {
        self.write(epoch, session, |session| {
            session.files.remove(path);
            Ok(())
        })
    }

    async fn acquire_lease(&self, session: &SessionId, owner: &Owner, ttl: Duration) -> Result<Lease, Error> {
        let mut sessions = self.sessions.lock();
        let found = sessions.get_mut(session).ok_or_else(|| Error::NotFound(session.to_string()))?;
        if let Some(other) = found.lease.as_ref().filter(|held| held.owner.id != owner.id) {
            if other.until > Instant::now() {
                return Ok(other.lease());
            }
            // Whoever had it before, and may still think so, can write nothing more.
            found.epoch = found.epoch.next();
        }
        Ok(found.lease.insert(Held { owner: owner.clone(), until: Instant::now() + ttl }).lease())
    }

    async fn renew_leases(&self, owner: &str, ttl: Duration, renewed: &[SessionId]) -> Result<Vec<SessionId>, Error> {
        let mut sessions = self.sessions.lock();
        let mut lost = Vec::new();
        for id in renewed {
            match sessions.get_mut(id).and_then(|session| session.lease.as_mut()).filter(|held| held.owner.id == owner) {
                Some(held) => held.until = Instant::now() + ttl,
                None => lost.push(id.clone()),
            }
        }
        Ok(lost)
    }

    async fn release_lease(&self, session: &SessionId, owner: &str) -> Result<(), Error> {
        if let Some(found) = self.sessions.lock().get_mut(session) {
            found.lease.take_if(|held| held.owner.id == owner);
        }
        Ok(())
    }

    async fn lease(&self, session: &SessionId) -> Result<Option<Lease>, Error> {
        Ok(self.sessions.lock().get(session).and_then(|session| session.lease.as_ref()).map(Held::lease))
    }

    async fn list_profiles(&self) -> Result<Vec<ProfileSummary>, Error> {
        Ok(self.profiles.lock().values().map(Profile::summary).collect())
    }

    async fn load_profile(&self, id: &ProfileId) -> Result<Option<Profile>, Error> {
        self.check_reads()?;
        Ok(self.profiles.lock().get(id).cloned())
    }

    async fn save_profile(&self, profile: &Profile) -> Result<(), Error> {
        self.add_profile(profile.clone());
        Ok(())
    }

    async fn delete_profile(&self, id: &ProfileId) -> Result<(), Error> {
        self.profiles.lock().remove(id);
        Ok(())
    }
}
