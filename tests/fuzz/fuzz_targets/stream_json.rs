//! Whatever `claude` prints: no panic, blocks that begin once and end once, turns that end, and a session that reads back as it was seen.
//!
//! An input is a script of lines. Those that begin with `>` are what the host does, all others are printed by the command. What the host would not do (begin a
//! turn while one runs, answer what was not asked) is left out.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_host_agents::claude::{ClaudeAgentSdk, Options};
use agent_host_fuzz::twice::Twice;
use agent_host_fuzz::{Counting, mutate};
use agent_host_session::event::Event;
use agent_host_session::id::{BlockId, ConversationId, MessageId, ProfileId};
use agent_host_session::message::{Content, Message};
use agent_host_session::ports::agent::{Architecture as _, Driver, LaunchContext, Output};
use agent_host_session::ports::hooks::Verdict;
use agent_host_session::ports::sandbox::{Exit, Layout};
use agent_host_session::profile::Profile;
use agent_host_session::record::StreamName;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde::Deserialize as _;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::lines(data, size, max_size, seed) });

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n').peekable();
    let asks_tools = lines.next_if_eq(&b">asks".as_slice()).is_some();
    let mut host = Host::start(asks_tools);
    for line in lines {
        match line.strip_prefix(b">") {
            Some(action) => host.act(&String::from_utf8_lossy(action)),
            None => host.driver.line(line, &mut host.out),
        }
        host.take();
    }
    host.driver.exit(&Exit { code: None, signal: Some(9) }, "killed", &mut host.out);
    host.take();
    assert!(!host.is_running, "the process has ended and the turn has not");
    assert!(host.open.is_empty(), "blocks stay open: {:?}", host.open);
    host.session.settle();
});

/// The host's side, as far as a driver sees it.
struct Host {
    driver: Box<dyn Driver>,
    out: Vec<Output>,
    session: Twice,
    is_ready: bool,
    is_running: bool,
    messages: u64,
    /// Blocks that began and are not complete.
    open: BTreeSet<BlockId>,
    /// Blocks that were there at any time, with their conversations.
    begun: BTreeMap<BlockId, ConversationId>,
    removed: BTreeSet<BlockId>,
    /// Subagents that are at work, or were.
    subagents: BTreeSet<ConversationId>,
    questions: BTreeSet<String>,
}

/// However deep it is nested: what a hook puts in place of a tool's input may be as deep as this reader goes, and stands a few levels deeper in the line.
fn is_json(line: &[u8]) -> bool {
    let mut reader = serde_json::Deserializer::from_slice(line);
    reader.disable_recursion_limit();
    IgnoredAny::deserialize(&mut reader).is_ok() && reader.end().is_ok()
}

impl Host {
    fn start(asks_tools: bool) -> Self {
        let launch = ClaudeAgentSdk::new(Options::default()).launch(LaunchContext {
            profile: &Profile::named(ProfileId::new("default").expect("a valid id"), "Default"),
            options: &Map::new(),
            layout: &Layout { home: "/home/agent".into(), workspace: "/workspace".into(), projects: "/projects".into() },
            agent_session_id: None,
            transcripts: &BTreeMap::new(),
            asks_tools,
            environment: Arc::new(Counting::default()),
        });
        let mut host = Self {
            driver: launch.expect("the agent as it comes can be started").driver,
            out: Vec::new(),
            session: Twice::default(),
            is_ready: false,
            is_running: false,
            messages: 0,
            open: BTreeSet::new(),
            begun: BTreeMap::new(),
            removed: BTreeSet::new(),
            subagents: BTreeSet::new(),
            questions: BTreeSet::new(),
        };
        host.driver.start(&mut host.out);
        host.take();
        host
    }

    fn act(&mut self, action: &str) {
        let (action, rest) = action.split_once(' ').unwrap_or((action, ""));
        match action {
            "message" if self.is_ready && !self.is_running => {
                self.messages += 1;
                self.is_running = true;
                let id = MessageId::new(format!("message-{}", self.messages)).expect("a valid id");
                self.driver.message(&Message::new(id, Content::Text(rest.to_owned())), &mut self.out);
            }
            "interrupt" => self.driver.interrupt(&mut self.out),
            "ask" => self.driver.ask_tools(rest == "true", &mut self.out),
            "options" => {
                if let Ok(Value::Object(options)) = serde_json::from_str(rest)
                    && ClaudeAgentSdk::default().check_options(&options).is_ok()
                {
                    self.driver.options(&options, &mut self.out);
                }
            }
            "allow" => self.decide(Verdict::Allow),
            "deny" => self.decide(Verdict::Deny { hook: "guard".to_owned(), reason: rest.to_owned() }),
            "replace" => {
                if let Ok(Value::Object(input)) = serde_json::from_str(rest) {
                    self.decide(Verdict::Replace(input));
                }
            }
            _ => {}
        }
    }

    fn decide(&mut self, verdict: Verdict<Map<String, Value>>) {
        if let Some(question) = self.questions.pop_first() {
            self.driver.decided(&question, verdict, &mut self.out);
        }
    }

    /// Checks what the driver has put out.
    fn take(&mut self) {
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::Stdin(line) => {
                    let line = line.strip_suffix(b"\n").expect("a whole line");
                    assert!(!line.contains(&b'\n'), "more than a line");
                    assert!(is_json(line), "no JSON");
                }
                Output::Ready => assert!(!std::mem::replace(&mut self.is_ready, true), "it is ready twice"),
                Output::Asked(asked) => {
                    assert_ne!(asked.subagent, Some(ConversationId::main()), "the main conversation is no subagent");
                    self.questions.insert(asked.question);
                }
                Output::Withdrawn(question) => assert!(self.questions.remove(&question), "{question:?} was not asked"),
                Output::Event(event) => {
                    self.check(&event);
                    self.session.apply(&event);
                }
                Output::Spent { usage: _, cost_usd } => assert!(cost_usd.is_finite() && cost_usd >= 0.0, "it cost {cost_usd}"),
                Output::Metadata { conversation, metadata } => self.session.apply(&Event::MetadataUpdated { conversation, metadata }),
                Output::Transcript { stream, data } => {
                    check_transcript(&stream);
                    let lines = data.strip_suffix(b"\n").expect("whole lines");
                    for line in lines.split(|byte| *byte == b'\n') {
                        std::str::from_utf8(line).expect("text");
                    }
                }
                Output::TranscriptReset { stream } => check_transcript(&stream),
                Output::Outdated => {}
                Output::TurnEnded(_) => {
                    assert!(std::mem::take(&mut self.is_running), "no turn runs that could end");
                    assert!(self.open.is_empty(), "blocks are open at the end of a turn: {:?}", self.open);
                    self.questions.clear();
                    self.session.settle();
                }
            }
        }
    }

    fn check(&mut self, event: &Event) {
        match event {
            Event::BlockStarted { conversation, block } => {
                assert!(conversation.is_main() || self.subagents.contains(conversation), "a block of the unknown subagent {conversation}");
                assert_eq!(self.begun.insert(block.id().clone(), conversation.clone()), None, "{block:?} began twice");
                self.open.insert(block.id().clone());
            }
            Event::BlockDelta { conversation, block_id, .. } | Event::BlockUpdated { conversation, block_id, .. } => {
                assert!(self.open.contains(block_id), "{block_id} changes and is not open");
                assert_eq!(self.begun.get(block_id), Some(conversation));
            }
            Event::BlockCompleted { conversation, block } => {
                assert!(self.open.remove(block.id()), "{block:?} is completed and was not open");
                assert_eq!(self.begun.get(block.id()), Some(conversation));
            }
            Event::BlockRemoved { conversation, block_id } => {
                self.open.remove(block_id);
                assert_eq!(self.begun.get(block_id), Some(conversation), "{block_id} is removed where it is not");
                assert!(self.removed.insert(block_id.clone()), "{block_id} is removed twice");
            }
            Event::SubagentDiscovered { id, .. } => {
                assert!(!id.is_main(), "the main conversation is no subagent");
                assert!(self.subagents.insert(id.clone()), "{id} was discovered twice");
            }
            Event::SubagentCompleted { id, .. } => assert!(self.subagents.contains(id), "{id} is completed and was not discovered"),
            other => panic!("a driver does not tell of {other:?}"),
        }
    }
}

/// It is stored under a name by which it is found again, and by which nothing else is.
fn check_transcript(stream: &StreamName) {
    assert!(stream.is_transcript());
    assert_eq!(StreamName::parse(&stream.to_text()).as_ref(), Some(stream));
}
