use std::cell::{Cell, RefCell};

use serde_json::json;

use super::*;
use crate::sessions::State;

/// One session, of the id `s`, and what was done to it.
#[derive(Default)]
struct Session {
    metadata: RefCell<Value>,
    is_running: Cell<bool>,
    done: RefCell<Vec<String>>,
    /// Fails when this is to be done.
    failing: RefCell<Option<(&'static str, Error)>>,
}

impl Session {
    fn does(&self, what: &str) -> Result<()> {
        if let Some((failing, error)) = &*self.failing.borrow()
            && what.starts_with(failing)
        {
            return Err(error.clone());
        }
        self.done.borrow_mut().push(what.to_owned());
        Ok(())
    }
}

impl Sessions for &Session {
    fn state(&self, session: &str) -> Result<State> {
        if let Some(("state", error)) = &*self.failing.borrow() {
            return Err(error.clone());
        }
        match session {
            "s" => {}
            "away" => return Err(Error::unavailable("the store is away")),
            _ => return Err(Error::NotFound(session.to_owned())),
        }
        Ok(State { metadata: self.metadata.borrow().to_string(), is_running: self.is_running.get() })
    }

    fn interrupt(&self, _session: &str) -> Result<bool> {
        self.does("interrupt")?;
        Ok(self.is_running.take())
    }

    fn set_metadata(&self, _session: &str, key: &str, value: &str) -> Result<()> {
        self.does(&format!("set {key} {value}"))?;
        self.metadata.borrow_mut()["hooks"] = json!({"the-guard": {key: serde_json::from_str::<Value>(value).unwrap()}});
        Ok(())
    }

    fn note(&self, _session: &str, text: &str) -> Result<()> {
        self.does(&format!("note {text}"))
    }
}

fn session(cost: f64, is_running: bool) -> Session {
    Session { metadata: RefCell::new(json!({"costUSD": cost})), is_running: Cell::new(is_running), ..Session::default() }
}

fn policy<'a>(config: &[(&str, &str)], session: &'a Session) -> Policy<&'a Session> {
    Policy::new(&self::config(config), session).unwrap()
}

fn config(entries: &[(&str, &str)]) -> Config {
    Config::new(entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

fn event(session: &str, name: &str, data: Value) -> Event {
    Event { session: session.to_owned(), epoch: 1, seq: 1, name: name.to_owned(), data: data.to_string() }
}

fn costs() -> Event {
    event("s", METADATA, json!({"metadata": {"costUSD": 6}}))
}

fn message(content: Value) -> MessageDraft {
    MessageDraft { session: "s".to_owned(), id: "m".to_owned(), content: content.to_string() }
}

fn tool(tool: &str, input: Value) -> ToolDraft {
    let (session, tool_use_id) = ("s".to_owned(), "t".to_owned());
    ToolDraft { session, subagent: None, tool_use_id, tool: tool.to_owned(), input: input.to_string() }
}

fn denial(verdict: Result<Verdict>) -> String {
    match verdict {
        Ok(Verdict::Deny(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

const BUDGET: &[(&str, &str)] = &[("max_cost_usd", "5")];

#[test]
fn tools_are_denied_by_rules_with_their_reason() {
    let session = session(0.0, true);
    let policy = policy(&[("deny_tools", "WebFetch\nBash.command: git push")], &session);
    let reason = denial(policy.before_tool_use(&tool("Bash", json!({"command": "git push -f"}))));
    assert!(reason.contains("`Bash.command: git push`"), "{reason}");
    assert_eq!(policy.before_tool_use(&tool("Bash", json!({"command": "git pull"}))), Ok(Verdict::Allow));
    denial(policy.before_tool_use(&tool("WebFetch", json!({}))));
}

#[test]
fn an_agent_does_not_write_the_files_that_command_it_unless_it_may() {
    let session = session(0.0, true);
    let write = tool("Write", json!({"file_path": "/workspace/.claude/settings.json", "content": "{}"}));
    let reason = denial(policy(&[], &session).before_tool_use(&write));
    assert!(reason.contains("/workspace/.claude/settings.json"), "{reason}");
    let unprotected = policy(&[("protect_agent_files", "false"), ("deny_tools", "Bash")], &session);
    assert_eq!(unprotected.before_tool_use(&write), Ok(Verdict::Allow));
}

#[test]
fn messages_are_denied_by_their_text_whatever_their_form() {
    let session = session(0.0, false);
    let policy = policy(&[("deny_messages", "one\n(?s)sec.ret")], &session);
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "one"}});
    let parts = json!([{"type": "text", "text": "sec"}, image, {"type": "text", "text": "ret"}]);
    for content in [json!("a sec-ret"), parts] {
        let reason = denial(policy.before_message(&message(content)));
        assert!(reason.contains("rule 2"), "{reason}");
    }
    assert_eq!(policy.before_message(&message(json!([image]))), Ok(Verdict::Allow));
    assert!(policy.before_message(&message(json!({}))).is_err(), "what cannot be read is not allowed");
}

#[test]
fn a_session_that_has_used_its_budget_gets_no_messages_and_no_tools() {
    for (cost, is_denied) in [(4.99, false), (5.0, true)] {
        let session = session(cost, false);
        let policy = policy(BUDGET, &session);
        let (message, tool) = (policy.before_message(&message(json!("go on"))), policy.before_tool_use(&tool("Read", json!({}))));
        if is_denied {
            assert!(denial(message).contains("it may cost 5.00 US dollars, and has cost 5.00"));
            assert!(denial(tool).contains("tell the user"));
        } else {
            assert_eq!((message, tool), (Ok(Verdict::Allow), Ok(Verdict::Allow)));
        }
    }
}

#[test]
fn what_cannot_be_known_is_an_error_which_denies() {
    let session = session(0.0, false);
    let policy = policy(BUDGET, &session);
    session.failing.replace(Some(("state", Error::unavailable("the store is away"))));
    assert!(policy.before_message(&message(json!("hello"))).is_err());
    assert!(policy.before_tool_use(&tool("Read", json!({}))).is_err());
    assert_eq!(policy.info().on_failure, agent_host_hook::OnFailure::Deny);
}

#[test]
fn a_used_budget_ends_the_turn_and_is_told_once() {
    let session = session(6.0, true);
    policy(BUDGET, &session).on_events(&[costs(), costs()]).unwrap();
    let note = "note This session has used its budget: it may cost 5.00 US dollars, and has cost 6.00 US dollars. \
        The running turn was interrupted; further messages and tools are denied.";
    assert_eq!(*session.done.borrow(), ["interrupt", r#"set toldOfBudget {"maxCostUSD":5.0}"#, note]);
    session.done.take();
    policy(BUDGET, &session).on_events(&[costs()]).unwrap();
    assert!(session.done.borrow().is_empty(), "a repeat, in another instance");
    session.is_running.set(true);
    policy(BUDGET, &session).on_events(&[event("s", STATUS, json!({"runtime": {"runningMessageId": "m2"}}))]).unwrap();
    assert_eq!(*session.done.borrow(), ["interrupt"], "the next message's turn");
    session.metadata.borrow_mut()["costUSD"] = json!(8);
    session.done.take();
    policy(&[("max_cost_usd", "7")], &session).on_events(&[costs()]).unwrap();
    assert_eq!(session.done.borrow().len(), 2, "another budget is told again");
}

#[test]
fn nothing_is_done_to_a_session_within_its_budget_or_without_news() {
    let within = session(4.0, true);
    policy(BUDGET, &within).on_events(&[costs()]).unwrap();
    let beyond = session(6.0, true);
    let idle = event("s", STATUS, json!({"runtime": {"queuedMessages": 0}}));
    policy(BUDGET, &beyond).on_events(&[idle, event("deleted", METADATA, json!({}))]).unwrap();
    assert!(within.done.borrow().is_empty() && beyond.done.borrow().is_empty());
}

#[test]
fn what_is_not_told_is_not_kept_as_told() {
    let session = session(6.0, false);
    let policy = policy(BUDGET, &session);
    session.failing.replace(Some(("note", Error::unavailable("busy"))));
    let error = policy.on_events(&[costs()]).unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("\"s\"") && text.contains("busy")), "{error:?}");
    session.failing.take();
    policy.on_events(&[costs()]).unwrap();
    let done = session.done.borrow();
    assert!(done[1] == "set toldOfBudget null" && done[3].starts_with("note "), "{done:?}");
    assert!(done[3].ends_with("Further messages and tools are denied."), "{done:?}");
}

#[test]
fn a_session_that_can_never_be_told_does_not_hold_up_the_others() {
    let session = session(6.0, false);
    session.failing.replace(Some(("set", Error::invalid("the metadata is full"))));
    policy(BUDGET, &session).on_events(&[costs()]).unwrap();
    assert!(session.done.borrow().is_empty(), "and it is not told again and again");
}

#[test]
fn a_session_that_cannot_be_looked_at_now_does_not_delay_the_others() {
    let session = session(6.0, true);
    let error = policy(BUDGET, &session).on_events(&[event("away", METADATA, json!({})), costs()]).unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("\"away\"")), "{error:?}");
    assert_eq!(session.done.borrow().first().map(String::as_str), Some("interrupt"));
}

#[test]
fn it_asks_for_what_it_needs_and_no_more() {
    let session = session(0.0, false);
    let asks = |config: &[(&str, &str)]| {
        let info = policy(config, &session).info();
        (info.events.len(), info.decisions)
    };
    let (messages, tools) = (Decisions::BEFORE_MESSAGE, Decisions::BEFORE_TOOL_USE);
    assert_eq!(asks(&[]), (0, tools));
    assert_eq!(asks(BUDGET), (2, messages | tools));
    assert_eq!(asks(&[("protect_agent_files", "false"), ("deny_messages", "x")]), (0, messages));
    for wrong in [&[("protect_agent_files", "false")][..], &[("protect_agent_files", "no")], &[("deny", "x")], &[("deny_tools", "(: x (")]]
    {
        assert!(matches!(Policy::new(&config(wrong), &session).map(drop), Err(Error::Invalid(_))), "{wrong:?}");
    }
}
