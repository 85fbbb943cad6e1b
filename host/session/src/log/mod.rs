//! The numbered events of a loaded session, and subscriptions that resume exactly.
//!
//! One bounded ring serves what others have a replay buffer, a broadcast channel and a snapshot lock for. A subscription is nothing but a
//! cursor into it: it reads on from where it was, whether that was just now or before a reconnect, so that nothing can be missed or
//! doubled between a snapshot (which names its number) and what follows. A reader that the ring has left behind is told so; it holds no memory.
//!
//! What leaves the ring goes into the archive, where there is one. Whoever resumes from there reads it until it has caught up with what happens now. A reader that
//! was up to date and stopped reading is not served from there: it would be told never, and later than now, that it is too slow.
//!
//! Where hooks want events, these are given to the hooks first and are *visible* only when the hooks have them on disk: a host that is killed must
//! not have shown anybody what no hook will ever be told of. Where none does, an event is visible at once.

mod line;
mod readers;
mod stored;
mod subscription;
mod sync;

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

pub use self::line::InvalidLine;
pub(crate) use self::readers::Observer;
use self::readers::Readers;
pub use self::stored::Stored;
pub use self::subscription::{Ended, Reveal, Subscription};
use self::sync::{Mutex, MutexGuard, watch};
use crate::event::Event;
use crate::frame::Frame;
use crate::id::{Epoch, Sequence, SessionId};
use crate::ports::archive::Volume;
use crate::ports::hooks::{Batch, Hooks};

/// How much a log keeps for those that come back.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events. A minute of a fast agent is about 5,000.
    pub events: usize,
    /// Bytes, by [`Event::weight`]; the newest 64 events stay even if they hold more.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: 10_000, bytes: 4 * 1024 * 1024 }
    }
}

/// So many events stay however large they are: a reader that keeps up must get a message of several megabytes, and what follows it at once.
const NEWEST: usize = 64;

/// An event with its number.
#[derive(Debug)]
pub struct Published {
    /// Its number in the session.
    pub sequence: Sequence,
    /// What happened.
    pub event: Event,
    frame: OnceLock<Frame>,
}

impl Published {
    fn new(sequence: Sequence, event: Event) -> Self {
        Self { sequence, event, frame: OnceLock::new() }
    }

    /// The event as clients and hooks get it: written for the first that asks, shared with all others. `session` is the one that it happened to.
    pub fn frame(&self, session: &SessionId) -> &Frame {
        self.frame.get_or_init(|| Frame::of(session, self))
    }
}

/// Hooks that have not stored so much of what a log may keep are waited for. Those who read what is revealed at once must not find it gone again.
const HIDDEN_PART: usize = 4;

#[derive(Debug)]
struct Ring {
    events: VecDeque<(Arc<Published>, usize)>,
    /// All that there is, hidden or not.
    size: Size,
    limits: Limits,
    /// The number of the newest event, or the one before the first.
    latest: Sequence,
    /// The number of the newest event that may be seen.
    visible: Sequence,
    /// Batches that are not visible, in order.
    hidden: VecDeque<Hidden>,
    hidden_size: Size,
    /// Takes what leaves the ring, as long as the session is loaded.
    volume: Option<Arc<dyn Volume>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Size {
    events: usize,
    bytes: usize,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.bytes += other.bytes;
    }

    fn subtract(&mut self, other: Self) {
        self.events -= other.events;
        self.bytes -= other.bytes;
    }
}

/// A batch that is not visible.
#[derive(Debug)]
struct Hidden {
    /// The number of its last event.
    last: Sequence,
    size: Size,
    /// Whether it is stored and only waits for one before it.
    is_stored: bool,
}

impl Ring {
    fn push(&mut self, event: Event) -> (Arc<Published>, Size) {
        let weight = event.weight();
        self.latest = self.latest.next();
        let published = Arc::new(Published::new(self.latest, event));
        self.events.push_back((Arc::clone(&published), weight));
        let size = Size { events: 1, bytes: weight };
        self.size.add(size);
        (published, size)
    }

    fn hide(&mut self, batch: Hidden) {
        self.hidden_size.add(batch.size);
        self.hidden.push_back(batch);
    }

    /// The batch that ends with `last` is stored.
    fn reveal(&mut self, last: Sequence) {
        if let Some(batch) = self.hidden.iter_mut().find(|batch| batch.last == last) {
            batch.is_stored = true;
        }
        while let Some(batch) = self.hidden.pop_front_if(|batch| batch.is_stored) {
            self.visible = batch.last;
            self.hidden_size.subtract(batch.size);
        }
        self.shrink();
    }

    /// Forgets the oldest of what is visible.
    fn shrink(&mut self) {
        loop {
            let (events, bytes) = (self.size.events - self.hidden_size.events, self.size.bytes - self.hidden_size.bytes);
            if events <= self.limits.events && (bytes <= self.limits.bytes || events <= NEWEST) {
                return;
            }
            let Some((event, bytes)) = self.events.pop_front() else { return };
            self.size.subtract(Size { events: 1, bytes });
            // Under the ring's lock, so that whoever looks finds it in one of the two.
            if let Some(volume) = &self.volume {
                volume.put(event, bytes);
            }
        }
    }

    /// The number of the oldest event that is here.
    fn oldest(&self) -> Sequence {
        self.events.front().map_or(self.latest.next(), |(event, _)| event.sequence)
    }

    fn is_behind(&self) -> bool {
        let Size { events, bytes } = self.hidden_size;
        events > self.limits.events / HIDDEN_PART || (bytes > self.limits.bytes / HIDDEN_PART && events > NEWEST)
    }
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    /// The number before the epoch's first event.
    before_first: Sequence,
    readers: Readers,
}

impl Shared {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        // A panic while the ring is held leaves it whole: each change is a push or a pop.
        self.ring.lock()
    }
}

/// What the log has in common with the batches that are being stored. Subscriptions end when all of these are gone.
#[derive(Debug)]
struct Writer {
    shared: Arc<Shared>,
    session: SessionId,
    visible: watch::Sender<Sequence>,
    /// Whether the hooks failed to store the last batch, which is said once.
    spool_is_broken: AtomicBool,
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nothing leaves the ring any more, and those who still read the archive hold it themselves.
        let volume = self.shared.ring().volume.take();
        drop(volume);
    }
}

/// The writer's end. Dropping it ends all subscriptions, once they have read what there is.
pub struct EventLog {
    writer: Arc<Writer>,
    epoch: Epoch,
    hooks: Arc<dyn Hooks>,
}

impl EventLog {
    /// An empty log, whose first event is the first of `epoch`.
    pub fn new(session: SessionId, epoch: Epoch, limits: Limits, hooks: Arc<dyn Hooks>) -> Self {
        Self::archived(session, epoch, limits, hooks, None)
    }

    /// The same, with a place for what is too much for memory.
    pub fn archived(session: SessionId, epoch: Epoch, limits: Limits, hooks: Arc<dyn Hooks>, volume: Option<Arc<dyn Volume>>) -> Self {
        let before_first = Sequence::before(epoch);
        let ring = Ring {
            events: VecDeque::new(),
            size: Size::default(),
            limits,
            latest: before_first,
            visible: before_first,
            hidden: VecDeque::new(),
            hidden_size: Size::default(),
            volume,
        };
        let shared = Arc::new(Shared { ring: Mutex::new(ring), before_first, readers: Readers::default() });
        let (visible, _) = watch::channel(before_first);
        let writer = Arc::new(Writer { shared, session, visible, spool_is_broken: AtomicBool::new(false) });
        Self { writer, epoch, hooks }
    }

    /// The number of the newest event, visible or not.
    pub fn latest(&self) -> Sequence {
        self.writer.shared.ring().latest
    }

    /// Gives the events their numbers, and either wakes the subscribers, once for all of them, or has the hooks store them first.
    pub fn publish(&self, events: impl IntoIterator<Item = Event>) {
        let is_wanted = self.hooks.wants().events;
        let mut batch = Vec::new();
        let mut size = Size::default();
        let mut ring = self.writer.shared.ring();
        for event in events {
            let (published, added) = ring.push(event);
            size.add(added);
            if is_wanted {
                batch.push(published);
            }
        }
        let last = ring.latest;
        if size.events == 0 {
            return;
        }
        if is_wanted {
            ring.hide(Hidden { last, size, is_stored: false });
            drop(ring);
            let stored = Stored::new(Arc::clone(&self.writer), last);
            self.hooks.record(Batch { session: self.writer.session.clone(), epoch: self.epoch, events: batch, stored });
        } else if ring.hidden.is_empty() {
            ring.visible = last;
            ring.shrink();
            drop(ring);
            self.writer.visible.send_replace(last);
        } else {
            // What hooks wanted and have not stored yet comes before it.
            ring.hide(Hidden { last, size, is_stored: true });
        }
    }

    /// A subscription to everything after the newest event: what follows a snapshot taken now.
    pub fn subscribe(&self) -> Subscription {
        self.subscription(self.latest(), None)
    }

    /// A subscription to everything after `since`; `None` if neither the log nor its archive has all of that.
    pub fn resume(&self, since: Sequence) -> Option<Subscription> {
        let ring = self.writer.shared.ring();
        // First that it is no number of the future: what a client names may be the largest of all, which no other comes after.
        if since > ring.visible || since < self.writer.shared.before_first {
            return None;
        }
        // One that has read everything is up to date from the beginning. Another may be overtaken before it reads for the first time.
        let volume = ring.volume.as_ref().filter(|_| since < ring.visible).map(Arc::clone);
        let archived = volume.as_ref().and_then(|volume| volume.oldest());
        let oldest = archived.map_or(ring.oldest(), |archived| archived.min(ring.oldest()));
        drop(ring);
        (since.next() >= oldest).then(|| self.subscription(since, volume))
    }

    fn subscription(&self, cursor: Sequence, volume: Option<Arc<dyn Volume>>) -> Subscription {
        Subscription::new(Arc::clone(&self.writer.shared), self.writer.visible.subscribe(), cursor, volume)
    }

    /// Sees how far subscribers are behind, as long as there is anybody to ask.
    pub(crate) fn observer(&self) -> Observer {
        Observer::new(Arc::clone(&self.writer.shared))
    }

    /// Whether anybody is subscribed.
    pub fn has_subscribers(&self) -> bool {
        self.writer.visible.receiver_count() > 0
    }

    /// Waits until everything that is published now may be seen; `None` if it may be already.
    pub fn reveal(&self) -> Option<Reveal> {
        let ring = self.writer.shared.ring();
        let (latest, is_visible) = (ring.latest, ring.hidden.is_empty());
        drop(ring);
        (!is_visible).then(|| Reveal::new(self.writer.visible.subscribe(), latest))
    }

    /// Whether the hooks store so slowly that nothing that can wait should be published.
    pub fn is_behind(&self) -> bool {
        self.writer.shared.ring().is_behind()
    }

    /// Waits until the log is not [behind](Self::is_behind) any more. Can be dropped at any time.
    pub async fn caught_up(&self) {
        let mut visible = self.writer.visible.subscribe();
        while self.is_behind() {
            // The sender is this log's own.
            if visible.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod archive_tests;
#[cfg(test)]
mod tests;
