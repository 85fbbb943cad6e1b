//! How far a hook is: what the thread that writes, and those that tell the hook, have in common.

use parking_lot::Mutex;
use tokio::sync::watch;

use super::backlog::{Backlog, Bounds, Entry, Waiting};

/// The place of one hook. It is never locked for longer than a batch takes to be looked through.
#[derive(Debug, Default)]
pub(super) struct Place {
    waiting: Mutex<Waiting>,
    backlog: watch::Sender<Backlog>,
}

impl Place {
    /// What waits, now and whenever that changes; closed when the hook is removed.
    pub(super) fn watch(&self) -> watch::Receiver<Backlog> {
        self.backlog.subscribe()
    }

    pub(super) fn backlog(&self) -> Backlog {
        *self.backlog.borrow()
    }

    /// Puts something else in the place of what waits, except for what the hook has had meanwhile.
    pub(super) fn replace(&self, mut waiting: Waiting) {
        self.change(|present| {
            if let Some(first) = present.first() {
                waiting.acknowledge(first - 1);
            }
            *present = waiting;
        });
    }

    /// Takes in what is in the file now, and gives the number of events that were skipped because there are too many.
    pub(super) fn add(&self, entries: impl Iterator<Item = Entry>, bounds: Bounds) -> u64 {
        self.change(|waiting| {
            entries.for_each(|entry| waiting.push(entry));
            waiting.skip_beyond(bounds)
        })
    }

    pub(super) fn acknowledge(&self, position: u64) {
        self.change(|waiting| waiting.acknowledge(position));
    }

    /// The positions of the oldest, as [`Waiting::oldest`] has them.
    pub(super) fn oldest(&self, events: usize, bytes: u64) -> Vec<u64> {
        self.waiting.lock().oldest(events, bytes).collect()
    }

    /// Whether the hook has still to be told of the event at `position`.
    pub(super) fn needs(&self, position: u64) -> bool {
        self.waiting.lock().contains(position)
    }

    /// What all that waits takes.
    pub(super) fn bytes(&self) -> u64 {
        self.waiting.lock().bytes()
    }

    /// A copy of what waits.
    pub(super) fn waiting(&self) -> Waiting {
        self.waiting.lock().clone()
    }

    /// Puts what waits elsewhere in the place of what waits here, whatever the hook has had meanwhile.
    pub(super) fn go_back(&self, waiting: Waiting) {
        self.change(|present| *present = waiting);
    }

    /// The last position that the hook needs no more, and how many events it skipped. `end` is the position of the newest event in the file.
    pub(super) fn reached(&self, end: u64) -> (u64, u64) {
        let waiting = self.waiting.lock();
        // What lies between the last event that it has had and the next is nothing to it.
        (waiting.first().map_or(end, |first| first - 1), waiting.skipped)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        let mut waiting = self.waiting.lock();
        let changed = change(&mut waiting);
        let now = waiting.backlog();
        // Under the lock, so that what is shown is never older than what was shown before.
        self.backlog.send_if_modified(|shown| std::mem::replace(shown, now) != now);
        changed
    }
}
