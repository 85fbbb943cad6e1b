//! Blocks from bare transcripts.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_host_agents::claude::import;
use agent_host_session::event::{Event, SubagentStatus};
use agent_host_session::id::ConversationId;
use agent_host_session::metadata::Metadata;
use agent_host_session::ports::agent::Output;
use agent_host_session::record::StreamName;
use serde_json::json;

use crate::support::{Capture, fold, main_blocks, summary, transcripts};

/// An import as the outputs of a driver would be, for the same checks.
fn outputs(events: Vec<Event>) -> Vec<Output> {
    let both = |event: Event| match event {
        Event::BlockCompleted { conversation, block } => {
            let started = Event::BlockStarted { conversation: conversation.clone(), block: Arc::clone(&block) };
            vec![Output::Event(started), Output::Event(Event::BlockCompleted { conversation, block })]
        }
        other => vec![Output::Event(other)],
    };
    events.into_iter().flat_map(both).collect()
}

#[test]
fn an_import_shows_what_was_streamed() {
    // What was recorded without the texts of subagents, or with what the command wrote for itself, is compared in part.
    let recorded = [("recommended_errors", true, true), ("recommended_interrupts", false, true), ("session_mirror", true, false)];
    for (name, compare_main, compare_subagents) in recorded {
        let live = Capture::load(name).outputs();
        let imported = outputs(import(&transcripts(&live)));
        let mut live = fold(&live);
        for (conversation, blocks) in fold(&imported) {
            let streamed = live.remove(&conversation).unwrap();
            // What the user said to the main conversation is the session's to show. That a subagent was interrupted stands only in its transcript.
            let only_stored = if conversation.is_main() { "user: " } else { "system: The turn was interrupted" };
            let is_shown = |line: &String| !line.starts_with(only_stored);
            let blocks: Vec<String> = summary(&blocks).into_iter().filter(is_shown).collect();
            let compare = if conversation.is_main() { compare_main } else { compare_subagents };
            if compare {
                assert_eq!(blocks, summary(&streamed), "{name}, {conversation}");
            }
        }
        assert!(live.is_empty(), "{name}: {live:?} were not imported");
    }
}

#[test]
fn importing_twice_gives_the_same() {
    let transcripts = transcripts(&Capture::load("recommended_interrupts").outputs());
    let events = import(&transcripts);
    assert!(events.len() > 20);
    assert_eq!(events, import(&transcripts));
    assert!(events.iter().all(Event::is_durable));
}

#[test]
fn what_the_user_said_subagents_and_costs_are_imported() {
    let transcripts = transcripts(&Capture::load("session_mirror").outputs());
    let events = import(&transcripts);
    let subagent = ConversationId::new("a82cafbfbcb955df5").unwrap();
    assert!(events.contains(&Event::SubagentDiscovered { id: subagent.clone(), name: Some("general-purpose".into()) }));
    assert!(events.contains(&Event::SubagentCompleted { id: subagent, status: SubagentStatus::Completed }));
    let metadata = |event: &Event| match event {
        Event::MetadataUpdated { metadata, .. } => Some(metadata.clone()),
        _ => None,
    };
    let metadata: Metadata = events.iter().find_map(metadata).unwrap();
    assert_eq!(metadata.cost_usd, Some(0.034071));
    assert_eq!(metadata.usage.unwrap().output_tokens, 134);
    assert_eq!(metadata.model.as_deref(), Some("claude-sonnet-4-6"));
    assert_eq!(metadata.agent_session_id.as_deref(), Some("8ae21b76-6657-40d0-b4d7-7e0c9e5ec35f"));
    let blocks = main_blocks(&outputs(events));
    assert_eq!(summary(&blocks)[0], "user: agentfg sub please");
}

#[test]
fn every_block_has_an_id_of_its_own() {
    let uuid = |number: u32| format!("00000000-0000-0000-0000-{number:012}");
    let both = json!([{"type": "tool_result", "tool_use_id": "t1", "content": "done"}, {"type": "text", "text": "And now?"}]);
    let lines = [
        json!({"type": "assistant", "uuid": uuid(1), "message": {"content": [{"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}]}}),
        // A result, and what the user said meanwhile.
        json!({"type": "user", "uuid": uuid(2), "message": {"content": both}}),
        // A copy, as in a session that was forked.
        json!({"type": "user", "uuid": uuid(2), "message": {"content": both}}),
    ];
    let main: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // Its stream would be called as the main one's.
    let other = json!({"type": "user", "uuid": uuid(3), "message": {"content": "Not from the user"}}).to_string();
    let transcripts =
        BTreeMap::from([(StreamName::TranscriptMain, main.into()), (StreamName::TranscriptSubagent("main".into()), other.into())]);
    // The fold fails where an id is there twice.
    let blocks = main_blocks(&outputs(import(&transcripts)));
    assert_eq!(summary(&blocks), ["tool Bash Success", "result ok: done", "user: And now?"]);
}

#[test]
fn broken_lines_are_left_out() {
    let mut transcripts = transcripts(&Capture::load("session_mirror").outputs());
    let whole = import(&transcripts);
    for content in transcripts.values_mut() {
        let mut broken = b"not json\n\xff\xfe\n{\"type\":\"assistant\",\"message\":7}\n\n".to_vec();
        broken.extend_from_slice(content);
        broken.extend_from_slice(b"{\"type\":\"user\",\"uuid\":\"3f0c");
        *content = broken.into();
    }
    assert_eq!(import(&transcripts), whole);
}
