//! The events that hooks have still to be told of, on disk: what a host that is killed has shown to anybody, every hook is told of, be it later.
//!
//! One thread writes the file. It takes in what waits for it, writes all of that in one transaction, and says then that it is stored: the more there is to do, the more
//! a transaction does. Nobody waits for its queue: a session's log hides what is not stored, and stops reading its agent if that is much. What hooks are told of is read
//! over a connection of its own, so that hooks are told while sessions publish as fast as they can.
//!
//! An event has a position in the order of all events, and is deleted when every hook has had it and it is too old, or there is too much, to be kept for hooks to come.
//! The file does not become smaller, but what is deleted in it is used again. It outlives the end of the process at any moment; a power failure may cost the
//! last moments before it.

mod backlog;
mod file;
mod place;
mod sweep;
mod throttle;
mod writer;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_host_session::ports::hooks::Batch;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::backlog::{Backlog, Bounds};
use self::file::Reader;
use self::place::Place;
pub(in crate::hooks) use self::throttle::Throttle;
use self::writer::Writer;
use super::{Event, Interests, Sink};

/// Batches and orders that may wait for the thread. A session publishes nothing more when a few thousand of its own wait, and holds their events anyway:
/// what a place costs is a hundred bytes. So this is reached only when hundreds of sessions are stopped by a disk that does not answer.
const QUEUE: usize = 1 << 20;

/// How much a spool keeps.
#[derive(Clone, Copy, Debug)]
pub struct SpoolOptions {
    /// How much may wait for one hook.
    pub backlog: Bounds,
    /// Bytes of events that are kept, even if every hook has had them, for hooks that are added and begin at the start.
    pub keep_bytes: u64,
    /// How long these are kept.
    pub keep_for: Duration,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            backlog: Bounds::default(),
            // Some 200,000 deltas: enough to try a new hook on, and nothing to a disk.
            keep_bytes: 64 * 1024 * 1024,
            // Conversations are private: what nobody needs is not kept for ever on a host that has little to do.
            keep_for: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

/// Where a hook begins that the spool does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// With the oldest event that is kept. What no hook wanted when it happened is not.
    AtStart,
    /// With what happens next.
    #[default]
    AtEnd,
}

/// Why the spool did not do what it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be used.
    #[error("failed to open the spool of event hooks {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file is damaged and cannot be moved aside.
    #[error("failed to move the damaged spool of event hooks {} aside: {source}", path.display())]
    MoveAside {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file was written by another version of the host.
    #[error("the spool of event hooks {} has version {found}, which this host does not know", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// The thread could not be started.
    #[error("failed to start the thread of the spool of event hooks: {0}")]
    Thread(std::io::Error),
    /// The database refused; nothing has changed.
    #[error("failed to {doing} in the spool of event hooks: {reason}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        reason: String,
    },
    /// There is no such hook.
    #[error("the spool of event hooks knows no hook {0:?}")]
    UnknownHook(String),
    /// The thread is gone.
    #[error("the spool of event hooks is closed")]
    Closed,
}

impl Error {
    fn database(doing: &'static str, error: &rusqlite::Error) -> Self {
        Self::Database { doing, reason: error.to_string() }
    }
}

/// Events that are delivered together.
pub(in crate::hooks) struct Chunk {
    pub(in crate::hooks) events: Vec<Event>,
    /// The position of the last.
    pub(in crate::hooks) end: u64,
}

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// An order to the thread.
enum Command {
    Record(Batch),
    Add {
        interests: Interests,
        begin: Begin,
        reply: Reply<()>,
    },
    Remove {
        hook: String,
        reply: Reply<()>,
    },
    Settle {
        hook: String,
        reply: Reply<()>,
    },
    Restore {
        hook: String,
        reply: Reply<()>,
    },
    /// The places of hooks have changed.
    Move,
    Flush {
        reply: Reply<()>,
    },
}

/// The hooks as those see them that do not own the file, with the places that are kept from before.
type Registry = BTreeMap<String, Registered>;

struct Registered {
    interests: Arc<Interests>,
    place: Arc<Place>,
}

/// What the thread and the handles have in common.
#[derive(Default)]
struct Shared {
    registry: ArcSwap<Registry>,
    /// Events that could not be stored.
    lost: AtomicU64,
}

/// The spool. Clones are the same one; its thread ends, when it has stored what waits, with the last of them.
#[derive(Clone)]
pub struct Spool {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    reader: Arc<Mutex<Reader>>,
}

impl Spool {
    /// Opens the file, which is created if it is not there and moved aside if it is damaged. Its hooks have their places in it and their interests
    /// count from now on; those that are not wanted any more have to be [removed](Self::remove). Blocks while it does.
    ///
    /// # Errors
    /// [`Error`] says why the file cannot be used.
    pub fn open(path: &Path, options: SpoolOptions) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let writer = Writer::open(path, options, Arc::clone(&shared))?;
        let reader = Reader::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        let (commands, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new().name("hook-spool".to_owned()).spawn(move || writer.run(queue)).map_err(Error::Thread)?;
        Ok(Self { commands, shared, reader: Arc::new(Mutex::new(reader)) })
    }

    /// Adds a hook, or gives one that is known other interests: it goes on where it was. What is published after this is told to it. The place that it had with the
    /// interests before is kept until it is [settled](Self::settle).
    ///
    /// # Errors
    /// [`Error`] says why; nothing has changed then.
    pub async fn add(&self, interests: Interests, begin: Begin) -> Result<(), Error> {
        self.ask(|reply| Command::Add { interests, begin, reply }).await
    }

    /// Forgets a hook and its place; one that is not known is forgotten already. Its deliveries end.
    ///
    /// # Errors
    /// [`Error`] says why; nothing has changed then.
    pub async fn remove(&self, hook: &str) -> Result<(), Error> {
        self.ask(|reply| Command::Remove { hook: hook.to_owned(), reply }).await
    }

    /// A hook keeps the interests that it was given last.
    ///
    /// # Errors
    /// [`Error`] says why; nothing has changed then.
    pub async fn settle(&self, hook: &str) -> Result<(), Error> {
        self.ask(|reply| Command::Settle { hook: hook.to_owned(), reply }).await
    }

    /// A hook has the interests and the place again that it had before it was given others, unless that was settled: some events may come to it again.
    ///
    /// # Errors
    /// [`Error`] says why; nothing has changed then.
    pub async fn restore(&self, hook: &str) -> Result<(), Error> {
        self.ask(|reply| Command::Restore { hook: hook.to_owned(), reply }).await
    }

    /// The interests that a hook had before, until it is settled that it has others.
    pub(in crate::hooks) fn interests_before(&self, hook: &str) -> Option<Arc<Interests>> {
        self.interests(&file::place_before(hook))
    }

    /// Waits until what was recorded and acknowledged before is stored, if it can be.
    ///
    /// # Errors
    /// [`Error::Closed`] if the thread is gone.
    pub async fn flush(&self) -> Result<(), Error> {
        self.ask(|reply| Command::Flush { reply }).await
    }

    /// What a hook that is known is told of.
    pub(in crate::hooks) fn interests(&self, hook: &str) -> Option<Arc<Interests>> {
        self.shared.registry.load().get(hook).map(|hook| Arc::clone(&hook.interests))
    }

    /// What waits for each hook.
    pub fn backlogs(&self) -> BTreeMap<String, Backlog> {
        let registry = self.shared.registry.load();
        let present = registry.iter().filter(|(key, _)| file::whose_before(key).is_none());
        present.map(|(name, hook)| (name.clone(), hook.place.backlog())).collect()
    }

    /// Events that could not be stored since the spool was opened: no hook is told of them.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// What waits for a hook, now and whenever that changes; closed when the hook is removed.
    pub(in crate::hooks) fn watch(&self, hook: &str) -> Result<watch::Receiver<Backlog>, Error> {
        Ok(self.place(hook)?.watch())
    }

    /// The oldest events that wait for a hook, at most so many and, except for the first, of at most so many bytes; `None` if none does. They wait on.
    pub(in crate::hooks) async fn read(&self, hook: &str, events: usize, bytes: u64) -> Result<Option<Chunk>, Error> {
        let positions = self.place(hook)?.oldest(events, bytes);
        let Some(&end) = positions.last() else { return Ok(None) };
        let reader = Arc::clone(&self.reader);
        let read = move || reader.lock().events(&positions);
        let events = match tokio::task::spawn_blocking(read).await {
            Ok(events) => events.map_err(|error| Error::database("read events", &error))?,
            Err(broken) => return Err(Error::Database { doing: "read events", reason: broken.to_string() }),
        };
        Ok(Some(Chunk { events, end }))
    }

    /// The hook has had all up to and with `position`. That is stored soon: if the host is killed before, these events come again.
    pub(in crate::hooks) fn acknowledge(&self, hook: &str, position: u64) -> Result<(), Error> {
        self.place(hook)?.acknowledge(position);
        // If the queue is full, there is so much to be written that the place is written with it.
        let _ = self.commands.try_send(Command::Move);
        Ok(())
    }

    fn place(&self, hook: &str) -> Result<Arc<Place>, Error> {
        let registry = self.shared.registry.load();
        registry.get(hook).map(|hook| Arc::clone(&hook.place)).ok_or_else(|| Error::UnknownHook(hook.to_owned()))
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

impl Sink for Spool {
    fn is_wanted(&self) -> bool {
        !self.shared.registry.load().is_empty()
    }

    /// What no hook wants is as good as stored. If the rest cannot be, the guard is dropped without that word, and the events are counted as [lost](Spool::lost).
    fn record(&self, mut batch: Batch) {
        let registry = self.shared.registry.load();
        batch.events.retain(|published| registry.values().any(|hook| hook.interests.include(published.event.name())));
        let events = batch.events.len();
        if events == 0 {
            batch.stored.done();
        } else if self.commands.try_send(Command::Record(batch)).is_err() {
            self.shared.lost.fetch_add(events as u64, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Spool").field("backlogs", &self.backlogs()).field("lost", &self.lost()).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(in crate::hooks) mod tests;
