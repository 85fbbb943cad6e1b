//! What has left the event logs of loaded sessions, in files: clients that come back late get it from there.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `volume` | one session's part: what waits to be written, what is written, and reading it |
//! | `shelf` | the files of a session, and where in them which events are |
//! | `chunk` | the form of what is written at once |
//! | `disk` | the three things that are done to files |
//! | `writer` | the one task that writes and tidies up |
//! | `metrics` | what is counted |
//!
//! Events that leave a log are collected, some two hundred at a time, and handed to the writer; until they are on disk they are read from memory. Nobody waits for the disk:
//! if it is too slow, full or broken, the oldest of what waits is forgotten, and with it all that is older, since a client is served without a gap or not at all.
//!
//! A session has a few files, of which the oldest is deleted when there are too many events or bytes or they are too old. All of them are gone when the session has left memory:
//! the numbers of its events mean nothing to the next epoch. So nothing has to be synced to disk, and a host that starts empties the directory.
#![forbid(unsafe_code)]

mod chunk;
mod disk;
mod metrics;
mod shelf;
mod volume;
mod writer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use agent_host_session::id::SessionId;
use agent_host_session::ports::archive::{self, Archive};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::disk::{Disk, Files};
use crate::metrics::Metrics;
use crate::volume::Volume;
use crate::writer::Work;

/// Reads of files at once: enough to keep a disk busy, and few enough that one which does not answer leaves most threads for blocking work to others.
const READS: usize = 8;

/// How much is kept. A zero in any of the first four keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events of a session.
    pub events: usize,
    /// Bytes of a session's files.
    pub bytes: u64,
    /// How long an event is kept after it has left memory.
    pub age: Duration,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// Bytes of memory that may wait for the disk, of all sessions; one may have half of it.
    pub waiting_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Three hours of a fast agent; where in its file they are takes 200 KB of memory.
            events: 1_000_000,
            // An hour of a fast agent.
            bytes: 128 * 1024 * 1024,
            // A client that was away for longer has lost nothing by a snapshot.
            age: Duration::from_secs(60 * 60),
            // All that a host of some dozens of busy sessions can fill, and no burden to a disk.
            total_bytes: 4 * 1024 * 1024 * 1024,
            // Some 200,000 deltas: what the fastest stream that was measured publishes in a second.
            waiting_bytes: 64 * 1024 * 1024,
        }
    }
}

impl Limits {
    fn keep_nothing(&self) -> bool {
        self.events == 0 || self.bytes == 0 || self.age.is_zero() || self.total_bytes == 0
    }
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
#[error("failed to empty the directory of events that have left memory, {}: {source}", path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// What all volumes share.
struct Shared {
    disk: Box<dyn Disk>,
    limits: Limits,
    metrics: Metrics,
    work: Work,
    volumes: Mutex<Vec<Weak<Volume>>>,
    reads: Semaphore,
}

/// An archive in a directory.
pub struct FileArchive {
    shared: Arc<Shared>,
    _writer: DropGuard,
}

impl FileArchive {
    /// Empties the directory, and makes it when there is something to put into it. To be called within a runtime, which then writes.
    ///
    /// # Errors
    /// If something is there that cannot be removed.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, Error> {
        match fs::remove_dir_all(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error { path: path.to_owned(), source }),
            _ => Ok(Self::on(Box::new(Files::new(path)), limits)),
        }
    }

    fn on(disk: Box<dyn Disk>, limits: Limits) -> Self {
        let shared = Arc::new(Shared {
            disk,
            limits,
            metrics: Metrics::default(),
            work: Work::default(),
            volumes: Mutex::default(),
            reads: Semaphore::new(READS),
        });
        let ended = CancellationToken::new();
        let (writing, ending) = (writer::run(Arc::clone(&shared)), ended.clone());
        tokio::spawn(async move { ending.run_until_cancelled(writing).await });
        Self { shared, _writer: ended.drop_guard() }
    }

    /// Shows what is counted in a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry);
    }
}

impl Drop for FileArchive {
    fn drop(&mut self) {
        // The writer ends with it, and conversations are private.
        self.shared.work.delete();
    }
}

impl Archive for FileArchive {
    fn open(&self, session: &SessionId) -> Option<Arc<dyn archive::Volume>> {
        if self.shared.limits.keep_nothing() {
            return None;
        }
        let volume = Volume::new(session.clone(), Arc::clone(&self.shared));
        let mut volumes = self.shared.volumes.lock();
        volumes.retain(|volume| volume.strong_count() > 0);
        volumes.push(Arc::downgrade(&volume));
        Some(volume)
    }
}

#[cfg(test)]
mod tests;
