//! The port to event hooks: they are told of what happens to sessions, and decide on sessions, messages and uses of tools before these happen.
//!
//! How many hooks there are, in which order they are asked, how long one may take and what its failure means is the affair of whoever implements this: the domain
//! sees one that answers in the end. Questions are asked beside everything else, so that a slow answer delays what it is about and nothing more.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::id::{ConversationId, Epoch, ProfileId, SessionId};
use crate::log::{Published, Stored};
use crate::message::{Content, Message};
use crate::record::Options;

/// All event hooks of a host.
#[async_trait]
pub trait Hooks: Send + Sync + 'static {
    /// What they want now. Asked for with every batch of events, so it must cost nothing.
    fn wants(&self) -> Wants;

    /// Whether one of them decides on uses of tools, now and whenever that changes: an agent is told to ask while it runs.
    fn tools(&self) -> watch::Receiver<bool>;

    /// Takes in events. Called for each published batch of a session, in order, and only while [`Wants::events`]. It must not wait: the batch is kept elsewhere,
    /// and [`Batch::stored`] says when it is safe.
    fn record(&self, batch: Batch);

    /// A session is about to be created.
    async fn before_session(&self, draft: &SessionDraft) -> Verdict<Options>;

    /// A message is about to be accepted. `from` is the hook that sends it, if one does, which is not asked.
    async fn before_message(&self, session: &SessionId, message: &Message, from: Option<&str>) -> Verdict<Content>;

    /// An agent is about to use a tool. Dropped when the answer is of no interest any more.
    async fn before_tool_use(&self, draft: &ToolDraft) -> Verdict<Map<String, Value>>;
}

/// What hooks want, so that nothing is made for nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Events, any of them.
    pub events: bool,
    /// To decide on new sessions.
    pub sessions: bool,
    /// To decide on messages.
    pub messages: bool,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<T> {
    /// It happens.
    Allow,
    /// It happens with this instead: of a session its options, of a message its content, of a tool its input.
    Replace(T),
    /// It does not happen.
    Deny {
        /// Who says so.
        hook: String,
        /// Why, for whoever asked: the client, or the agent.
        reason: String,
    },
}

/// Events of one session that were published together.
#[derive(Debug)]
pub struct Batch {
    /// The session.
    pub session: SessionId,
    /// With it and its number an event is named for ever.
    pub epoch: Epoch,
    /// One at least, in order, without gaps.
    pub events: Vec<Arc<Published>>,
    /// Nobody sees the events before this is told that they are kept.
    pub stored: Stored,
}

/// A session that is about to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionDraft {
    /// Its agent profile.
    pub profile: ProfileId,
    /// Its architecture's name.
    pub architecture: String,
    /// A name for people.
    pub name: Option<String>,
    /// Its options.
    pub options: Options,
}

/// A tool that an agent is about to use.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolDraft {
    /// The session.
    pub session: SessionId,
    /// The subagent that uses it; `None` in the main conversation.
    pub subagent: Option<ConversationId>,
    /// The agent's own id of the use, as in the `tool_use` block.
    pub tool_use_id: String,
    /// The tool's name as the agent knows it.
    pub tool: String,
    /// The tool's input.
    pub input: Map<String, Value>,
}

/// No hooks: everything is allowed and nobody is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

#[async_trait]
impl Hooks for NoHooks {
    fn wants(&self) -> Wants {
        Wants::default()
    }

    fn tools(&self) -> watch::Receiver<bool> {
        // The sender is gone, so the receiver knows that this never changes.
        watch::channel(false).1
    }

    fn record(&self, batch: Batch) {
        batch.stored.done();
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
