//! Everything that can happen to a session.
//!
//! An event is [durable](Event::is_durable) if it goes into the session's event record, from which a reload folds the state again,
//! and [public](Event::is_public) if it gets a sequence number and is seen by clients. A delta is public only: the block that completes carries its text, and what a running one has so far is recorded at each sync.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::block::{Block, BlockUpdate, UserMessage};
use crate::id::{BlockId, ConversationId, Epoch, MessageId};
use crate::message::Message;
use crate::metadata::Metadata;
use crate::path::RelativePath;
use crate::record::{FileInfo, Options};
use crate::time::Timestamp;

/// Something that happened to a session. The JSON form is that of the event record; what clients get is made from it by the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Event {
    /// A block began.
    BlockStarted {
        /// Where it is.
        conversation: ConversationId,
        /// The block as it begins.
        block: Arc<Block>,
    },
    /// Text was appended to a block.
    BlockDelta {
        /// Where the block is.
        conversation: ConversationId,
        /// Which block.
        block_id: BlockId,
        /// The text.
        delta: String,
    },
    /// Something else of a block changed.
    BlockUpdated {
        /// Where the block is.
        conversation: ConversationId,
        /// Which block.
        block_id: BlockId,
        /// What changed.
        update: BlockUpdate,
    },
    /// A block will not change any more.
    BlockCompleted {
        /// Where it is.
        conversation: ConversationId,
        /// The whole block.
        block: Arc<Block>,
    },
    /// A block that had begun was abandoned by the agent, and is no part of the conversation.
    BlockRemoved {
        /// Where it was.
        conversation: ConversationId,
        /// Which block.
        block_id: BlockId,
    },
    /// A subagent was started.
    SubagentDiscovered {
        /// Its conversation.
        id: ConversationId,
        /// What kind of subagent it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// A subagent ended.
    SubagentCompleted {
        /// Its conversation.
        id: ConversationId,
        /// How.
        status: SubagentStatus,
    },
    /// Usage, cost, model or the like have new values.
    MetadataUpdated {
        /// Of which conversation.
        conversation: ConversationId,
        /// The new values.
        metadata: Metadata,
    },
    /// The session's options have changed.
    OptionsUpdated {
        /// All of them.
        options: Options,
    },
    /// A file appeared in the workspace.
    FileCreated {
        /// The file.
        file: FileInfo,
        /// Its contents, if small enough to be told.
        #[serde(skip)]
        content: Option<Bytes>,
    },
    /// A file of the workspace has new contents.
    FileModified {
        /// The file.
        file: FileInfo,
        /// Its contents, if small enough to be told.
        #[serde(skip)]
        content: Option<Bytes>,
    },
    /// A file of the workspace is gone.
    FileDeleted {
        /// The file.
        path: RelativePath,
    },
    /// The session got a sandbox, under the epoch of the line that tells it: whatever was left in another one before is older than what is stored from now on.
    SandboxTaken,
    /// A message is stored and waits for its turn.
    MessageAccepted {
        /// The message.
        message: Message,
    },
    /// A message's turn began.
    TurnStarted {
        /// The message.
        message_id: MessageId,
    },
    /// A message's turn ended.
    TurnEnded {
        /// The message.
        message_id: MessageId,
        /// How.
        outcome: TurnOutcome,
    },
    /// What the session is doing has changed.
    StatusChanged {
        /// What it does now.
        runtime: Runtime,
    },
    /// A hook tells something of its own.
    Emitted {
        /// `hook:`, the hook's name, `:`, and what the hook calls it.
        name: String,
        /// Whatever the hook has to say.
        data: Value,
    },
    /// Something failed that no block tells of.
    Failed {
        /// For programs: `SANDBOX_FAILED`, `STORE_UNAVAILABLE`, …
        code: String,
        /// For people.
        message: String,
    },
}

/// How a subagent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubagentStatus {
    /// It did what it was asked to do.
    Completed,
    /// It failed or was stopped.
    Failed,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnOutcome {
    /// The agent answered.
    Completed,
    /// The user interrupted it.
    Interrupted,
    /// It failed; a block or an event says why.
    Failed,
}

impl TurnOutcome {
    /// Its name, as in JSON, metrics and traces.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

/// What a session is doing. Not stored: a session that is not loaded does nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// Whether a host has it in memory.
    pub is_loaded: bool,
    /// Its sandbox, if there is or was one since it was loaded.
    pub sandbox: Option<SandboxState>,
    /// The message whose turn is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_message_id: Option<MessageId>,
    /// Messages that wait for their turn.
    #[serde(default)]
    pub queued_messages: usize,
}

/// A session's sandbox, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxState {
    /// The provider's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_id: Option<String>,
    /// How it is.
    pub status: SandboxStatus,
    /// For people: what is being done, or what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// How many sandboxes of this session ended unexpectedly since it was loaded.
    pub restart_count: u32,
    /// When it was last known to be well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_health_check: Option<Timestamp>,
}

/// How a sandbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxStatus {
    /// Being made.
    Starting,
    /// The agent in it answers.
    Ready,
    /// It is there but does not do what it should.
    Unhealthy,
    /// It is gone.
    Terminated,
}

impl Event {
    /// The events of a block that begins and is complete at once.
    pub fn whole_block(conversation: ConversationId, block: Block) -> [Self; 2] {
        let block = Arc::new(block);
        [Self::BlockStarted { conversation: conversation.clone(), block: Arc::clone(&block) }, Self::BlockCompleted { conversation, block }]
    }

    /// A message as a block of the main conversation, from the moment on that its turn begins.
    pub(crate) fn said(message: &Message, at: Timestamp) -> [Self; 2] {
        let block = UserMessage { id: message.id.clone().into(), timestamp: at, content: message.content.clone() };
        Self::whole_block(ConversationId::main(), Block::UserMessage(block))
    }

    /// Whether `next` completes the very block that this begins.
    pub(crate) fn is_start_of(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::BlockStarted { block, .. }, Self::BlockCompleted { block: completed, .. }) => Arc::ptr_eq(block, completed),
            _ => false,
        }
    }

    /// The name under which clients and hooks know it.
    pub fn name(&self) -> &str {
        match self {
            Self::BlockStarted { .. } => "session:block:start",
            Self::BlockDelta { .. } => "session:block:delta",
            Self::BlockUpdated { .. } => "session:block:update",
            Self::BlockCompleted { .. } => "session:block:complete",
            Self::BlockRemoved { .. } => "session:block:removed",
            Self::SubagentDiscovered { .. } => "session:subagent:discovered",
            Self::SubagentCompleted { .. } => "session:subagent:completed",
            Self::MetadataUpdated { .. } => "session:metadata:update",
            Self::OptionsUpdated { .. } => "session:options:update",
            Self::FileCreated { .. } => "session:file:created",
            Self::FileModified { .. } => "session:file:modified",
            Self::FileDeleted { .. } => "session:file:deleted",
            Self::StatusChanged { .. } => "session:status",
            Self::Emitted { name, .. } => name,
            Self::Failed { .. } => "error",
            // Never published: the `session:status` after it tells clients what they need to know.
            Self::SandboxTaken | Self::MessageAccepted { .. } | Self::TurnStarted { .. } | Self::TurnEnded { .. } => "session:note",
        }
    }

    /// Whether it goes into the event record.
    pub fn is_durable(&self) -> bool {
        match self {
            Self::BlockStarted { .. }
            | Self::BlockCompleted { .. }
            | Self::BlockRemoved { .. }
            | Self::SubagentDiscovered { .. }
            | Self::SubagentCompleted { .. }
            | Self::MetadataUpdated { .. }
            | Self::OptionsUpdated { .. }
            | Self::FileCreated { .. }
            | Self::FileModified { .. }
            | Self::FileDeleted { .. }
            | Self::SandboxTaken
            | Self::MessageAccepted { .. }
            | Self::TurnStarted { .. }
            | Self::TurnEnded { .. } => true,
            // How long a tool has been running is of no interest later.
            Self::BlockUpdated { update, .. } => update.input.is_some() || update.status.is_some() || update.description.is_some(),
            Self::BlockDelta { .. } | Self::StatusChanged { .. } | Self::Emitted { .. } | Self::Failed { .. } => false,
        }
    }

    /// About how many bytes of memory it holds, for bounds.
    pub fn weight(&self) -> usize {
        // The enum itself and its place in the log; measured sizes are 150 to 250 bytes.
        const FIXED: usize = 256;
        FIXED
            + match self {
                Self::BlockStarted { block, .. } | Self::BlockCompleted { block, .. } => block.weight(),
                Self::BlockDelta { delta, .. } => delta.len(),
                Self::BlockUpdated { update, .. } => update.input.as_ref().map_or(0, json_weight),
                Self::OptionsUpdated { options } => options.iter().map(|(key, value)| key.len() + json_weight(value)).sum(),
                Self::FileCreated { content, .. } | Self::FileModified { content, .. } => content.as_ref().map_or(0, Bytes::len),
                Self::MessageAccepted { message } => message.content.weight(),
                Self::Emitted { name, data } => name.len() + json_weight(data),
                Self::Failed { message, .. } => message.len(),
                Self::MetadataUpdated { metadata, .. } => metadata.weight(),
                Self::BlockRemoved { .. }
                | Self::SubagentDiscovered { .. }
                | Self::SubagentCompleted { .. }
                | Self::FileDeleted { .. }
                | Self::SandboxTaken
                | Self::TurnStarted { .. }
                | Self::TurnEnded { .. }
                | Self::StatusChanged { .. } => 0,
            }
    }

    /// Whether it gets a sequence number and is seen by clients. What is not is told by the [`Event::StatusChanged`] that follows it.
    pub fn is_public(&self) -> bool {
        !matches!(self, Self::SandboxTaken | Self::MessageAccepted { .. } | Self::TurnStarted { .. } | Self::TurnEnded { .. })
    }
}

/// About how many bytes a JSON value holds.
pub(crate) fn json_weight(value: &Value) -> usize {
    const NODE: usize = size_of::<Value>();
    NODE + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(json_weight).sum(),
        Value::Object(fields) => fields.iter().map(|(key, value)| key.len() + json_weight(value)).sum(),
    }
}

/// How deep a JSON value in an event may be nested. Readers of JSON give up at 128 levels, the one of the event record among them, and would leave out the
/// whole event; around a value there are up to ten.
const MAX_DEPTH: usize = 100;

/// Whether a JSON value is nested so deeply that an event with it could not be read again.
pub fn is_too_deep(value: &Value) -> bool {
    fn is_deeper(value: &Value, levels: usize) -> bool {
        let below = |value: &Value| is_deeper(value, levels - 1);
        match value {
            Value::Array(values) => levels == 0 || values.iter().any(below),
            Value::Object(fields) => levels == 0 || fields.values().any(below),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    is_deeper(value, MAX_DEPTH)
}

/// A line of the event record: JSON, ended by a newline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordLine {
    /// When it happened.
    pub at: Timestamp,
    /// Under which epoch.
    pub epoch: Epoch,
    /// What happened.
    pub event: Event,
}
