//! Whatever is in transcripts from elsewhere: the same blocks each time, each with an id of its own, that read back as they are.
//!
//! An input is the lines of one or more transcripts; a line `@ NAME` says to which the next ones belong.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_host_agents::claude::{ClaudeAgentSdk, import};
use agent_host_fuzz::twice::Twice;
use agent_host_fuzz::{Counting, mutate};
use agent_host_session::event::Event;
use agent_host_session::id::ProfileId;
use agent_host_session::ports::agent::{Architecture as _, LaunchContext};
use agent_host_session::ports::sandbox::Layout;
use agent_host_session::profile::Profile;
use agent_host_session::record::StreamName;
use bytes::Bytes;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde_json::Map;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::lines(data, size, max_size, seed) });

fuzz_target!(|data: &[u8]| {
    let transcripts = transcripts(data);
    let events = import(&transcripts);
    assert_eq!(events, import(&transcripts), "importing twice gives the same");
    check(&events);
    check_resume(&transcripts);
});

fn transcripts(data: &[u8]) -> BTreeMap<StreamName, Bytes> {
    let mut transcripts: BTreeMap<StreamName, Vec<u8>> = BTreeMap::new();
    let mut stream = StreamName::TranscriptMain;
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        let name = line.strip_prefix(b"@ ").and_then(|name| std::str::from_utf8(name.trim_ascii_end()).ok());
        match name.and_then(StreamName::parse) {
            Some(name) => stream = name,
            None => transcripts.entry(stream.clone()).or_default().extend_from_slice(line),
        }
    }
    transcripts.into_iter().map(|(stream, content)| (stream, Bytes::from(content))).collect()
}

fn check(events: &[Event]) {
    let mut session = Twice::default();
    let (mut blocks, mut discovered, mut completed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for event in events {
        assert!(event.is_durable(), "{event:?} would not be stored");
        match event {
            Event::BlockCompleted { conversation, block } => {
                assert!(blocks.insert(block.id().clone()), "two blocks have the id {}", block.id());
                assert!(conversation.is_main() || discovered.contains(conversation), "a block of the unknown subagent {conversation}");
            }
            Event::SubagentDiscovered { id, .. } => assert!(!id.is_main() && discovered.insert(id.clone()), "{id} is discovered"),
            Event::SubagentCompleted { id, .. } => assert!(completed.insert(id.clone()), "{id} ends twice"),
            Event::MetadataUpdated { conversation, .. } => assert!(conversation.is_main()),
            other => panic!("an import does not tell of {other:?}"),
        }
        session.apply(event);
    }
    assert_eq!(discovered, completed, "each subagent ends");
    session.settle();
    let view = session.view();
    let shown = view.blocks.len() + view.subagents.iter().map(|subagent| subagent.blocks.len()).sum::<usize>();
    assert_eq!(shown, blocks.len(), "each block is shown");
}

/// What is laid down for the command to resume from is one file at each place, whatever is in the transcripts.
fn check_resume(transcripts: &BTreeMap<StreamName, Bytes>) {
    let launch = ClaudeAgentSdk::default().launch(LaunchContext {
        profile: &Profile::named(ProfileId::new("default").expect("a valid id"), "Default"),
        options: &Map::new(),
        layout: &Layout { home: "/home/agent".into(), workspace: "/workspace".into(), projects: "/projects".into() },
        agent_session_id: Some("8ae21b76-6657-40d0-b4d7-7e0c9e5ec35f"),
        transcripts,
        asks_tools: false,
        environment: Arc::new(Counting::default()),
    });
    // A stream of a name that can be no file's is refused.
    let Ok(launch) = launch else { return };
    let mut places = BTreeSet::new();
    for file in launch.files {
        assert!(places.insert(format!("{:?} {}", file.root, file.path)), "two files at {}", file.path);
    }
}
