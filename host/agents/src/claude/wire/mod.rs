//! The lines that the `claude` command prints, as far as the driver reads them.
//!
//! Every field that is not needed is left out and nearly every field is optional, so that a newer version of the command breaks as little as
//! possible. What is large or frequent borrows from the line.

mod system;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use agent_host_session::metadata::Usage;
use serde::de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

pub(in crate::claude) use self::system::*;

/// A line, by its `type`.
#[derive(Debug)]
pub(in crate::claude) enum Line<'a> {
    Stream(StreamEvent<'a>),
    Assistant(Assistant),
    User(User<'a>),
    System(System),
    Result(Box<TurnResult>),
    ToolProgress(ToolProgress),
    Lifecycle(Lifecycle),
    Mirror(Mirror<'a>),
    ConversationReset,
    ControlRequest(ControlRequest<'a>),
    ControlCancel(ControlCancel),
    ControlResponse(ControlResponse),
    Unknown,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

/// The `type` of a JSON line.
pub(in crate::claude) fn kind(line: &str) -> serde_json::Result<Cow<'_, str>> {
    serde_json::from_str::<Head<'_>>(line).map(|head| head.kind)
}

/// Reads a line. The type stands anywhere in it (in a `result` it comes late), so that it is looked for first.
pub(in crate::claude) fn parse(line: &str) -> serde_json::Result<Line<'_>> {
    Ok(match &*kind(line)? {
        "stream_event" => Line::Stream(serde_json::from_str(line)?),
        "assistant" => Line::Assistant(serde_json::from_str(line)?),
        "user" => Line::User(serde_json::from_str(line)?),
        "system" => Line::System(System::parse(line)?),
        // A result of a shape that is not understood still ends the turn: nothing else would.
        "result" => Line::Result(serde_json::from_str(line).unwrap_or_default()),
        "tool_progress" => Line::ToolProgress(serde_json::from_str(line)?),
        "command_lifecycle" => Line::Lifecycle(serde_json::from_str(line)?),
        "transcript_mirror" => Line::Mirror(serde_json::from_str(line)?),
        "conversation_reset" => Line::ConversationReset,
        "control_request" => Line::ControlRequest(serde_json::from_str(line)?),
        "control_cancel_request" => Line::ControlCancel(serde_json::from_str(line)?),
        "control_response" => Line::ControlResponse(serde_json::from_str(line)?),
        _ => Line::Unknown,
    })
}

/// A piece of the model's answer as it comes.
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct StreamEvent<'a> {
    #[serde(borrow)]
    pub event: ApiEvent<'a>,
    /// Seen on the main conversation only, where it is null.
    pub parent_tool_use_id: Option<String>,
    pub abandoned_blocks: Option<AbandonedBlocks>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct ApiEvent<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    pub message: Option<ApiMessage>,
    pub index: Option<u64>,
    /// Boxed, as most events are deltas and have none.
    pub content_block: Option<Box<ContentBlock>>,
    #[serde(borrow)]
    pub delta: Option<Delta<'a>>,
}

/// The start of a message in a stream.
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct ApiMessage {
    pub id: String,
    pub model: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct Delta<'a> {
    #[serde(borrow, default, rename = "type")]
    pub kind: Cow<'a, str>,
    pub text: Option<String>,
    pub thinking: Option<String>,
    #[serde(borrow)]
    pub partial_json: Option<Text<'a>>,
}

/// A string that borrows where it can. (In an `Option`, a bare `Cow` would not.)
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// Blocks that came in a stream that broke.
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct AbandonedBlocks {
    pub api_message_id: String,
    pub from_block_index: u64,
}

/// Content of the model's answer, whole.
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct Assistant {
    pub message: AssistantMessage,
    pub parent_tool_use_id: Option<String>,
    pub agent_id: Option<String>,
    pub subagent_type: Option<String>,
    pub task_description: Option<String>,
    #[serde(default)]
    pub is_api_error_message: bool,
    pub error: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct AssistantMessage {
    pub id: String,
    pub model: Option<String>,
    #[serde(default, deserialize_with = "blocks")]
    pub content: Vec<ContentBlock>,
}

/// What goes to the model in the user's name: tool results, prompts of subagents, notes of the command itself.
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct User<'a> {
    pub message: UserMessage,
    pub parent_tool_use_id: Option<String>,
    pub agent_id: Option<String>,
    pub subagent_type: Option<String>,
    pub task_description: Option<String>,
    /// An echo of what was written to standard input.
    #[serde(default, rename = "isReplay")]
    pub is_replay: bool,
    #[serde(default, rename = "isSynthetic")]
    pub is_synthetic: bool,
    /// The tool's result in a form of its own.
    #[serde(borrow)]
    pub tool_use_result: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct UserMessage {
    #[serde(default, deserialize_with = "blocks")]
    pub content: Vec<ContentBlock>,
}

/// A block in the form of the Anthropic Messages API; which fields there are depends on the type.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::claude) struct ContentBlock {
    #[serde(rename = "type")]
    pub kind: String,
    pub text: Option<String>,
    pub thinking: Option<String>,
    pub id: Option<String>,
    pub name: Option<String>,
    pub input: Option<Value>,
    pub tool_use_id: Option<String>,
    pub content: Option<Value>,
    pub is_error: Option<bool>,
    /// Of an image.
    pub source: Option<Value>,
}

/// Content is a list of blocks, or a string that stands for one block of text.
pub(in crate::claude) fn blocks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ContentBlock>, D::Error> {
    struct Blocks;

    impl<'de> Visitor<'de> for Blocks {
        type Value = Vec<ContentBlock>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string or a list of blocks")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            self.visit_string(text.to_owned())
        }

        fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
            Ok(vec![ContentBlock { kind: "text".to_owned(), text: Some(text), ..ContentBlock::default() }])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, blocks: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(blocks))
        }
    }

    deserializer.deserialize_any(Blocks)
}

/// The end of a turn, if no background task begins another one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::claude) struct TurnResult {
    pub subtype: String,
    /// Also with the subtype `success`: that is how errors of the API end.
    pub is_error: bool,
    pub terminal_reason: Option<String>,
    pub result: Option<String>,
    pub errors: Option<Vec<String>>,
    pub usage: Option<ApiUsage>,
    /// This turn with its subagents, by model.
    pub model_usage_since_last_result: Option<BTreeMap<String, ModelUsage>>,
    /// Of the whole session.
    pub total_cost_usd: Option<f64>,
    /// Of a turn that the command began by itself.
    pub origin: Option<Value>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::claude) struct ApiUsage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_read_input_tokens: Option<u64>,
    pub cache_creation_input_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::claude) struct ModelUsage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_read_input_tokens: u64,
    pub cache_creation_input_tokens: u64,
    #[serde(rename = "costUSD")]
    pub cost_usd: f64,
}

impl ModelUsage {
    /// Without the cost.
    pub(in crate::claude) fn tokens(&self) -> Usage {
        Usage {
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cache_read_input_tokens: self.cache_read_input_tokens,
            cache_creation_input_tokens: self.cache_creation_input_tokens,
        }
    }
}

/// A tool takes long.
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct ToolProgress {
    /// The tool's id; `tool_use_id` is one of the progress itself.
    pub parent_tool_use_id: Option<String>,
    pub tool_use_id: Option<String>,
    pub elapsed_time_seconds: Option<f64>,
}

/// What became of a message that was written to standard input.
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct Lifecycle {
    pub command_uuid: String,
    /// `queued`, `started`, `completed` or `cancelled`.
    pub state: String,
}

/// Lines that were appended to a transcript.
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct Mirror<'a> {
    #[serde(borrow, rename = "filePath")]
    pub file_path: Cow<'a, str>,
    #[serde(borrow)]
    pub entries: Vec<&'a RawValue>,
}

/// The command asks the host.
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct ControlRequest<'a> {
    pub request_id: String,
    #[serde(borrow)]
    pub request: Asked<'a>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct Asked<'a> {
    pub subtype: String,
    #[serde(borrow)]
    pub input: Option<&'a RawValue>,
}

/// The `input` of a `hook_callback` for `PreToolUse`: a tool is about to be used.
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct BeforeTool {
    pub tool_name: String,
    pub tool_input: Map<String, Value>,
    pub tool_use_id: String,
    /// Of a subagent.
    pub agent_id: Option<String>,
}

/// The command does not wait for an answer any more.
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct ControlCancel {
    pub request_id: String,
}

/// The command answers the host.
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct ControlResponse {
    pub response: Answer,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct Answer {
    pub request_id: String,
    pub error: Option<String>,
    pub response: Option<AnswerBody>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct AnswerBody {
    /// The answer to an interrupt: messages that wait and were not interrupted.
    pub still_queued: Option<Vec<String>>,
    /// The answer to a later `initialize`: what is to be asked has changed. Older commands take the request and change nothing.
    pub hooks_applied: Option<bool>,
}
