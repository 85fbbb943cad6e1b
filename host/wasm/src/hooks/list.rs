//! All enabled hooks, in the configured order, as the sessions see them.

use std::fmt;
use std::sync::{Arc, Weak};

use agent_host_session::id::SessionId;
use agent_host_session::message::{Content, Message};
use agent_host_session::ports::hooks::{Batch, Hooks as HooksPort, SessionDraft, ToolDraft, Verdict, Wants};
use agent_host_session::record::Options;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::control::{Control, Controller};
use super::decision::{self, Question};
use super::hook::Hook;

/// Where events are kept until hooks have been told of them.
pub trait Sink: Send + Sync + 'static {
    /// Whether there is anybody to keep events for: also hooks that are disabled at the moment. Must cost nothing.
    fn is_wanted(&self) -> bool;

    /// Takes in a batch, and says by its [`stored`](Batch::stored) when it is safe. Must not wait.
    fn record(&self, batch: Batch);
}

/// All enabled hooks.
pub struct Hooks {
    list: ArcSwap<List>,
    tools: watch::Sender<bool>,
    sink: Arc<dyn Sink>,
    controller: Controller,
}

struct List {
    hooks: Arc<[Arc<Hook>]>,
    sessions: bool,
    messages: bool,
}

impl List {
    fn new(hooks: Arc<[Arc<Hook>]>) -> Self {
        let any = |wants: fn(&Hook) -> bool| hooks.iter().any(|hook| wants(hook));
        let (sessions, messages) = (any(|hook| hook.info().sessions), any(|hook| hook.info().messages));
        Self { hooks, sessions, messages }
    }
}

impl Hooks {
    /// No hooks yet. What those that come want to know goes to `sink`.
    pub fn new(sink: Arc<dyn Sink>) -> Arc<Self> {
        let list = ArcSwap::from_pointee(List::new(Arc::new([])));
        Arc::new(Self { list, tools: watch::Sender::new(false), sink, controller: Controller::default() })
    }

    /// What a hook is started with.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// Lets hooks do something to sessions, on the threads of the caller. Until then what they want to do is refused as `unavailable`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(&self, control: Weak<dyn Control>) {
        self.controller.connect(control);
    }

    /// Puts these in the place of those that there are; they are asked in this order. Questions that are being asked go on with those before.
    pub fn set(&self, hooks: impl IntoIterator<Item = Arc<Hook>>) {
        let hooks: Arc<[Arc<Hook>]> = hooks.into_iter().collect();
        let tools = hooks.iter().any(|hook| hook.info().tools);
        self.list.store(Arc::new(List::new(hooks)));
        self.tools.send_if_modified(|before| std::mem::replace(before, tools) != tools);
    }

    /// The enabled hooks, in order.
    pub fn list(&self) -> Arc<[Arc<Hook>]> {
        Arc::clone(&self.list.load().hooks)
    }

    /// Asks one after the other: the first that denies has the last word, and what one replaces the next one sees.
    async fn ask<Q: Question>(&self, question: serde_json::Result<Q>, from: Option<&str>) -> Verdict<Q::Subject> {
        let mut question = match question {
            Ok(question) => question,
            Err(error) => return unspeakable(&error),
        };
        let mut verdict = Verdict::Allow;
        for hook in self.list().iter().filter(|hook| hook.takes(Q::DECISION) && from != Some(hook.name().as_str())) {
            match hook.decide(&question).await {
                Verdict::Allow => {}
                Verdict::Replace(subject) => {
                    match serde_json::to_string(&subject) {
                        Ok(json) => *question.subject() = json,
                        Err(error) => return unspeakable(&error),
                    }
                    verdict = Verdict::Replace(subject);
                }
                denied @ Verdict::Deny { .. } => return denied,
            }
        }
        verdict
    }
}

/// Only a map with keys that are not text could not be written, and there is none.
fn unspeakable<T>(error: &serde_json::Error) -> Verdict<T> {
    tracing::error!(%error, "a question to hooks cannot be written as JSON");
    Verdict::Deny { hook: "host".to_owned(), reason: "the host failed to ask its hooks".to_owned() }
}

#[async_trait]
impl HooksPort for Hooks {
    fn wants(&self) -> Wants {
        let list = self.list.load();
        Wants { events: self.sink.is_wanted(), sessions: list.sessions, messages: list.messages }
    }

    fn tools(&self) -> watch::Receiver<bool> {
        self.tools.subscribe()
    }

    fn record(&self, batch: Batch) {
        self.sink.record(batch);
    }

    async fn before_session(&self, draft: &SessionDraft) -> Verdict<Options> {
        self.ask(decision::session(draft), None).await
    }

    async fn before_message(&self, session: &SessionId, message: &Message, from: Option<&str>) -> Verdict<Content> {
        self.ask(decision::message(session, message), from).await
    }

    async fn before_tool_use(&self, draft: &ToolDraft) -> Verdict<Map<String, Value>> {
        self.ask(decision::tool_use(draft), None).await
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.list().iter()).finish()
    }
}
