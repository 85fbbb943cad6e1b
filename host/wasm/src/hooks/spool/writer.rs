//! The thread that writes the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use agent_host_session::ports::hooks::Batch;
use agent_host_session::time::Timestamp;
use tokio::sync::mpsc;

use super::backlog::{Bounds, Entry, Waiting};
use super::file::{File, NewEvent, Stored, place_before};
use super::place::Place;
use super::sweep::Sweeper;
use super::{Backlog, Begin, Command, Error, Registered, Shared, SpoolOptions, Throttle};
use crate::hooks::Interests;

/// Most orders that are carried out together: a transaction costs about what ten insertions do, so more would gain nothing and only delay the first.
const GROUP: usize = 1024;

/// Events that a transaction looks at to delete what is not needed, at least, if there are so many: some milliseconds' work.
const SWEPT_AT_ONCE: usize = 1000;

/// A hook that has its place in the file.
struct Hook {
    interests: Arc<Interests>,
    place: Arc<Place>,
    /// Events that were skipped and not told of in the host's log.
    skipped: u64,
    throttle: Throttle,
}

impl Hook {
    fn new(interests: Arc<Interests>, place: Arc<Place>) -> Self {
        Self { interests, place, skipped: 0, throttle: Throttle::default() }
    }

    /// What the file has to know. `end` is the position of the newest event in it.
    fn stored(&self, key: &str, end: u64) -> Stored {
        let (position, skipped) = self.place.reached(end);
        Stored { key: key.to_owned(), interests: Arc::clone(&self.interests), position, skipped }
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
    /// By the key of its place: a hook's name, or what stands for the place that it had with other interests, which is kept until it is settled which of them it has.
    hooks: BTreeMap<String, Hook>,
    /// The position of the newest event.
    end: u64,
    /// What all events in the file take.
    bytes: u64,
    sweeper: Sweeper,
    options: SpoolOptions,
    shared: Arc<Shared>,
    throttle: Throttle,
}

impl Writer {
    pub(super) fn open(path: &Path, options: SpoolOptions, shared: Arc<Shared>) -> Result<Self, Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source };
        let file = File::open(path)?;
        let (end, bytes) = file.extent().map_err(failed)?;
        let (hooks, sweeper, throttle) = (BTreeMap::new(), Sweeper::new(options), Throttle::default());
        let mut writer = Self { file, hooks, end, bytes, sweeper, options, shared, throttle };
        for stored in writer.file.hooks().map_err(failed)? {
            let waiting = writer.waiting(&stored).map_err(failed)?;
            writer.insert(stored.key, stored.interests, waiting);
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
            Command::Settle { hook, reply } => {
                let result = self.settle(&hook).map_err(|error| Error::database("settle what a hook wants", &error));
                reply.send(result).is_ok()
            }
            Command::Restore { hook, reply } => {
                let result = self.restore(&hook).map_err(|error| Error::database("restore what a hook wants", &error));
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
        for (key, hook) in &self.hooks {
            writing.put_hook(&hook.stored(key, self.end))?;
        }
        let places: Vec<&Place> = self.hooks.values().map(|hook| hook.place.as_ref()).collect();
        // More than was added, so that it catches up with whatever there is.
        let limit = SWEPT_AT_ONCE.max(2 * added.len());
        let deleted_bytes = self.sweeper.sweep(&writing, &places, self.bytes + added_bytes, self.end, limit)?;
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

    /// The place that a hook has is kept if it gets other interests, which may mean that less waits for it.
    fn add(&mut self, interests: Interests, begin: Begin) -> rusqlite::Result<()> {
        let key = interests.hook().to_owned();
        let known = self.hooks.get(&key);
        if known.is_some_and(|hook| *hook.interests == interests) {
            return Ok(());
        }
        let before_key = place_before(&key);
        let before = known.map(|hook| (hook.stored(&before_key, self.end), Arc::clone(&hook.interests), hook.place.waiting()));
        let (position, skipped) = match (&before, begin) {
            (Some((stored, ..)), _) => (stored.position, stored.skipped),
            (None, Begin::AtStart) => (0, 0),
            (None, Begin::AtEnd) => (self.end, 0),
        };
        let stored = Stored { key, interests: Arc::new(interests), position, skipped };
        let waiting = self.waiting(&stored)?;
        let writing = self.file.begin()?;
        writing.put_hook(&stored)?;
        if let Some((before, ..)) = &before {
            writing.put_hook(before)?;
        }
        writing.commit()?;
        self.insert(stored.key, stored.interests, waiting);
        if let Some((_, interests, waiting)) = before {
            self.insert(before_key, interests, waiting);
        }
        self.register();
        Ok(())
    }

    /// The place from before is not needed any more.
    fn settle(&mut self, hook: &str) -> rusqlite::Result<()> {
        self.remove_key(&place_before(hook))
    }

    /// The hook has the interests and the place again that it had before.
    fn restore(&mut self, hook: &str) -> rusqlite::Result<()> {
        let before_key = place_before(hook);
        let Some(before) = self.hooks.get(&before_key) else { return Ok(()) };
        let (stored, interests, waiting) = (before.stored(hook, self.end), Arc::clone(&before.interests), before.place.waiting());
        let writing = self.file.begin()?;
        writing.put_hook(&stored)?;
        writing.remove_hook(&before_key)?;
        writing.commit()?;
        self.hooks.remove(&before_key);
        let place = self.hooks.get(hook).map_or_else(Arc::default, |present| Arc::clone(&present.place));
        place.go_back(waiting);
        self.hooks.insert(hook.to_owned(), Hook::new(interests, place));
        self.register();
        Ok(())
    }

    fn remove(&mut self, hook: &str) -> rusqlite::Result<()> {
        self.remove_key(hook)?;
        self.settle(hook)
    }

    fn remove_key(&mut self, key: &str) -> rusqlite::Result<()> {
        let writing = self.file.begin()?;
        writing.remove_hook(key)?;
        writing.commit()?;
        if self.hooks.remove(key).is_some() {
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

    /// Puts the hook in its place, or in that of the one of the same key: whoever watches it goes on watching.
    fn insert(&mut self, key: String, interests: Arc<Interests>, waiting: Waiting) {
        let place = self.hooks.get(&key).map_or_else(Arc::default, |before| Arc::clone(&before.place));
        place.replace(waiting);
        self.hooks.insert(key, Hook::new(interests, place));
    }

    /// Tells all handles which hooks there are.
    fn register(&self) {
        let registered = |hook: &Hook| Registered { interests: Arc::clone(&hook.interests), place: Arc::clone(&hook.place) };
        let registry = self.hooks.iter().map(|(name, hook)| (name.clone(), registered(hook))).collect();
        self.shared.registry.store(Arc::new(registry));
    }
}
