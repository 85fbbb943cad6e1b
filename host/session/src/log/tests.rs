//! What a log promises to its readers, with and without hooks that want its events.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use serde_json::{Map, Value};

use super::*;
use crate::message::{Content, Message};
use crate::ports::hooks::{NoHooks, SessionDraft, ToolDraft, Verdict, Wants};
use crate::record::Options;

/// Hooks that want all events, and keep them when they are told to.
#[derive(Default)]
pub(super) struct Spool {
    batches: Mutex<Vec<Batch>>,
    is_off: AtomicBool,
}

impl Spool {
    fn batches(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.batches.lock()
    }

    pub(super) fn store(&self, index: usize) {
        let batch = self.batches().remove(index);
        batch.stored.done();
    }

    fn lose(&self, index: usize) {
        let batch = self.batches().remove(index);
        drop(batch);
    }
}

#[async_trait]
impl Hooks for Spool {
    fn wants(&self) -> Wants {
        Wants { events: !self.is_off.load(Ordering::Relaxed), ..Wants::default() }
    }

    fn tools(&self) -> watch::Receiver<bool> {
        NoHooks.tools()
    }

    fn record(&self, batch: Batch) {
        self.batches().push(batch);
    }

    async fn before_session(&self, _draft: &SessionDraft) -> Verdict<Options> {
        Verdict::Allow
    }

    async fn before_message(&self, _session: &SessionId, _message: &Message, _from: Option<&str>) -> Verdict<Content> {
        Verdict::Allow
    }

    async fn before_tool_use(&self, _draft: &ToolDraft) -> Verdict<Map<String, Value>> {
        Verdict::Allow
    }
}

fn event(text: &str) -> Event {
    Event::Failed { code: "TEST".into(), message: text.into() }
}

fn session() -> SessionId {
    SessionId::new("s").unwrap()
}

fn log(events: usize) -> EventLog {
    EventLog::new(session(), Epoch(3), Limits { events, bytes: 1 << 20 }, Arc::new(NoHooks))
}

fn small_log() -> EventLog {
    EventLog::new(session(), Epoch(1), Limits { events: 1_000_000, bytes: 10_000 }, Arc::new(NoHooks))
}

fn spooled(events: usize) -> (EventLog, Arc<Spool>) {
    let spool = Arc::new(Spool::default());
    (EventLog::new(session(), Epoch(3), Limits { events, bytes: 1 << 20 }, Arc::clone(&spool) as _), spool)
}

/// What can be read at once.
fn read_now(subscription: &mut Subscription) -> Vec<u64> {
    let mut read = Vec::new();
    while let Some(Ok(events)) = subscription.next().now_or_never() {
        read.extend(events.iter().map(|published| published.sequence.0 - Sequence::before(Epoch(3)).0));
    }
    read
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
    assert!(log.resume(Sequence(u64::MAX)).is_none(), "the end of all numbers cannot be resumed");
    assert!(log.resume(Sequence::before(Epoch(2)).next()).is_none(), "another epoch cannot be resumed");
    assert!(log.resume(Sequence::before(Epoch(4))).is_none(), "another epoch cannot be resumed");
}

#[tokio::test]
async fn a_slow_reader_is_told_and_costs_no_memory() {
    let log = small_log();
    let mut slow = log.subscribe();
    let mut fast = log.subscribe();
    for _ in 0..1000 {
        log.publish([event(&"x".repeat(1000))]);
        assert_eq!(fast.next().await.unwrap().len(), 1);
    }
    assert_eq!(slow.next().await.unwrap_err(), Ended::Lagged);
    assert_eq!(log.writer.shared.ring().events.len(), NEWEST);
}

#[tokio::test]
async fn a_large_event_does_not_cost_a_reader_that_keeps_up() {
    let log = small_log();
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
async fn events_are_seen_when_the_hooks_have_them_and_in_order() {
    let (log, spool) = spooled(100);
    let mut subscription = log.subscribe();
    log.publish([event("1"), event("2")]);
    log.publish([event("3")]);
    log.publish([event("4")]);
    let batches: Vec<_> = spool.batches().iter().map(|batch| (batch.session.clone(), batch.epoch, batch.events.len())).collect();
    assert_eq!(batches, [(session(), Epoch(3), 2), (session(), Epoch(3), 1), (session(), Epoch(3), 1)]);
    assert_eq!(read_now(&mut subscription), Vec::<u64>::new());
    spool.store(1);
    assert_eq!(read_now(&mut subscription), Vec::<u64>::new(), "what comes before is not stored");
    spool.store(0);
    assert_eq!(read_now(&mut subscription), [1, 2, 3]);
    spool.store(0);
    assert_eq!(read_now(&mut subscription), [4]);
}

#[tokio::test]
async fn hooks_that_lose_events_do_not_stop_the_session() {
    let (log, spool) = spooled(100);
    let mut subscription = log.subscribe();
    log.publish([event("1")]);
    log.publish([event("2")]);
    spool.lose(0);
    assert_eq!(read_now(&mut subscription), [1]);
    spool.lose(0);
    assert_eq!(read_now(&mut subscription), [2]);
}

#[tokio::test]
async fn when_hooks_want_no_events_any_more_those_they_have_still_come_first() {
    let (log, spool) = spooled(100);
    let mut subscription = log.subscribe();
    log.publish([event("1")]);
    spool.is_off.store(true, Ordering::Relaxed);
    log.publish([event("2")]);
    assert_eq!(read_now(&mut subscription), Vec::<u64>::new());
    spool.store(0);
    assert_eq!(read_now(&mut subscription), [1, 2]);
    log.publish([event("3")]);
    assert_eq!(read_now(&mut subscription), [3]);
    assert_eq!(spool.batches().len(), 0);
}

#[tokio::test]
async fn a_picture_waits_until_it_may_be_shown_and_what_follows_it_is_complete() {
    let (log, spool) = spooled(100);
    assert!(log.reveal().is_none(), "there is nothing to wait for");
    log.publish([event("1")]);
    let (reveal, mut subscription) = (log.reveal().unwrap(), log.subscribe());
    log.publish([event("2")]);
    let shown = tokio::spawn(reveal.wait());
    tokio::task::yield_now().await;
    assert!(!shown.is_finished());
    spool.store(0);
    shown.await.unwrap();
    assert_eq!(read_now(&mut subscription), Vec::<u64>::new(), "the first event is in the picture");
    spool.store(0);
    assert_eq!(read_now(&mut subscription), [2]);
}

#[tokio::test]
async fn what_nobody_could_see_cannot_be_resumed_from() {
    let (log, spool) = spooled(100);
    let start = log.latest();
    log.publish([event("1")]);
    assert!(log.resume(start.next()).is_none());
    assert_eq!(read_now(&mut log.resume(start).unwrap()), Vec::<u64>::new());
    spool.store(0);
    assert_eq!(read_now(&mut log.resume(start).unwrap()), [1]);
    assert!(log.resume(start.next()).is_some());
}

#[tokio::test]
async fn slow_hooks_cost_no_event_and_are_waited_for() {
    let (log, spool) = spooled(8);
    let mut subscription = log.subscribe();
    for _ in 0..20 {
        log.publish([event("x")]);
    }
    assert!(log.is_behind(), "nothing more should be published");
    let mut caught_up = Box::pin(log.caught_up());
    assert!(caught_up.as_mut().now_or_never().is_none());
    for stored in 1..=18 {
        spool.store(0);
        assert_eq!(read_now(&mut subscription), [stored], "a reader that keeps up gets each");
    }
    caught_up.await;
    assert_eq!(log.writer.shared.ring().events.len(), 8 + 2, "as many as the limit allows, and those that nobody has seen");
}

#[tokio::test]
async fn the_end_of_the_log_comes_after_what_is_still_being_stored() {
    let (log, spool) = spooled(10);
    let mut subscription = log.subscribe();
    log.publish([event("last")]);
    drop(log);
    assert!(subscription.next().now_or_never().is_none());
    spool.store(0);
    assert_eq!(subscription.next().await.unwrap().len(), 1);
    assert_eq!(subscription.next().await.unwrap_err(), Ended::Unloaded);
}

#[tokio::test]
async fn whoever_watches_the_host_sees_how_far_each_reader_is_behind() {
    let log = log(100);
    let observer = log.observer();
    assert!(observer.behind().is_empty());
    let (mut reader, other) = (log.subscribe(), log.subscribe());
    log.publish([event("1"), event("2"), event("3")]);
    assert_eq!(observer.behind(), [3, 3]);
    reader.next().await.unwrap();
    assert_eq!(observer.behind(), [0, 3]);
    drop(other);
    assert_eq!(observer.behind(), [0]);
}
