//! A reply as one JSON document, and what it is said to have cost.

use serde_json::{Value, json};

use crate::reply::{Answer, Piece, Refusal, said};
use crate::request::Request;

/// Tokens of a conversation that says nothing yet: about what a client's own prompts and tools take.
const BASE_TOKENS: usize = 2000;

/// English has about so many characters to a token.
const CHARACTERS_PER_TOKEN: usize = 4;

/// Makes the ids of one instance: unique among instances by their prefix, and in the order of the requests within it.
#[derive(Debug)]
pub(crate) struct Ids {
    prefix: String,
    next: std::sync::atomic::AtomicU32,
}

impl Ids {
    pub(crate) fn new() -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        Self { prefix: random.chars().take(16).collect(), next: std::sync::atomic::AtomicU32::new(1) }
    }

    /// `msg_…`, `toolu_…` and the like.
    pub(crate) fn make(&self, kind: &str) -> String {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("{kind}_{}{number:08x}", self.prefix)
    }
}

/// Tokens of what was asked.
pub(crate) fn input_tokens(request: &Request) -> usize {
    BASE_TOKENS + request.characters() / CHARACTERS_PER_TOKEN
}

/// Tokens of what is answered.
pub(crate) fn output_tokens(answer: &Answer) -> usize {
    let characters: usize = answer
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(deltas) | Piece::Thinking(deltas) => said(deltas).chars().count(),
            Piece::ToolUse { name, input } => name.len() + input.to_string().chars().count(),
        })
        .sum();
    1 + characters / CHARACTERS_PER_TOKEN
}

/// The `usage` of a message.
pub(crate) fn usage(request: &Request, output_tokens: usize) -> Value {
    json!({
        "input_tokens": input_tokens(request),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
        "service_tier": "standard",
    })
}

/// A message with that content.
pub(crate) fn envelope(request: &Request, id: &str, content: Vec<Value>, stop_reason: Option<&str>, output_tokens: usize) -> Value {
    json!({
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": request.model(),
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": usage(request, output_tokens),
    })
}

/// The answer as a request without `stream` gets it.
pub(crate) fn whole(request: &Request, answer: &Answer, ids: &Ids) -> Value {
    let content = answer
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(deltas) => json!({"type": "text", "text": said(deltas)}),
            Piece::Thinking(deltas) => json!({"type": "thinking", "thinking": said(deltas), "signature": SIGNATURE}),
            Piece::ToolUse { name, input } => json!({"type": "tool_use", "id": ids.make("toolu"), "name": name, "input": input}),
        })
        .collect();
    envelope(request, &ids.make("msg"), content, Some(answer.stop_reason()), output_tokens(answer))
}

/// The proof that a thought is the model's own; clients send it back unread. Base64, as the real one is.
pub(crate) const SIGNATURE: &str = "ZmFrZS1tb2RlbC1hcGk=";

/// An error as the API writes it, in a body and in an event.
pub(crate) fn error(refusal: &Refusal) -> Value {
    json!({"type": "error", "error": {"type": refusal.kind, "message": refusal.message}})
}
