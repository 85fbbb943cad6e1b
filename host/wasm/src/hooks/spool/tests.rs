//! What the spool promises: order, places, bounds, and that nothing which was stored is lost.

use std::path::PathBuf;
use std::time::Duration;

use agent_host_session::event::Event as Happened;
use agent_host_session::id::{Epoch, Sequence, SessionId};
use agent_host_session::log::{EventLog, Limits, Subscription};
use agent_host_session::message::{Content, Message};
use agent_host_session::ports::hooks::{Hooks, NoHooks, SessionDraft, ToolDraft, Verdict, Wants};
use agent_host_session::record::Options;
use async_trait::async_trait;
use futures_util::FutureExt as _;
use rusqlite::Connection;
use serde_json::{Map, Value};

use super::*;

/// A host's hooks of which only the spool is there.
struct Only(Spool);

#[async_trait]
impl Hooks for Only {
    fn wants(&self) -> Wants {
        Wants { events: self.0.is_wanted(), ..Wants::default() }
    }

    fn tools(&self) -> watch::Receiver<bool> {
        NoHooks.tools()
    }

    fn record(&self, batch: Batch) {
        self.0.record(batch);
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

/// A directory with a spool in it, and a session.
pub(in crate::hooks) struct Scratch {
    directory: tempfile::TempDir,
    pub(in crate::hooks) spool: Spool,
    log: EventLog,
}

fn session(spool: &Spool, name: &str) -> EventLog {
    let limits = Limits { events: 1_000_000, bytes: usize::MAX };
    EventLog::new(SessionId::new(name).unwrap(), Epoch(1), limits, Arc::new(Only(spool.clone())))
}

fn emitted(name: &str, data: impl Into<Value>) -> Happened {
    Happened::Emitted { name: name.to_owned(), data: data.into() }
}

/// What [`emitted`] was given.
pub(in crate::hooks) fn told(events: &[Event]) -> Vec<String> {
    let data = |event: &Event| serde_json::from_str::<Value>(&event.data).unwrap()["data"].as_str().unwrap().to_owned();
    events.iter().map(data).collect()
}

impl Scratch {
    pub(in crate::hooks) fn new(options: SpoolOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(&directory.path().join("hooks.db"), options).unwrap();
        let log = session(&spool, "s");
        Self { directory, spool, log }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("hooks.db")
    }

    pub(in crate::hooks) async fn add(&self, hook: &str, patterns: &[&str], begin: Begin) {
        self.spool.add(Interests::new(hook, patterns.iter().copied()).unwrap(), begin).await.unwrap();
    }

    /// Publishes events by themselves, and waits until they are stored.
    pub(in crate::hooks) async fn publish(&self, name: &str, data: &[&str]) {
        for data in data {
            self.log.publish([emitted(name, *data)]);
        }
        self.spool.flush().await.unwrap();
    }

    async fn waits_for(&self, hook: &str) -> Vec<String> {
        let chunk = self.spool.read(hook, usize::MAX, u64::MAX).await.unwrap();
        told(&chunk.map(|chunk| chunk.events).unwrap_or_default())
    }

    async fn acknowledge(&self, hook: &str, events: usize) {
        let chunk = self.spool.read(hook, events, u64::MAX).await.unwrap().unwrap();
        self.spool.acknowledge(hook, chunk.end).unwrap();
        self.spool.flush().await.unwrap();
    }

    /// What another host finds if this one is killed now. The thread of this one goes on as if nothing had happened, on its own files.
    fn killed(&self, options: SpoolOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["hooks.db", "hooks.db-wal"] {
            std::fs::copy(self.directory.path().join(name), directory.path().join(name)).unwrap();
        }
        let spool = Spool::open(&directory.path().join("hooks.db"), options).unwrap();
        let log = session(&spool, "s");
        Self { directory, spool, log }
    }

    fn stored(&self) -> Vec<u64> {
        let connection = Connection::open(self.path()).unwrap();
        let mut statement = connection.prepare("SELECT position FROM event ORDER BY position").unwrap();
        statement.query_map([], |row| row.get(0).map(i64::cast_unsigned)).unwrap().map(Result::unwrap).collect()
    }
}

/// Waits for so many events that clients may see.
async fn see(subscription: &mut Subscription, events: usize) {
    let mut seen = 0;
    while seen < events {
        seen += subscription.next().await.unwrap().len();
    }
    assert_eq!(seen, events);
}

#[tokio::test]
async fn events_of_a_session_come_in_order_with_what_names_them() {
    let scratch = Scratch::new(SpoolOptions::default());
    scratch.add("audit", &["*"], Begin::AtEnd).await;
    let other = session(&scratch.spool, "t");
    for number in 0..500 {
        scratch.log.publish([emitted("hook:x:a", number.to_string()), emitted("hook:x:b", number.to_string())]);
        other.publish([emitted("hook:x:a", number.to_string())]);
    }
    scratch.spool.flush().await.unwrap();
    let events = scratch.spool.read("audit", usize::MAX, u64::MAX).await.unwrap().unwrap().events;
    for (session, count) in [("s", 1000), ("t", 500)] {
        let numbers: Vec<u64> = events.iter().filter(|event| event.session == session).map(|event| event.sequence.0).collect();
        let first = Sequence::before(Epoch(1)).next().0;
        assert_eq!(numbers, (first..first + count).collect::<Vec<_>>());
    }
    assert_eq!(events[1].name, "hook:x:b");
    assert_eq!(events[1].epoch, Epoch(1));
    assert_eq!(events[1].data, r#"{"sessionId":"s","data":"0"}"#);
}

#[tokio::test]
async fn what_anybody_has_seen_outlives_the_host() {
    let scratch = Scratch::new(SpoolOptions::default());
    scratch.add("audit", &["*"], Begin::AtEnd).await;
    let mut subscription = scratch.log.subscribe();
    scratch.log.publish([emitted("hook:x:a", "1"), emitted("hook:x:a", "2")]);
    scratch.log.publish([emitted("hook:x:a", "3")]);
    see(&mut subscription, 3).await;
    let next = scratch.killed(SpoolOptions::default());
    assert_eq!(next.waits_for("audit").await, ["1", "2", "3"]);
    next.acknowledge("audit", 2).await;
    let next = next.killed(SpoolOptions::default());
    assert_eq!(next.waits_for("audit").await, ["3"], "its place is kept, too");
    next.publish("hook:x:a", &["4"]).await;
    assert_eq!(next.waits_for("audit").await, ["3", "4"], "it is told before anybody has added it again");
}

#[tokio::test]
async fn each_hook_has_its_place_and_its_interests() {
    let scratch = Scratch::new(SpoolOptions::default());
    scratch.add("all", &["*"], Begin::AtEnd).await;
    scratch.add("some", &["hook:x:b*", "hook:some:*"], Begin::AtEnd).await;
    scratch.publish("hook:x:a", &["1"]).await;
    scratch.publish("hook:x:b", &["2"]).await;
    scratch.publish("hook:some:b", &["3"]).await;
    assert_eq!(scratch.waits_for("all").await, ["1", "2", "3"]);
    assert_eq!(scratch.waits_for("some").await, ["2"], "a hook is not told of its own");
    scratch.acknowledge("all", 3).await;
    assert_eq!(scratch.waits_for("some").await, ["2"]);
    // Another component in its place wants others.
    scratch.add("some", &["hook:x:*"], Begin::AtStart).await;
    scratch.publish("hook:x:a", &["4"]).await;
    assert_eq!(scratch.waits_for("some").await, ["2", "4"]);
}

#[tokio::test]
async fn a_hook_begins_at_the_end_or_with_what_is_kept() {
    let scratch = Scratch::new(SpoolOptions::default());
    scratch.add("first", &["*"], Begin::AtEnd).await;
    scratch.publish("hook:x:a", &["1", "2"]).await;
    scratch.acknowledge("first", 2).await;
    scratch.add("end", &["*"], Begin::AtEnd).await;
    scratch.add("start", &["*"], Begin::AtStart).await;
    scratch.publish("hook:x:a", &["3"]).await;
    assert_eq!(scratch.waits_for("end").await, ["3"]);
    assert_eq!(scratch.waits_for("start").await, ["1", "2", "3"]);
    // What is removed has no place any more.
    scratch.spool.remove("end").await.unwrap();
    assert!(matches!(scratch.spool.read("end", 1, 1).await, Err(Error::UnknownHook(_))));
    scratch.add("end", &["*"], Begin::AtEnd).await;
    assert!(scratch.waits_for("end").await.is_empty());
    scratch.spool.remove("nobody").await.unwrap();
}

#[tokio::test]
async fn interests_can_be_taken_back_and_with_them_everything_waits_again() {
    let scratch = Scratch::new(SpoolOptions { keep_bytes: 0, ..SpoolOptions::default() });
    scratch.add("audit", &["*"], Begin::AtEnd).await;
    scratch.publish("hook:x:a", &["1", "2"]).await;
    scratch.acknowledge("audit", 1).await;
    scratch.add("audit", &["hook:x:b"], Begin::AtEnd).await;
    scratch.publish("hook:x:a", &["3"]).await;
    scratch.publish("hook:x:b", &["4"]).await;
    assert_eq!(scratch.waits_for("audit").await, ["4"]);
    scratch.acknowledge("audit", 1).await;
    // It is not settled when the host is killed.
    let next = scratch.killed(SpoolOptions::default());
    assert_eq!(next.spool.backlogs().keys().collect::<Vec<_>>(), ["audit"]);
    next.spool.restore("audit").await.unwrap();
    assert_eq!(next.waits_for("audit").await, ["2", "3", "4"]);
    next.spool.restore("audit").await.unwrap();
    assert_eq!(next.waits_for("audit").await, ["2", "3", "4"], "it is once");
    scratch.spool.settle("audit").await.unwrap();
    scratch.spool.restore("audit").await.unwrap();
    assert!(scratch.waits_for("audit").await.is_empty());
    scratch.publish("hook:x:b", &["5"]).await;
    assert_eq!(scratch.stored(), [5], "what waited for the interests before does not any more");
}

#[tokio::test]
async fn a_hook_that_waits_for_one_event_keeps_no_others() {
    const EVENTS: usize = 5000;
    let scratch = Scratch::new(SpoolOptions { keep_bytes: 0, ..SpoolOptions::default() });
    scratch.add("rare", &["hook:x:b"], Begin::AtEnd).await;
    scratch.add("fast", &["*"], Begin::AtEnd).await;
    scratch.publish("hook:x:b", &["1"]).await;
    for _ in 0..5 {
        scratch.log.publish((0..EVENTS / 5).map(|number| emitted("hook:x:a", number.to_string())));
        scratch.spool.flush().await.unwrap();
        let waiting = scratch.spool.backlogs()["fast"].events;
        scratch.acknowledge("fast", waiting).await;
    }
    scratch.publish("hook:x:a", &["last"]).await;
    assert_eq!(scratch.stored(), [1, EVENTS as u64 + 2]);
}

#[tokio::test]
async fn what_nobody_wants_is_seen_at_once() {
    let scratch = Scratch::new(SpoolOptions::default());
    scratch.add("some", &["hook:x:a"], Begin::AtEnd).await;
    let mut subscription = scratch.log.subscribe();
    scratch.log.publish([emitted("hook:x:b", "1")]);
    assert_eq!(subscription.next().now_or_never().unwrap().unwrap().len(), 1);
    assert!(scratch.stored().is_empty());
}

#[tokio::test]
async fn a_hook_that_is_too_far_behind_skips_the_oldest() {
    let options = SpoolOptions { backlog: Bounds { events: 3, bytes: u64::MAX }, ..SpoolOptions::default() };
    let scratch = Scratch::new(options);
    scratch.add("slow", &["*"], Begin::AtEnd).await;
    scratch.add("other", &["hook:x:z"], Begin::AtEnd).await;
    scratch.publish("hook:x:a", &["1", "2"]).await;
    // What is being delivered meanwhile does no harm when it is acknowledged.
    let delivered = scratch.spool.read("slow", 1, u64::MAX).await.unwrap().unwrap();
    scratch.publish("hook:x:a", &["3", "4", "5"]).await;
    scratch.spool.acknowledge("slow", delivered.end).unwrap();
    assert_eq!(scratch.waits_for("slow").await, ["3", "4", "5"]);
    let backlog = scratch.spool.backlogs()["slow"];
    assert_eq!((backlog.events, backlog.skipped), (3, 2));
    assert!(backlog.bytes > 0 && backlog.oldest_at.is_some());
    assert_eq!(scratch.spool.backlogs()["other"], Backlog::default());
    let next = scratch.killed(options);
    assert_eq!(next.waits_for("slow").await, ["3", "4", "5"]);
    assert_eq!(next.spool.backlogs()["slow"].skipped, 2, "it is counted once");
}

#[tokio::test]
async fn a_backlog_is_bounded_by_bytes_too() {
    let scratch = Scratch::new(SpoolOptions { backlog: Bounds { events: 100, bytes: 2500 }, ..SpoolOptions::default() });
    scratch.add("slow", &["*"], Begin::AtEnd).await;
    let large = ["a", "b", "c"].map(|text| text.repeat(1000));
    scratch.publish("hook:x:a", &large.each_ref().map(String::as_str)).await;
    assert_eq!(scratch.waits_for("slow").await, large[1..]);
    let huge = "d".repeat(10_000);
    scratch.publish("hook:x:a", &[&huge]).await;
    assert_eq!(scratch.waits_for("slow").await, [huge], "one event is never too large by itself");
}

#[tokio::test]
async fn what_all_have_had_is_deleted_beyond_what_is_kept() {
    let scratch = Scratch::new(SpoolOptions { keep_bytes: 0, ..SpoolOptions::default() });
    scratch.add("fast", &["*"], Begin::AtEnd).await;
    scratch.add("slow", &["hook:x:b"], Begin::AtEnd).await;
    scratch.publish("hook:x:a", &["1", "2"]).await;
    scratch.publish("hook:x:b", &["3"]).await;
    scratch.publish("hook:x:a", &["4"]).await;
    scratch.acknowledge("fast", 4).await;
    assert_eq!(scratch.waits_for("slow").await, ["3"]);
    scratch.publish("hook:x:a", &["5"]).await;
    assert_eq!(scratch.stored(), [3, 5], "what one still waits for is there, and keeps nothing else there");
    scratch.acknowledge("slow", 1).await;
    scratch.acknowledge("fast", 1).await;
    scratch.publish("hook:x:a", &["6"]).await;
    assert_eq!(scratch.stored(), [6]);
}

#[tokio::test]
async fn what_all_have_had_is_kept_up_to_an_age() {
    let options = SpoolOptions { keep_for: Duration::ZERO, ..SpoolOptions::default() };
    let scratch = Scratch::new(SpoolOptions::default());
    scratch.add("audit", &["*"], Begin::AtEnd).await;
    scratch.publish("hook:x:a", &["1", "2"]).await;
    scratch.acknowledge("audit", 1).await;
    Connection::open(scratch.path()).unwrap().execute("UPDATE event SET at = at - 1000", []).unwrap();
    assert_eq!(scratch.stored(), [1, 2], "neither old nor many");
    let next = scratch.killed(options);
    next.publish("hook:x:a", &["3"]).await;
    assert_eq!(next.stored(), [2, 3]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_moved_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hooks.db");
    std::fs::write(&path, "not a database, but long enough to be looked at ".repeat(100)).unwrap();
    let spool = Spool::open(&path, SpoolOptions::default()).unwrap();
    spool.add(Interests::new("audit", ["*"]).unwrap(), Begin::AtEnd).await.unwrap();
    let names: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| name.starts_with("hooks.db.damaged-")), "{names:?}");
}

#[tokio::test]
async fn a_database_with_a_damaged_page_is_moved_aside() {
    let scratch = Scratch::new(SpoolOptions::default());
    scratch.add("audit", &["*"], Begin::AtEnd).await;
    let large = "x".repeat(1000);
    scratch.publish("hook:x:a", &[large.as_str(); 100]).await;
    Connection::open(scratch.path()).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let mut content = std::fs::read(scratch.path()).unwrap();
    content[8192..40_000].fill(0xAA);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hooks.db");
    std::fs::write(&path, content).unwrap();
    let spool = Spool::open(&path, SpoolOptions::default()).unwrap();
    assert!(spool.backlogs().is_empty(), "it is a new one");
}

#[tokio::test]
async fn a_file_of_a_later_host_is_refused_and_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hooks.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (a); PRAGMA user_version = 7").unwrap();
    let refused = Spool::open(&path, SpoolOptions::default()).unwrap_err();
    assert!(matches!(refused, Error::Version { found: 7, .. }), "{refused}");
}

#[tokio::test]
async fn sessions_go_on_when_nothing_can_be_stored_and_it_is_tried_again() {
    let scratch = Scratch::new(SpoolOptions::default());
    scratch.add("audit", &["*"], Begin::AtEnd).await;
    let mut subscription = scratch.log.subscribe();
    let disk = Connection::open(scratch.path()).unwrap();
    // Stands for a full disk: each insertion fails in the middle of the transaction.
    disk.execute_batch("CREATE TRIGGER full BEFORE INSERT ON event BEGIN SELECT RAISE(FAIL, 'full'); END").unwrap();
    scratch.log.publish([emitted("hook:x:a", "1"), emitted("hook:x:a", "2")]);
    see(&mut subscription, 2).await;
    assert_eq!(scratch.spool.lost(), 2);
    disk.execute_batch("DROP TRIGGER full").unwrap();
    scratch.publish("hook:x:a", &["3"]).await;
    see(&mut subscription, 1).await;
    assert_eq!(scratch.waits_for("audit").await, ["3"]);
    assert_eq!(scratch.spool.lost(), 2);
}

#[tokio::test]
async fn hooks_are_told_while_what_happens_waits_to_be_stored() {
    let scratch = Scratch::new(SpoolOptions::default());
    scratch.add("audit", &["*"], Begin::AtEnd).await;
    scratch.publish("hook:x:a", &["1", "2"]).await;
    let disk = Connection::open(scratch.path()).unwrap();
    // Stands for a thread that has much to write: it waits for this transaction, for seconds.
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    scratch.log.publish([emitted("hook:x:a", "3")]);
    for expected in ["1", "2"] {
        let chunk = scratch.spool.read("audit", 1, u64::MAX).await.unwrap().unwrap();
        assert_eq!(told(&chunk.events), [expected]);
        scratch.spool.acknowledge("audit", chunk.end).unwrap();
    }
    assert!(scratch.waits_for("audit").await.is_empty());
    assert_eq!(scratch.spool.lost(), 0, "it waits still");
    disk.execute_batch("ROLLBACK").unwrap();
    scratch.spool.flush().await.unwrap();
    assert_eq!(scratch.waits_for("audit").await, ["3"]);
}

#[tokio::test]
async fn many_sessions_at_once_lose_nothing() {
    const EVENTS: u32 = 20_000;
    let scratch = Scratch::new(SpoolOptions::default());
    scratch.add("audit", &["*"], Begin::AtEnd).await;
    let sessions: Vec<EventLog> = (0..200).map(|number| session(&scratch.spool, &format!("session-{number}"))).collect();
    for (number, log) in (0..EVENTS).zip(sessions.iter().cycle()) {
        log.publish([emitted("hook:x:delta", number.to_string())]);
        if number % 1000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    scratch.spool.flush().await.unwrap();
    assert_eq!(scratch.waits_for("audit").await.len(), EVENTS as usize);
    assert_eq!(scratch.spool.lost(), 0);
}
