//! All journals of a host: a directory with a file for each session that has one, and bounds of all together.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use agent_host_session::id::SessionId;
use agent_host_session::time::Timestamp;
use bytes::Bytes;
use dashmap::DashMap;
use tokio::sync::Notify;

use crate::lane::{Lane, PutError};
use crate::metrics::Metrics;
use crate::record::Head;

const SUFFIX: &str = ".journal";

/// Where journals are, and how much they may hold.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory, which is made if need be.
    pub directory: PathBuf,
    /// Bytes that all files may have together. 0 keeps no journal; what is there is given back all the same.
    pub max_bytes: u64,
    /// Whether a write is brought to the disk before it counts as done. Without it the end of the process is survived, a power failure is not.
    pub fsync: bool,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the journal in {}: {source}", path.display())]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

/// All journals.
pub(crate) struct Disk {
    options: Options,
    lanes: DashMap<SessionId, Arc<Lane>>,
    bytes: AtomicU64,
    /// There is something to give back.
    pub(crate) work: Notify,
    /// Somebody waits for what is given back.
    pub(crate) hurry: Notify,
    pub(crate) metrics: Metrics,
    /// Whether it was said that there is no room.
    is_full: AtomicBool,
}

impl Disk {
    /// Opens the directory with what an earlier process has left in it. Blocks.
    pub(crate) fn open(options: Options) -> Result<Arc<Self>, OpenError> {
        let path = options.directory.clone();
        let disk = Self {
            options,
            lanes: DashMap::new(),
            bytes: AtomicU64::new(0),
            work: Notify::new(),
            hurry: Notify::new(),
            metrics: Metrics::default(),
            is_full: AtomicBool::new(false),
        };
        disk.read().map_err(|source| OpenError { path, source })?;
        Ok(Arc::new(disk))
    }

    fn read(&self) -> io::Result<()> {
        let directory = &self.options.directory;
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(SUFFIX));
            let Some(session) = name.and_then(|name| SessionId::new(name).ok()) else { continue };
            match Lane::recover(session.clone(), path.clone(), self.options.fsync)? {
                Some(lane) => {
                    self.bytes.fetch_add(lane.bytes(), Ordering::Relaxed);
                    tracing::info!(%session, records = lane.records(), "a journal is to be given to the store");
                    self.lanes.insert(session, Arc::new(lane));
                }
                None => {
                    let aside = self.aside(&session)?;
                    fs::rename(&path, &aside)?;
                    tracing::error!(%session, path = %aside.display(), "a file among the journals is none, and was set aside");
                }
            }
        }
        self.work.notify_one();
        Ok(())
    }

    /// A session's journal, if it has one.
    pub(crate) fn lane(&self, session: &SessionId) -> Option<Arc<Lane>> {
        // Most of the time there is none at all, and this is asked for each write.
        if self.lanes.is_empty() { None } else { self.lanes.get(session).map(|lane| Arc::clone(&lane)) }
    }

    /// All journals.
    pub(crate) fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.iter().map(|lane| Arc::clone(&lane)).collect()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that all files may have.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.options.max_bytes
    }

    /// Whether a write was refused for want of room, and none was taken since.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Whether there is a journal at all.
    pub(crate) fn is_kept(&self) -> bool {
        self.options.max_bytes > 0
    }

    /// A session's journal, which begins if it has none.
    pub(crate) fn begin(&self, session: &SessionId) -> Arc<Lane> {
        let new = || Arc::new(Lane::new(session.clone(), self.path(session), self.options.fsync));
        Arc::clone(&self.lanes.entry(session.clone()).or_insert_with(new))
    }

    /// The store has taken a write of a session that has no journal.
    pub(crate) fn is_not_needed(&self) {
        // Looked at first: all sessions share it, and nearly always nothing changes.
        if self.is_full.load(Ordering::Relaxed) {
            self.is_full.store(false, Ordering::Relaxed);
        }
    }

    /// Puts a write into a journal. Blocks until it is durable.
    pub(crate) fn put(&self, lane: &Arc<Lane>, head: Head, body: &Bytes) -> Result<(), PutError> {
        let mut reserved = 0;
        let put = lane.put(head, body, |bytes| {
            let fits = self.reserve(bytes);
            reserved = if fits { bytes } else { 0 };
            fits
        });
        match &put {
            Ok(()) => {
                self.metrics.kept(reserved);
                if self.is_full.swap(false, Ordering::Relaxed) {
                    tracing::info!("the journal takes writes again");
                }
                self.work.notify_one();
            }
            Err(PutError::Closed) => {}
            Err(error) => {
                self.bytes.fetch_sub(reserved, Ordering::Relaxed);
                self.metrics.refused();
                if !self.is_full.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        %error, bytes = self.bytes(), max_bytes = self.options.max_bytes,
                        "neither the store nor the journal takes writes: they wait in memory, and what is new is refused"
                    );
                }
                // If this was to be its first one. What cannot be removed is tried again by whoever gives it back.
                drop(self.close(lane));
            }
        }
        put
    }

    fn reserve(&self, bytes: u64) -> bool {
        let within = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= self.options.max_bytes);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
    }

    /// Takes a journal away that has given back everything; whether it has. Blocks.
    pub(crate) fn close(&self, lane: &Arc<Lane>) -> io::Result<bool> {
        let bytes = lane.close()?;
        if let Some(bytes) = bytes {
            self.closed(lane, bytes);
        }
        Ok(bytes.is_some())
    }

    /// The session was deleted: so is what was still to be written to it. Blocks.
    pub(crate) fn discard(&self, lane: &Arc<Lane>) {
        match lane.discard() {
            Ok(bytes) => self.closed(lane, bytes),
            Err(error) => tracing::error!(session = %lane.session(), %error, "failed to remove the journal of a deleted session"),
        }
    }

    /// The store will never take what is in a journal: it is kept for an operator to look at. Blocks.
    pub(crate) fn set_aside(&self, lane: &Arc<Lane>) -> io::Result<PathBuf> {
        let aside = self.aside(lane.session())?;
        let bytes = lane.set_aside(&aside)?;
        self.closed(lane, bytes);
        Ok(aside)
    }

    fn closed(&self, lane: &Arc<Lane>, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.lanes.remove_if(lane.session(), |_, present| Arc::ptr_eq(present, lane));
        // One that has never held anything says nothing of the room that there is.
        if bytes > 0 && self.lanes.is_empty() {
            self.is_full.store(false, Ordering::Relaxed);
        }
    }

    fn path(&self, session: &SessionId) -> PathBuf {
        self.options.directory.join(format!("{session}{SUFFIX}"))
    }

    /// A name for what is set aside, which nothing has yet.
    fn aside(&self, session: &SessionId) -> io::Result<PathBuf> {
        let directory: &Path = &self.options.directory.join("refused");
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        Ok(directory.join(format!("{session}-{}{SUFFIX}", Timestamp::now().as_millis())))
    }
}
