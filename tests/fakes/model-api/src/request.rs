//! A request to the API, read as a script wants it.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

/// A request that the API received.
#[derive(Clone, Debug)]
pub struct Request {
    /// `/v1/messages` or `/v1/messages/count_tokens`.
    pub path: String,
    /// The key that it came with, from `x-api-key` or `Authorization: Bearer`.
    pub api_key: Option<String>,
    /// The whole body.
    pub body: Value,
    /// How many requests with this very conversation came before: 0 unless a client tries again.
    pub attempt: usize,
}

/// What a tool gave back to the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    /// Which use it answers.
    pub tool_use_id: String,
    /// Its text, blocks joined by newlines.
    pub text: String,
    /// Whether the tool failed.
    pub is_error: bool,
}

/// A block of a conversation that a script cares about, in the order of the conversation.
enum Said<'a> {
    Prompt(&'a str),
    ToolResult(&'a Value),
    Other,
}

/// Between these Claude Code gives the model context of its own, in texts of the user and in results of tools.
const REMINDER: (&str, &str) = ("<system-reminder>", "</system-reminder>");

/// What Claude Code puts into the user's mouth: context, a note that the user interrupted, and where it put an image.
const NOT_PROMPTS: [&str; 3] = [REMINDER.0, "[Request interrupted by user", "[Image: source: "];

impl Request {
    /// The model that was asked for.
    pub fn model(&self) -> &str {
        self.body.get("model").and_then(Value::as_str).unwrap_or("claude-sonnet-4-6")
    }

    /// Whether the answer is wanted as a stream of events.
    pub fn is_streaming(&self) -> bool {
        self.body.get("stream").and_then(Value::as_bool).unwrap_or(false)
    }

    /// The system prompt, its blocks joined by newlines.
    pub fn system(&self) -> String {
        self.body.get("system").map(text_of).unwrap_or_default()
    }

    /// All that the user said, oldest first, without what the client added to it.
    pub fn prompts(&self) -> Vec<&str> {
        let said = self.said().into_iter();
        said.filter_map(|said| if let Said::Prompt(text) = said { Some(text) } else { None }).collect()
    }

    /// What the user said last.
    pub fn prompt(&self) -> Option<&str> {
        self.prompts().pop()
    }

    /// What tools gave back since then.
    pub fn tool_results(&self) -> Vec<ToolResult> {
        let mut results = Vec::new();
        for said in self.said() {
            match said {
                Said::Prompt(_) => results.clear(),
                Said::ToolResult(block) => results.push(ToolResult {
                    tool_use_id: block.get("tool_use_id").and_then(Value::as_str).unwrap_or_default().to_owned(),
                    text: without_reminders(&block.get("content").map(text_of).unwrap_or_default()),
                    is_error: block.get("is_error").and_then(Value::as_bool).unwrap_or(false),
                }),
                Said::Other => {}
            }
        }
        results
    }

    /// Everything in the messages as JSON text, for an assertion that something was or was not sent.
    pub fn conversation(&self) -> String {
        self.body.get("messages").map(Value::to_string).unwrap_or_default()
    }

    /// The directory that Claude Code says it works in.
    pub fn working_directory(&self) -> Option<&str> {
        const LABEL: &str = "Primary working directory: ";
        self.texts().find_map(|text| text.split_once(LABEL)).and_then(|(_, rest)| rest.lines().next()).map(str::trim)
    }

    /// The same number for the same conversation of the same client session, so that another try is recognised.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.path.hash(&mut hasher);
        for part in ["metadata", "messages"] {
            self.body.get(part).map(Value::to_string).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Characters that the user, the model and the tools said; what the client adds by itself changes from day to day and is left out.
    pub(crate) fn characters(&self) -> usize {
        let blocks = messages(&self.body).flat_map(|(_, content)| blocks(content));
        blocks
            .map(|block| match block {
                Block::Text(text) if is_added(text) => 0,
                Block::Text(text) => text.chars().count(),
                Block::Other(value) => {
                    let content = value.get("content").or_else(|| value.get("input"));
                    content.map_or(0, |content| without_reminders(&text_of(content)).chars().count())
                }
            })
            .sum()
    }

    fn said(&self) -> Vec<Said<'_>> {
        let users = messages(&self.body).filter(|(role, _)| *role == "user");
        let mut said = Vec::new();
        for (_, content) in users {
            // Claude Code puts the prompt last, behind texts of its own that are marked, and sometimes texts that are not.
            let blocks: Vec<Block<'_>> = blocks(content).collect();
            let prompt = blocks.iter().rposition(|block| matches!(block, Block::Text(text) if !is_added(text)));
            said.extend(blocks.into_iter().enumerate().map(|(index, block)| match block {
                Block::Text(text) if prompt == Some(index) => Said::Prompt(text.trim()),
                Block::Other(block) if block.get("type").and_then(Value::as_str) == Some("tool_result") => Said::ToolResult(block),
                Block::Text(_) | Block::Other(_) => Said::Other,
            }));
        }
        said
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let system = self.body.get("system").into_iter().flat_map(blocks);
        let messages = messages(&self.body).flat_map(|(_, content)| blocks(content));
        system.chain(messages).filter_map(|block| if let Block::Text(text) = block { Some(text) } else { None })
    }
}

/// A block of a message's content.
enum Block<'a> {
    Text(&'a str),
    Other(&'a Value),
}

fn is_added(text: &str) -> bool {
    NOT_PROMPTS.iter().any(|prefix| text.trim_start().starts_with(prefix))
}

/// The text that a tool gave, without what the client added to it.
fn without_reminders(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once(REMINDER.0) {
        kept.push_str(before);
        rest = after.split_once(REMINDER.1).map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept.trim().to_owned()
}

/// The role and the content of each message.
fn messages(body: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let messages = body.get("messages").and_then(Value::as_array).into_iter().flatten();
    messages.filter_map(|message| Some((message.get("role")?.as_str()?, message.get("content")?)))
}

/// The blocks of a content, which may be a mere string.
fn blocks(content: &Value) -> impl Iterator<Item = Block<'_>> {
    let whole = content.as_str().map(Block::Text).into_iter();
    let listed = content.as_array().into_iter().flatten();
    whole.chain(listed.map(|block| match block.get("text").and_then(Value::as_str) {
        Some(text) => Block::Text(text),
        None => Block::Other(block),
    }))
}

/// The text of a content; what is neither text nor a list of blocks is given as JSON.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(_) => {
            let texts = blocks(content).map(|block| match block {
                Block::Text(text) => text.to_owned(),
                Block::Other(value) => value.to_string(),
            });
            texts.collect::<Vec<_>>().join("\n")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(messages: Value) -> Request {
        Request { path: "/v1/messages".into(), api_key: None, body: json!({"messages": messages}), attempt: 0 }
    }

    #[test]
    fn the_prompt_is_the_last_text_that_the_client_did_not_add() {
        let request = request(json!([{"role": "user", "content": [
            {"type": "text", "text": "<system-reminder>\n - Primary working directory: /workspace\n - x</system-reminder>"},
            {"type": "text", "text": "an unmarked text of the client"},
            {"type": "text", "text": "text hello"},
            {"type": "text", "text": "<system-reminder>later</system-reminder>"},
        ]}]));
        assert_eq!(request.prompts(), ["text hello"]);
        assert_eq!(request.working_directory(), Some("/workspace"));
    }

    #[test]
    fn tool_results_are_those_since_the_newest_prompt() {
        let result =
            |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "ok\n\n<system-reminder>\n9 left\n</system-reminder>"});
        let mut messages = vec![
            json!({"role": "user", "content": "bash ls"}),
            json!({"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "Bash", "input": {}}]}),
            json!({"role": "user", "content": [result("a")]}),
        ];
        assert_eq!(request(json!(messages)).tool_results(), [ToolResult { tool_use_id: "a".into(), text: "ok".into(), is_error: false }]);
        messages.push(json!({"role": "assistant", "content": "done"}));
        messages.push(json!({"role": "user", "content": "text next"}));
        assert_eq!(request(json!(messages)).tool_results(), []);
        assert_eq!(request(json!(messages)).prompts(), ["bash ls", "text next"]);
    }

    #[test]
    fn a_prompt_that_joins_tool_results_begins_anew() {
        let request = request(json!([
            {"role": "user", "content": "bash ls"},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "ok"}, {"type": "text", "text": "text joined"}]},
        ]));
        assert_eq!(request.prompt(), Some("text joined"));
        assert_eq!(request.tool_results(), []);
    }

    #[test]
    fn an_interruption_is_no_prompt() {
        let request = request(json!([
            {"role": "user", "content": "slow 9"},
            {"role": "user", "content": [{"type": "text", "text": "[Request interrupted by user]"}]},
            {"role": "user", "content": "text next"},
        ]));
        assert_eq!(request.prompts(), ["slow 9", "text next"]);
    }
}
