//! An agent that takes no time: it speaks as `claude` does, and prints as fast as it is read. What is measured with it is the host.
//!
//! The message says what to do:
//!
//! | message | what it does |
//! | --- | --- |
//! | `deltas N` | streams N deltas of 16 bytes |
//! | `paced N` | the same, 20 in a millisecond at most |
//! | `transcript BYTES` | adds that much to the transcript |
//! | `work N BYTES` | streams N deltas and adds one line with that much text to the transcript |
//! | `work N BYTES SIZE` | does this, and makes a file in the workspace that large |
//! | `fill BYTES FILES SIZE` | adds that much to the transcript, and as many files of that size to the workspace |
//!
//! Anything else is answered by one delta.
#![forbid(unsafe_code)]

#[path = "../work.rs"]
mod work;

use std::fs;
use std::io::{BufRead as _, BufWriter, Write, stdin, stdout};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

const SESSION: &str = "00000000-0000-4000-8000-000000000000";

/// How many deltas `paced` makes before it rests, and for how long.
const BURST: usize = 20;
const REST: Duration = Duration::from_millis(1);

/// So much of a transcript goes into one line, as a large tool result does.
const TRANSCRIPT_LINE: usize = 64 * 1024;

fn main() -> std::io::Result<()> {
    let mut output = BufWriter::with_capacity(64 * 1024, stdout().lock());
    let mut turn = 0;
    for line in stdin().lock().lines() {
        let Ok(request) = serde_json::from_str::<Value>(&line?) else { continue };
        match request.get("type").and_then(Value::as_str) {
            Some("control_request") => {
                let id = request.get("request_id").cloned().unwrap_or_default();
                print(
                    &mut output,
                    &json!({"type": "control_response", "response": {"subtype": "success", "request_id": id, "response": {}}}),
                )?;
            }
            Some("user") => {
                turn += 1;
                let text = request.pointer("/message/content").and_then(text_of).unwrap_or_default();
                answer(&mut output, turn, &text)?;
            }
            _ => {}
        }
        output.flush()?;
    }
    Ok(())
}

fn text_of(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts.iter().find_map(|part| part.get("text")?.as_str()).map(str::to_owned),
        _ => None,
    }
}

fn print(output: &mut impl Write, line: &Value) -> std::io::Result<()> {
    serde_json::to_writer(&mut *output, line)?;
    output.write_all(b"\n")
}

fn answer(output: &mut impl Write, turn: u64, message: &str) -> std::io::Result<()> {
    let mut words = message.split_whitespace();
    let word = words.next().unwrap_or_default();
    let mut numbers = words.map(|number| number.parse().unwrap_or(0));
    let mut number = move || numbers.next().unwrap_or(0);
    let deltas = if matches!(word, "deltas" | "paced" | "work") { number() } else { 1 };
    let id = format!("msg_{turn}_{}", std::process::id());
    let event = |event: Value| json!({"type": "stream_event", "session_id": SESSION, "parent_tool_use_id": null, "event": event});
    let usage = json!({"input_tokens": 1, "output_tokens": deltas});

    print(output, &json!({"type": "system", "subtype": "init", "session_id": SESSION, "cwd": "/", "tools": [], "model": "instant"}))?;
    let start = json!({"id": id, "type": "message", "role": "assistant", "model": "instant", "content": [], "usage": usage});
    print(output, &event(json!({"type": "message_start", "message": start})))?;
    print(output, &event(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})))?;
    for delta in 0..deltas {
        let piece = work::delta(delta);
        print(output, &event(json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}})))?;
        if word == "paced" && delta % BURST == 0 {
            output.flush()?;
            sleep(REST);
        }
    }
    let message = json!({"id": id, "type": "message", "role": "assistant", "model": "instant", "content": [{"type": "text", "text": work::answer(deltas)}], "stop_reason": null});
    print(output, &json!({"type": "assistant", "session_id": SESSION, "parent_tool_use_id": null, "message": message}))?;
    print(output, &event(json!({"type": "content_block_stop", "index": 0})))?;
    print(output, &event(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage})))?;
    print(output, &event(json!({"type": "message_stop"})))?;
    let mut transcript = |entry: Value| {
        let file = format!("/home/agent/.claude/projects/-workspace/{SESSION}.jsonl");
        print(output, &json!({"type": "transcript_mirror", "filePath": file, "entries": [entry]}))
    };
    match word {
        "transcript" => {
            for line in 0..number().div_ceil(TRANSCRIPT_LINE) {
                transcript(json!({"type": "user", "line": line, "text": "x".repeat(TRANSCRIPT_LINE)}))?;
            }
        }
        "work" => {
            transcript(work::transcript_line(turn, number()))?;
            if let size @ 1.. = number() {
                fs::write(work::FILE, work::text(turn, size))?;
            }
        }
        "fill" => {
            // No session's bytes are another's: what is mixed up shows.
            let seed = u64::from(std::process::id());
            for line in 0..number().div_ceil(TRANSCRIPT_LINE) {
                transcript(json!({"type": "user", "line": line, "text": work::text(seed, TRANSCRIPT_LINE)}))?;
            }
            let (files, size) = (number(), number());
            for file in 0..files {
                fs::write(format!("{file}.txt"), work::text(seed + file as u64, size))?;
            }
        }
        _ => {}
    }
    let result = json!({
        "type": "result", "subtype": "success", "is_error": false, "terminal_reason": "completed", "num_turns": 1, "result": "",
        "total_cost_usd": 0.0, "usage": usage, "modelUsage": {}, "session_id": SESSION,
    });
    print(output, &result)?;
    print(output, &json!({"type": "system", "subtype": "session_state_changed", "state": "idle", "session_id": SESSION}))
}
