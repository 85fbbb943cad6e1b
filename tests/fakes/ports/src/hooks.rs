//! Event hooks that decide and keep what they are told to.

use std::sync::Arc;

use agent_host_session::id::SessionId;
use agent_host_session::log::{Published, Stored};
use agent_host_session::message::{Content, Message};
use agent_host_session::ports::hooks::{Batch, Hooks, SessionDraft, ToolDraft, Verdict, Wants};
use agent_host_session::record::Options;
use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::watch;

/// What becomes of batches of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// They are stored at once.
    #[default]
    AtOnce,
    /// They are stored when [`ScriptedHooks::store`] says so.
    Later,
    /// They cannot be stored.
    Never,
}

type Decide<Draft, T> = Mutex<Option<Box<dyn Fn(&Draft) -> Verdict<T> + Send>>>;

/// Hooks that want nothing and allow everything, until told otherwise.
pub struct ScriptedHooks {
    wants: Mutex<Wants>,
    tools: watch::Sender<bool>,
    on_session: Decide<SessionDraft, Options>,
    on_message: Decide<Message, Content>,
    on_tool: Decide<ToolDraft, Map<String, Value>>,
    asked: watch::Sender<Vec<String>>,
    /// How many decisions were given up before they were made.
    withdrawn: Arc<Mutex<usize>>,
    is_held: watch::Sender<bool>,
    keep: Mutex<Keep>,
    events: Mutex<Vec<Arc<Published>>>,
    waiting: Mutex<Vec<Stored>>,
}

impl Default for ScriptedHooks {
    fn default() -> Self {
        Self {
            wants: Mutex::default(),
            tools: watch::Sender::new(false),
            on_session: Mutex::default(),
            on_message: Mutex::default(),
            on_tool: Mutex::default(),
            asked: watch::Sender::default(),
            withdrawn: Arc::default(),
            is_held: watch::Sender::new(false),
            keep: Mutex::default(),
            events: Mutex::default(),
            waiting: Mutex::default(),
        }
    }
}

impl ScriptedHooks {
    /// From now on they decide on new sessions, like this.
    pub fn on_session(&self, decide: impl Fn(&SessionDraft) -> Verdict<Options> + Send + 'static) {
        self.wants.lock().sessions = true;
        *self.on_session.lock() = Some(Box::new(decide));
    }

    /// From now on they decide on messages, like this.
    pub fn on_message(&self, decide: impl Fn(&Message) -> Verdict<Content> + Send + 'static) {
        self.wants.lock().messages = true;
        *self.on_message.lock() = Some(Box::new(decide));
    }

    /// From now on they decide on tools, like this.
    pub fn on_tool(&self, decide: impl Fn(&ToolDraft) -> Verdict<Map<String, Value>> + Send + 'static) {
        *self.on_tool.lock() = Some(Box::new(decide));
        self.tools.send_replace(true);
    }

    /// From now on they do not decide on tools.
    pub fn ignore_tools(&self) {
        self.tools.send_replace(false);
    }

    /// From now on they want events, and this becomes of these.
    pub fn keep(&self, keep: Keep) {
        self.wants.lock().events = true;
        *self.keep.lock() = keep;
    }

    /// From now on they want no events.
    pub fn ignore_events(&self) {
        self.wants.lock().events = false;
    }

    /// From now on decisions take for ever, or not any more.
    pub fn hold(&self, is_held: bool) {
        self.is_held.send_replace(is_held);
    }

    /// All questions so far: the session's architecture, the message's id with the hook that sends it, the tool with its subagent.
    pub fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    /// Waits until so many questions were asked.
    pub async fn wait_asked(&self, count: usize) {
        // The sender is here.
        drop(self.asked.subscribe().wait_for(|asked| asked.len() >= count).await);
    }

    /// How many decisions were given up before they were made.
    pub fn withdrawn(&self) -> usize {
        *self.withdrawn.lock()
    }

    /// All events so far, stored or not.
    pub fn events(&self) -> Vec<Arc<Published>> {
        self.events.lock().clone()
    }

    /// Batches that wait to be stored.
    pub fn waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Stores the batch with this index among those that wait.
    pub fn store(&self, index: usize) {
        let stored = self.waiting.lock().remove(index);
        stored.done();
    }

    async fn ask<Draft, T>(&self, question: String, decide: &Decide<Draft, T>, draft: &Draft) -> Verdict<T> {
        struct Withdrawn(Option<Arc<Mutex<usize>>>);
        impl Drop for Withdrawn {
            fn drop(&mut self) {
                if let Some(count) = &self.0 {
                    *count.lock() += 1;
                }
            }
        }
        self.asked.send_modify(|asked| asked.push(question));
        let mut withdrawn = Withdrawn(Some(Arc::clone(&self.withdrawn)));
        drop(self.is_held.subscribe().wait_for(|is_held| !is_held).await);
        withdrawn.0 = None;
        decide.lock().as_ref().map_or(Verdict::Allow, |decide| decide(draft))
    }
}

#[async_trait]
impl Hooks for ScriptedHooks {
    fn wants(&self) -> Wants {
        *self.wants.lock()
    }

    fn tools(&self) -> watch::Receiver<bool> {
        self.tools.subscribe()
    }

    fn record(&self, batch: Batch) {
        self.events.lock().extend(batch.events);
        match *self.keep.lock() {
            Keep::AtOnce => batch.stored.done(),
            Keep::Later => self.waiting.lock().push(batch.stored),
            Keep::Never => drop(batch.stored),
        }
    }

    async fn before_session(&self, draft: &SessionDraft) -> Verdict<Options> {
        self.ask(draft.architecture.clone(), &self.on_session, draft).await
    }

    async fn before_message(&self, _session: &SessionId, message: &Message, from: Option<&str>) -> Verdict<Content> {
        let from = from.map(|hook| format!(" from {hook}")).unwrap_or_default();
        self.ask(format!("{}{from}", message.id), &self.on_message, message).await
    }

    async fn before_tool_use(&self, draft: &ToolDraft) -> Verdict<Map<String, Value>> {
        self.ask(draft.tool.clone(), &self.on_tool, draft).await
    }
}
