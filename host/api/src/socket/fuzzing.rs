//! What the fuzz targets in `tests/fuzz` reach of what is private. Made with the feature `fuzzing` only; no part of the API of this crate.

use serde_json::{Value, json};

use super::request::{Ask, Request};
use crate::problem::Code;

/// A client's frame as it is read: its id, and what it asks for in the form in which a client would write it, or why it is refused.
pub fn client_frame(text: &str) -> (Value, Result<Value, (Code, String)>) {
    let Request { id, ask } = Request::parse(text);
    let ask = ask.map(|ask| match ask {
        Ask::Auth { key } => json!({"type": "auth", "key": key}),
        Ask::Join { session, since } => json!({"type": "session:join", "sessionId": session, "since": since}),
        Ask::Leave { session } => json!({"type": "session:leave", "sessionId": session}),
        Ask::Ping => json!({"type": "ping"}),
    });
    (id, ask.map_err(|problem| (problem.code(), problem.detail().to_owned())))
}
