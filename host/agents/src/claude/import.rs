//! Blocks from transcripts of `claude` that come from elsewhere, without an event record.
//!
//! A transcript has one line for each block, with the line's UUID and time, from which the block's id is derived: importing twice gives the same.
//! Lines are taken in the order of the file. What the command wrote for itself (`isMeta`, attachments, prompts) is left out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use agent_host_session::block::{Block, ToolStatus};
use agent_host_session::event::{Event, SubagentStatus};
use agent_host_session::id::{BlockId, ConversationId};
use agent_host_session::message::{Content, Part};
use agent_host_session::metadata::{Metadata, Usage};
use agent_host_session::record::StreamName;
use agent_host_session::time::Timestamp;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::report::{self, AgentResult};
use super::transcript;
use super::wire::{self, ContentBlock, ModelUsage};
use crate::ledger::{Begin, elapsed_ms, shown};

/// The durable events that fold to the conversations of these transcripts: blocks, subagents, and what is known of model, usage and cost.
///
/// Lines that are not understood are left out. Streams that are no transcripts are ignored.
pub fn import(transcripts: &BTreeMap<StreamName, Bytes>) -> Vec<Event> {
    let mut import = Import::default();
    for (stream, content) in transcripts {
        if let StreamName::TranscriptSubagent(id) = stream
            && let Some(id) = subagent(id)
        {
            import.introduce(&id, content);
        }
    }
    for (stream, content) in transcripts {
        let conversation = match stream {
            StreamName::Events => continue,
            StreamName::TranscriptMain => ConversationId::main(),
            StreamName::TranscriptSubagent(id) => match subagent(id) {
                Some(id) => id,
                None => continue,
            },
        };
        for line in transcript::lines(content) {
            match serde_json::from_str::<Entry<'_>>(line) {
                // Older versions wrote subagents into the main transcript as well, where their lines cannot be told apart.
                Ok(entry) if conversation.is_main() && entry.is_sidechain => {}
                Ok(entry) => import.entry(&conversation, entry),
                Err(error) => tracing::debug!(bytes = line.len(), %error, "left out a line of a transcript"),
            }
        }
    }
    import.finish()
}

/// A subagent's conversation; `None` if that cannot be its name, or is the main one's.
fn subagent(name: &str) -> Option<ConversationId> {
    ConversationId::new(name).ok().filter(|id| !id.is_main())
}

/// A line of a transcript.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(rename = "type")]
    kind: String,
    subtype: Option<String>,
    uuid: Option<Uuid>,
    timestamp: Option<String>,
    session_id: Option<String>,
    #[serde(default)]
    is_sidechain: bool,
    #[serde(default)]
    is_meta: bool,
    #[serde(default)]
    is_compact_summary: bool,
    #[serde(default)]
    is_api_error_message: bool,
    error: Option<Value>,
    message: Option<EntryMessage>,
    content: Option<Value>,
    #[serde(borrow)]
    tool_use_result: Option<&'a RawValue>,
    agent_type: Option<String>,
    description: Option<String>,
    tool_use_id: Option<String>,
    #[serde(rename = "totalCostUSD")]
    total_cost_usd: Option<f64>,
    model_usage: Option<BTreeMap<String, ModelUsage>>,
}

#[derive(Deserialize)]
struct EntryMessage {
    model: Option<String>,
    #[serde(default, deserialize_with = "wire::blocks")]
    content: Vec<ContentBlock>,
}

#[derive(Default)]
struct Import {
    blocks: Vec<(ConversationId, Block)>,
    /// Where the uses of tools are in `blocks`.
    tools: HashMap<String, usize>,
    subagents: BTreeMap<ConversationId, Introduction>,
    /// By the use of the tool that started it.
    by_tool: HashMap<String, ConversationId>,
    /// The lines that were taken.
    lines: HashSet<Uuid>,
    metadata: Metadata,
    /// The time of the last line, in Unix milliseconds, for one that has none.
    last_millis: i64,
}

/// What is known of a subagent.
#[derive(Default)]
struct Introduction {
    name: Option<String>,
    description: Option<String>,
    /// Where its block is in `blocks`.
    block: Option<usize>,
    /// Where the result of the tool that started it is in `blocks`.
    result: Option<usize>,
}

impl Import {
    /// Reads what a subagent's transcript says of the subagent, which its caller's transcript is to be matched with.
    fn introduce(&mut self, id: &ConversationId, content: &Bytes) {
        let mut introduction = Introduction::default();
        for line in transcript::lines(content).filter(|line| wire::kind(line).is_ok_and(|kind| kind == transcript::METADATA)) {
            let Ok(entry) = serde_json::from_str::<Entry<'_>>(line) else { continue };
            introduction.name = entry.agent_type.or(introduction.name);
            introduction.description = entry.description.or(introduction.description);
            if let Some(tool) = entry.tool_use_id {
                self.by_tool.insert(tool, id.clone());
            }
        }
        self.subagents.insert(id.clone(), introduction);
    }

    fn entry(&mut self, conversation: &ConversationId, entry: Entry<'_>) {
        // A line that is there again is a copy, as forks and resumed sessions make them. Its blocks would have the ids of the first one's.
        if entry.uuid.is_some_and(|uuid| !self.lines.insert(uuid)) {
            return;
        }
        if let Some(at) = entry.timestamp.as_deref().and_then(Timestamp::parse) {
            self.last_millis = at.as_millis();
        }
        if conversation.is_main() {
            self.metadata.agent_session_id = entry.session_id.clone().or(self.metadata.agent_session_id.take());
        }
        match entry.kind.as_str() {
            "user" if !entry.is_meta => self.user(conversation, entry),
            "assistant" => self.assistant(conversation, entry),
            "system" if !entry.is_meta => self.system(conversation, &entry),
            "cost-state" if conversation.is_main() => self.cost(&entry),
            _ => {}
        }
    }

    fn user(&mut self, conversation: &ConversationId, entry: Entry<'_>) {
        let (Some(uuid), Some(message)) = (entry.uuid, entry.message) else { return };
        let agent = entry.tool_use_result.and_then(|result| AgentResult::parse(result.get()));
        let mut said = Vec::new();
        // Where it begins: before it there may be results, which are blocks of their own.
        let mut said_at = None;
        for (index, block) in message.content.into_iter().enumerate() {
            match (block.kind.as_str(), block.tool_use_id, block.text, block.source) {
                ("tool_result", Some(id), ..) => {
                    let is_error = block.is_error.unwrap_or_default();
                    let report = agent.as_ref().and_then(AgentResult::text).filter(|_| !is_error);
                    let output = report.map_or_else(|| report::tool_output(block.content), Into::into);
                    self.result(conversation, (uuid, index), id, output, is_error);
                }
                ("text", _, Some(text), _) if report::is_interruption(&text) => {
                    self.add(conversation, (uuid, index), Begin::Status { message: report::INTERRUPTED.to_owned(), metadata: None });
                }
                ("text", _, Some(text), _) if entry.is_compact_summary => {
                    self.add(conversation, (uuid, index), Begin::Status { message: text, metadata: None });
                }
                ("text", _, Some(text), _) => {
                    said_at.get_or_insert(index);
                    said.extend(typed(text).map(|text| Part::Text { text }));
                }
                ("image", _, _, Some(source)) => {
                    said_at.get_or_insert(index);
                    said.extend(serde_json::from_value(source).ok().map(|source| Part::Image { source }));
                }
                _ => {}
            }
        }
        let content = match <[Part; 1]>::try_from(said) {
            Ok([Part::Text { text }]) => Content::Text(text),
            Ok([image @ Part::Image { .. }]) => Content::Parts(vec![image]),
            Err(parts) if parts.is_empty() => return,
            Err(parts) => Content::Parts(parts),
        };
        self.add(conversation, (uuid, said_at.unwrap_or_default()), Begin::UserMessage { content });
    }

    fn assistant(&mut self, conversation: &ConversationId, entry: Entry<'_>) {
        let (Some(uuid), Some(message)) = (entry.uuid, entry.message) else { return };
        let model = report::model(message.model);
        if conversation.is_main() {
            self.metadata.model = model.clone().or(self.metadata.model.take());
        }
        for (index, block) in message.content.into_iter().enumerate() {
            match (block.kind.as_str(), block.text, block.thinking, block.id, block.name) {
                ("text", Some(message), ..) if entry.is_api_error_message => {
                    let code = entry.error.as_ref().and_then(Value::as_str).map(str::to_owned);
                    self.add(conversation, (uuid, index), Begin::Error { message, code });
                }
                ("text", Some(content), ..) if !content.is_empty() => {
                    self.add(conversation, (uuid, index), Begin::Text { content, model: model.clone() });
                }
                ("thinking", _, Some(content), ..) if !content.is_empty() => {
                    self.add(conversation, (uuid, index), Begin::Thinking { content });
                }
                ("tool_use", _, _, Some(tool_use_id), Some(name)) => {
                    self.tool(conversation, (uuid, index), tool_use_id, name, block.input.unwrap_or_default());
                }
                _ => {}
            }
        }
    }

    fn system(&mut self, conversation: &ConversationId, entry: &Entry<'_>) {
        let Some(uuid) = entry.uuid else { return };
        let text = entry.content.as_ref().and_then(Value::as_str).unwrap_or_default();
        let begin = match entry.subtype.as_deref() {
            Some("compact_boundary") => Begin::Status { message: report::COMPACTED.to_owned(), metadata: None },
            Some("informational") if !text.is_empty() => Begin::Status { message: text.to_owned(), metadata: None },
            Some("local_command") => match between(text, "<local-command-stdout>", "</local-command-stdout>") {
                Some(output) if !output.is_empty() => Begin::Text { content: output.to_owned(), model: None },
                _ => return,
            },
            _ => return,
        };
        self.add(conversation, (uuid, 0), begin);
    }

    /// The whole session's, as the command counted it last.
    fn cost(&mut self, entry: &Entry<'_>) {
        self.metadata.cost_usd = entry.total_cost_usd.or(self.metadata.cost_usd);
        if let Some(models) = &entry.model_usage {
            self.metadata.usage = Some(models.values().map(ModelUsage::tokens).fold(Usage::default(), Usage::plus));
        }
    }

    fn tool(&mut self, conversation: &ConversationId, place: (Uuid, usize), tool_use_id: String, name: String, input: Value) {
        let subagent = self.by_tool.get(&tool_use_id).cloned();
        let description = report::description(&input);
        let position = self.add(conversation, place, Begin::Tool { name, tool_use_id: tool_use_id.clone() });
        if let Some((_, Block::ToolUse(block))) = self.blocks.get_mut(position) {
            block.input = shown(input);
            block.description = description;
            // Until its result shows how it went: without one, it was cut off.
            block.status = ToolStatus::Error;
        }
        self.tools.insert(tool_use_id.clone(), position);
        let Some(id) = subagent else { return };
        let known = self.subagents.get(&id);
        let (name, description) = known.map(|known| (known.name.clone(), known.description.clone())).unwrap_or_default();
        let begin =
            Begin::Subagent { conversation: id.clone(), name, input: json!({"description": description}), tool_use_id: Some(tool_use_id) };
        let (uuid, index) = place;
        let position = self.add_as(conversation, &format!("subagent-{index}"), uuid, begin);
        if let Some((_, Block::Subagent(block))) = self.blocks.get_mut(position) {
            block.status = ToolStatus::Error;
        }
        if let Some(introduction) = self.subagents.get_mut(&id) {
            introduction.block = Some(position);
        }
    }

    fn result(&mut self, conversation: &ConversationId, place: (Uuid, usize), tool_use_id: String, output: Value, is_error: bool) {
        let now = Timestamp::from_millis(self.last_millis);
        let mut duration_ms = None;
        let position = self.tools.get(&tool_use_id).copied();
        if let Some((_, Block::ToolUse(block))) = position.and_then(|position| self.blocks.get_mut(position)) {
            block.status = if is_error { ToolStatus::Error } else { ToolStatus::Success };
            duration_ms = Some(elapsed_ms(block.timestamp, now));
        }
        let subagent = self.by_tool.get(&tool_use_id).and_then(|id| self.subagents.get_mut(id));
        if let Some(introduction) = subagent {
            introduction.result = Some(self.blocks.len());
            let block = introduction.block.and_then(|position| self.blocks.get_mut(position));
            if let Some((_, Block::Subagent(block))) = block {
                block.status = if is_error { ToolStatus::Error } else { ToolStatus::Success };
                block.duration_ms = duration_ms;
            }
        }
        self.add(conversation, place, Begin::ToolResult { tool_use_id, output, is_error, duration_ms });
    }

    fn add(&mut self, conversation: &ConversationId, (uuid, index): (Uuid, usize), begin: Begin) -> usize {
        self.add_as(conversation, &format!("block-{index}"), uuid, begin)
    }

    fn add_as(&mut self, conversation: &ConversationId, name: &str, uuid: Uuid, begin: Begin) -> usize {
        let id = BlockId::from(Uuid::new_v5(&uuid, name.as_bytes()));
        self.blocks.push((conversation.clone(), begin.into_block(id, Timestamp::from_millis(self.last_millis))));
        self.blocks.len() - 1
    }

    /// A subagent's report is the last that it said. The result of its tool wraps it in prose for the model.
    fn report(&mut self) {
        for (id, introduction) in &self.subagents {
            let said = self.blocks.iter().rev().find_map(|(conversation, block)| match block {
                Block::AssistantText(block) if conversation == id => Some(block.content.clone()),
                _ => None,
            });
            let Some(said) = said else { continue };
            if let Some(Block::ToolResult(result)) =
                introduction.result.and_then(|position| self.blocks.get_mut(position)).map(|(_, block)| block)
                && !result.is_error
            {
                result.output = Value::from(said.clone());
            }
            if let Some(Block::Subagent(subagent)) =
                introduction.block.and_then(|position| self.blocks.get_mut(position)).map(|(_, block)| block)
                && subagent.status == ToolStatus::Success
            {
                subagent.output = Some(said);
            }
        }
    }

    fn finish(mut self) -> Vec<Event> {
        self.report();
        let mut events = Vec::with_capacity(self.blocks.len() + 2 * self.subagents.len() + 1);
        for (id, introduction) in &self.subagents {
            events.push(Event::SubagentDiscovered { id: id.clone(), name: introduction.name.clone() });
        }
        let ended: Vec<(ConversationId, SubagentStatus)> = self
            .subagents
            .iter()
            .map(|(id, introduction)| {
                let block = introduction.block.and_then(|position| self.blocks.get(position));
                let failed = matches!(block, Some((_, Block::Subagent(block))) if block.status == ToolStatus::Error);
                (id.clone(), if failed { SubagentStatus::Failed } else { SubagentStatus::Completed })
            })
            .collect();
        events.extend(self.blocks.into_iter().map(|(conversation, block)| Event::BlockCompleted { conversation, block: Arc::new(block) }));
        events.extend(ended.into_iter().map(|(id, status)| Event::SubagentCompleted { id, status }));
        if self.metadata != Metadata::default() {
            events.push(Event::MetadataUpdated { conversation: ConversationId::main(), metadata: self.metadata });
        }
        events
    }
}

/// What the user typed. A slash command is stored as tags; what it printed is told by a line of its own.
fn typed(text: String) -> Option<String> {
    if text.starts_with("<local-command-stdout>") {
        return None;
    }
    if !text.starts_with("<command-name>") && !text.starts_with("<command-message>") {
        return Some(text);
    }
    let name = between(&text, "<command-name>", "</command-name>")?;
    let arguments = between(&text, "<command-args>", "</command-args>").unwrap_or_default();
    Some(format!("{name} {arguments}").trim_end().to_owned())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inside, _)| inside)
}
