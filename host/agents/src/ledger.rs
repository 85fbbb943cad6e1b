//! The blocks that have begun and are not complete. All block events of a driver are made here, so none is left open or completed twice.

use std::sync::Arc;

use agent_host_session::block::{
    AssistantText, Block, BlockUpdate, ErrorBlock, Subagent, System, SystemSubtype, Thinking, ToolResult, ToolStatus, ToolUse, UserMessage,
};
use agent_host_session::event::{Event, is_too_deep};
use agent_host_session::id::{BlockId, ConversationId};
use agent_host_session::message::Content;
use agent_host_session::ports::agent::Output;
use agent_host_session::ports::environment::Environment;
use agent_host_session::time::Timestamp;
use serde_json::Value;

/// The open blocks of one agent process, in the order in which they began.
pub(crate) struct Ledger {
    environment: Arc<dyn Environment>,
    open: Vec<Open>,
}

struct Open {
    conversation: ConversationId,
    block: Block,
}

/// What a new block is, without the id and time that the ledger gives it.
pub(crate) enum Begin {
    UserMessage { content: Content },
    Text { content: String, model: Option<String> },
    Thinking { content: String },
    Tool { name: String, tool_use_id: String },
    ToolResult { tool_use_id: String, output: Value, is_error: bool, duration_ms: Option<u64> },
    Status { message: String, metadata: Option<Value> },
    Subagent { conversation: ConversationId, name: Option<String>, input: Value, tool_use_id: Option<String> },
    Error { message: String, code: Option<String> },
}

impl Ledger {
    pub(crate) fn new(environment: Arc<dyn Environment>) -> Self {
        Self { environment, open: Vec::new() }
    }

    pub(crate) fn environment(&self) -> &dyn Environment {
        &*self.environment
    }

    /// A block begins and stays open.
    pub(crate) fn start(&mut self, conversation: &ConversationId, begin: Begin, out: &mut Vec<Output>) -> BlockId {
        let block = begin.into_block(self.environment.uuid().into(), self.environment.now());
        let id = block.id().clone();
        out.push(Output::Event(Event::BlockStarted { conversation: conversation.clone(), block: Arc::new(block.clone()) }));
        self.open.push(Open { conversation: conversation.clone(), block });
        id
    }

    /// A block that is whole from the beginning.
    pub(crate) fn add(&mut self, conversation: &ConversationId, begin: Begin, out: &mut Vec<Output>) {
        let id = self.start(conversation, begin, out);
        self.complete(&id, |_| {}, out);
    }

    /// Text is appended to an open block.
    pub(crate) fn delta(&mut self, id: &BlockId, delta: String, out: &mut Vec<Output>) {
        if delta.is_empty() {
            return;
        }
        if let Some(open) = self.find(id) {
            open.block.push_text(&delta);
            out.push(Output::Event(Event::BlockDelta { conversation: open.conversation.clone(), block_id: id.clone(), delta }));
        }
    }

    /// Something else of an open block changes.
    pub(crate) fn update(&mut self, id: &BlockId, update: BlockUpdate, out: &mut Vec<Output>) {
        let update = BlockUpdate { input: update.input.map(shown), ..update };
        if let Some(open) = self.find(id) {
            open.block.update(&update);
            out.push(Output::Event(Event::BlockUpdated { conversation: open.conversation.clone(), block_id: id.clone(), update }));
        }
    }

    /// An open block is whole once `finish` has changed it. Nothing happens if it is not open.
    pub(crate) fn complete(&mut self, id: &BlockId, finish: impl FnOnce(&mut Block), out: &mut Vec<Output>) {
        let Some(position) = self.open.iter().rposition(|open| open.block.id() == id) else { return };
        let Open { conversation, mut block } = self.open.remove(position);
        finish(&mut block);
        out.push(Output::Event(Event::BlockCompleted { conversation, block: Arc::new(block) }));
    }

    /// A block, open or complete, turns out to be no part of the conversation.
    pub(crate) fn remove(&mut self, conversation: &ConversationId, id: &BlockId, out: &mut Vec<Output>) {
        self.open.retain(|open| open.block.id() != id);
        out.push(Output::Event(Event::BlockRemoved { conversation: conversation.clone(), block_id: id.clone() }));
    }

    /// Whatever is open will not go on: texts stay as they are, tools and subagents have failed.
    pub(crate) fn complete_all(&mut self, out: &mut Vec<Output>) {
        for Open { conversation, mut block } in self.open.drain(..) {
            block.cut_off();
            out.push(Output::Event(Event::BlockCompleted { conversation, block: Arc::new(block) }));
        }
    }

    fn find(&mut self, id: &BlockId) -> Option<&mut Open> {
        // From the end: what changes is nearly always what began last.
        self.open.iter_mut().rfind(|open| open.block.id() == id)
    }
}

impl Begin {
    /// The block with its id and time.
    pub(crate) fn into_block(self, id: BlockId, timestamp: Timestamp) -> Block {
        match self {
            Self::UserMessage { content } => Block::UserMessage(UserMessage { id, timestamp, content }),
            Self::Text { content, model } => Block::AssistantText(AssistantText { id, timestamp, content, model }),
            Self::Thinking { content } => Block::Thinking(Thinking { id, timestamp, content, summary: None }),
            Self::Tool { name, tool_use_id } => Block::ToolUse(ToolUse {
                id,
                timestamp,
                tool_name: name,
                tool_use_id,
                input: Value::Null,
                status: ToolStatus::Pending,
                display_name: None,
                description: None,
            }),
            Self::ToolResult { tool_use_id, output, is_error, duration_ms } => {
                Block::ToolResult(ToolResult { id, timestamp, tool_use_id, output: shown(output), is_error, duration_ms })
            }
            Self::Status { message, metadata } => {
                Block::System(System { id, timestamp, subtype: SystemSubtype::Status, message, metadata })
            }
            Self::Subagent { conversation, name, input, tool_use_id } => Block::Subagent(Subagent {
                id,
                timestamp,
                subagent_id: conversation,
                name,
                input,
                status: ToolStatus::Running,
                output: None,
                duration_ms: None,
                tool_use_id,
            }),
            Self::Error { message, code } => Block::Error(ErrorBlock { id, timestamp, message, code }),
        }
    }
}

/// A value as it is shown: one that is nested too deeply for those who read it stands there as text.
pub(crate) fn shown(value: Value) -> Value {
    if is_too_deep(&value) { Value::from(value.to_string()) } else { value }
}

/// Milliseconds from `since` to `now`; zero if the clock went back.
pub(crate) fn elapsed_ms(since: Timestamp, now: Timestamp) -> u64 {
    now.as_millis().saturating_sub(since.as_millis()).try_into().unwrap_or(0)
}
