//! Hooks that come, go and change while sessions go on: whom events reach, what is remembered, and what gives way by itself.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::event::Event as Happened;
use agent_host_session::id::{Epoch, MessageId, SessionId};
use agent_host_session::log::{EventLog, Limits};
use agent_host_session::manager::{Error as ManagerError, SessionState};
use agent_host_session::message::{Content, Message};
use agent_host_session::ports::hooks::{Hooks as _, Verdict};
use agent_host_wasm::Engine;
use agent_host_wasm::Source;
use agent_host_wasm::exchange::{Candidate, Error, OnStart, Phase, Plan, Settings};
use agent_host_wasm::hooks::delivery::DeliveryOptions;
use agent_host_wasm::hooks::roster::{self, Configuration, Configured, HookRequest, HookStatus, Roster};
use agent_host_wasm::hooks::spool::{Begin, Spool, SpoolOptions};
use agent_host_wasm::hooks::{Control, HookOptions, Name};
use async_trait::async_trait;
use serde_json::{Value, json};
use support::{guest, options, session};
use tempfile::TempDir;
use tokio::sync::watch;

/// For anything that a healthy host does.
const DEADLINE: Duration = Duration::from_secs(60);

/// What is configured: each hook is told its `config` unless the plan says otherwise.
#[derive(Clone, Default)]
struct Config(Vec<(&'static str, &'static [(&'static str, &'static str)])>);

fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

#[async_trait]
impl Configuration for Config {
    fn hooks(&self) -> Vec<Configured> {
        let hook =
            |(hook, _): &(&str, _)| Configured { name: name(hook), source: guest("obedient"), is_enabled: true, begin: Begin::AtEnd };
        self.0.iter().map(hook).collect()
    }

    async fn options(&self, name: &Name, plan: &Plan) -> Result<(HookOptions, DeliveryOptions), String> {
        let configured = self
            .0
            .iter()
            .find(|(known, _)| *known == name.as_str())
            .map(|(_, config)| config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>());
        let config = plan.config.clone().or(configured).unwrap_or_default().into_iter().collect();
        let options = HookOptions { config, decision_timeout: Duration::from_secs(5), decision_instances: 1, ..HookOptions::default() };
        Ok((options, DeliveryOptions { delay: Duration::from_millis(1), ..DeliveryOptions::default() }))
    }
}

/// Remembers what hooks emit: `HOOK NAME DATA`.
struct Emitted(watch::Sender<Vec<String>>);

#[async_trait]
impl Control for Emitted {
    async fn state(&self, session: &SessionId) -> Result<SessionState, ManagerError> {
        Err(ManagerError::SessionNotFound(session.clone()))
    }

    async fn send_message(&self, _: &SessionId, _: &str, _: MessageId, _: Content) -> Result<(), ManagerError> {
        Ok(())
    }

    async fn interrupt(&self, _: &SessionId) -> Result<bool, ManagerError> {
        Ok(false)
    }

    async fn set_metadata(&self, _: &SessionId, _: &str, _: &str, _: Value) -> Result<(), ManagerError> {
        Ok(())
    }

    async fn note(&self, _: &SessionId, _: &str, _: &str) -> Result<(), ManagerError> {
        Ok(())
    }

    async fn emit(&self, _: &SessionId, hook: &str, _: &str, data: Value) -> Result<(), ManagerError> {
        self.0.send_modify(|all| all.push(format!("{hook} {}", data["data"].as_str().unwrap_or_default())));
        Ok(())
    }
}

struct World {
    roster: Arc<Roster>,
    emitted: Arc<Emitted>,
    seen: watch::Receiver<Vec<String>>,
    log: EventLog,
    directory: TempDir,
    /// Epochs are never used twice.
    epoch: u64,
}

async fn try_start(directory: &Path, config: Config, on_start: OnStart) -> Result<Arc<Roster>, roster::Error> {
    let engine = Engine::new(options()).unwrap();
    let spool = Spool::open(&directory.join("events.db"), SpoolOptions::default()).unwrap();
    let settings = Settings { on_start, rollback_after: 3, ..Settings::default() };
    Roster::start(engine, Arc::new(config), directory.join("hooks"), spool, settings).await
}

async fn start_in(directory: TempDir, config: Config, on_start: OnStart, epoch: u64) -> World {
    let roster = try_start(directory.path(), config, on_start).await.unwrap();
    let (sender, seen) = watch::channel(Vec::new());
    let emitted = Arc::new(Emitted(sender));
    let control: Arc<dyn Control> = Arc::<Emitted>::clone(&emitted);
    roster.connect(Arc::downgrade(&control));
    let log = EventLog::new(session("s"), Epoch(epoch), Limits { events: 10_000, bytes: usize::MAX }, roster.hooks());
    World { roster, emitted, seen, log, directory, epoch }
}

async fn world(config: Config) -> World {
    start_in(tempfile::tempdir().unwrap(), config, OnStart::Last, 1).await
}

/// An obedient hook that is told `config`.
fn obedient(config: &[(&str, &str)]) -> HookRequest {
    let Source::File(path) = guest("obedient") else { panic!("it is not a file") };
    let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    HookRequest { candidate: Candidate::File(path), config: Some(config), grants: None, begin: None }
}

impl World {
    async fn put(&self, hook: &str, config: &[(&str, &str)]) {
        self.roster.put(&name(hook), obedient(config)).await.unwrap();
    }

    fn publish(&self, data: &str) {
        self.log.publish([Happened::Emitted { name: "told".to_owned(), data: json!(data) }]);
    }

    /// Waits until hooks have been told so much, whatever the order among them.
    async fn expect(&mut self, all: &[&str]) {
        let mut expected: Vec<String> = all.iter().map(|told| (*told).to_owned()).collect();
        expected.sort();
        let told = self.seen.wait_for(|seen| {
            let mut seen = seen.clone();
            seen.sort();
            seen == expected
        });
        if tokio::time::timeout(DEADLINE, told).await.is_err() {
            panic!("expected {all:?}, the hooks were told {:?}", self.emitted.0.borrow());
        }
    }

    fn hooks(&self) -> Vec<HookStatus> {
        self.roster.status().hooks
    }

    fn names(&self) -> Vec<String> {
        self.hooks().into_iter().map(|hook| format!("{} {}", hook.name, hook.state)).collect()
    }

    fn history(&self) -> Vec<&'static str> {
        self.roster.status().events.iter().map(|event| event.event).collect()
    }

    async fn message(&self, text: &str) -> Verdict<Content> {
        let message = Message::new(MessageId::new("m").unwrap(), Content::Text(text.to_owned()));
        self.roster.hooks().before_message(&session("s"), &message, None).await
    }

    async fn restart(self, config: Config, on_start: OnStart) -> Self {
        let Self { roster, directory, epoch, .. } = self;
        roster.shutdown(DEADLINE).await;
        drop((self.log, roster));
        start_in(directory, config, on_start, epoch + 1).await
    }
}

const EVENTS: &[(&str, &str)] = &[("events", "told")];

#[tokio::test]
async fn hooks_come_and_go_and_each_is_told_of_what_happens_while_it_is_there() {
    let mut world = world(Config(vec![("a", EVENTS)])).await;
    world.publish("1");
    world.put("b", EVENTS).await;
    world.publish("2");
    world.expect(&["a 1", "a 2", "b 2"]).await;
    world.roster.remove(&name("a")).await.unwrap();
    world.publish("3");
    world.expect(&["a 1", "a 2", "b 2", "b 3"]).await;
    assert_eq!(world.names(), ["b serving"]);
    assert!(matches!(world.roster.remove(&name("a")).await, Err(Error::UnknownHook(_))));
    assert_eq!(world.history(), ["swapped", "removed"]);
}

#[tokio::test]
async fn a_hook_that_is_replaced_goes_on_where_the_one_before_was() {
    let mut world = world(Config::default()).await;
    world.put("a", EVENTS).await;
    let mut expected = Vec::new();
    for number in 0..30 {
        if number % 10 == 5 {
            let report = world.roster.put(&name("a"), obedient(EVENTS)).await.unwrap();
            assert_eq!(report.previous_generation, Some(report.record.generation - 1));
        }
        world.publish(&number.to_string());
        expected.push(format!("a {number}"));
    }
    world.expect(&expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let in_order = world.emitted.0.borrow().clone();
    assert_eq!(in_order, expected, "each once, and in order");
    assert_eq!(world.hooks()[0].earlier.len(), 3);
}

#[tokio::test]
async fn events_wait_for_a_hook_that_is_disabled() {
    let world = world(Config(vec![("a", &[("events", "told"), ("decides", "messages")])])).await;
    assert!(matches!(world.message("deny it").await, Verdict::Deny { .. }));
    world.roster.enable(&name("a"), false).await.unwrap();
    assert_eq!(world.names(), ["a disabled"]);
    assert_eq!(world.message("deny it").await, Verdict::Allow, "it is not asked");
    world.publish("1");
    let mut world = world.restart(Config(vec![("a", EVENTS)]), OnStart::Last).await;
    assert_eq!(world.names(), ["a disabled"], "an operator's word survives a restart");
    world.publish("2");
    world.roster.enable(&name("a"), true).await.unwrap();
    world.roster.enable(&name("a"), true).await.unwrap();
    world.expect(&["a 1", "a 2"]).await;
    assert_eq!(world.history(), ["enabled"]);
    assert!(matches!(world.roster.enable(&name("x"), true).await, Err(Error::UnknownHook(_))));
}

#[tokio::test]
async fn what_an_operator_did_survives_a_restart_unless_the_configuration_wins() {
    let config = || Config(vec![("a", &[("decides", "messages"), ("mark", "configured")]), ("b", EVENTS)]);
    let world = world(config()).await;
    world.put("a", &[("decides", "messages"), ("mark", "operator's")]).await;
    world.put("c", EVENTS).await;
    world.roster.remove(&name("b")).await.unwrap();
    let marked = async |world: &World| match world.message("append").await {
        Verdict::Replace(content) => content.text(),
        other => panic!("it was not replaced: {other:?}"),
    };
    assert_eq!(marked(&world).await, "append operator's");
    let generations: Vec<u64> = world.hooks().iter().map(|hook| hook.record.generation).collect();

    let world = world.restart(config(), OnStart::Last).await;
    assert_eq!(world.names(), ["a serving", "c serving"]);
    assert_eq!(marked(&world).await, "append operator's");
    assert_eq!(world.hooks().iter().map(|hook| hook.record.generation).collect::<Vec<_>>(), generations);

    let world = world.restart(config(), OnStart::Configured).await;
    assert_eq!(world.names(), ["a serving", "b serving"]);
    assert_eq!(marked(&world).await, "append configured");
}

#[tokio::test]
async fn a_configured_hook_comes_back_to_its_place() {
    let config = || Config(vec![("a", EVENTS), ("b", EVENTS)]);
    let world = world(config()).await;
    world.put("c", EVENTS).await;
    world.roster.remove(&name("a")).await.unwrap();
    let request = HookRequest { candidate: Candidate::Configured, config: None, grants: None, begin: None };
    world.roster.put(&name("a"), request.clone()).await.unwrap();
    assert_eq!(world.names(), ["a serving", "b serving", "c serving"]);
    let error = world.roster.put(&name("c"), request).await.unwrap_err();
    assert!(matches!(error, Error::Refused { phase: Phase::Read, .. }), "{error}");
    let world = world.restart(config(), OnStart::Last).await;
    assert_eq!(world.names(), ["a serving", "b serving", "c serving"]);
}

#[tokio::test]
async fn what_cannot_be_a_hook_is_refused_and_the_one_before_stays() {
    let mut world = world(Config::default()).await;
    world.put("a", EVENTS).await;
    let Source::File(adapter) = guest("misbehaving") else { panic!("it is not a file") };
    let from = |candidate| HookRequest { candidate, config: None, grants: None, begin: None };
    for (request, phase) in [
        (from(Candidate::Bytes(b"no component".as_slice().into())), Phase::Compile),
        (from(Candidate::File("/nowhere.wasm".into())), Phase::Read),
        (from(Candidate::Digest("00".to_owned())), Phase::Read),
        (from(Candidate::File(adapter)), Phase::Open),
        (obedient(&[("fail", "yes")]), Phase::Open),
        (obedient(&[("events", "a*b")]), Phase::Open),
    ] {
        for hook in ["a", "new"] {
            let error = world.roster.put(&name(hook), request.clone()).await.unwrap_err();
            assert!(matches!(&error, Error::Refused { phase: found, .. } if *found == phase), "{phase}: {error}");
        }
    }
    assert_eq!(world.names(), ["a serving"]);
    world.publish("1");
    world.expect(&["a 1"]).await;
    let mut world = world.restart(Config::default(), OnStart::Last).await;
    world.publish("2");
    world.expect(&["a 2"]).await;
}

#[tokio::test]
async fn a_hook_that_fails_its_first_calls_gives_way_to_the_one_before() {
    let mut world = world(Config::default()).await;
    world.put("a", EVENTS).await;
    world.publish("1");
    world.expect(&["a 1"]).await;
    // Its deliveries fail: it is told something that makes it.
    world.put("a", &[("events", "told"), ("fails", "yes")]).await;
    assert_eq!(world.hooks()[0].record.generation, 2);
    world.publish("2");
    world.expect(&["a 1", "a 2"]).await;
    let status = world.roster.status();
    assert_eq!((status.hooks[0].record.generation, world.history().last()), (1, Some(&"rolled-back")));
    assert!(status.events.last().unwrap().detail.as_ref().unwrap().contains("on-events"));
    let world = world.restart(Config::default(), OnStart::Last).await;
    assert_eq!(world.hooks()[0].record.generation, 1, "a restart does not bring it back");
}

#[tokio::test]
async fn an_earlier_component_can_be_named_by_its_digest() {
    let world = world(Config::default()).await;
    world.put("a", &[("decides", "messages"), ("mark", "first")]).await;
    let first = world.hooks()[0].record.digest.clone();
    let from = |digest: &str| HookRequest { candidate: Candidate::Digest(digest.to_owned()), config: None, grants: None, begin: None };
    let report = world.roster.put(&name("a"), from(&first)).await.unwrap();
    assert_eq!((report.record.digest, report.record.generation), (first, 2));
    assert!(matches!(world.message("append").await, Verdict::Replace(_)), "what it is told stays");
}

#[tokio::test]
async fn a_host_does_not_start_without_a_hook_that_it_should_have() {
    let world = world(Config::default()).await;
    world.put("a", EVENTS).await;
    let digest = world.hooks()[0].record.digest.clone();
    let World { roster, directory, log, .. } = world;
    roster.shutdown(DEADLINE).await;
    drop((roster, log));
    std::fs::write(directory.path().join("hooks").join(format!("{digest}.wasm")), "damaged").unwrap();
    let Err(error) = try_start(directory.path(), Config::default(), OnStart::Last).await else { panic!("it started") };
    let error = error.to_string();
    assert!(error.contains("\"a\"") && error.contains("damaged") && error.contains("on-start=configured"), "{error}");
    try_start(directory.path(), Config::default(), OnStart::Configured).await.unwrap();
}

#[tokio::test]
async fn a_hook_that_begins_at_the_start_is_told_what_is_kept() {
    let mut world = world(Config(vec![("a", EVENTS)])).await;
    world.publish("1");
    world.expect(&["a 1"]).await;
    let request = HookRequest { begin: Some(Begin::AtStart), ..obedient(EVENTS) };
    world.roster.put(&name("b"), request).await.unwrap();
    world.expect(&["a 1", "b 1"]).await;
}

/// Makes the directory of components one that nothing can be put into: a file is in its place.
struct Unwritable {
    state: PathBuf,
    kept: Vec<u8>,
}

impl Unwritable {
    /// `state.json` becomes a directory, over which no file can be renamed.
    fn new(world: &World) -> Self {
        let state = world.directory.path().join("hooks/state.json");
        let kept = std::fs::read(&state).unwrap();
        std::fs::remove_file(&state).unwrap();
        std::fs::create_dir(&state).unwrap();
        std::fs::write(state.join("x"), "").unwrap();
        Self { state, kept }
    }

    fn end(self) {
        std::fs::remove_dir_all(&self.state).unwrap();
        std::fs::write(self.state, self.kept).unwrap();
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_kept_changes_nothing_and_loses_nothing() {
    let mut world = world(Config::default()).await;
    world.put("a", EVENTS).await;
    world.publish("1");
    world.expect(&["a 1"]).await;
    let unwritable = Unwritable::new(&world);
    // One that wants no events, and one that wants others.
    for config in [&[("decides", "messages")][..], &[("events", "*"), ("decides", "messages")]] {
        for hook in ["a", "new"] {
            let error = world.roster.put(&name(hook), obedient(config)).await.unwrap_err();
            assert!(matches!(error, Error::Refused { phase: Phase::Remember, .. }), "{error}");
        }
    }
    assert!(matches!(world.roster.remove(&name("a")).await, Err(Error::NotKept(_))));
    assert!(matches!(world.roster.enable(&name("a"), false).await, Err(Error::NotKept(_))));
    assert_eq!(world.message("deny it").await, Verdict::Allow, "the one before is at work");
    world.publish("2");
    world.expect(&["a 1", "a 2"]).await;
    unwritable.end();
    world.roster.enable(&name("a"), false).await.unwrap();
    world.publish("3");
    let error = Unwritable::new(&world);
    assert!(matches!(world.roster.enable(&name("a"), true).await, Err(Error::Refused { phase: Phase::Remember, .. })));
    // One for which less waits.
    assert!(world.roster.put(&name("a"), obedient(&[("events", "other")])).await.is_err());
    error.end();
    world.roster.enable(&name("a"), true).await.unwrap();
    world.expect(&["a 1", "a 2", "a 3"]).await;
}

#[tokio::test]
async fn a_hook_that_wants_no_events_any_more_has_none_waiting_when_it_has_proved_itself() {
    let mut world = world(Config::default()).await;
    world.put("a", EVENTS).await;
    world.publish("1");
    world.expect(&["a 1"]).await;
    world.put("a", &[("decides", "messages")]).await;
    world.publish("2");
    assert!(world.hooks()[0].backlog.is_some(), "what the one before may need is kept");
    // It fails to decide, again and again, and gives way.
    for _ in 0..3 {
        assert_eq!(world.message("error").await, Verdict::Allow);
    }
    world.expect(&["a 1", "a 2"]).await;
    assert_eq!(world.history().last(), Some(&"rolled-back"));
}

#[tokio::test]
async fn what_waited_waits_again_when_one_that_wants_other_events_gives_way() {
    let mut world = world(Config::default()).await;
    world.put("a", &[("events", "told"), ("fails", "yes")]).await;
    world.publish("1");
    world.put("a", &[("events", "other"), ("decides", "messages")]).await;
    world.publish("2");
    for _ in 0..3 {
        assert_eq!(world.message("error").await, Verdict::Allow);
    }
    support::eventually(|| world.history().last() == Some(&"rolled-back")).await;
    assert_eq!(world.hooks()[0].backlog.unwrap().events, 2);
    world.put("a", EVENTS).await;
    world.expect(&["a 1", "a 2"]).await;
}

#[tokio::test]
async fn interests_that_grow_miss_nothing_from_then_on() {
    let mut world = world(Config::default()).await;
    world.put("a", &[("events", "other")]).await;
    for round in 0..5 {
        world.put("a", EVENTS).await;
        world.publish(&round.to_string());
        world.put("a", &[("events", "other,told")]).await;
    }
    world.expect(&["a 0", "a 1", "a 2", "a 3", "a 4"]).await;
}

#[tokio::test]
async fn what_was_replaced_is_ended_when_the_next_one_comes() {
    let world = world(Config::default()).await;
    // Each takes three instances; the engine has room for 128.
    for _ in 0..60 {
        world.put("a", &[("events", "told"), ("decides", "messages")]).await;
    }
    assert_eq!(world.hooks()[0].record.generation, 60);
}

#[tokio::test]
async fn a_hook_that_is_disabled_in_its_probation_stays_disabled() {
    let world = world(Config::default()).await;
    world.put("a", EVENTS).await;
    world.put("a", &[("events", "told"), ("fails", "yes")]).await;
    world.publish("1");
    world.roster.enable(&name("a"), false).await.unwrap();
    assert_eq!(world.names(), ["a disabled"]);
    let world = world.restart(Config::default(), OnStart::Last).await;
    assert_eq!(world.names(), ["a disabled"]);
    assert_eq!(world.hooks()[0].record.generation, 2);
}

#[tokio::test]
async fn a_host_that_ends_changes_nothing_any_more() {
    let world = world(Config::default()).await;
    world.put("a", EVENTS).await;
    world.roster.shutdown(DEADLINE).await;
    assert!(matches!(world.roster.put(&name("b"), obedient(EVENTS)).await, Err(Error::ShuttingDown)));
    assert!(matches!(world.roster.remove(&name("a")).await, Err(Error::ShuttingDown)));
    let world = world.restart(Config::default(), OnStart::Last).await;
    assert_eq!(world.names(), ["a serving"]);
}
