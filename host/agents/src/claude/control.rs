//! The lines that the host writes to the `claude` command's standard input.

use agent_host_session::message::Content;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::wire::ControlRequest;

/// What the host asks the command to do.
#[derive(Debug, Serialize)]
#[serde(tag = "subtype", rename_all = "snake_case")]
pub(super) enum Request<'a> {
    /// Answered before any message: tells that the command is ready.
    Initialize {
        /// Whether subagents tell what they say and think, not only their tools. The flag of the command line for it is not known to 2.1.197, which is what npm
        /// installs beside a Node older than 22; this is.
        #[serde(rename = "forwardSubagentText")]
        forward_subagent_text: bool,
    },
    /// Ends the running turn.
    Interrupt,
    /// `None` for the default.
    SetModel { model: Option<&'a str> },
    /// `None` for the default.
    SetMaxThinkingTokens { max_thinking_tokens: Option<u32> },
}

/// A message of the user.
pub(super) fn user(uuid: &str, content: &Content) -> Bytes {
    line(&json!({"type": "user", "uuid": uuid, "message": {"role": "user", "content": content}}))
}

/// A request to the command.
pub(super) fn request(id: &str, request: &Request<'_>) -> Bytes {
    line(&json!({"type": "control_request", "request_id": id, "request": request}))
}

/// The answer to what the command asks. It is always answered, since the command waits for it.
pub(super) fn answer(asked: &ControlRequest<'_>) -> Bytes {
    let response = match asked.request.subtype.as_str() {
        "can_use_tool" => json!({
            "subtype": "success",
            "request_id": asked.request_id,
            "response": permission(asked.request.input),
        }),
        other => json!({
            "subtype": "error",
            "request_id": asked.request_id,
            "error": format!("unsupported control request subtype: {other}"),
        }),
    };
    line(&json!({"type": "control_response", "response": response}))
}

/// Whether a tool may be used. The command runs with permissions bypassed in a sandbox, so that it asks only where a tool of its own insists.
fn permission(input: Option<&RawValue>) -> Value {
    let input: Value = input.and_then(|input| serde_json::from_str(input.get()).ok()).unwrap_or_else(|| json!({}));
    json!({"behavior": "allow", "updatedInput": input})
}

fn line(value: &Value) -> Bytes {
    // A JSON text has no raw newline in it, so this is one line.
    let mut line = value.to_string();
    line.push('\n');
    Bytes::from(line)
}
