//! A reply as server-sent events.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::message::{Ids, SIGNATURE, envelope, error, output_tokens, usage};
use crate::reply::{Answer, Delta, Ending, Piece};
use crate::request::Request;

/// Characters of a tool's input in one delta: short, so that an input of any size comes in several.
const INPUT_DELTA: usize = 24;

/// What the server does next.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Send this.
    Send(Bytes),
    /// Let time pass.
    Pause(Duration),
    /// Wait to be released.
    Hold,
    /// Cut the connection.
    Cut,
}

/// The steps that stream an answer, in the order in which the real API sends its events.
pub(crate) fn steps(request: &Request, answer: &Answer, ids: &Ids) -> Vec<Step> {
    let message = envelope(request, &ids.make("msg"), Vec::new(), None, 1);
    let mut steps = vec![event(&json!({"type": "message_start", "message": message})), event(&json!({"type": "ping"}))];
    let last = answer.pieces.len().saturating_sub(1);
    for (index, piece) in answer.pieces.iter().enumerate() {
        block(index, piece, ids, &mut steps);
        // What breaks off does so inside of a block.
        if answer.ending == Ending::Complete || index < last {
            steps.push(event(&json!({"type": "content_block_stop", "index": index})));
        }
    }
    match &answer.ending {
        Ending::Complete => {
            let delta = json!({"stop_reason": answer.stop_reason(), "stop_sequence": null});
            steps.push(event(&json!({"type": "message_delta", "delta": delta, "usage": usage(request, output_tokens(answer))})));
            steps.push(event(&json!({"type": "message_stop"})));
        }
        Ending::Cut => steps.push(Step::Cut),
        Ending::Error(refusal) => steps.push(event(&error(refusal))),
    }
    steps
}

fn block(index: usize, piece: &Piece, ids: &Ids, steps: &mut Vec<Step>) {
    let start = |content: Value| event(&json!({"type": "content_block_start", "index": index, "content_block": content}));
    let delta = |delta: Value| event(&json!({"type": "content_block_delta", "index": index, "delta": delta}));
    match piece {
        Piece::Text(deltas) => {
            steps.push(start(json!({"type": "text", "text": ""})));
            steps.extend(deltas.iter().map(|step| paced(step, |text| delta(json!({"type": "text_delta", "text": text})))));
        }
        Piece::Thinking(deltas) => {
            steps.push(start(json!({"type": "thinking", "thinking": "", "signature": ""})));
            steps.extend(deltas.iter().map(|step| paced(step, |text| delta(json!({"type": "thinking_delta", "thinking": text})))));
            steps.push(delta(json!({"type": "signature_delta", "signature": SIGNATURE})));
        }
        Piece::ToolUse { name, input } => {
            steps.push(start(json!({"type": "tool_use", "id": ids.make("toolu"), "name": name, "input": {}})));
            let text: Vec<char> = input.to_string().chars().collect();
            // The real API begins with an empty one.
            let parts = std::iter::once(String::new()).chain(text.chunks(INPUT_DELTA).map(|chunk| chunk.iter().collect()));
            steps.extend(parts.map(|part| delta(json!({"type": "input_json_delta", "partial_json": part}))));
        }
    }
}

fn paced(step: &Delta, say: impl Fn(&str) -> Step) -> Step {
    match step {
        Delta::Say(text) => say(text),
        Delta::Pause(pause) => Step::Pause(*pause),
        Delta::Hold => Step::Hold,
    }
}

fn event(data: &Value) -> Step {
    let name = data.get("type").and_then(Value::as_str).unwrap_or("message");
    Step::Send(Bytes::from(format!("event: {name}\ndata: {data}\n\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(answer: &Answer) -> Vec<String> {
        let request = Request { path: String::new(), api_key: None, body: json!({}), attempt: 0 };
        let steps = steps(&request, answer, &Ids::new());
        let name = |step: &Step| match step {
            Step::Send(bytes) => String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().replace("event: ", ""),
            other => format!("{other:?}"),
        };
        steps.iter().map(name).collect()
    }

    #[test]
    fn a_whole_answer_is_framed_as_the_api_does_it() {
        assert_eq!(
            types(&Answer::new().text("one two")),
            [
                "message_start",
                "ping",
                "content_block_start",
                "content_block_delta",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop"
            ]
        );
    }

    #[test]
    fn a_cut_answer_leaves_its_last_block_open() {
        let types = types(&Answer::new().text("one").text("two").cut());
        assert_eq!(types.iter().filter(|name| *name == "content_block_stop").count(), 1);
        assert_eq!(types.last().map(String::as_str), Some("Cut"));
    }
}
