//! The numbered events of a loaded session, and subscriptions that resume exactly.
//!
//! One bounded ring serves what others have a replay buffer, a broadcast channel and a snapshot lock for. A subscription is nothing but a
//! cursor into it: it reads on from where it was, whether that was just now or before a reconnect, so that nothing can be missed or
//! doubled between a snapshot (which names its number) and what follows. A reader that the ring has left behind is told so; it holds no memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

use crate::event::Event;
use crate::id::{Epoch, Sequence};

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

/// Most events that one [`Subscription::next`] gives: enough to make wake-ups rare, few enough to keep a slow reader's hold on memory small.
const BATCH: usize = 256;

/// An event with its number.
#[derive(Debug)]
pub struct Published {
    /// Its number in the session.
    pub sequence: Sequence,
    /// What happened.
    pub event: Event,
    rendered: OnceLock<Arc<str>>,
}

impl Published {
    /// What `render` makes of it: computed for the first subscriber that asks, shared with all others.
    pub fn rendered(&self, render: impl FnOnce(&Self) -> Arc<str>) -> Arc<str> {
        Arc::clone(self.rendered.get_or_init(|| render(self)))
    }
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<(Arc<Published>, usize)>,
    bytes: usize,
    /// The number of the newest event, or the one before the first.
    latest: Sequence,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    /// The number before the epoch's first event.
    before_first: Sequence,
}

impl Shared {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        // A panic while the ring is held leaves it whole: each change is a push or a pop.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer's end. Dropping it ends all subscriptions, once they have read what there is.
#[derive(Debug)]
pub struct EventLog {
    shared: Arc<Shared>,
    latest: watch::Sender<Sequence>,
    limits: Limits,
}

impl EventLog {
    /// An empty log, whose first event is the first of `epoch`.
    pub fn new(epoch: Epoch, limits: Limits) -> Self {
        let before_first = Sequence::before(epoch);
        let ring = Ring { events: VecDeque::new(), bytes: 0, latest: before_first };
        Self { shared: Arc::new(Shared { ring: Mutex::new(ring), before_first }), latest: watch::Sender::new(before_first), limits }
    }

    /// The number of the newest event.
    pub fn latest(&self) -> Sequence {
        *self.latest.borrow()
    }

    /// Gives the events their numbers and wakes the subscribers, once for all of them.
    pub fn publish(&self, events: impl IntoIterator<Item = Event>) {
        let mut ring = self.shared.ring();
        let before = ring.latest;
        for event in events {
            let weight = event.weight();
            ring.latest = ring.latest.next();
            ring.bytes += weight;
            let published = Arc::new(Published { sequence: ring.latest, event, rendered: OnceLock::new() });
            ring.events.push_back((published, weight));
            while ring.events.len() > self.limits.events || (ring.bytes > self.limits.bytes && ring.events.len() > NEWEST) {
                let Some((_, weight)) = ring.events.pop_front() else { break };
                ring.bytes -= weight;
            }
        }
        let latest = ring.latest;
        drop(ring);
        if latest != before {
            self.latest.send_replace(latest);
        }
    }

    /// A subscription to everything after the newest event: what follows a snapshot taken now.
    pub fn subscribe(&self) -> Subscription {
        self.subscription(self.latest())
    }

    /// A subscription to everything after `since`; `None` if the log does not have all of that.
    pub fn resume(&self, since: Sequence) -> Option<Subscription> {
        let ring = self.shared.ring();
        let oldest = ring.events.front().map_or(ring.latest.next(), |(event, _)| event.sequence);
        let servable = since >= self.shared.before_first && since.next() >= oldest && since <= ring.latest;
        drop(ring);
        servable.then(|| self.subscription(since))
    }

    fn subscription(&self, cursor: Sequence) -> Subscription {
        Subscription { shared: Arc::clone(&self.shared), latest: self.latest.subscribe(), cursor }
    }

    /// Whether anybody is subscribed.
    pub fn has_subscribers(&self) -> bool {
        self.latest.receiver_count() > 0
    }
}

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
    latest: watch::Receiver<Sequence>,
    cursor: Sequence,
}

impl Subscription {
    /// Waits for the next events: one at least, in order, without gaps. Can be dropped at any time without losing one.
    ///
    /// # Errors
    /// [`Ended`] if there is no next one.
    pub async fn next(&mut self) -> Result<Vec<Arc<Published>>, Ended> {
        loop {
            let closed = self.latest.has_changed().is_err();
            let events = self.take()?;
            if !events.is_empty() {
                return Ok(events);
            }
            if closed || self.latest.changed().await.is_err() {
                // The writer may have published between the look at the ring and its end.
                let events = self.take()?;
                return if events.is_empty() { Err(Ended::Unloaded) } else { Ok(events) };
            }
        }
    }

    /// The number of the last event that was read.
    pub fn cursor(&self) -> Sequence {
        self.cursor
    }

    fn take(&mut self) -> Result<Vec<Arc<Published>>, Ended> {
        let ring = self.shared.ring();
        let Some((oldest, _)) = ring.events.front() else { return Ok(Vec::new()) };
        // Numbers have no gaps, so the place of the next event follows from the oldest one's number.
        let Some(skip) = self.cursor.next().0.checked_sub(oldest.sequence.0) else { return Err(Ended::Lagged) };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let events: Vec<_> = ring.events.iter().skip(skip).take(BATCH).map(|(event, _)| Arc::clone(event)).collect();
        drop(ring);
        if let Some(last) = events.last() {
            self.cursor = last.sequence;
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        Event::Failed { code: "TEST".into(), message: text.into() }
    }

    fn log(events: usize) -> EventLog {
        EventLog::new(Epoch(3), Limits { events, bytes: 1 << 20 })
    }

    async fn read(subscription: &mut Subscription, count: usize) -> Vec<u64> {
        let mut read = Vec::new();
        while read.len() < count {
            read.extend(subscription.next().await.unwrap().iter().map(|published| published.sequence.0));
        }
        read
    }

    #[tokio::test]
    async fn a_subscriber_gets_each_event_once_in_order() {
        let log = log(1000);
        log.publish([event("before")]);
        let mut subscription = log.subscribe();
        log.publish((0..600).map(|_| event("after")));
        let first = Sequence::before(Epoch(3)).0 + 2;
        assert_eq!(read(&mut subscription, 600).await, (first..first + 600).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_reader_resumes_where_it_was_or_is_told_that_it_cannot() {
        let log = log(10);
        let start = log.latest();
        log.publish((0..10).map(|_| event("kept")));
        assert_eq!(read(&mut log.resume(start).unwrap(), 10).await.len(), 10);
        log.publish([event("pushes the oldest out")]);
        assert!(log.resume(start).is_none(), "the first event is gone");
        assert_eq!(read(&mut log.resume(start.next()).unwrap(), 10).await[0], start.0 + 2);
        assert!(log.resume(log.latest()).is_some(), "nothing was missed");
        assert!(log.resume(log.latest().next()).is_none(), "the future cannot be resumed");
        assert!(log.resume(Sequence::before(Epoch(2)).next()).is_none(), "another epoch cannot be resumed");
        assert!(log.resume(Sequence::before(Epoch(4))).is_none(), "another epoch cannot be resumed");
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_and_costs_no_memory() {
        let log = EventLog::new(Epoch(1), Limits { events: 1_000_000, bytes: 10_000 });
        let mut slow = log.subscribe();
        let mut fast = log.subscribe();
        for _ in 0..1000 {
            log.publish([event(&"x".repeat(1000))]);
            assert_eq!(fast.next().await.unwrap().len(), 1);
        }
        assert_eq!(slow.next().await.unwrap_err(), Ended::Lagged);
        assert_eq!(log.shared.ring().events.len(), NEWEST);
    }

    #[tokio::test]
    async fn a_large_event_does_not_cost_a_reader_that_keeps_up() {
        let log = EventLog::new(Epoch(1), Limits { events: 1_000_000, bytes: 10_000 });
        let mut subscription = log.subscribe();
        log.publish([event(&"x".repeat(100_000))]);
        log.publish([event("what follows")]);
        assert_eq!(read(&mut subscription, 2).await.len(), 2);
    }

    #[tokio::test]
    async fn the_end_of_the_log_comes_after_its_last_event() {
        let log = log(10);
        let mut subscription = log.subscribe();
        log.publish([event("last")]);
        drop(log);
        assert_eq!(subscription.next().await.unwrap().len(), 1);
        assert_eq!(subscription.next().await.unwrap_err(), Ended::Unloaded);
    }

    #[tokio::test]
    async fn an_event_is_rendered_once_for_all() {
        let log = log(10);
        let mut subscriptions = [log.subscribe(), log.subscribe()];
        log.publish([event("x")]);
        let mut count = 0;
        for subscription in &mut subscriptions {
            let events = subscription.next().await.unwrap();
            events[0].rendered(|_| {
                count += 1;
                Arc::from("frame")
            });
        }
        assert_eq!(count, 1);
    }
}
