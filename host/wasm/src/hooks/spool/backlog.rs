//! What a hook has still to be told, by position: small enough to be kept in memory, while the events themselves are in the file.

use std::collections::VecDeque;

use agent_host_session::time::Timestamp;
use serde::Serialize;

/// What waits for a hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    /// Events that it has still to be told of; those that it is being told of are among them.
    pub events: usize,
    /// Their size in bytes.
    pub bytes: u64,
    /// Events that were too many and that it will not be told of, since it was added.
    pub skipped: u64,
    /// When the oldest that waits happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_at: Option<Timestamp>,
}

/// How much may wait for one hook. Beyond it the oldest are skipped.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Events. Each takes 24 bytes of memory.
    pub events: usize,
    /// Bytes in the file.
    pub bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // An hour of five sessions that stream without pause, in 12 MB of memory.
            events: 500_000,
            // About what so many deltas take.
            bytes: 256 * 1024 * 1024,
        }
    }
}

/// An event in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Its place in the order of all events of all sessions.
    pub(super) position: u64,
    pub(super) bytes: u64,
    pub(super) at: Timestamp,
}

/// The events that wait for one hook, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    entries: VecDeque<Entry>,
    bytes: u64,
    pub(super) skipped: u64,
}

impl Waiting {
    pub(super) fn since(skipped: u64) -> Self {
        Self { skipped, ..Self::default() }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes;
        self.entries.push_back(entry);
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    /// Removes the oldest until the rest is within `bounds`, and gives their number. An event stays even if it alone is too large.
    pub(super) fn skip_beyond(&mut self, bounds: Bounds) -> u64 {
        let before = self.skipped;
        while self.entries.len() > bounds.events.max(1) || (self.bytes > bounds.bytes && self.entries.len() > 1) {
            self.pop();
            self.skipped += 1;
        }
        self.skipped - before
    }

    /// Removes those up to and with `position`. Those that were skipped meanwhile are gone already.
    pub(super) fn acknowledge(&mut self, position: u64) {
        while self.first().is_some_and(|first| first <= position) {
            self.pop();
        }
    }

    /// The position of the oldest.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.position)
    }

    /// Whether the event at `position` waits.
    pub(super) fn contains(&self, position: u64) -> bool {
        self.entries.binary_search_by_key(&position, |entry| entry.position).is_ok()
    }

    /// What all that waits takes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The positions of the oldest, at most `events` and, except for the first, at most `bytes` of them.
    pub(super) fn oldest(&self, events: usize, bytes: u64) -> impl Iterator<Item = u64> {
        let mut sum = 0;
        let fits = move |(index, entry): &(usize, &Entry)| {
            sum += entry.bytes;
            *index == 0 || sum <= bytes
        };
        self.entries.iter().take(events.max(1)).enumerate().take_while(fits).map(|(_, entry)| entry.position)
    }

    pub(super) fn backlog(&self) -> Backlog {
        Backlog {
            events: self.entries.len(),
            bytes: self.bytes,
            skipped: self.skipped,
            oldest_at: self.entries.front().map(|entry| entry.at),
        }
    }
}
