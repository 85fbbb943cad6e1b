//! Uses of tools, from their announcement to their result.

use std::collections::HashMap;

use agent_host_session::block::{Block, BlockUpdate, ToolStatus};
use agent_host_session::id::{BlockId, ConversationId};
use agent_host_session::ports::agent::Output;
use agent_host_session::time::Timestamp;
use serde_json::Value;

use super::super::report;
use crate::ledger::{Begin, Ledger, elapsed_ms};

/// The uses of tools that have no result yet, by the agent's own id of them.
#[derive(Default)]
pub(super) struct Tools {
    open: HashMap<String, Tool>,
}

struct Tool {
    block: BlockId,
    conversation: ConversationId,
    running_since: Option<Timestamp>,
    /// What the host's hooks put in the place of the input.
    replaced: Option<Value>,
}

impl Tools {
    /// The model begins to write the tool's input.
    pub(super) fn announce(
        &mut self,
        conversation: &ConversationId,
        id: &str,
        name: &str,
        ledger: &mut Ledger,
        out: &mut Vec<Output>,
    ) -> BlockId {
        if let Some(tool) = self.open.get(id) {
            return tool.block.clone();
        }
        let block = ledger.start(conversation, Begin::Tool { name: name.to_owned(), tool_use_id: id.to_owned() }, out);
        let tool = Tool { block: block.clone(), conversation: conversation.clone(), running_since: None, replaced: None };
        self.open.insert(id.to_owned(), tool);
        block
    }

    /// The input is whole, and the tool runs.
    pub(super) fn run(
        &mut self,
        conversation: &ConversationId,
        id: &str,
        name: &str,
        input: Value,
        ledger: &mut Ledger,
        out: &mut Vec<Output>,
    ) {
        let block = self.announce(conversation, id, name, ledger, out);
        let mut input = input;
        if let Some(tool) = self.open.get_mut(id) {
            tool.running_since = Some(ledger.environment().now());
            input = tool.replaced.clone().unwrap_or(input);
        }
        let description = report::description(&input);
        ledger.update(&block, BlockUpdate { input: Some(input), status: Some(ToolStatus::Running), description, elapsed_ms: None }, out);
    }

    /// The tool gets another input than the model gave it. That may be decided before the model's own is told.
    pub(super) fn replace(
        &mut self,
        conversation: &ConversationId,
        id: &str,
        name: &str,
        input: Value,
        ledger: &mut Ledger,
        out: &mut Vec<Output>,
    ) {
        let block = self.announce(conversation, id, name, ledger, out);
        if let Some(tool) = self.open.get_mut(id) {
            tool.replaced = Some(input.clone());
        }
        let description = report::description(&input);
        ledger.update(&block, BlockUpdate { input: Some(input), status: None, description, elapsed_ms: None }, out);
    }

    /// The tool takes long.
    pub(super) fn progress(&self, id: &str, elapsed_ms: u64, ledger: &mut Ledger, out: &mut Vec<Output>) {
        if let Some(tool) = self.open.get(id) {
            ledger.update(&tool.block, BlockUpdate { elapsed_ms: Some(elapsed_ms), ..BlockUpdate::default() }, out);
        }
    }

    /// The tool is done. A result whose use is not known (of a turn that was cut off and resumed) is shown alone.
    pub(super) fn finish(
        &mut self,
        conversation: &ConversationId,
        id: &str,
        output: Value,
        is_error: bool,
        ledger: &mut Ledger,
        out: &mut Vec<Output>,
    ) {
        let tool = self.open.remove(id);
        if let Some(tool) = &tool {
            let status = if is_error { ToolStatus::Error } else { ToolStatus::Success };
            let finish = |block: &mut Block| {
                if let Block::ToolUse(block) = block {
                    block.status = status;
                }
            };
            ledger.complete(&tool.block, finish, out);
        }
        let now = ledger.environment().now();
        let duration_ms = tool.as_ref().and_then(|tool| tool.running_since).map(|since| elapsed_ms(since, now));
        let conversation = tool.as_ref().map_or(conversation, |tool| &tool.conversation);
        ledger.add(conversation, Begin::ToolResult { tool_use_id: id.to_owned(), output, is_error, duration_ms }, out);
    }

    /// The conversation in which the tool is used.
    pub(super) fn conversation(&self, id: &str) -> Option<&ConversationId> {
        self.open.get(id).map(|tool| &tool.conversation)
    }

    /// The tool's block was abandoned.
    pub(super) fn forget(&mut self, id: &str) {
        self.open.remove(id);
    }

    /// The turn is over; what is open is completed by the ledger.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }
}
