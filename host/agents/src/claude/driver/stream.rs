//! The model's answer as it streams in, matched with the lines that carry its blocks whole.
//!
//! The command prints one `assistant` line for each block, just before the block stops in the stream. A stream can break: then its last blocks
//! are abandoned, and no line carries them. Blocks can also come in lines alone. So a block is completed by its line, or else when the message
//! stops without abandoning it.

use agent_host_session::block::Block;
use agent_host_session::id::{BlockId, ConversationId};
use agent_host_session::ports::agent::Output;
use serde_json::Value;

use super::super::report;
use super::super::wire::{AbandonedBlocks, ApiMessage, ContentBlock, Delta, StreamEvent};
use super::tools::Tools;
use crate::ledger::{Begin, Ledger};

/// The message of the main conversation that streams, or streamed last. (Subagents do not stream.)
#[derive(Default)]
pub(super) struct Stream {
    message: Option<Message>,
}

struct Message {
    id: String,
    model: Option<String>,
    blocks: Vec<Streamed>,
}

struct Streamed {
    index: u64,
    block: BlockId,
    kind: Kind,
    /// A line has carried it whole.
    whole: bool,
}

#[derive(PartialEq)]
enum Kind {
    Text,
    Thinking,
    Tool { id: String, name: String, input_json: String },
}

/// Kinds of blocks that a line is matched with by their order.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Prose {
    Text,
    Thinking,
}

impl Stream {
    /// A piece of the stream.
    pub(super) fn event(&mut self, line: StreamEvent<'_>, ledger: &mut Ledger, tools: &mut Tools, out: &mut Vec<Output>) {
        if line.parent_tool_use_id.is_some() {
            return;
        }
        let event = line.event;
        match (&*event.kind, event.index) {
            ("message_start", _) => {
                self.stop(None, ledger, tools, out);
                self.message = event.message.map(Message::new);
            }
            ("content_block_start", Some(index)) => {
                if let (Some(message), Some(content)) = (&mut self.message, event.content_block) {
                    message.start(index, *content, ledger, tools, out);
                }
            }
            ("content_block_delta", Some(index)) => {
                if let (Some(message), Some(delta)) = (&mut self.message, event.delta) {
                    message.delta(index, delta, ledger, out);
                }
            }
            ("message_stop", _) => self.stop(line.abandoned_blocks, ledger, tools, out),
            // A block that stops is complete once it is known not to be abandoned, when the message stops.
            _ => {}
        }
    }

    /// A line carries the next block of this kind of message `id`: the block, if it streamed.
    pub(super) fn claim(&mut self, id: &str, prose: Prose) -> Option<BlockId> {
        let message = self.message.as_mut().filter(|message| message.id == id)?;
        let streamed = message.blocks.iter_mut().find(|streamed| !streamed.whole && streamed.kind.is(prose))?;
        streamed.whole = true;
        Some(streamed.block.clone())
    }

    /// A line carries the use of a tool.
    pub(super) fn claim_tool(&mut self, tool_use_id: &str) {
        let mut blocks = self.message.iter_mut().flat_map(|message| &mut message.blocks);
        if let Some(streamed) = blocks.find(|streamed| streamed.kind.is_tool(tool_use_id)) {
            streamed.whole = true;
        }
    }

    /// The turn is over; what is open is completed by the ledger.
    pub(super) fn clear(&mut self) {
        self.message = None;
    }

    fn stop(&mut self, abandoned: Option<AbandonedBlocks>, ledger: &mut Ledger, tools: &mut Tools, out: &mut Vec<Output>) {
        let Some(message) = &mut self.message else { return };
        if let Some(abandoned) = abandoned.filter(|abandoned| abandoned.api_message_id == message.id) {
            message.blocks.retain(|streamed| {
                let keep = streamed.index < abandoned.from_block_index;
                if !keep {
                    ledger.remove(&ConversationId::main(), &streamed.block, out);
                    if let Kind::Tool { id, .. } = &streamed.kind {
                        tools.forget(id);
                    }
                }
                keep
            });
        }
        for streamed in message.blocks.iter_mut().filter(|streamed| !streamed.whole) {
            match &streamed.kind {
                Kind::Text | Kind::Thinking => ledger.complete(&streamed.block, |_| {}, out),
                Kind::Tool { id, name, input_json } => {
                    let input = serde_json::from_str(input_json).unwrap_or(Value::Null);
                    tools.run(&ConversationId::main(), id, name, input, ledger, out);
                    streamed.whole = true;
                }
            }
        }
    }
}

impl Message {
    fn new(start: ApiMessage) -> Self {
        Self { id: start.id, model: report::model(start.model), blocks: Vec::new() }
    }

    fn start(&mut self, index: u64, content: ContentBlock, ledger: &mut Ledger, tools: &mut Tools, out: &mut Vec<Output>) {
        let main = ConversationId::main();
        let (block, kind) = match content.kind.as_str() {
            "text" => {
                let begin = Begin::Text { content: content.text.unwrap_or_default(), model: self.model.clone() };
                (ledger.start(&main, begin, out), Kind::Text)
            }
            "thinking" => {
                let begin = Begin::Thinking { content: content.thinking.unwrap_or_default() };
                (ledger.start(&main, begin, out), Kind::Thinking)
            }
            "tool_use" => {
                let (Some(id), Some(name)) = (content.id, content.name) else { return };
                // A use that is there already, in this message or in a subagent's conversation, is not this message's to abandon.
                if self.blocks.iter().any(|streamed| streamed.kind.is_tool(&id)) || tools.conversation(&id).is_some_and(|id| !id.is_main())
                {
                    return;
                }
                (tools.announce(&main, &id, &name, ledger, out), Kind::Tool { id, name, input_json: String::new() })
            }
            _ => return,
        };
        self.blocks.push(Streamed { index, block, kind, whole: false });
    }

    fn delta(&mut self, index: u64, delta: Delta<'_>, ledger: &mut Ledger, out: &mut Vec<Output>) {
        let Some(streamed) = self.blocks.iter_mut().rfind(|streamed| streamed.index == index) else { return };
        match (&*delta.kind, &mut streamed.kind) {
            ("text_delta", Kind::Text) => ledger.delta(&streamed.block, delta.text.unwrap_or_default(), out),
            ("thinking_delta", Kind::Thinking) => ledger.delta(&streamed.block, delta.thinking.unwrap_or_default(), out),
            ("input_json_delta", Kind::Tool { input_json, .. }) => {
                if let Some(piece) = delta.partial_json {
                    input_json.push_str(&piece.0);
                }
            }
            // Signatures and whatever else is not shown.
            _ => {}
        }
    }
}

impl Kind {
    fn is_tool(&self, tool_use_id: &str) -> bool {
        matches!(self, Self::Tool { id, .. } if id == tool_use_id)
    }

    fn is(&self, prose: Prose) -> bool {
        match prose {
            Prose::Text => *self == Self::Text,
            Prose::Thinking => *self == Self::Thinking,
        }
    }
}

/// Puts a line's text into the block that streamed. A line's thinking can be empty: then what streamed stays.
pub(super) fn settle(block: &mut Block, whole: String) {
    match block {
        Block::AssistantText(text) => text.content = whole,
        Block::Thinking(thinking) if !whole.is_empty() => thinking.content = whole,
        _ => {}
    }
}
