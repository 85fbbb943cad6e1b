//! What comes over the WebSocket, and as server-sent events.

use serde_json::Value;

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Its name, such as `session:block:delta`.
    pub event: String,
    /// What it carries.
    pub data: Value,
    /// Its number, if it is an event of a session.
    pub seq: Option<u64>,
}

impl Frame {
    pub(crate) fn parse(frame: &Value) -> Option<Self> {
        Some(Self {
            event: frame.get("event")?.as_str()?.to_owned(),
            data: frame.get("data").cloned().unwrap_or_default(),
            seq: frame.get("seq").and_then(Value::as_u64),
        })
    }

    /// Whether it is about this session.
    pub fn is_of(&self, session: &str) -> bool {
        self.data["sessionId"] == session
    }

    /// Whether it tells of a block of that type in the given state: `("start", "tool_use")`.
    pub fn is_block(&self, what: &str, kind: &str) -> bool {
        self.event.strip_prefix("session:block:") == Some(what) && self.data["block"]["type"] == kind
    }

    /// The text of a delta.
    pub fn delta(&self) -> Option<&str> {
        if self.event == "session:block:delta" { self.data["delta"].as_str() } else { None }
    }

    /// The message whose turn runs, by a `session:status`: the inner `None` if there is none.
    pub(crate) fn running(&self) -> Option<Option<&str>> {
        (self.event == "session:status").then(|| running_in(&self.data["runtime"]))
    }

    /// One line, in which long contents are cut.
    pub(crate) fn summary(&self) -> String {
        const SHOWN: usize = 240;
        let data = self.data.to_string();
        let cut: String = data.chars().take(SHOWN).collect();
        let more = if cut.len() < data.len() { "…" } else { "" };
        format!("{} {} {cut}{more}", self.seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string()), self.event)
    }
}

/// The message whose turn runs, by a session's `runtime`.
pub(crate) fn running_in(runtime: &Value) -> Option<&str> {
    runtime["runningMessageId"].as_str()
}

/// The blocks of a type that the frames say are complete.
pub fn blocks_completed<'a>(frames: &'a [Frame], kind: &str) -> Vec<&'a Value> {
    frames.iter().filter(|frame| frame.is_block("complete", kind)).map(|frame| &frame.data["block"]).collect()
}

/// The text of a block's content: of an output too, and of parts.
pub fn text_of(block: &Value) -> String {
    let content = ["content", "output", "message"].iter().map(|member| &block[*member]).find(|content| !content.is_null());
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
