//! Blocks: the typed pieces of a conversation. Field names are those that the clients of the earlier system expect.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::event::json_weight;
use crate::id::{BlockId, ConversationId};
use crate::message::Content;
use crate::time::{Timestamp, iso};

/// A piece of a conversation. Its id and timestamp are given when it begins and never change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// What the user said.
    UserMessage(UserMessage),
    /// What the agent said.
    AssistantText(AssistantText),
    /// A tool that the agent uses.
    ToolUse(ToolUse),
    /// What a tool gave back.
    ToolResult(ToolResult),
    /// What the agent thought.
    Thinking(Thinking),
    /// A note about the conversation itself.
    System(System),
    /// A subagent at work; its own blocks are in the conversation that it names.
    Subagent(Subagent),
    /// Something failed.
    Error(ErrorBlock),
}

macro_rules! block_struct {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// Names the block in its session.
            pub id: BlockId,
            /// When it began.
            #[serde(with = "iso")]
            pub timestamp: Timestamp,
            $($(#[$field_doc])* pub $field: $type,)*
        }
    };
}

block_struct!(
    /// What the user said.
    UserMessage {
        /// Text or parts.
        content: Content,
    }
);

block_struct!(
    /// What the agent said.
    AssistantText {
        /// The text so far; Markdown, as agents write it.
        content: String,
        /// The model that said it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    }
);

block_struct!(
    /// A tool that the agent uses.
    ToolUse {
        /// The tool's name as the agent knows it.
        tool_name: String,
        /// The agent's own id of this use, which the result repeats.
        tool_use_id: String,
        /// The tool's input; `null` until it is known.
        input: Value,
        /// How far it is.
        status: ToolStatus,
        /// A name for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        display_name: Option<String>,
        /// What this use is for, in the agent's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    }
);

block_struct!(
    /// What a tool gave back.
    ToolResult {
        /// Which use this answers.
        tool_use_id: String,
        /// Text, or whatever JSON the tool gave.
        output: Value,
        /// Whether the tool failed.
        is_error: bool,
        /// How long the tool ran, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
    }
);

block_struct!(
    /// What the agent thought.
    Thinking {
        /// The text so far.
        content: String,
        /// A short form.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
    }
);

block_struct!(
    /// A note about the conversation itself.
    System {
        /// What kind of note.
        subtype: SystemSubtype,
        /// For people.
        message: String,
        /// For programs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Value>,
    }
);

block_struct!(
    /// A subagent at work.
    Subagent {
        /// The conversation that holds its blocks.
        subagent_id: ConversationId,
        /// What kind of subagent it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// What it was asked to do.
        input: Value,
        /// How far it is.
        status: ToolStatus,
        /// What it reported.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
        /// How long it ran, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
        /// The tool use that started it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tool_use_id: Option<String>,
    }
);

block_struct!(
    /// Something failed.
    ErrorBlock {
        /// For people.
        message: String,
        /// For programs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    }
);

/// How far a tool use or a subagent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    /// Announced; its input is still coming.
    Pending,
    /// At work.
    Running,
    /// Done.
    Success,
    /// Failed, was refused, or was cut off.
    Error,
}

/// The kinds of [`System`] blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemSubtype {
    /// The agent began.
    SessionStart,
    /// The agent ended.
    SessionEnd,
    /// Something failed that is not the answer's own error.
    Error,
    /// Anything worth telling: compaction, an interruption, a refused permission.
    Status,
    /// What a hook of the agent said.
    HookResponse,
    /// What one of the host's hooks has to say; `metadata.hook` names it.
    Hook,
    /// About the agent's login.
    AuthStatus,
}

impl Block {
    /// Names the block in its session.
    pub fn id(&self) -> &BlockId {
        match self {
            Self::UserMessage(block) => &block.id,
            Self::AssistantText(block) => &block.id,
            Self::ToolUse(block) => &block.id,
            Self::ToolResult(block) => &block.id,
            Self::Thinking(block) => &block.id,
            Self::System(block) => &block.id,
            Self::Subagent(block) => &block.id,
            Self::Error(block) => &block.id,
        }
    }

    /// It began and will not go on: a text stays as it is, a tool or a subagent has failed.
    pub fn cut_off(&mut self) {
        match self {
            Self::ToolUse(block) => block.status = ToolStatus::Error,
            Self::Subagent(block) => block.status = ToolStatus::Error,
            Self::UserMessage(_) | Self::AssistantText(_) | Self::ToolResult(_) | Self::Thinking(_) | Self::System(_) | Self::Error(_) => {}
        }
    }

    /// About how many bytes of memory its contents hold.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::UserMessage(block) => block.content.weight(),
            Self::AssistantText(block) => block.content.len(),
            Self::ToolUse(block) => json_weight(&block.input),
            Self::ToolResult(block) => json_weight(&block.output),
            Self::Thinking(block) => block.content.len(),
            Self::System(block) => block.message.len() + block.metadata.as_ref().map_or(0, json_weight),
            Self::Subagent(block) => json_weight(&block.input) + block.output.as_ref().map_or(0, String::len),
            Self::Error(block) => block.message.len(),
        }
    }

    /// Appends a delta's text. Blocks without growing text ignore it.
    pub fn push_text(&mut self, text: &str) {
        match self {
            Self::AssistantText(block) => block.content.push_str(text),
            Self::Thinking(block) => block.content.push_str(text),
            Self::UserMessage(_) | Self::ToolUse(_) | Self::ToolResult(_) | Self::System(_) | Self::Subagent(_) | Self::Error(_) => {}
        }
    }

    /// Applies an update. Fields that the block does not have are ignored.
    pub fn update(&mut self, update: &BlockUpdate) {
        match self {
            Self::ToolUse(block) => {
                if let Some(input) = &update.input {
                    block.input = input.clone();
                }
                if let Some(status) = update.status {
                    block.status = status;
                }
                if let Some(description) = &update.description {
                    block.description = Some(description.clone());
                }
            }
            Self::Subagent(block) => {
                if let Some(status) = update.status {
                    block.status = status;
                }
            }
            Self::UserMessage(_) | Self::AssistantText(_) | Self::ToolResult(_) | Self::Thinking(_) | Self::System(_) | Self::Error(_) => {}
        }
    }
}

/// What changes in a block before it is complete.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockUpdate {
    /// The tool's whole input. It can be `null`, which is not the same as nothing.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ToolStatus>,
    /// What the use is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How long a running tool has taken so far, in milliseconds. Told to clients, not kept in the block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
}

/// A field that is there, be it `null`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_reads_back_as_it_was() {
        for update in [
            BlockUpdate::default(),
            BlockUpdate { input: Some(Value::Null), ..BlockUpdate::default() },
            // Numbers of which a fast reader misses the last digit.
            BlockUpdate { input: Some(serde_json::json!([51.248178375505404, -93.31137037688033])), ..BlockUpdate::default() },
        ] {
            let text = serde_json::to_string(&update).unwrap();
            assert_eq!(serde_json::from_str::<BlockUpdate>(&text).unwrap(), update, "{text}");
        }
    }
}
