//! The port to the agent programs: how one is started, and a state machine that turns what it prints into events. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::event::{Event, TurnOutcome};
use crate::id::ConversationId;
use crate::message::Message;
use crate::metadata::{Metadata, Usage};
use crate::path::RelativePath;
use crate::ports::environment::Environment;
use crate::ports::hooks::Verdict;
use crate::ports::sandbox::{Command, Exit, File, Layout};
use crate::profile::Profile;
use crate::record::{Options, StreamName};

/// Why an agent cannot be started as asked.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Invalid(pub String);

/// An agent program and the protocol it speaks.
pub trait Architecture: Send + Sync + 'static {
    /// The name that a session is created with.
    fn name(&self) -> &'static str;

    /// Checks a session's options.
    ///
    /// # Errors
    /// Names the option that is unknown or has a bad value.
    fn check_options(&self, options: &Options) -> Result<(), Invalid>;

    /// What to lay down and run, and the driver of what then runs.
    ///
    /// # Errors
    /// If the profile or the options cannot be carried out.
    fn launch(&self, context: LaunchContext<'_>) -> Result<Launch, Invalid>;

    /// Where below the home directory the agent keeps its transcripts itself, if it does.
    fn transcripts(&self, layout: &Layout) -> Option<RelativePath> {
        let _ = layout;
        None
    }

    /// What the agent wrote into its own transcripts after what is stored of them: bytes to be added to streams, whole lines. `files` are those of
    /// [`transcripts`](Self::transcripts), by their paths below the home directory.
    fn recover(
        &self,
        agent_session_id: &str,
        stored: &BTreeMap<StreamName, Bytes>,
        files: &[(RelativePath, Bytes)],
    ) -> BTreeMap<StreamName, Bytes> {
        let _ = (agent_session_id, stored, files);
        BTreeMap::new()
    }

    /// The durable events that fold to the conversation of transcripts from elsewhere, with ids that are the same each time.
    ///
    /// # Errors
    /// If this agent leaves no transcripts, or these hold no conversation.
    fn import(&self, transcripts: &BTreeMap<StreamName, Bytes>) -> Result<Vec<Event>, Invalid>;
}

/// What an agent is started from.
pub struct LaunchContext<'a> {
    /// What the agent is.
    pub profile: &'a Profile,
    /// The session's options.
    pub options: &'a Options,
    /// Where things are in the sandbox.
    pub layout: &'a Layout,
    /// The agent's own name for the session, if it ran before.
    pub agent_session_id: Option<&'a str>,
    /// The transcripts that it left, whole.
    pub transcripts: &'a BTreeMap<StreamName, Bytes>,
    /// Whether the agent is to ask before it uses a tool; [`Driver::ask_tools`] says when that changes.
    pub asks_tools: bool,
    /// Clock and randomness.
    pub environment: Arc<dyn Environment>,
}

/// How to start an agent.
pub struct Launch {
    /// Laid down before it starts. Workspace files that the session already has are not replaced by these.
    pub files: Vec<File>,
    /// The program: one process for the life of the sandbox.
    pub command: Command,
    /// Understands it.
    pub driver: Box<dyn Driver>,
}

/// The host's side of an agent's protocol. It is given what happens, and says what follows by adding to `out`.
///
/// A driver lives as long as one process. It completes or removes each block that it starts before it ends the turn.
pub trait Driver: Send + 'static {
    /// The process has started.
    fn start(&mut self, out: &mut Vec<Output>);

    /// A turn begins. Not called before [`Output::Ready`], nor while another turn runs.
    fn message(&mut self, message: &Message, out: &mut Vec<Output>);

    /// The user wants the running turn to end. Harmless when none runs.
    fn interrupt(&mut self, out: &mut Vec<Output>);

    /// The session's options have changed.
    fn options(&mut self, options: &Options, out: &mut Vec<Output>);

    /// From now on the agent is to ask before it uses a tool, or not any more. [`Output::Outdated`] says that it cannot begin to.
    fn ask_tools(&mut self, ask: bool, out: &mut Vec<Output>);

    /// A question of [`Output::Asked`] is decided. Not called for one that was withdrawn.
    fn decided(&mut self, question: &str, verdict: Verdict<Map<String, Value>>, out: &mut Vec<Output>);

    /// The process printed a line, given without its newline. A line that the driver does not understand is ignored.
    fn line(&mut self, line: &[u8], out: &mut Vec<Output>);

    /// The process has ended. `stderr` is the end of what it printed there.
    fn exit(&mut self, exit: &Exit, stderr: &str, out: &mut Vec<Output>);
}

/// A question whether a tool may be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Names the question while it is open.
    pub question: String,
    /// The subagent that asks; `None` in the main conversation.
    pub subagent: Option<ConversationId>,
    /// The agent's own id of the use, as in the `tool_use` block.
    pub tool_use_id: String,
    /// The tool's name as the agent knows it.
    pub tool: String,
    /// The tool's input.
    pub input: Map<String, Value>,
}

/// What follows from something that happened to an agent.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// To be written to the process's standard input.
    Stdin(Bytes),
    /// The process can take messages. Given once.
    Ready,
    /// The agent asks whether it may use a tool, and waits for [`Driver::decided`].
    Asked(Asked),
    /// The agent does not wait any more for the answer to a question, named by its id. At the end of a turn that holds for all.
    Withdrawn(String),
    /// Blocks and subagents: something to publish as it is.
    Event(Event),
    /// Usage and cost to be added to those of the session.
    Spent {
        /// Tokens.
        usage: Usage,
        /// US dollars.
        cost_usd: f64,
    },
    /// New values of other metadata (`usage` and `cost_usd` are `None`).
    Metadata {
        /// Of which conversation.
        conversation: ConversationId,
        /// The new values.
        metadata: Metadata,
    },
    /// Bytes that the agent added to a transcript.
    Transcript {
        /// Which one.
        stream: StreamName,
        /// The bytes.
        data: Bytes,
    },
    /// The agent has begun a transcript anew: what it adds next is all that is to be kept.
    TranscriptReset {
        /// Which one.
        stream: StreamName,
    },
    /// The agent cannot take over while it runs what it was told: it is started anew before its next turn.
    Outdated,
    /// The turn is over and the agent is idle.
    TurnEnded(TurnOutcome),
}
