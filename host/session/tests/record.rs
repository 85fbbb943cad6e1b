//! What was stored by any version must be readable by this one, and mean the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use agent_host_session::event::{Event, RecordLine};
use agent_host_session::id::{Epoch, ProfileId, Sequence, SessionId};
use agent_host_session::record::{Options, SessionRecord};
use agent_host_session::state::State;
use agent_host_session::time::Timestamp;

/// Lines are added and never changed: a new version gets a new file beside it.
const VERSION_0_1: &str = include_str!("golden/events-0.1.jsonl");

fn lines() -> Vec<RecordLine> {
    VERSION_0_1.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn lines_of_version_0_1_are_read_and_written_alike() {
    for (line, text) in lines().iter().zip(VERSION_0_1.lines()) {
        assert_eq!(serde_json::to_string(line).unwrap(), text);
    }
}

#[test]
fn every_durable_event_and_every_block_is_in_the_golden_file() {
    let mut names: Vec<String> = Vec::new();
    for line in lines() {
        assert!(line.event.is_durable(), "{:?} is never stored", line.event);
        let json = serde_json::to_value(&line.event).unwrap();
        names.push(json["type"].as_str().unwrap().to_owned());
        if let Event::BlockCompleted { .. } = line.event {
            names.push(json["block"]["type"].as_str().unwrap().to_owned());
        }
    }
    names.sort();
    names.dedup();
    let expected = [
        "assistant_text",
        "block-completed",
        "block-removed",
        "block-started",
        "block-updated",
        "error",
        "file-created",
        "file-deleted",
        "file-modified",
        "message-accepted",
        "metadata-updated",
        "options-updated",
        "sandbox-taken",
        "subagent",
        "subagent-completed",
        "subagent-discovered",
        "system",
        "thinking",
        "tool_result",
        "tool_use",
        "turn-ended",
        "turn-started",
        "user_message",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_record_folds_to_the_session_that_it_was() {
    let now = Timestamp::from_millis(1_795_330_000_000);
    let mut state = State::new(SessionRecord {
        id: SessionId::new("s").unwrap(),
        created_at: now,
        last_activity: now,
        profile: ProfileId::new("default").unwrap(),
        architecture: "echo".into(),
        name: None,
        options: Options::new(),
        origin: None,
    });
    for line in lines() {
        assert!(line.epoch <= Epoch(2));
        state.apply(&line.event);
    }
    let view = state.view(Sequence(0));
    let ids: Vec<&str> = view.blocks.iter().map(|block| block.id().as_str()).collect();
    assert_eq!(ids, ["m1", "b1", "b2", "b3", "b4", "b5", "b7", "b8", "b9"]);
    let hooks = serde_json::to_string(&view.metadata.hooks).unwrap();
    assert_eq!(hooks, r#"{"guard":{"spent":5}}"#);
    let replaced = state.queue().front().unwrap();
    assert_eq!(state.sent_digest(&replaced.id), replaced.sent_digest.as_deref());
    assert!(replaced.sent_digest.is_some());
    assert_eq!(view.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(view.subagents.len(), 1);
    assert_eq!(view.metadata.cost_usd, Some(0.5));
    assert_eq!(view.record.options["model"], "large");
    assert!(state.repair(&agent_host_session::ports::environment::System, false).is_empty());
}
