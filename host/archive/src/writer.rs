//! The one task that writes what waits and deletes what is not needed any more, for all sessions.
//!
//! It does one thing after the other, each on a thread for blocking work: a disk that does not answer takes one thread, and no memory beyond what may wait.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use crate::Shared;
use crate::metrics::Failure;
use crate::shelf::Removed;
use crate::volume::Volume;

/// How long a disk that refused is left alone: nothing but time, or people, will mend it.
const RETRY: Duration = Duration::from_secs(5);

/// After everything is written, so much time passes before it is looked again: a fast stream makes a thousand chunks a second, and a thread that is woken for each takes time from
/// those who publish. What waits meanwhile is read from memory.
const PAUSE: Duration = Duration::from_millis(20);

/// How often it is looked for what is too old, in parts of the age, and at least and at most. What is too old is not served in between either.
const SWEEPS: u32 = 8;
const MIN_SWEEP: Duration = Duration::from_secs(1);
const MAX_SWEEP: Duration = Duration::from_secs(60);

/// What the task has to do.
#[derive(Default)]
pub(crate) struct Work {
    /// Sessions with something to write. Each is in it once.
    volumes: Mutex<VecDeque<Weak<Volume>>>,
    /// Files that are to be deleted. All of them are on disk, so that there are not many.
    removed: Mutex<Removed>,
    there_is_some: Notify,
    /// Bytes of memory that all sessions' events hold which wait to be written.
    pub(crate) waiting: AtomicUsize,
    is_working: AtomicBool,
}

impl Work {
    pub(crate) fn write(&self, volume: Weak<Volume>) {
        self.volumes.lock().push_back(volume);
        self.there_is_some.notify_one();
    }

    pub(crate) fn remove(&self, mut files: Removed) {
        if !files.is_empty() {
            self.removed.lock().append(&mut files);
            self.there_is_some.notify_one();
        }
    }

    /// Deletes what is to be deleted. May wait for the disk.
    pub(crate) fn delete(&self) -> bool {
        let removed = std::mem::take(&mut *self.removed.lock());
        !removed.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn is_done(&self) -> bool {
        self.volumes.lock().is_empty() && self.removed.lock().is_empty() && !self.is_working.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Does the next piece of work; whether there was one. May wait for the disk.
    fn work(&self) -> io::Result<bool> {
        let has_removed = self.work.delete();
        let next = self.work.volumes.lock().pop_front();
        let Some(next) = next else { return Ok(has_removed) };
        // Its session may have left memory.
        let Some(volume) = next.upgrade() else { return Ok(true) };
        let written = volume.write();
        if !matches!(written, Ok(false)) {
            self.work.volumes.lock().push_back(next);
        }
        written.map(|_| true)
    }

    /// Makes room for so many bytes of the oldest that there is, whosever it is; whether that is possible. May wait for the disk.
    pub(crate) fn make_room(&self, bytes: u64) -> bool {
        let has_room = || u64::try_from(self.metrics.bytes.get()).unwrap_or(0) + bytes <= self.limits.total_bytes;
        while !has_room() {
            let oldest = self.volumes().into_iter().filter_map(|volume| Some((volume.since()?, volume))).min_by_key(|(since, _)| *since);
            let Some((_, volume)) = oldest else { return has_room() };
            volume.forget_oldest();
        }
        true
    }

    fn volumes(&self) -> Vec<Arc<Volume>> {
        self.volumes.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// Works until it is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut sweep = tokio::time::interval((shared.limits.age / SWEEPS).clamp(MIN_SWEEP, MAX_SWEEP));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.work.there_is_some.notified() => {}
            _ = sweep.tick() => shared.volumes().iter().for_each(|volume| volume.expire(Instant::now())),
        }
        shared.work.is_working.store(true, Ordering::Relaxed);
        loop {
            let worker = Arc::clone(&shared);
            match tokio::task::spawn_blocking(move || worker.work()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => break,
                Ok(Err(error)) => {
                    shared.metrics.failed(Failure::Write);
                    if shared.metrics.begins_to_fail() {
                        tracing::warn!(%error, "events that leave memory cannot be written to disk, which is tried again: \
                            clients that come back late get a snapshot");
                    }
                    tokio::time::sleep(RETRY).await;
                }
                // The runtime ends.
                Err(_) => return,
            }
        }
        shared.work.is_working.store(false, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
}
