//! Event hooks: what they decide, what their failures mean, what they are told of, and what they may do to sessions.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, Weak};
use std::time::Duration;

use agent_host_session::id::{Epoch, MessageId, ProfileId, Sequence, SessionId};
use agent_host_session::manager::{Error, SessionState};
use agent_host_session::message::{Content, Message};
use agent_host_session::metadata::Metadata;
use agent_host_session::ports::hooks::{Batch, Hooks as _, SessionDraft, ToolDraft, Verdict, Wants};
use agent_host_session::record::Options;
use agent_host_wasm::grants::Denial;
use agent_host_wasm::hooks::{Control, Event, Hook, HookOptions, Hooks, Name, Sink, StartError};
use agent_host_wasm::inspect::{World, inspect};
use agent_host_wasm::{Engine, Source, metrics};
use async_trait::async_trait;
use parking_lot::Mutex;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use support::{guest, options, record, session};

/// Events are safe at once: what becomes of them is another test's affair.
struct NoSink;

impl Sink for NoSink {
    fn is_wanted(&self) -> bool {
        false
    }

    fn record(&self, batch: Batch) {
        batch.stored.done();
    }
}

/// Keeps what hooks ask of it, and knows the session `s`.
#[derive(Default)]
struct Sessions(Mutex<Vec<String>>);

impl Sessions {
    fn note_down(&self, session: &SessionId, what: String) -> Result<(), Error> {
        if session.as_str() != "s" {
            return Err(Error::SessionNotFound(session.clone()));
        }
        self.0.lock().push(what);
        Ok(())
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

#[async_trait]
impl Control for Sessions {
    async fn state(&self, session: &SessionId) -> Result<SessionState, Error> {
        self.note_down(session, "state".to_owned())?;
        Ok(SessionState { record: record("s", 1000), metadata: Metadata::default(), is_running: true })
    }

    async fn send_message(&self, session: &SessionId, hook: &str, id: MessageId, content: Content) -> Result<(), Error> {
        self.note_down(session, format!("{hook} sends {id} {}", content.text()))
    }

    async fn interrupt(&self, session: &SessionId) -> Result<bool, Error> {
        self.note_down(session, "interrupt".to_owned()).map(|()| true)
    }

    async fn set_metadata(&self, session: &SessionId, hook: &str, key: &str, value: Value) -> Result<(), Error> {
        self.note_down(session, format!("{hook} sets {key} to {value}"))
    }

    async fn note(&self, session: &SessionId, hook: &str, text: &str) -> Result<(), Error> {
        self.note_down(session, format!("{hook} notes {text}"))
    }

    async fn emit(&self, session: &SessionId, hook: &str, name: &str, data: Value) -> Result<(), Error> {
        self.note_down(session, format!("{hook} emits {name} {data}"))
    }
}

/// Hooks over an engine of their own.
struct Fixture {
    engine: Engine,
    hooks: Arc<Hooks>,
    sessions: Arc<Sessions>,
}

impl Fixture {
    /// With sessions that hooks can do something to.
    fn new() -> Self {
        let fixture = Self::without_sessions();
        let sessions: Arc<dyn Control> = Arc::<Sessions>::clone(&fixture.sessions);
        fixture.hooks.connect(Arc::downgrade(&sessions));
        fixture
    }

    fn without_sessions() -> Self {
        let engine = Engine::new(options()).unwrap();
        Self { engine, hooks: Hooks::new(Arc::new(NoSink)), sessions: Arc::default() }
    }

    async fn try_start(&self, source: Source, name: &str, config: &[(&str, &str)]) -> Result<Arc<Hook>, StartError> {
        let component = self.engine.load(source).await.unwrap();
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        // Long enough for an honest decision on a busy machine.
        let options = HookOptions { config, decision_timeout: Duration::from_secs(5), ..HookOptions::default() };
        Hook::start(&self.engine, component, Name::new(name).unwrap(), options, self.hooks.controller()).await
    }

    async fn start(&self, name: &str, config: &[(&str, &str)]) -> Arc<Hook> {
        self.try_start(guest("obedient"), name, config).await.unwrap()
    }

    /// One hook that decides on everything.
    async fn judge(config: &[(&str, &str)]) -> Self {
        let fixture = Self::new();
        let hook = fixture.start("judge", &[&[("decides", "sessions,messages,tools")], config].concat()).await;
        fixture.hooks.set([hook]);
        fixture
    }

    /// What whoever scrapes the host is told.
    fn assert_counted(&self, line: &str) {
        let mut registry = Registry::default();
        metrics::register(&self.engine, Vec::new(), &mut registry);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).unwrap();
        assert!(text.contains(&format!("{line}\n")), "{line} is not in {text}");
    }

    async fn message(&self, text: &str) -> Verdict<Content> {
        self.message_from(text, None).await
    }

    async fn message_from(&self, text: &str, from: Option<&str>) -> Verdict<Content> {
        let message = Message::new(MessageId::new("m").unwrap(), Content::Text(text.to_owned()));
        self.hooks.before_message(&session("s"), &message, from).await
    }

    async fn session(&self, order: &str) -> Verdict<Options> {
        let profile = ProfileId::new("default").unwrap();
        let options = json!({"do": order}).as_object().unwrap().clone();
        self.hooks.before_session(&SessionDraft { profile, architecture: "echo".to_owned(), name: None, options }).await
    }

    async fn tool(&self, order: &str) -> Verdict<Options> {
        let input = json!({"do": order}).as_object().unwrap().clone();
        let draft = ToolDraft { session: session("s"), subagent: None, tool_use_id: "t".to_owned(), tool: "Bash".to_owned(), input };
        self.hooks.before_tool_use(&draft).await
    }
}

fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

fn reason<T: std::fmt::Debug>(verdict: Verdict<T>) -> String {
    match verdict {
        Verdict::Deny { reason, .. } => reason,
        other => panic!("it was not denied: {other:?}"),
    }
}

fn event(sequence: u64, data: &str) -> Event {
    let (epoch, sequence) = (Epoch(7), Sequence(sequence));
    Event { session: "s".to_owned(), epoch, sequence, name: "session:status".to_owned(), data: data.to_owned() }
}

#[tokio::test]
async fn each_question_is_allowed_replaced_or_denied() {
    let fixture = Fixture::judge(&[("mark", "X")]).await;
    assert_eq!(fixture.message("hello").await, Verdict::Allow);
    assert_eq!(fixture.session("nothing").await, Verdict::Allow);
    assert_eq!(fixture.tool("nothing").await, Verdict::Allow);

    assert_eq!(fixture.message("append").await, Verdict::Replace(text("append X")));
    let replaced = json!({"do": "append X"}).as_object().unwrap().clone();
    assert_eq!(fixture.session("append").await, Verdict::Replace(replaced.clone()));
    assert_eq!(fixture.tool("append").await, Verdict::Replace(replaced));

    let denied = || ("judge".to_owned(), "not today".to_owned());
    let (hook, reason) = denied();
    assert_eq!(fixture.message("deny not today").await, Verdict::Deny { hook, reason });
    let (hook, reason) = denied();
    assert_eq!(fixture.session("deny not today").await, Verdict::Deny { hook, reason });
    let (hook, reason) = denied();
    assert_eq!(fixture.tool("deny not today").await, Verdict::Deny { hook, reason });
}

#[tokio::test]
async fn hooks_are_asked_in_order_and_see_what_those_before_made_of_it() {
    let fixture = Fixture::new();
    let one = fixture.start("one", &[("decides", "messages"), ("mark", "1")]).await;
    let two = fixture.start("two", &[("decides", "messages"), ("mark", "2")]).await;
    fixture.hooks.set([Arc::clone(&one), Arc::clone(&two)]);
    assert_eq!(fixture.message("append").await, Verdict::Replace(text("append 1 2")));
    assert_eq!(fixture.message_from("append", Some("one")).await, Verdict::Replace(text("append 2")), "not the one that sends it");
    assert!(matches!(fixture.message("deny it").await, Verdict::Deny { hook, .. } if hook == "one"));
    fixture.hooks.set([two, one]);
    assert_eq!(fixture.message("append").await, Verdict::Replace(text("append 2 1")));
    assert!(matches!(fixture.message("deny it").await, Verdict::Deny { hook, .. } if hook == "two"));
}

#[tokio::test]
async fn what_hooks_want_follows_the_list() {
    let fixture = Fixture::new();
    let mut tools = fixture.hooks.tools();
    assert_eq!(fixture.hooks.wants(), Wants::default());
    let audit = fixture.start("audit", &[("events", "session:block:*")]).await;
    let guard = fixture.start("guard", &[("decides", "messages,tools")]).await;
    assert!(audit.interests().include("session:block:delta") && !audit.interests().include("session:status"));
    fixture.hooks.set([audit, Arc::clone(&guard)]);
    assert_eq!(fixture.hooks.wants(), Wants { events: false, sessions: false, messages: true }, "events are for the sink to want");
    assert!(tools.has_changed().unwrap() && *tools.borrow_and_update());
    fixture.hooks.set([guard]);
    assert_eq!(fixture.hooks.wants(), Wants { events: false, sessions: false, messages: true });
    assert!(!tools.has_changed().unwrap(), "one still decides on tools");
    fixture.hooks.set([]);
    assert!(tools.has_changed().unwrap() && !*tools.borrow_and_update());
}

#[tokio::test]
async fn a_hook_that_fails_to_decide_leaves_it_to_its_policy() {
    for (config, allows) in [(&[][..], true), (&[("deny-on-failure", "yes")][..], false)] {
        let fixture = Fixture::judge(config).await;
        for failure in ["trap", "error", "rubbish", "sleep"] {
            let verdict = fixture.message(failure).await;
            if allows {
                assert_eq!(verdict, Verdict::Allow, "{failure}");
            } else {
                assert!(reason(verdict).contains("failed to decide"), "{failure}");
            }
            assert_eq!(fixture.message("deny then").await, Verdict::Deny { hook: "judge".to_owned(), reason: "then".to_owned() });
        }
        let hook = Arc::clone(&fixture.hooks.list()[0]);
        let counts = hook.counts();
        assert_eq!(counts.calls, 8);
        assert_eq!(counts.failures.values().sum::<u64>(), 3, "a trap, an error, a timeout; rubbish is an answer: {counts:?}");
        for kind in ["trap", "answer", "timeout"] {
            fixture.assert_counted(&format!(
                "component_call_failures_total{{component=\"hook:judge\",function=\"before-message\",kind=\"{kind}\"}} 1"
            ));
        }
    }
}

#[tokio::test]
async fn events_are_told_and_come_back_to_sessions_as_the_hook_says() {
    let fixture = Fixture::new();
    let hook = fixture.start("audit", &[("events", "*")]).await;
    hook.deliver(vec![event(1, r#"{"a":1}"#), event(2, r#"{"a":2}"#)]).await.unwrap();
    let seen = [r#"audit emits seen:session:status:7:1 {"a":1}"#, r#"audit emits seen:session:status:7:2 {"a":2}"#];
    assert_eq!(fixture.sessions.taken(), seen);
    for failure in [r#"{"do":"error"}"#, r#"{"do":"trap"}"#] {
        hook.deliver(vec![event(3, failure)]).await.unwrap_err();
        hook.deliver(vec![event(4, "{}")]).await.unwrap();
        assert_eq!(fixture.sessions.taken(), ["audit emits seen:session:status:7:4 {}"]);
    }
}

#[tokio::test]
async fn a_hook_that_keeps_what_it_is_told_is_replaced_before_it_fails() {
    let fixture = Fixture::new();
    let hook = fixture.start("audit", &[("events", "*")]).await;
    // 800 MiB in all, of 256 that an instance may have.
    for sequence in 0..20 {
        hook.deliver(vec![event(sequence, r#"{"do":"hoard"}"#)]).await.unwrap();
    }
    fixture.assert_counted("component_instances_retired_total{component=\"hook:audit\"} 5");
}

#[tokio::test]
async fn what_a_hook_does_to_sessions_is_done_in_its_name() {
    let fixture = Fixture::judge(&[]).await;
    for (order, done) in [
        ("send 1", None),
        ("interrupt", Some(("Ok(true)", "interrupt"))),
        ("set-metadata 5", Some(("Ok(())", "judge sets key to 5"))),
        ("note take care", Some(("Ok(())", "judge notes take care"))),
        ("emit [1]", Some(("Ok(())", "judge emits done [1]"))),
        ("set-metadata {", None),
    ] {
        let answer = reason(fixture.message(order).await);
        match done {
            Some((says, is)) => {
                assert_eq!(answer, says, "{order}");
                assert_eq!(fixture.sessions.taken(), [is]);
            }
            None => {
                assert!(answer.contains("Invalid"), "{order}: {answer}");
                assert!(fixture.sessions.taken().is_empty(), "{order}");
            }
        }
    }
    let state = reason(fixture.message("get-session s").await);
    assert!(state.contains("is-running: true") && state.contains("profile: \"default\""), "{state}");
    assert!(reason(fixture.message("get-session other").await).contains("NotFound"));
    assert!(reason(fixture.message("get-session ../s").await).contains("Invalid"));
}

#[tokio::test]
async fn a_message_of_a_hook_is_sent_in_its_name() {
    let fixture = Fixture::judge(&[]).await;
    // The content is a list without parts: an order has no quotes in it.
    let answer = reason(fixture.tool("send []").await);
    assert_eq!((answer.as_str(), &fixture.sessions.taken()[..]), ("Ok(())", &["judge sends from-hook ".to_owned()][..]));
}

#[tokio::test]
async fn without_sessions_what_a_hook_does_to_them_is_worth_another_try() {
    let fixture = Fixture::without_sessions();
    let hook = fixture.start("judge", &[("decides", "messages")]).await;
    fixture.hooks.set([hook]);
    assert!(reason(fixture.message("interrupt").await).contains("Unavailable"));
    let nobody: Weak<dyn Control> = Weak::<Sessions>::new();
    fixture.hooks.connect(nobody);
    assert!(reason(fixture.message("interrupt").await).contains("Unavailable"), "they have ended");
}

#[tokio::test]
async fn http_is_refused_without_a_grant() {
    let fixture = Fixture::judge(&[]).await;
    let answer = reason(fixture.message("fetch http://127.0.0.1:9/").await);
    assert!(answer.contains("is not granted to this component"), "{answer}");
    assert_eq!(fixture.hooks.list()[0].denials().count(Denial::Url), 1);
    fixture.assert_counted("component_denials_total{component=\"hook:judge\",kind=\"url\"} 1");
}

#[tokio::test]
async fn a_component_that_says_what_cannot_be_is_not_started() {
    let fixture = Fixture::new();
    let start = async |config: &[(&str, &str)]| fixture.try_start(guest("obedient"), "h", config).await.unwrap_err();
    assert!(matches!(start(&[("name", "a b")]).await, StartError::Name { .. }));
    assert!(matches!(start(&[("events", "session:*:delta")]).await, StartError::Events { .. }));
    let error = start(&[("fail", "yes")]).await;
    assert!(matches!(error, StartError::Open(_)) && error.to_string().contains("told to fail"), "{error}");
    let error = fixture.try_start(guest("stranger"), "h", &[]).await.unwrap_err();
    assert!(matches!(error, StartError::NotAHook(_)) && error.to_string().contains("agent-host:hooks/event-hook@0.1.0"), "{error}");
}

#[tokio::test]
async fn a_hook_can_be_looked_at_before_it_is_used() {
    let Source::File(path) = guest("obedient") else { panic!("it is not a file") };
    let inspection = inspect(&Engine::new(options()).unwrap(), std::fs::read(path).unwrap()).await;
    assert!(inspection.can_run, "{inspection}");
    assert_eq!(inspection.worlds, [World::Hook]);
}
