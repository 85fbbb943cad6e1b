//! What a script answers.

use std::time::Duration;

use serde_json::Value;

/// A whole reply to one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The model answers.
    Answer(Answer),
    /// The API refuses.
    Refusal(Refusal),
}

/// What the model says, piece by piece, and how it ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) ending: Ending,
}

/// A content block.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text.
    Text(Vec<Delta>),
    /// Thinking.
    Thinking(Vec<Delta>),
    /// The use of a tool.
    ToolUse {
        /// The tool's name.
        name: String,
        /// Its input, a JSON object.
        input: Value,
    },
}

/// A step within a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// These characters are sent.
    Say(String),
    /// Time passes.
    Pause(Duration),
    /// Nothing is sent until [`ModelApi::release`](crate::ModelApi::release) is called. Each call lets one hold go.
    Hold,
}

/// How an answer ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Ending {
    /// As it should.
    #[default]
    Complete,
    /// The connection is cut before the last block is closed.
    Cut,
    /// An `error` event comes before the last block is closed.
    Error(Refusal),
}

/// An error of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error's type, such as `overloaded_error`.
    pub kind: String,
    /// For people.
    pub message: String,
}

impl Reply {
    /// The model says `text`, word by word.
    pub fn text(text: impl AsRef<str>) -> Self {
        Answer::new().text(text).into()
    }

    /// The model uses a tool.
    pub fn tool(name: impl Into<String>, input: Value) -> Self {
        Answer::new().tool(name, input).into()
    }

    /// The API refuses.
    pub fn refusal(status: u16, kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refusal(Refusal::new(status, kind, message))
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl Refusal {
    /// An error with that status, type and text.
    pub fn new(status: u16, kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, kind: kind.into(), message: message.into() }
    }
}

impl Answer {
    /// An answer that says nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text block that comes word by word.
    pub fn text(self, text: impl AsRef<str>) -> Self {
        let words = words(text.as_ref());
        self.piece(Piece::Text(words))
    }

    /// Adds a thinking block that comes word by word.
    pub fn thinking(self, text: impl AsRef<str>) -> Self {
        let words = words(text.as_ref());
        self.piece(Piece::Thinking(words))
    }

    /// Adds the use of a tool.
    pub fn tool(self, name: impl Into<String>, input: Value) -> Self {
        self.piece(Piece::ToolUse { name: name.into(), input })
    }

    /// Adds a block.
    pub fn piece(mut self, piece: Piece) -> Self {
        self.pieces.push(piece);
        self
    }

    /// Ends it by cutting the connection while its last block is open.
    pub fn cut(mut self) -> Self {
        self.ending = Ending::Cut;
        self
    }

    /// Ends it by an `error` event while its last block is open.
    pub fn error(mut self, refusal: Refusal) -> Self {
        self.ending = Ending::Error(refusal);
        self
    }

    pub(crate) fn stop_reason(&self) -> &'static str {
        if self.pieces.iter().any(|piece| matches!(piece, Piece::ToolUse { .. })) { "tool_use" } else { "end_turn" }
    }
}

/// `text` as one delta a word, each with the white space that follows it.
fn words(text: &str) -> Vec<Delta> {
    text.split_inclusive(char::is_whitespace).map(|word| Delta::Say(word.to_owned())).collect()
}

/// What the deltas say together.
pub(crate) fn said(deltas: &[Delta]) -> String {
    let texts = deltas.iter().filter_map(|delta| if let Delta::Say(text) = delta { Some(text.as_str()) } else { None });
    texts.collect()
}
