//! What clients send: `{"type": …, "id": …, …}`, read strictly.

use agent_host_session::id::{Sequence, SessionId};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::body::{from_value, short};
use crate::problem::{Code, Problem};

/// Longest id of a request in bytes: it is sent back.
const MAX_ID_BYTES: usize = 128;

/// A frame from a client.
pub(super) struct Request {
    /// Sent back with the answer; `null` if there is none.
    pub(super) id: Value,
    pub(super) ask: Result<Ask, Problem>,
}

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Auth { key: String },
    Join { session: SessionId, since: Option<Sequence> },
    Leave { session: SessionId },
    Ping,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Auth {
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Join {
    session_id: SessionId,
    since: Option<Sequence>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Leave {
    session_id: SessionId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ping {}

impl Request {
    pub(super) fn parse(text: &str) -> Self {
        let mut fields: Map<String, Value> = match serde_json::from_str(text) {
            Ok(fields) => fields,
            Err(error) => return Self { id: Value::Null, ask: Err(invalid(format!("the frame is not a JSON object: {error}"))) },
        };
        let id = match fields.remove("id") {
            None => Value::Null,
            Some(Value::String(id)) if id.len() <= MAX_ID_BYTES => Value::String(id),
            Some(Value::Number(id)) => Value::Number(id),
            Some(_) => {
                let problem = invalid(format!("id: it must be a number, or a text of at most {MAX_ID_BYTES} bytes"));
                return Self { id: Value::Null, ask: Err(problem) };
            }
        };
        Self { id, ask: ask(fields) }
    }
}

fn ask(mut fields: Map<String, Value>) -> Result<Ask, Problem> {
    let kind = fields.remove("type");
    let fields = Value::Object(fields);
    match kind.as_ref().and_then(Value::as_str) {
        Some("auth") => from_value(fields).map(|Auth { key }| Ask::Auth { key }),
        Some("session:join") => from_value(fields).map(|Join { session_id, since }| Ask::Join { session: session_id, since }),
        Some("session:leave") => from_value(fields).map(|Leave { session_id }| Ask::Leave { session: session_id }),
        Some("ping") => from_value(fields).map(|Ping {}| Ask::Ping),
        Some(_) | None => Err(invalid("type: it must be \"session:join\", \"session:leave\", \"ping\" or \"auth\"".to_owned())),
    }
}

fn invalid(detail: String) -> Problem {
    Problem::new(Code::InvalidRequest, short(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let session = SessionId::new("s").unwrap();
        for (text, id, ask) in [
            (r#"{"type":"ping"}"#, Value::Null, Ask::Ping),
            (r#"{"type":"ping","id":7}"#, 7.into(), Ask::Ping),
            (r#"{"type":"auth","key":"k","id":"a"}"#, "a".into(), Ask::Auth { key: "k".into() }),
            (r#"{"type":"session:join","id":1,"sessionId":"s"}"#, 1.into(), Ask::Join { session: session.clone(), since: None }),
            (
                r#"{"type":"session:join","id":1,"sessionId":"s","since":4294967297}"#,
                1.into(),
                Ask::Join { session: session.clone(), since: Some(Sequence(4_294_967_297)) },
            ),
            (r#"{"type":"session:leave","id":1,"sessionId":"s"}"#, 1.into(), Ask::Leave { session: session.clone() }),
        ] {
            let request = Request::parse(text);
            assert_eq!((request.id, request.ask), (id, Ok(ask)), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_and_keep_the_id() {
        for (text, id, detail) in [
            ("", Value::Null, "not a JSON object"),
            ("[]", Value::Null, "not a JSON object"),
            ("\u{0}\u{1}", Value::Null, "not a JSON object"),
            (r#"{"id":1}"#, 1.into(), "type: it must be"),
            (r#"{"id":1,"type":5}"#, 1.into(), "type: it must be"),
            (r#"{"id":1,"type":"subscribe"}"#, 1.into(), "type: it must be"),
            (r#"{"id":1,"type":"session:join"}"#, 1.into(), "missing field `sessionId`"),
            (r#"{"id":1,"type":"session:join","sessionId":"../x"}"#, 1.into(), "sessionId: invalid session id"),
            (r#"{"id":1,"type":"session:join","sessionId":"s","since":-1}"#, 1.into(), "since: invalid value"),
            (r#"{"id":1,"type":"session:join","sessionId":"s","sinec":1}"#, 1.into(), "unknown field `sinec`"),
            (r#"{"id":{},"type":"ping"}"#, Value::Null, "id: it must be"),
        ] {
            let request = Request::parse(text);
            let problem = request.ask.unwrap_err();
            assert_eq!(request.id, id, "{text}");
            assert_eq!(problem.code(), Code::InvalidRequest, "{text}");
            assert!(problem.detail().contains(detail), "{text}: {}", problem.detail());
        }
        let long = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(129));
        assert_eq!(Request::parse(&long).id, Value::Null);
        let text = Value::from("\u{200b}".repeat(1000)).to_string();
        assert!(Request::parse(&text).ask.unwrap_err().detail().len() < 1100, "what was sent is not quoted as a whole");
    }
}
