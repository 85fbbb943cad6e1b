//! A fixed clock and fixed randomness, recorded conversations with `claude`, and checks that hold for every driver.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_host_agents::claude::{ClaudeAgentSdk, Options};
use agent_host_session::block::Block;
use agent_host_session::event::{Event, TurnOutcome};
use agent_host_session::id::{ConversationId, MessageId};
use agent_host_session::message::{Content, Message};
use agent_host_session::ports::agent::{Architecture, Driver, Launch, LaunchContext, Output};
use agent_host_session::ports::environment::Environment;
use agent_host_session::ports::hooks::Verdict;
use agent_host_session::ports::sandbox::{Exit, Layout};
use agent_host_session::profile::Profile;
use agent_host_session::record::StreamName;
use agent_host_session::time::Timestamp;
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

/// Counts: UUIDs from 1, and time in milliseconds from an arbitrary moment.
#[derive(Default)]
pub(crate) struct Counting {
    uuids: AtomicU64,
    millis: AtomicU64,
}

impl Environment for Counting {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_795_330_000_000 + self.millis.fetch_add(1, Ordering::Relaxed) as i64)
    }

    fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.uuids.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

pub(crate) fn profile(json: Value) -> Profile {
    let mut profile = json!({"id": "default", "name": "Default"});
    profile.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
    serde_json::from_value(profile).unwrap()
}

pub(crate) fn layout() -> Layout {
    Layout { home: "/home/agent".into(), workspace: "/workspace".into(), projects: "/projects".into() }
}

/// What a launch is made from, where a test does not say otherwise.
pub(crate) struct Start {
    pub(crate) profile: Profile,
    pub(crate) options: Value,
    pub(crate) agent_session_id: Option<String>,
    pub(crate) transcripts: BTreeMap<StreamName, Bytes>,
    pub(crate) asks_tools: bool,
}

impl Default for Start {
    fn default() -> Self {
        Self { profile: profile(json!({})), options: json!({}), agent_session_id: None, transcripts: BTreeMap::new(), asks_tools: false }
    }
}

impl Start {
    /// A session that goes on under the agent's own name for it.
    pub(crate) fn resume(id: &str) -> Self {
        let transcripts = BTreeMap::from([(StreamName::TranscriptMain, Bytes::from_static(b"{\"type\":\"user\"}\n"))]);
        Self { agent_session_id: Some(id.to_owned()), transcripts, ..Self::default() }
    }

    pub(crate) fn launch(&self, architecture: &dyn Architecture) -> Launch {
        architecture
            .launch(LaunchContext {
                profile: &self.profile,
                options: self.options.as_object().unwrap(),
                layout: &layout(),
                agent_session_id: self.agent_session_id.as_deref(),
                transcripts: &self.transcripts,
                asks_tools: self.asks_tools,
                environment: Arc::new(Counting::default()),
            })
            .unwrap()
    }

    pub(crate) fn claude(&self) -> Box<dyn Driver> {
        self.launch(&ClaudeAgentSdk::new(Options::default())).driver
    }
}

pub(crate) fn message(text: &str) -> Message {
    Message::new(MessageId::new("m-1").unwrap(), Content::Text(text.to_owned()))
}

pub(crate) const KILLED: Exit = Exit { code: None, signal: Some(9) };

/// A recorded conversation: what was written to the program, and what it printed.
pub(crate) struct Capture {
    pub(crate) lines: Vec<String>,
    messages: Vec<Message>,
    /// The names of the requests to interrupt.
    interrupts: BTreeSet<String>,
    /// What the program was told to ask about tools, by the name of the request.
    hooks: BTreeMap<String, Value>,
    /// What it was answered when it asked about a tool, by the name of its request.
    pub(crate) answers: BTreeMap<String, Value>,
    session: String,
}

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/claude")
}

impl Capture {
    pub(crate) fn names() -> Vec<String> {
        let names = fs::read_dir(captures()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names: BTreeSet<String> = names.filter_map(|name| Some(name.strip_suffix(".in.jsonl")?.to_owned())).collect();
        assert!(names.len() >= 28, "captures are missing");
        names.into_iter().collect()
    }

    pub(crate) fn load(name: &str) -> Self {
        let read = |suffix: &str| fs::read_to_string(captures().join(format!("{name}{suffix}"))).unwrap();
        let lines: Vec<String> = read(".jsonl").lines().map(str::to_owned).collect();
        let written: Vec<Value> = read(".in.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let messages = written.iter().filter(|line| line["type"] == "user").enumerate().map(|(number, line)| {
            let content = serde_json::from_value(line["message"]["content"].clone()).unwrap();
            Message::new(MessageId::new(format!("message-{number}")).unwrap(), content)
        });
        let interrupts = written.iter().filter(|line| line["request"]["subtype"] == "interrupt");
        let interrupts = interrupts.map(|line| line["request_id"].as_str().unwrap().to_owned()).collect();
        let session = lines.iter().find(|line| line.contains(r#""subtype":"init""#)).unwrap();
        let session: Value = serde_json::from_str(session).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let hooks = written.iter().filter(|line| line["request"]["subtype"] == "initialize");
        let hooks = hooks.map(|line| (text(&line["request_id"]), line["request"]["hooks"].clone())).collect();
        let answers = written.iter().map(|line| &line["response"]).filter(|response| response["subtype"] == "success");
        let answers = answers.map(|response| (text(&response["request_id"]), response["response"].clone())).collect();
        Self { messages: messages.collect(), interrupts, hooks, answers, session: text(&session["session_id"]), lines }
    }

    pub(crate) fn driver(&self) -> Box<dyn Driver> {
        let asks_tools = self.hooks.get("initialize").is_some_and(|hooks| !hooks.is_null());
        Start { asks_tools, ..Start::resume(&self.session) }.claude()
    }

    /// Feeds the first `count` lines, with a message whenever no turn runs, and interrupts, changes and decisions where they were.
    pub(crate) fn feed(&self, driver: &mut dyn Driver, count: usize) -> Vec<Output> {
        let mut out = Vec::new();
        driver.start(&mut out);
        let mut messages = self.messages.iter();
        let mut running = false;
        for line in self.lines.iter().take(count) {
            let is_initialize = line.contains(r#""request_id":"initialize""#);
            if !running
                && !is_initialize
                && let Some(message) = messages.next()
            {
                driver.message(message, &mut out);
                running = true;
            }
            if self.interrupts.iter().any(|id| line.contains("control_response") && line.contains(&format!("\"{id}\""))) {
                driver.interrupt(&mut out);
            }
            let is_answer = |id: &String| id != "initialize" && line.contains("control_response") && line.contains(&format!("\"{id}\""));
            if self.hooks.keys().any(is_answer) {
                driver.ask_tools(true, &mut out);
            }
            let before = out.len();
            driver.line(line.as_bytes(), &mut out);
            let asked: Vec<String> = out[before..].iter().filter_map(question).collect();
            for question in asked {
                if let Some(answer) = self.answers.get(&question) {
                    driver.decided(&question, verdict(answer), &mut out);
                }
            }
            if out[before..].iter().any(|output| matches!(output, Output::TurnEnded(_))) {
                running = false;
            }
        }
        out
    }

    pub(crate) fn outputs(&self) -> Vec<Output> {
        self.feed(&mut *self.driver(), self.lines.len())
    }
}

fn question(output: &Output) -> Option<String> {
    match output {
        Output::Asked(asked) => Some(asked.question.clone()),
        _ => None,
    }
}

/// The decision that an answer tells.
fn verdict(answer: &Value) -> Verdict<serde_json::Map<String, Value>> {
    let decided = &answer["hookSpecificOutput"];
    match (decided["permissionDecisionReason"].as_str(), decided["updatedInput"].as_object()) {
        (Some(reason), _) => Verdict::Deny { hook: "guard".to_owned(), reason: reason.to_owned() },
        (None, Some(input)) => Verdict::Replace(input.clone()),
        (None, None) => Verdict::Allow,
    }
}

/// The conversations that outputs fold to. Fails where a block is completed twice, changed when complete, or open when a turn ends.
pub(crate) fn fold(outputs: &[Output]) -> BTreeMap<ConversationId, Vec<Block>> {
    let mut conversations: BTreeMap<ConversationId, Vec<Block>> = BTreeMap::new();
    let mut open = BTreeSet::new();
    for output in outputs {
        match output {
            Output::Event(Event::BlockStarted { conversation, block }) => {
                assert!(open.insert(block.id().to_string()), "{block:?} began twice");
                conversations.entry(conversation.clone()).or_default().push(Block::clone(block));
            }
            Output::Event(Event::BlockDelta { conversation, block_id, delta }) => {
                assert!(open.contains(block_id.as_str()), "a delta of a block that is not open");
                let blocks = conversations.get_mut(conversation).unwrap();
                blocks.iter_mut().find(|block| block.id() == block_id).unwrap().push_text(delta);
            }
            Output::Event(Event::BlockUpdated { conversation, block_id, update }) => {
                assert!(open.contains(block_id.as_str()), "an update of a block that is not open");
                let blocks = conversations.get_mut(conversation).unwrap();
                blocks.iter_mut().find(|block| block.id() == block_id).unwrap().update(update);
            }
            Output::Event(Event::BlockCompleted { conversation, block }) => {
                assert!(open.remove(block.id().as_str()), "{block:?} is completed and was not open");
                let blocks = conversations.get_mut(conversation).unwrap();
                *blocks.iter_mut().find(|known| known.id() == block.id()).unwrap() = Block::clone(block);
            }
            Output::Event(Event::BlockRemoved { conversation, block_id }) => {
                open.remove(block_id.as_str());
                let blocks = conversations.get_mut(conversation).unwrap();
                let before = blocks.len();
                blocks.retain(|block| block.id() != block_id);
                assert_eq!(blocks.len(), before - 1, "a block was removed that was not there");
            }
            Output::TurnEnded(_) => assert!(open.is_empty(), "blocks are open at the end of a turn: {open:?}"),
            _ => {}
        }
    }
    conversations
}

pub(crate) fn main_blocks(outputs: &[Output]) -> Vec<Block> {
    fold(outputs).remove(&ConversationId::main()).unwrap_or_default()
}

/// Block by block, what a person would read.
pub(crate) fn summary(blocks: &[Block]) -> Vec<String> {
    let line = |block: &Block| match block {
        Block::UserMessage(block) => format!("user: {}", block.content.text()),
        Block::AssistantText(block) => format!("text: {}", block.content),
        Block::ToolUse(block) => format!("tool {} {:?}", block.tool_name, block.status),
        Block::ToolResult(block) => format!("result {}: {}", if block.is_error { "error" } else { "ok" }, text(&block.output)),
        Block::Thinking(block) => format!("thinking: {}", block.content),
        Block::System(block) => format!("system: {}", block.message),
        Block::Subagent(block) => format!("subagent {:?}: {}", block.status, block.output.as_deref().unwrap_or("-")),
        Block::Error(block) => format!("error {}: {}", block.code.as_deref().unwrap_or("-"), block.message),
    };
    blocks.iter().map(line).collect()
}

fn text(output: &Value) -> String {
    output.as_str().map_or_else(|| output.to_string(), str::to_owned)
}

pub(crate) fn outcomes(outputs: &[Output]) -> Vec<TurnOutcome> {
    let outcome = |output: &Output| match output {
        Output::TurnEnded(outcome) => Some(outcome.clone()),
        _ => None,
    };
    outputs.iter().filter_map(outcome).collect()
}

/// The lines that were written to the program.
pub(crate) fn written(outputs: &[Output]) -> Vec<Value> {
    let line = |output: &Output| match output {
        Output::Stdin(line) => Some(serde_json::from_slice(line.strip_suffix(b"\n").expect("a line")).unwrap()),
        _ => None,
    };
    outputs.iter().filter_map(line).collect()
}

/// The transcripts that outputs add up to.
pub(crate) fn transcripts(outputs: &[Output]) -> BTreeMap<StreamName, Bytes> {
    let mut transcripts: BTreeMap<StreamName, Vec<u8>> = BTreeMap::new();
    for output in outputs {
        match output {
            Output::Transcript { stream, data } => transcripts.entry(stream.clone()).or_default().extend_from_slice(data),
            Output::TranscriptReset { stream } => drop(transcripts.remove(stream)),
            _ => {}
        }
    }
    transcripts.into_iter().map(|(stream, data)| (stream, Bytes::from(data))).collect()
}
