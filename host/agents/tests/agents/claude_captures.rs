//! Every recorded conversation, against what is expected of it: `golden/NAME.jsonl` has a line for each output.
//!
//! `UPDATE_GOLDEN=1` writes the files anew; what changed is then to be read and judged.

use std::fs;
use std::path::Path;

use agent_host_session::event::TurnOutcome;
use agent_host_session::ports::agent::Output;
use serde_json::{Value, json};

use crate::support::{Capture, KILLED, fold, outcomes};

/// An output as a line that a person can read: of transcripts, only how much there is.
fn line(output: &Output) -> Value {
    match output {
        Output::Stdin(line) => json!({"stdin": serde_json::from_slice::<Value>(line).unwrap()}),
        Output::Ready => json!("ready"),
        Output::Event(event) => serde_json::to_value(event).unwrap(),
        Output::Spent { usage, cost_usd } => json!({"spent": usage, "costUSD": cost_usd}),
        Output::Metadata { conversation, metadata } => json!({"metadata": metadata, "conversation": conversation}),
        Output::Transcript { stream, data } => {
            json!({"transcript": stream.to_text(), "lines": data.iter().filter(|byte| **byte == b'\n').count(), "bytes": data.len()})
        }
        Output::TranscriptReset { stream } => json!({"transcriptReset": stream.to_text()}),
        Output::Asked(asked) => {
            json!({"asked": asked.question, "tool": asked.tool, "toolUseId": asked.tool_use_id, "input": asked.input, "subagent": asked.subagent})
        }
        Output::Outdated => json!("outdated"),
        Output::Withdrawn(question) => json!({"withdrawn": question}),
        Output::TurnEnded(outcome) => json!({"turnEnded": outcome}),
    }
}

#[test]
fn every_capture_gives_what_is_expected_of_it() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agents/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut different = Vec::new();
    for name in Capture::names() {
        let outputs = Capture::load(&name).outputs();
        fold(&outputs);
        let lines: String = outputs.iter().map(|output| format!("{}\n", line(output))).collect();
        let path = directory.join(format!("{name}.jsonl"));
        if update {
            fs::write(&path, &lines).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != lines {
            let expected = fs::read_to_string(&path).unwrap_or_default();
            let at = lines.lines().zip(expected.lines()).position(|(got, expected)| got != expected);
            let at = at.unwrap_or_else(|| lines.lines().count().min(expected.lines().count()));
            different.push(format!(
                "{name}, line {}:\n  expected {}\n  got      {}",
                at + 1,
                expected.lines().nth(at).unwrap_or("nothing"),
                lines.lines().nth(at).unwrap_or("nothing")
            ));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn wherever_the_output_is_cut_off_the_turn_ends_and_nothing_stays_open() {
    for name in Capture::names() {
        let capture = Capture::load(&name);
        for count in 0..capture.lines.len() {
            let mut driver = capture.driver();
            let mut out = capture.feed(&mut *driver, count);
            let messages = out.iter().filter(|output| matches!(output, Output::Stdin(line) if line.starts_with(b"{\"message\""))).count();
            // A cut inside the line as well, at a place that differs from line to line.
            let next = capture.lines[count].as_bytes();
            driver.line(&next[..(count * 7919) % next.len()], &mut out);
            driver.exit(&KILLED, "killed", &mut out);
            // Whatever is still open shows at the end of one more turn.
            out.push(Output::TurnEnded(TurnOutcome::Failed));
            fold(&out);
            assert_eq!(outcomes(&out).len(), messages + 1, "{name}, cut after line {count}");
        }
    }
}
