//! Whatever a client sends over a WebSocket: a request, or a short and clear refusal, and a resume of any number that harms nothing.
#![no_main]

use std::sync::Arc;

use agent_host_api::Code;
use agent_host_api::fuzzing::client_frame;
use agent_host_fuzz::mutate;
use agent_host_session::event::Event;
use agent_host_session::id::{Epoch, Sequence, SessionId};
use agent_host_session::log::{EventLog, Limits};
use agent_host_session::ports::hooks::NoHooks;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde_json::Value;

/// Longest text of a refusal in bytes: it may quote a part of what was sent, and not all of it.
const LONGEST_REFUSAL: usize = 1200;

/// Longest id that is sent back, as JSON with each byte escaped.
const LONGEST_ID: usize = 128 * 6 + 2;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::lines(data, size, max_size, seed) });

fuzz_target!(|data: &[u8]| {
    // What is no text is refused before.
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (id, ask) = client_frame(text);
    assert!(matches!(id, Value::Null | Value::String(_) | Value::Number(_)), "{id} is no id");
    assert!(id.to_string().len() <= LONGEST_ID, "the id {id} is too long to be sent back");
    let mut ask = match ask {
        Ok(ask) => ask,
        Err((code, detail)) => {
            assert_eq!(code, Code::InvalidRequest);
            assert!(!detail.is_empty() && detail.len() <= LONGEST_REFUSAL, "{} bytes: {detail}", detail.len());
            return;
        }
    };
    if let Some(since) = ask.get("since").and_then(Value::as_u64) {
        resume(Sequence(since));
    }
    // Written out, the request is the same request.
    let asked = ask.clone();
    if !id.is_null() {
        ask.as_object_mut().expect("a request is an object").insert("id".to_owned(), id.clone());
    }
    assert_eq!(client_frame(&ask.to_string()), (id, Ok(asked)));
});

/// Three events of the second epoch: what comes after the first, second or third can be served, and nothing else.
fn resume(since: Sequence) {
    let log = EventLog::new(SessionId::new("s").expect("a valid id"), Epoch(2), Limits::default(), Arc::new(NoHooks));
    let start = log.latest();
    log.publish((0..3).map(|number| Event::Failed { code: "TEST".to_owned(), message: format!("{number}") }));
    let is_servable = (start.0..=start.0 + 3).contains(&since.0);
    assert_eq!(log.resume(since).is_some(), is_servable, "since {since}");
}
