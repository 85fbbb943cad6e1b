//! What a tool gave back, as it is shown.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::wire::ContentBlock;

/// What the `Agent` tool says of the subagent that it ran, beside the text for the model.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentResult {
    /// The subagent. No other tool's result has it, which tells this one from theirs.
    #[serde(rename = "agentId")]
    _agent_id: IgnoredAny,
    /// It goes on in the background, and its outcome comes in a notification.
    #[serde(default)]
    pub is_async: bool,
    #[serde(default, deserialize_with = "super::wire::blocks")]
    content: Vec<ContentBlock>,
    /// How many blocks the command put before the subagent's own.
    #[serde(default)]
    harness_note_count: usize,
    /// How many it put after them.
    #[serde(default)]
    harness_tail_count: usize,
}

impl AgentResult {
    /// From the JSON of a `tool_use_result`; `None` if it is another tool's.
    pub(super) fn parse(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// The subagent's report, without the prose that the command wraps around it for the model.
    pub(super) fn text(&self) -> Option<String> {
        let own = self.content.len().saturating_sub(self.harness_note_count).saturating_sub(self.harness_tail_count);
        let texts: Vec<&str> =
            self.content.iter().skip(self.harness_note_count).take(own).filter_map(|block| block.text.as_deref()).collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    }
}

/// The content of a `tool_result`: text as one string, anything else (images) as it is.
pub(super) fn tool_output(content: Option<Value>) -> Value {
    let Some(Value::Array(parts)) = content else { return content.unwrap_or_else(|| Value::from("")) };
    let texts: Option<Vec<&str>> = parts.iter().map(|part| part.get("text").and_then(Value::as_str)).collect();
    match texts {
        Some(texts) => Value::from(texts.join("\n")),
        None => Value::Array(parts),
    }
}

/// What the model says that a use of a tool is for.
pub(super) fn description(input: &Value) -> Option<String> {
    input.get("description").and_then(Value::as_str).map(str::to_owned)
}

/// The model's name, unless the command itself wrote the text.
pub(super) fn model(name: Option<String>) -> Option<String> {
    name.filter(|name| name != "<synthetic>")
}

/// What the command says in the user's name when the user interrupts.
pub(super) fn is_interruption(text: &str) -> bool {
    text.starts_with("[Request interrupted by user")
}

/// How that is shown.
pub(super) const INTERRUPTED: &str = "The turn was interrupted.";

/// How a compaction is shown.
pub(super) const COMPACTED: &str = "The conversation was compacted.";

/// How a cleared conversation is shown.
pub(super) const CLEARED: &str = "The conversation was cleared: the agent remembers nothing of what is above.";
