//! The architecture `fake`, whose program is [`crate::sandbox`]'s own. Its protocol is a word and a text a line.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_host_session::block::{AssistantText, Block};
use agent_host_session::event::{Event, TurnOutcome};
use agent_host_session::id::{BlockId, ConversationId};
use agent_host_session::message::Message;
use agent_host_session::metadata::{Metadata, Usage};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::agent::{Architecture, Asked, Driver, Invalid, Launch, LaunchContext, Output};
use agent_host_session::ports::environment::Environment;
use agent_host_session::ports::hooks::Verdict;
use agent_host_session::ports::sandbox::{Command, Exit, File, Layout, Root};
use agent_host_session::record::{Options, StreamName};
use agent_host_session::time::Timestamp;
use bytes::Bytes;
use serde_json::{Map, Value};

/// The option that makes an agent that cannot begin to ask about tools while it runs.
const STUBBORN: &str = "stubborn";

/// Where the program keeps its transcript itself, below its home directory: in a directory of its own.
const TRANSCRIPTS: &str = "transcripts";
const TRANSCRIPT: &str = "transcripts/main";

/// The architecture.
#[derive(Debug)]
pub struct FakeArchitecture;

/// Of a transcript that has no `x` in it, this is what is said.
fn imported(text: &str) -> Block {
    let id = BlockId::from(uuid::Uuid::from_u128(1));
    Block::AssistantText(AssistantText { id, timestamp: Timestamp::from_millis(0), content: text.to_owned(), model: None })
}

impl Architecture for FakeArchitecture {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn check_options(&self, options: &Options) -> Result<(), Invalid> {
        match options.keys().find(|key| !["model", "depth", STUBBORN].contains(&key.as_str())) {
            Some(key) => Err(Invalid(format!("unknown option {key:?}"))),
            None => Ok(()),
        }
    }

    fn import(&self, transcripts: &BTreeMap<StreamName, Bytes>) -> Result<Vec<Event>, Invalid> {
        let text = transcripts.values().map(|content| String::from_utf8_lossy(content)).collect::<String>();
        if text.contains('x') {
            return Err(Invalid("there is an x in it".to_owned()));
        }
        Ok(Event::whole_block(ConversationId::main(), imported(&text)).into())
    }

    fn transcripts(&self, _layout: &Layout) -> Option<RelativePath> {
        RelativePath::new(TRANSCRIPTS).ok()
    }

    fn recover(
        &self,
        _agent_session_id: &str,
        stored: &BTreeMap<StreamName, Bytes>,
        files: &[(RelativePath, Bytes)],
    ) -> BTreeMap<StreamName, Bytes> {
        let known = stored.get(&StreamName::TranscriptMain).map_or(&[][..], Bytes::as_ref);
        let own = files.iter().find(|(path, _)| path.as_str() == TRANSCRIPT);
        let added = own.and_then(|(_, own)| own.strip_prefix(known)).filter(|added| !added.is_empty());
        added.map(|added| (StreamName::TranscriptMain, Bytes::copy_from_slice(added))).into_iter().collect()
    }

    fn launch(&self, context: LaunchContext<'_>) -> Result<Launch, Invalid> {
        let files = context.profile.default_workspace_files.iter().map(|file| File {
            root: Root::Workspace,
            path: file.path.clone(),
            content: Bytes::from(file.content.clone()),
            executable: false,
        });
        let transcript = context.transcripts.get(&StreamName::TranscriptMain).cloned().unwrap_or_default();
        let own = [("history", Bytes::from(transcript.len().to_string())), (TRANSCRIPT, transcript)];
        let own = own
            .into_iter()
            .filter_map(|(path, content)| Some(File { root: Root::Home, path: RelativePath::new(path).ok()?, content, executable: false }));
        Ok(Launch {
            files: files.chain(own).collect(),
            command: Command { program: "fake".to_owned(), args: Vec::new(), env: Vec::new() },
            driver: Box::new(FakeDriver {
                environment: context.environment,
                asks_tools: context.asks_tools,
                is_stubborn: context.options.contains_key(STUBBORN),
                asked: None,
                block: None,
                in_turn: false,
                interrupted: false,
            }),
        })
    }
}

/// The program has one question open at a time.
const QUESTION: &str = "question";

struct FakeDriver {
    environment: Arc<dyn Environment>,
    asks_tools: bool,
    is_stubborn: bool,
    /// The text of the open question.
    asked: Option<String>,
    block: Option<(BlockId, Timestamp, String)>,
    in_turn: bool,
    interrupted: bool,
}

impl FakeDriver {
    fn complete(&mut self, out: &mut Vec<Output>) {
        if let Some((id, timestamp, content)) = self.block.take() {
            let block = Arc::new(Block::AssistantText(AssistantText { id, timestamp, content, model: None }));
            out.push(Output::Event(Event::BlockCompleted { conversation: ConversationId::main(), block }));
        }
    }

    fn end(&mut self, outcome: TurnOutcome, out: &mut Vec<Output>) {
        self.asked = None;
        self.complete(out);
        if std::mem::take(&mut self.in_turn) {
            out.push(Output::TurnEnded(outcome));
        }
    }
}

impl Driver for FakeDriver {
    fn start(&mut self, out: &mut Vec<Output>) {
        out.push(Output::Stdin("hello\n".into()));
    }

    fn message(&mut self, message: &Message, out: &mut Vec<Output>) {
        self.in_turn = true;
        self.interrupted = false;
        out.push(Output::Stdin(format!("message {}\n", message.content.text()).into()));
    }

    fn interrupt(&mut self, out: &mut Vec<Output>) {
        self.interrupted = true;
        if self.asked.take().is_some() {
            out.push(Output::Withdrawn(QUESTION.to_owned()));
        }
        out.push(Output::Stdin("interrupt\n".into()));
    }

    fn options(&mut self, options: &Options, out: &mut Vec<Output>) {
        let model = options.get("model").and_then(|model| model.as_str()).unwrap_or("none");
        out.push(Output::Stdin(format!("model {model}\n").into()));
    }

    fn ask_tools(&mut self, ask: bool, out: &mut Vec<Output>) {
        if self.is_stubborn {
            out.push(Output::Outdated);
        } else {
            self.asks_tools = ask;
        }
    }

    fn decided(&mut self, question: &str, verdict: Verdict<Map<String, Value>>, out: &mut Vec<Output>) {
        assert_eq!(question, QUESTION);
        let Some(text) = self.asked.take() else { unreachable!("a question that was withdrawn is not decided") };
        let answer = match verdict {
            Verdict::Allow => format!("allow {text}\n"),
            Verdict::Replace(input) => format!("allow {}\n", input.get("text").and_then(Value::as_str).unwrap_or_default()),
            Verdict::Deny { reason, .. } => format!("deny {reason}\n"),
        };
        out.push(Output::Stdin(answer.into()));
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<Output>) {
        let line = String::from_utf8_lossy(line).into_owned();
        let (word, text) = line.split_once(' ').unwrap_or((&line, ""));
        let conversation = ConversationId::main();
        match word {
            "ready" => out.push(Output::Ready),
            "delta" => {
                let (id, _, content) = self.block.get_or_insert_with(|| {
                    let (id, timestamp) = (BlockId::from(self.environment.uuid()), self.environment.now());
                    let block = AssistantText { id: id.clone(), timestamp, content: String::new(), model: None };
                    let block = Arc::new(Block::AssistantText(block));
                    out.push(Output::Event(Event::BlockStarted { conversation: conversation.clone(), block }));
                    (id, timestamp, String::new())
                });
                content.push_str(text);
                out.push(Output::Event(Event::BlockDelta { conversation, block_id: id.clone(), delta: text.to_owned() }));
            }
            "transcript" => out.push(Output::Transcript { stream: StreamName::TranscriptMain, data: format!("{text}\n").into() }),
            "ask" if self.asks_tools => {
                let (tool, text) = text.split_once(' ').unwrap_or((text, ""));
                self.asked = Some(text.to_owned());
                let input = Map::from_iter([("text".to_owned(), Value::from(text))]);
                let (question, tool_use_id) = (QUESTION.to_owned(), QUESTION.to_owned());
                out.push(Output::Asked(Asked { question, subagent: None, tool_use_id, tool: tool.to_owned(), input }));
            }
            "ask" => {
                let (_, text) = text.split_once(' ').unwrap_or((text, ""));
                out.push(Output::Stdin(format!("allow {text}\n").into()));
            }
            "session" => {
                let metadata = Metadata { agent_session_id: Some(text.to_owned()), ..Metadata::default() };
                out.push(Output::Metadata { conversation, metadata });
            }
            "model" => {
                let metadata = Metadata { model: Some(text.to_owned()), ..Metadata::default() };
                out.push(Output::Metadata { conversation, metadata });
            }
            "end" => {
                let usage = Usage { input_tokens: 1, output_tokens: 2, ..Usage::default() };
                out.push(Output::Spent { usage, cost_usd: 0.5 });
                self.end(if self.interrupted { TurnOutcome::Interrupted } else { TurnOutcome::Completed }, out);
            }
            _ => {}
        }
    }

    fn exit(&mut self, _exit: &Exit, _stderr: &str, out: &mut Vec<Output>) {
        self.end(TurnOutcome::Failed, out);
    }
}
