//! The lines that the host writes to the `claude` command's standard input.

use agent_host_session::message::Content;
use agent_host_session::ports::hooks::Verdict;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

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
        /// What the command is to ask the host about. A later request takes the place of an earlier one; what it leaves out of this stays.
        #[serde(skip_serializing_if = "Option::is_none")]
        hooks: Option<Hooks>,
    },
    /// Ends the running turn.
    Interrupt,
    /// `None` for the default.
    SetModel { model: Option<&'a str> },
    /// `None` for the default.
    SetMaxThinkingTokens { max_thinking_tokens: Option<u32> },
}

/// What the command is to ask the host about, by the name of the event.
///
/// Of the ways to be asked about tools this is the one that covers all of them: with the permissions bypassed, reading ones, those of MCP servers and those of
/// subagents alike. `can_use_tool` comes only for what the command's own rules do not allow already.
#[derive(Debug, Default, Serialize)]
pub(super) struct Hooks {
    #[serde(rename = "PreToolUse", skip_serializing_if = "Vec::is_empty")]
    pre_tool_use: Vec<HookMatcher>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HookMatcher {
    hook_callback_ids: [&'static str; 1],
    /// An answer that the command does not understand must not let the tool pass.
    on_failure: &'static str,
    /// Seconds.
    timeout: u32,
}

/// The command's own limit for an answer: a day, which leaves the decision to the host's limit.
const ANSWER_TIMEOUT_SECONDS: u32 = 24 * 60 * 60;

impl Hooks {
    /// Asks about each use of a tool.
    pub(super) fn tools() -> Self {
        let matcher = HookMatcher { hook_callback_ids: ["before-tool-use"], on_failure: "block", timeout: ANSWER_TIMEOUT_SECONDS };
        Self { pre_tool_use: vec![matcher] }
    }
}

/// A message of the user.
pub(super) fn user(uuid: &str, content: &Content) -> Bytes {
    line(&json!({"type": "user", "uuid": uuid, "message": {"role": "user", "content": content}}))
}

/// A request to the command.
pub(super) fn request(id: &str, request: &Request<'_>) -> Bytes {
    line(&json!({"type": "control_request", "request_id": id, "request": request}))
}

/// The answer to what the command asks and nobody decides on. It is always answered, since the command waits for it.
pub(super) fn answer(asked: &ControlRequest<'_>) -> Bytes {
    match asked.request.subtype.as_str() {
        "can_use_tool" => success(&asked.request_id, &permission(asked.request.input)),
        other => failure(&asked.request_id, &format!("unsupported control request subtype: {other}")),
    }
}

/// The answer to the question whether a tool may be used.
pub(super) fn decision(request_id: &str, verdict: Verdict<Map<String, Value>>) -> Bytes {
    let decided = match verdict {
        // What else decides, decides.
        Verdict::Allow => return success(request_id, &json!({})),
        Verdict::Replace(input) => json!({"hookEventName": "PreToolUse", "permissionDecision": "allow", "updatedInput": input}),
        Verdict::Deny { hook: _, reason } => {
            json!({"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": reason})
        }
    };
    success(request_id, &json!({"hookSpecificOutput": decided}))
}

fn success(request_id: &str, response: &Value) -> Bytes {
    line(&json!({"type": "control_response", "response": {"subtype": "success", "request_id": request_id, "response": response}}))
}

fn failure(request_id: &str, error: &str) -> Bytes {
    line(&json!({"type": "control_response", "response": {"subtype": "error", "request_id": request_id, "error": error}}))
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
