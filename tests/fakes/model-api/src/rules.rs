//! A script read from a JSON file, for people who try the host by hand.
//!
//! ```json
//! [{"prompt": "deploy", "replies": [
//!     {"content": [{"type": "tool_use", "name": "Bash", "input": {"command": "echo deployed"}}]},
//!     {"content": [{"type": "thinking", "thinking": "That went well."}, {"type": "text", "text": "It is deployed."}]}
//! ]},
//! {"prompt": "spend", "replies": [{"error": {"status": 400, "type": "billing_error", "message": "credit balance is too low"}}]}]
//! ```
//!
//! The first rule whose `prompt` the newest prompt begins with answers. Its first reply answers the prompt, each further one the tools that
//! the reply before it used. Prompts without a rule go to [`Scenarios`].

use serde::Deserialize;
use serde_json::Value;

use crate::reply::{Answer, Reply};
use crate::request::Request;
use crate::scenarios::Scenarios;
use crate::script::Script;

/// A script read from JSON.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    prompt: String,
    replies: Vec<Written>,
}

/// A reply as it is written in the file: one of both.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Content(Vec<Block>),
    Error(Error),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Block {
    Text { text: String },
    Thinking { thinking: String },
    ToolUse { name: String, input: Value },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Error {
    status: u16,
    r#type: String,
    message: String,
}

impl Rules {
    /// Reads the JSON text.
    ///
    /// # Errors
    /// With the line and the column of what is wrong.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

impl Script for Rules {
    fn reply(&self, request: &Request) -> Reply {
        let prompt = request.prompt().unwrap_or_default();
        let Some(rule) = self.0.iter().find(|rule| prompt.starts_with(&rule.prompt)) else { return Scenarios.reply(request) };
        // The tools that one reply uses answer together, so that a reply's place is found by counting results.
        let mut results = request.tool_results().len();
        for reply in &rule.replies {
            if results == 0 || reply.tool_uses() == 0 {
                return reply.to_reply();
            }
            results = results.saturating_sub(reply.tool_uses());
        }
        Reply::text("The script has no further reply to this prompt.")
    }
}

impl Written {
    fn tool_uses(&self) -> usize {
        match self {
            Self::Content(blocks) => blocks.iter().filter(|block| matches!(block, Block::ToolUse { .. })).count(),
            Self::Error(_) => 0,
        }
    }

    fn to_reply(&self) -> Reply {
        match self {
            Self::Content(blocks) => {
                let answer = blocks.iter().fold(Answer::new(), |answer, block| match block {
                    Block::Text { text } => answer.text(text),
                    Block::Thinking { thinking } => answer.thinking(thinking),
                    Block::ToolUse { name, input } => answer.tool(name, input.clone()),
                });
                answer.into()
            }
            Self::Error(error) => Reply::refusal(error.status, &error.r#type, &error.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: &str = r#"[{"prompt": "deploy", "replies": [
        {"content": [{"type": "tool_use", "name": "Bash", "input": {"command": "echo"}}]},
        {"content": [{"type": "text", "text": "deployed"}]}
    ]}, {"prompt": "spend", "replies": [{"error": {"status": 400, "type": "billing_error", "message": "no credit"}}]}]"#;

    fn reply(messages: Value) -> Reply {
        let body = json!({"messages": messages});
        Rules::parse(RULES).unwrap().reply(&Request { path: String::new(), api_key: None, body, attempt: 0 })
    }

    #[test]
    fn a_rule_goes_on_when_its_tools_have_answered() {
        let prompt = json!({"role": "user", "content": "deploy it"});
        let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "ok"}]});
        assert_eq!(reply(json!([prompt])), Reply::tool("Bash", json!({"command": "echo"})));
        assert_eq!(reply(json!([prompt, result])), Reply::text("deployed"));
    }

    #[test]
    fn errors_and_unknown_prompts_are_answered() {
        assert_eq!(reply(json!([{"role": "user", "content": "spend"}])), Reply::refusal(400, "billing_error", "no credit"));
        assert_eq!(reply(json!([{"role": "user", "content": "text hi"}])), Reply::text("hi"));
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        assert!(Rules::parse(r#"[{"promt": "x", "replies": []}]"#).is_err());
        assert!(Rules::parse(r#"[{"prompt": "x", "replies": [{"contents": []}]}]"#).is_err());
    }
}
