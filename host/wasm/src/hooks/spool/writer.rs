//! The thread that writes the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use agent_host_session::ports::hooks::Batch;
use agent_host_session::time::Timestamp;
use tokio::sync::mpsc;

use super::backlog::{Bounds, Entry, Waiting};
use super::file::{File, NewEvent, Stored};
use super::place::Place;
use super::{Backlog, Begin, Command, Error, Registered, Shared, SpoolOptions, Throttle};
use crate::hooks::Interests;

/// Most orders that are carried out together: a transaction costs about what ten insertions do, so more would gain nothing and only delay the first.
const GROUP: usize = 1024;

/// Events that a transaction deletes at least, if there are so many to be deleted: some milliseconds' work.
const DELETED_AT_ONCE: usize = 1000;

/// A hook that has its place in the file.
struct Hook {
    interests: Arc<Interests>,
    place: Arc<Place>,
    /// Events that were skipped and not told of in the host's log.
    skipped: u64,
    throttle: Throttle,
}

impl Hook {
    /// What the file has to know. `end` is the position of the newest event in it.
    fn stored(&self, end: u64) -> Stored {
        let (position, skipped) = self.place.reached(end);
        Stored { interests: Arc::clone(&self.interests), position, skipped }
    }

    /// Takes in what was written.
    fn add(&mut self, written: &[(&str, Entry)], bounds: Bounds) {
        let wanted = written.iter().filter(|(name, _)| self.interests.include(name)).map(|(_, entry)| *entry);
        let skipped = self.place.add(wanted, bounds);
        if skipped == 0 {
            return;
        }
        self.skipped += skipped;
        if self.throttle.allows() {
            let Backlog { events, bytes, .. } = self.place.backlog();
            tracing::warn!(
                hook = self.interests.hook(),
                skipped = self.skipped,
                events,
                bytes,
                "an event hook is so far behind that it will not be told of the oldest events"
            );
            self.skipped = 0;
        }
    }
}

pub(super) struct Writer {
    file: File,
    hooks: BTreeMap<String, Hook>,
    /// The position of the newest event.
    end: u64,
    /// What all events in the file take.
    bytes: u64,
    options: SpoolOptions,
    shared: Arc<Shared>,
    throttle: Throttle,
}

impl Writer {
    pub(super) fn open(path: &Path, options: SpoolOptions, shared: Arc<Shared>) -> Result<Self, Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source };
        let file = File::open(path)?;
        let (end, bytes) = file.extent().map_err(failed)?;
        let mut writer = Self { file, hooks: BTreeMap::new(), end, bytes, options, shared, throttle: Throttle::default() };
        for stored in writer.file.hooks().map_err(failed)? {
            let waiting = writer.waiting(&stored).map_err(failed)?;
            writer.insert(stored.interests, waiting);
        }
        writer.register();
        Ok(writer)
    }

    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut group = Vec::new();
        while queue.blocking_recv_many(&mut group, GROUP) > 0 {
            self.carry_out(group.drain(..));
        }
    }

    /// What is recorded, and how far hooks are, is written first and all together. The rest is rare.
    fn carry_out(&mut self, group: impl Iterator<Item = Command>) {
        let (mut batches, mut has_moved, mut rest) = (Vec::new(), false, Vec::new());
        for command in group {
            match command {
                Command::Record(batch) => batches.push(batch),
                Command::Move => has_moved = true,
                other => rest.push(other),
            }
        }
        if has_moved || !batches.is_empty() {
            match self.write(&batches) {
                Ok(()) => batches.into_iter().for_each(|batch| batch.stored.done()),
                Err(error) => self.lose(batches, &error),
            }
        }
        for command in rest {
            self.answer(command);
        }
    }

    fn answer(&mut self, command: Command) {
        // Whoever asked may have gone.
        let _ = match command {
            Command::Add { interests, begin, reply } => {
                let result = self.add(interests, begin).map_err(|error| Error::database("add a hook", &error));
                reply.send(result).is_ok()
            }
            Command::Remove { hook, reply } => {
                let result = self.remove(&hook).map_err(|error| Error::database("remove a hook", &error));
                reply.send(result).is_ok()
            }
            Command::Flush { reply } => reply.send(Ok(())).is_ok(),
            // Carried out already.
            Command::Record(_) | Command::Move => false,
        };
    }

    /// Writes the events and the places of the hooks, and deletes what is not needed, all or nothing.
    fn write(&mut self, batches: &[Batch]) -> rusqlite::Result<()> {
        let at = Timestamp::now();
        let needed_from = self.hooks.values().filter_map(|hook| hook.place.first()).min().unwrap_or(self.end + 1);
        let mut position = self.end;
        let mut added = Vec::new();
        let mut added_bytes = 0;
        let writing = self.file.begin()?;
        for Batch { session, epoch, events, stored: _ } in batches {
            for published in events {
                let (name, data) = (published.event.name(), published.frame(session).data());
                position += 1;
                let entry = Entry { position, bytes: NewEvent::bytes(session.as_str(), name, data), at };
                let sequence = published.sequence;
                writing.append(&NewEvent { entry, session: session.as_str(), epoch: *epoch, sequence, name, data })?;
                added_bytes += entry.bytes;
                added.push((name, entry));
            }
        }
        for hook in self.hooks.values() {
            writing.put_hook(&hook.stored(self.end))?;
        }
        let kept_since = at.as_millis().saturating_sub(i64::try_from(self.options.keep_for.as_millis()).unwrap_or(i64::MAX));
        let mut excess = (self.bytes + added_bytes).saturating_sub(self.options.keep_bytes);
        // Twice what was added, so that it catches up with whatever there is.
        let limit = u32::try_from(DELETED_AT_ONCE.max(2 * added.len())).unwrap_or(u32::MAX);
        let deleted_bytes = writing.delete(needed_from, limit, |entry| {
            let goes = excess > 0 || entry.at.as_millis() < kept_since;
            excess = excess.saturating_sub(entry.bytes);
            goes
        })?;
        writing.commit()?;

        self.end = position;
        self.bytes = (self.bytes + added_bytes).saturating_sub(deleted_bytes);
        for hook in self.hooks.values_mut() {
            hook.add(&added, self.options.backlog);
        }
        Ok(())
    }

    /// The sessions go on without. The next batch is written again, if that can be, and with it how far the hooks are.
    fn lose(&mut self, batches: Vec<Batch>, error: &rusqlite::Error) {
        let events: usize = batches.iter().map(|batch| batch.events.len()).sum();
        let lost = self.shared.lost.fetch_add(events as u64, Ordering::Relaxed) + events as u64;
        if self.throttle.allows() {
            tracing::error!(%error, lost, "failed to store for the hooks what happened, which they will not be told of, and how far they are");
        }
    }

    fn add(&mut self, interests: Interests, begin: Begin) -> rusqlite::Result<()> {
        let known = self.hooks.get(interests.hook());
        if known.is_some_and(|hook| *hook.interests == interests) {
            return Ok(());
        }
        let (position, skipped) = match (known.map(|hook| hook.stored(self.end)), begin) {
            (Some(stored), _) => (stored.position, stored.skipped),
            (None, Begin::AtStart) => (0, 0),
            (None, Begin::AtEnd) => (self.end, 0),
        };
        let stored = Stored { interests: Arc::new(interests), position, skipped };
        let waiting = self.waiting(&stored)?;
        let writing = self.file.begin()?;
        writing.put_hook(&stored)?;
        writing.commit()?;
        self.insert(stored.interests, waiting);
        self.register();
        Ok(())
    }

    fn remove(&mut self, hook: &str) -> rusqlite::Result<()> {
        let writing = self.file.begin()?;
        writing.remove_hook(hook)?;
        writing.commit()?;
        if self.hooks.remove(hook).is_some() {
            self.register();
        }
        Ok(())
    }

    /// What waits for a hook that is where `stored` says.
    fn waiting(&self, stored: &Stored) -> rusqlite::Result<Waiting> {
        let mut waiting = Waiting::since(stored.skipped);
        self.file.scan(stored.position, |name, entry| {
            if stored.interests.include(name) {
                waiting.push(entry);
                waiting.skip_beyond(self.options.backlog);
            }
        })?;
        Ok(waiting)
    }

    /// Puts the hook in its place, or in that of the one of the same name: whoever watches it goes on watching.
    fn insert(&mut self, interests: Arc<Interests>, waiting: Waiting) {
        let name = interests.hook().to_owned();
        let place = self.hooks.get(&name).map_or_else(Arc::default, |before| Arc::clone(&before.place));
        place.replace(waiting);
        self.hooks.insert(name, Hook { interests, place, skipped: 0, throttle: Throttle::default() });
    }

    /// Tells all handles which hooks there are.
    fn register(&self) {
        let registered = |hook: &Hook| Registered { interests: Arc::clone(&hook.interests), place: Arc::clone(&hook.place) };
        let registry = self.hooks.iter().map(|(name, hook)| (name.clone(), registered(hook))).collect();
        self.shared.registry.store(Arc::new(registry));
    }
}
