//! An archive on a disk that can be made to fail, and logs that use it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::event::Event;
use agent_host_session::id::{Epoch, Sequence, SessionId};
use agent_host_session::log::{self, Ended, EventLog, Subscription};
use agent_host_session::ports::archive::Archive as _;
use agent_host_session::ports::hooks::NoHooks;
use parking_lot::{Condvar, Mutex};
use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;
use tempfile::{TempDir, TempPath};

use crate::disk::{Disk, Files};
use crate::{FileArchive, Limits};

/// Each weighs 1,256 bytes, so that 53 are written at once.
const TEXT_BYTES: usize = 1_000;

#[derive(Default)]
struct Faulty {
    is_stopped: bool,
    is_full: bool,
}

/// What is wrong with the disk.
#[derive(Default)]
pub(super) struct Faults {
    now: Mutex<Faulty>,
    changed: Condvar,
}

impl Faults {
    /// Nothing is written any more, and no error comes.
    pub(super) fn stop(&self) {
        self.now.lock().is_stopped = true;
    }

    pub(super) fn go_on(&self) {
        self.now.lock().is_stopped = false;
        self.changed.notify_all();
    }

    pub(super) fn fill(&self) {
        self.now.lock().is_full = true;
    }

    pub(super) fn free(&self) {
        self.now.lock().is_full = false;
    }

    /// Whether there is room.
    fn wait(&self) -> bool {
        let mut now = self.now.lock();
        while now.is_stopped {
            self.changed.wait(&mut now);
        }
        !now.is_full
    }
}

struct FaultyDisk(Files, Arc<Faults>);

impl Disk for FaultyDisk {
    fn create(&self, name: &str) -> io::Result<TempPath> {
        self.1.wait();
        self.0.create(name)
    }

    fn write(&self, file: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.1.wait() {
            return self.0.write(file, offset, bytes);
        }
        // As full disks do, it takes a part.
        self.0.write(file, offset, &bytes[..bytes.len() / 2])?;
        Err(io::ErrorKind::StorageFull.into())
    }

    fn read(&self, file: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.0.read(file, offset, length)
    }
}

pub(super) struct World {
    pub(super) archive: FileArchive,
    pub(super) faults: Arc<Faults>,
    path: PathBuf,
    _directory: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        // A thread that waits would keep the runtime.
        self.faults.go_on();
    }
}

impl World {
    pub(super) fn new(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive");
        let faults = Arc::new(Faults::default());
        let archive = FileArchive::on(Box::new(FaultyDisk(Files::new(&path), Arc::clone(&faults))), limits);
        Self { archive, faults, path, _directory: directory }
    }

    /// The log of a session that keeps so many events in memory.
    pub(super) fn log(&self, session: &str, events: usize) -> EventLog {
        let session = SessionId::new(session).unwrap();
        let volume = self.archive.open(&session);
        EventLog::archived(session, Epoch(1), log::Limits { events, bytes: 1 << 30 }, Arc::new(NoHooks), volume)
    }

    /// Waits until there is nothing to write and nothing to delete.
    pub(super) async fn settled(&self) {
        while !self.archive.shared.work.is_done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until the metrics are like that.
    pub(super) async fn until(&self, is_so: impl Fn(&str) -> bool) {
        while !is_so(&self.metrics()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(super) fn metrics(&self) -> String {
        let mut registry = Registry::with_prefix("host");
        self.archive.register_metrics(&mut registry);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).unwrap();
        text
    }

    pub(super) fn waiting(&self) -> usize {
        self.archive.shared.work.waiting.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.path
    }

    /// The files, the oldest first.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let Ok(entries) = self.path.read_dir() else { return Vec::new() };
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort_by_key(|path| path.metadata().unwrap().modified().unwrap());
        paths
    }

    pub(super) fn files(&self) -> usize {
        self.paths().len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.paths().iter().map(|path| path.metadata().unwrap().len()).sum()
    }
}

pub(super) fn publish(log: &EventLog, count: usize) {
    for _ in 0..count {
        log.publish([Event::Failed { code: "TEST".into(), message: "x".repeat(TEXT_BYTES) }]);
    }
}

/// The event of that number, counted from 1; 0 is before the first.
pub(super) fn since(number: u64) -> Sequence {
    Sequence(Sequence::before(Epoch(1)).0 + number)
}

/// The numbers of so many events, or of those before the end.
pub(super) async fn read_to_end(mut subscription: Subscription, count: u64) -> (Vec<u64>, Option<Ended>) {
    let mut read = Vec::new();
    while (read.len() as u64) < count {
        match subscription.next().await {
            Ok(events) => read.extend(events.iter().map(|event| event.sequence.0 - since(0).0)),
            Err(ended) => return (read, Some(ended)),
        }
    }
    (read, None)
}
