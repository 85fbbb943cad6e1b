//! One session's part of the archive.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use agent_host_session::id::{Sequence, SessionId};
use agent_host_session::log::Published;
use agent_host_session::ports::archive::{self, Gone};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Shared;
use crate::chunk::{self, Damaged};
use crate::metrics::Failure;
use crate::shelf::{self, File, Removed, Shelf};

/// Events are collected until they hold so many bytes of memory, which some two hundred deltas do. A session always may hold that, since the disk would be slow
/// if each event was written by itself; it is little beside what its log holds.
const CHUNK_BYTES: usize = 64 * 1024;

/// Chunks that are written before another session has its turn.
const TURN: usize = 16;

/// Of the memory for what waits one session may have this part, so that one that streams without end leaves room to others.
const SESSION_PART: usize = 2;

/// Events that are written at once.
#[derive(Debug)]
struct Chunk {
    events: Vec<Arc<Published>>,
    weight: usize,
    /// When the last of them left memory.
    at: Instant,
}

impl Chunk {
    fn first(&self) -> Option<Sequence> {
        first(&self.events)
    }
}

fn first(events: &[Arc<Published>]) -> Option<Sequence> {
    events.first().map(|event| event.sequence)
}

/// The events from `next` on, if that is one of them.
fn from(events: &[Arc<Published>], next: Sequence) -> Option<Vec<Arc<Published>>> {
    let skip = usize::try_from(next.0.checked_sub(first(events)?.0)?).ok()?;
    events.get(skip..).filter(|events| !events.is_empty()).map(<[_]>::to_vec)
}

/// What is kept, from the oldest to the newest: on disk, waiting to be written, being collected. There is no gap in it.
#[derive(Debug, Default)]
struct State {
    shelf: Shelf,
    waiting: VecDeque<Arc<Chunk>>,
    waiting_weight: usize,
    collected: Vec<Arc<Published>>,
    collected_weight: usize,
    /// Whether the writer knows that there is something to write.
    is_queued: bool,
}

enum Found {
    InMemory(Vec<Arc<Published>>),
    OnDisk(Arc<File>, shelf::Chunk),
}

impl State {
    fn find(&self, next: Sequence) -> Option<Found> {
        if let Some((file, chunk)) = self.shelf.find(next) {
            return Some(Found::OnDisk(file, chunk));
        }
        let waiting = self.waiting.iter().map(|chunk| &chunk.events);
        waiting.chain([&self.collected]).find_map(|events| from(events, next)).map(Found::InMemory)
    }

    fn is_next(&self, chunk: &Arc<Chunk>) -> bool {
        self.waiting.front().is_some_and(|next| Arc::ptr_eq(next, chunk))
    }

    fn pop_waiting(&mut self, shared: &Shared) -> bool {
        let Some(chunk) = self.waiting.pop_front() else { return false };
        self.waiting_weight -= chunk.weight;
        shared.work.waiting.fetch_sub(chunk.weight, Ordering::Relaxed);
        true
    }
}

/// One session's part of the archive.
pub(crate) struct Volume {
    session: SessionId,
    shared: Arc<Shared>,
    state: Mutex<State>,
    this: Weak<Self>,
}

impl Volume {
    pub(crate) fn new(session: SessionId, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self { session, shared, state: Mutex::default(), this: Weak::clone(this) })
    }

    /// Changes what is kept, and leaves the files that are not needed any more to the writer.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> (Removed, T)) -> T {
        let (removed, answer) = change(&mut self.state.lock());
        self.shared.work.remove(removed);
        answer
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&self, now: Instant) {
        self.change(|state| (state.shelf.expire(now, &self.shared.limits), ()));
    }

    /// When the oldest that is on disk left memory.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.state.lock().shelf.since()
    }

    /// Forgets the oldest file. May wait for the disk.
    pub(crate) fn forget_oldest(&self) {
        let removed = self.state.lock().shelf.forget_oldest();
        drop(removed);
    }

    /// Forgets the oldest of what waits, and with it all that is older, if too much waits.
    fn bound(&self, state: &mut State) -> Removed {
        let (waiting, limit) = (&self.shared.work.waiting, self.shared.limits.waiting_bytes);
        let is_too_much = |state: &State| state.waiting_weight > limit / SESSION_PART || waiting.load(Ordering::Relaxed) > limit;
        let mut removed = Vec::new();
        while is_too_much(state) && state.pop_waiting(&self.shared) {
            removed.append(&mut state.shelf.clear());
            self.shared.metrics.failed(Failure::Overflow);
            if self.shared.metrics.begins_to_fail() {
                tracing::warn!(session = %self.session, "the disk is too slow for the events that leave memory: clients that come back late get a snapshot");
            }
        }
        removed
    }

    /// Writes some of what waits; whether there is more. May wait for the disk.
    pub(crate) fn write(&self) -> io::Result<bool> {
        for _ in 0..TURN {
            let next = {
                let mut state = self.state.lock();
                let next = state.waiting.front().map(Arc::clone);
                state.is_queued = next.is_some();
                next
            };
            match next {
                Some(chunk) => self.write_chunk(&chunk)?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn write_chunk(&self, chunk: &Arc<Chunk>) -> io::Result<()> {
        let limits = &self.shared.limits;
        let encoded = chunk.first().zip(chunk::encode(&chunk.events));
        let Some((first, bytes)) = encoded.filter(|(_, bytes)| self.has_room(bytes.len() as u64)) else {
            // Then it is not kept, and nothing before it.
            let removed = {
                let mut state = self.state.lock();
                if state.is_next(chunk) && state.pop_waiting(&self.shared) { state.shelf.clear() } else { Vec::new() }
            };
            drop(removed);
            self.shared.metrics.failed(Failure::Overflow);
            return Ok(());
        };
        let end = self.state.lock().shelf.end();
        let (file, offset) = match end {
            Some(end) => end,
            None => {
                let path = self.shared.disk.create(&format!("{}-", self.session))?;
                (File::new(path, self.shared.metrics.bytes.clone()), 0)
            }
        };
        let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        file.grows(length);
        if let Err(error) = self.shared.disk.write(file.path(), offset, &bytes) {
            file.grows(-length);
            // What is behind its end is of no interest, if it is there at all.
            self.state.lock().shelf.close();
            return Err(error);
        }
        let removed = {
            let mut state = self.state.lock();
            // It may have been forgotten meanwhile, and all that was on disk with it.
            if state.is_next(chunk) {
                state.pop_waiting(&self.shared);
                let chunk = shelf::Chunk { first, count: chunk.events.len(), offset, length: bytes.len(), at: chunk.at };
                state.shelf.add(file, chunk, limits)
            } else {
                vec![file]
            }
        };
        drop(removed);
        self.shared.metrics.events.inc_by(chunk.events.len() as u64);
        if self.shared.work.waiting.load(Ordering::Relaxed) == 0 && self.shared.metrics.is_well_again() {
            tracing::info!("events that leave memory are written to disk again");
        }
        Ok(())
    }

    /// Makes room for so many bytes; whether that is possible.
    fn has_room(&self, bytes: u64) -> bool {
        let limits = &self.shared.limits;
        if bytes > limits.bytes {
            return false;
        }
        let removed = self.state.lock().shelf.make_room(bytes, limits);
        drop(removed);
        self.shared.make_room(bytes)
    }

    /// A chunk could not be read: what is before it cannot be served any more.
    fn is_damaged(&self, file: &Arc<File>, error: &dyn fmt::Display) {
        let is_known = self.change(|state| {
            let removed = state.shelf.forget(file);
            let is_known = !removed.is_empty();
            (removed, is_known)
        });
        if is_known {
            self.shared.metrics.failed(Failure::Read);
            tracing::warn!(session = %self.session, path = %file.path().display(), %error,
                "events that have left memory cannot be read: clients that ask for them get a snapshot");
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("reading broke off")]
    Aborted,
}

#[async_trait]
impl archive::Volume for Volume {
    fn put(&self, event: Arc<Published>, weight: usize) {
        let is_new = self.change(|state| {
            state.collected.push(event);
            state.collected_weight += weight;
            if state.collected_weight < CHUNK_BYTES {
                return (Vec::new(), false);
            }
            let events = std::mem::take(&mut state.collected);
            let weight = std::mem::take(&mut state.collected_weight);
            state.waiting.push_back(Arc::new(Chunk { events, weight, at: Instant::now() }));
            state.waiting_weight += weight;
            self.shared.work.waiting.fetch_add(weight, Ordering::Relaxed);
            (self.bound(state), !std::mem::replace(&mut state.is_queued, true))
        });
        if is_new {
            self.shared.work.write(Weak::clone(&self.this));
        }
    }

    fn oldest(&self) -> Option<Sequence> {
        self.change(|state| {
            let removed = state.shelf.expire(Instant::now(), &self.shared.limits);
            let waiting = state.waiting.front().and_then(|chunk| chunk.first());
            let oldest = state.shelf.oldest().or(waiting).or_else(|| first(&state.collected));
            (removed, oldest)
        })
    }

    async fn read(&self, after: Sequence) -> Result<Vec<Arc<Published>>, Gone> {
        let next = after.next();
        let found = self.change(|state| (state.shelf.expire(Instant::now(), &self.shared.limits), state.find(next)));
        let (file, chunk) = match found.ok_or(Gone)? {
            Found::InMemory(events) => return Ok(events),
            Found::OnDisk(file, chunk) => (file, chunk),
        };
        let permit = self.shared.reads.acquire().await.map_err(|_| Gone)?;
        let (shared, place) = (Arc::clone(&self.shared), Arc::clone(&file));
        let reading = tokio::task::spawn_blocking(move || {
            let bytes = shared.disk.read(place.path(), chunk.offset, chunk.length)?;
            Ok::<_, Unreadable>(chunk::decode(&bytes, chunk.first, chunk.count)?)
        });
        let read = reading.await.unwrap_or(Err(Unreadable::Aborted));
        drop(permit);
        read.map_err(|error| self.is_damaged(&file, &error)).ok().and_then(|events| from(&events, next)).ok_or(Gone)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        self.shared.work.waiting.fetch_sub(state.waiting_weight, Ordering::Relaxed);
        self.shared.work.remove(state.shelf.clear());
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Volume").field("session", &self.session).finish_non_exhaustive()
    }
}
