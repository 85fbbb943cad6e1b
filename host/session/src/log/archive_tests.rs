//! What a log promises to those who resume from its archive, whatever that does.

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::sync::Semaphore;

use super::tests::Spool;
use super::*;
use crate::ports::archive::Gone;
use crate::ports::hooks::NoHooks;

/// An archive in memory that does what it is told.
#[derive(Debug)]
struct Shelf {
    events: Mutex<VecDeque<Arc<Published>>>,
    /// Reads that may be answered.
    reads: Semaphore,
    /// Gives what comes after the events that it was asked for.
    skips: bool,
}

impl Shelf {
    fn new(skips: bool) -> Arc<Self> {
        Arc::new(Self { events: Mutex::default(), reads: Semaphore::new(1_000), skips })
    }

    fn forget(&self, count: usize) {
        self.events.lock().drain(..count);
    }
}

#[async_trait]
impl Volume for Shelf {
    fn put(&self, event: Arc<Published>, _: usize) {
        self.events.lock().push_back(event);
    }

    fn oldest(&self) -> Option<Sequence> {
        self.events.lock().front().map(|event| event.sequence)
    }

    async fn read(&self, after: Sequence) -> Result<Vec<Arc<Published>>, Gone> {
        self.reads.acquire().await.unwrap().forget();
        let events = self.events.lock();
        let first = events.front().ok_or(Gone)?.sequence;
        let skip = (after.0 + 1 + u64::from(self.skips)).checked_sub(first.0).ok_or(Gone)?;
        Ok(events.iter().skip(usize::try_from(skip).unwrap()).take(3).cloned().collect())
    }
}

const START: Sequence = Sequence(3 << 32);

fn log(events: usize, shelf: &Arc<Shelf>, hooks: Arc<dyn Hooks>) -> EventLog {
    let limits = Limits { events, bytes: 1 << 20 };
    let volume = Arc::<Shelf>::clone(shelf);
    EventLog::archived(SessionId::new("s").unwrap(), Epoch(3), limits, hooks, Some(volume))
}

fn publish(log: &EventLog, count: usize) {
    for _ in 0..count {
        log.publish([Event::Failed { code: "TEST".into(), message: String::new() }]);
    }
}

fn resume(log: &EventLog, after: u64) -> Option<Subscription> {
    log.resume(Sequence(START.0 + after))
}

/// What can be read at once, and how that ended.
fn read_now(subscription: &mut Subscription) -> (Vec<u64>, Option<Ended>) {
    let mut read = Vec::new();
    loop {
        match subscription.next().now_or_never() {
            Some(Ok(events)) => read.extend(events.iter().map(|published| published.sequence.0 - START.0)),
            Some(Err(ended)) => return (read, Some(ended)),
            None => return (read, None),
        }
    }
}

#[tokio::test]
async fn who_comes_back_reads_the_archive_and_goes_on_in_the_log() {
    let shelf = Shelf::new(false);
    let log = log(10, &shelf, Arc::new(NoHooks));
    publish(&log, 100);
    assert_eq!(shelf.events.lock().len(), 90, "what is in the log is not in the archive");
    for after in [0, 1, 57, 88, 89, 90, 95, 99] {
        let mut subscription = resume(&log, after).unwrap();
        assert_eq!(read_now(&mut subscription), ((after + 1..=100).collect(), None));
    }
    assert_eq!(read_now(&mut resume(&log, 100).unwrap()), (Vec::new(), None));
    assert!(resume(&log, 101).is_none(), "the future cannot be resumed");
}

#[tokio::test]
async fn who_catches_up_is_not_left_behind_by_what_is_published_meanwhile() {
    let shelf = Shelf::new(false);
    let log = log(2, &shelf, Arc::new(NoHooks));
    publish(&log, 20);
    let mut subscription = resume(&log, 0).unwrap();
    let (mut read, mut published) = (0, 20);
    while read < published {
        for event in subscription.next().await.unwrap() {
            read += 1;
            assert_eq!(event.sequence.0 - START.0, read);
        }
        // Almost as fast as it is read, so that the end of the archive is never the end of the log.
        let more = if published < 200 { 2 } else { 0 };
        publish(&log, more);
        published += more as u64;
    }
}

#[tokio::test]
async fn who_is_up_to_date_and_stops_reading_is_told() {
    let shelf = Shelf::new(false);
    let log = log(10, &shelf, Arc::new(NoHooks));
    publish(&log, 20);
    let (mut live, mut current, mut late) = (log.subscribe(), resume(&log, 20).unwrap(), resume(&log, 0).unwrap());
    assert_eq!(read_now(&mut late).0.len(), 20);
    publish(&log, 11);
    for subscription in [&mut live, &mut current, &mut late] {
        assert_eq!(read_now(subscription), (Vec::new(), Some(Ended::Lagged)));
        assert!(log.resume(subscription.cursor()).is_some(), "it can come back");
    }
}

#[tokio::test]
async fn what_the_archive_has_not_is_never_skipped() {
    let shelf = Shelf::new(false);
    let log = log(10, &shelf, Arc::new(NoHooks));
    publish(&log, 50);
    let (mut overtaken, mut ahead) = (resume(&log, 5).unwrap(), resume(&log, 30).unwrap());
    shelf.forget(20);
    assert!(resume(&log, 19).is_none());
    assert_eq!(read_now(&mut resume(&log, 20).unwrap()).0.len(), 30);
    assert_eq!(read_now(&mut overtaken), (Vec::new(), Some(Ended::Lagged)));
    assert_eq!(read_now(&mut ahead).0.len(), 20);
    shelf.forget(20);
    assert!(resume(&log, 39).is_none());
    assert_eq!(read_now(&mut resume(&log, 40).unwrap()).0.len(), 10, "the log has it");
}

#[tokio::test]
async fn an_archive_that_gives_something_else_is_not_believed() {
    let shelf = Shelf::new(true);
    let log = log(10, &shelf, Arc::new(NoHooks));
    publish(&log, 50);
    let mut subscription = resume(&log, 0).unwrap();
    assert_eq!(read_now(&mut subscription), (Vec::new(), Some(Ended::Lagged)));
}

#[tokio::test]
async fn waiting_for_the_archive_can_be_broken_off() {
    let shelf = Shelf::new(false);
    let log = log(10, &shelf, Arc::new(NoHooks));
    publish(&log, 50);
    let mut subscription = resume(&log, 0).unwrap();
    shelf.reads.forget_permits(1_000);
    assert!(subscription.next().now_or_never().is_none());
    assert!(subscription.next().now_or_never().is_none());
    shelf.reads.add_permits(1_000);
    assert_eq!(read_now(&mut subscription).0, (1..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_session_that_leaves_memory_lets_go_of_its_archive_when_it_is_read() {
    let shelf = Shelf::new(false);
    let log = log(10, &shelf, Arc::new(NoHooks));
    publish(&log, 50);
    let (observer, mut live, mut late) = (log.observer(), log.subscribe(), resume(&log, 0).unwrap());
    drop(log);
    assert_eq!(Arc::strong_count(&shelf), 2, "only who reads it holds it");
    assert_eq!(read_now(&mut live), (Vec::new(), Some(Ended::Unloaded)));
    assert_eq!(read_now(&mut late), ((1..=50).collect(), Some(Ended::Unloaded)));
    assert_eq!(Arc::strong_count(&shelf), 1);
    drop(observer);
}

#[tokio::test]
async fn what_nobody_may_see_yet_is_not_archived() {
    let (shelf, spool) = (Shelf::new(false), Arc::new(Spool::default()));
    let log = log(8, &shelf, Arc::<Spool>::clone(&spool));
    publish(&log, 20);
    assert_eq!(shelf.events.lock().len(), 0);
    (0..12).for_each(|_| spool.store(0));
    assert_eq!(shelf.events.lock().len(), 4, "12 may be seen, of which the log keeps 8");
    assert_eq!(read_now(&mut resume(&log, 0).unwrap()), ((1..=12).collect(), None));
    assert!(resume(&log, 13).is_none());
}
