//! What a turn of the instant agent leaves behind: made by the agent, and expected by the load program.

use serde_json::{Value, json};

/// The file that `work` makes in the workspace.
pub(crate) const FILE: &str = "work.txt";

/// A delta, by its place in the answer.
pub(crate) fn delta(number: usize) -> String {
    format!("{number:015} ")
}

/// The text of an answer of so many deltas.
pub(crate) fn answer(deltas: usize) -> String {
    (0..deltas).map(delta).collect()
}

/// What `work` adds to the transcript in a process's turn of this number; the first is 1.
pub(crate) fn transcript_line(turn: u64, bytes: usize) -> Value {
    json!({"type": "user", "turn": turn, "text": text(turn, bytes)})
}

/// A text of so many bytes that has a number all over it.
pub(crate) fn text(number: u64, bytes: usize) -> String {
    let mut text = format!("{number} ").repeat(bytes.div_ceil(2));
    text.truncate(bytes);
    text
}
