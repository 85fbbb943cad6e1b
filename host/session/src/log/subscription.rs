//! Reading a log.

use std::sync::Arc;

use super::readers::Place;
use super::sync::watch;
use super::{Published, Shared};
use crate::id::Sequence;
use crate::ports::archive::Volume;

/// Most events that one [`Subscription::next`] gives: enough to make wake-ups rare, few enough to keep a slow reader's hold on memory small.
const BATCH: usize = 256;

/// Why a subscription gives no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The reader was so slow that the log no longer has what comes next.
    #[error("the reader was too slow")]
    Lagged,
    /// The session was unloaded or deleted.
    #[error("the session was unloaded")]
    Unloaded,
}

/// A reader's place in a session's log.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    visible: watch::Receiver<Sequence>,
    cursor: Sequence,
    place: Arc<Place>,
    /// Where the reader finds what has left the ring, until it has caught up. After that it has to keep up.
    volume: Option<Arc<dyn Volume>>,
}

/// What the ring has for a reader.
enum Taken {
    Events(Vec<Arc<Published>>),
    /// What comes next has left it, and may be read here.
    Archived(Arc<dyn Volume>),
}

impl Subscription {
    pub(super) fn new(shared: Arc<Shared>, visible: watch::Receiver<Sequence>, cursor: Sequence, volume: Option<Arc<dyn Volume>>) -> Self {
        let place = shared.readers.add(cursor);
        Self { shared, visible, cursor, place, volume }
    }

    /// Waits for the next events: one at least, in order, without gaps. Can be dropped at any time without losing one.
    ///
    /// # Errors
    /// [`Ended`] if there is no next one.
    pub async fn next(&mut self) -> Result<Vec<Arc<Published>>, Ended> {
        loop {
            let closed = self.visible.has_changed().is_err();
            let events = self.look().await?;
            if !events.is_empty() {
                return Ok(events);
            }
            if closed || self.visible.changed().await.is_err() {
                // The writer may have published between the look at the ring and its end.
                let events = self.look().await?;
                return if events.is_empty() { Err(Ended::Unloaded) } else { Ok(events) };
            }
        }
    }

    /// The number of the last event that was read.
    pub fn cursor(&self) -> Sequence {
        self.cursor
    }

    /// The next events, if there are any.
    async fn look(&mut self) -> Result<Vec<Arc<Published>>, Ended> {
        match self.take()? {
            Taken::Events(events) => Ok(events),
            Taken::Archived(volume) => {
                let events = volume.read(self.cursor).await.map_err(|_| Ended::Lagged)?;
                self.check(&events)?;
                self.has_read(&events);
                Ok(events)
            }
        }
    }

    fn take(&mut self) -> Result<Taken, Ended> {
        let ring = self.shared.ring();
        // Numbers have no gaps, so the place of the next event follows from the oldest one's number.
        let Some(skip) = self.cursor.next().0.checked_sub(ring.oldest().0) else {
            return self.volume.clone().map(Taken::Archived).ok_or(Ended::Lagged);
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        // A subscription made just now may be ahead of what can be seen.
        let count = usize::try_from(ring.visible.0.saturating_sub(self.cursor.0)).unwrap_or(usize::MAX).min(BATCH);
        let events: Vec<_> = ring.events.iter().skip(skip).take(count).map(|(event, _)| Arc::clone(event)).collect();
        let visible = ring.visible;
        drop(ring);
        self.has_read(&events);
        if self.cursor >= visible {
            self.volume = None;
        }
        Ok(Taken::Events(events))
    }

    /// Whatever an archive gives: events are never skipped or doubled.
    fn check(&self, events: &[Arc<Published>]) -> Result<(), Ended> {
        let numbers = self.cursor.0 + 1..;
        let is_next = !events.is_empty() && events.iter().zip(numbers).all(|(event, number)| event.sequence.0 == number);
        if is_next { Ok(()) } else { Err(Ended::Lagged) }
    }

    fn has_read(&mut self, events: &[Arc<Published>]) {
        if let Some(last) = events.last() {
            self.cursor = last.sequence;
            self.place.is_now(self.cursor);
        }
    }
}

/// Waits until what a picture of a session shows may be seen.
#[derive(Debug)]
pub struct Reveal {
    visible: watch::Receiver<Sequence>,
    last: Sequence,
}

impl Reveal {
    pub(super) fn new(visible: watch::Receiver<Sequence>, last: Sequence) -> Self {
        Self { visible, last }
    }

    /// Returns when it may be seen.
    pub async fn wait(mut self) {
        // Of a log that is gone, with all that was to be stored, everything may be seen.
        drop(self.visible.wait_for(|visible| *visible >= self.last).await);
    }
}
