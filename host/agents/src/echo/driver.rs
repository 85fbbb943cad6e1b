//! What follows from each line that `echo.sh` prints.

use std::sync::Arc;

use agent_host_session::block::{Block, BlockUpdate, ToolStatus};
use agent_host_session::event::TurnOutcome;
use agent_host_session::id::{BlockId, ConversationId};
use agent_host_session::message::Message;
use agent_host_session::metadata::{Metadata, Usage};
use agent_host_session::ports::agent::{Asked, Driver, Output};
use agent_host_session::ports::environment::Environment;
use agent_host_session::ports::hooks::Verdict;
use agent_host_session::ports::sandbox::Exit;
use agent_host_session::record::Options;
use agent_host_session::time::Timestamp;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::encoding::{decode, encode, encode_word};
use super::{MODEL, TOOL, delay_ms};
use crate::ledger::{Begin, Ledger, elapsed_ms};

/// The parts of the tool's input.
const FILE_PATH: &str = "file_path";
const CONTENT: &str = "content";

/// The file is not to be written.
const DENY: Bytes = Bytes::from_static(b"deny\n");

/// The host's side of the shell program's protocol.
pub(super) struct EchoDriver {
    ledger: Ledger,
    delay_ms: u32,
    asks_tools: bool,
    ready: bool,
    turn: Option<Turn>,
}

#[derive(Default)]
struct Turn {
    text: Option<BlockId>,
    tool: Option<Tool>,
    interrupted: bool,
    /// Whether the program waits for a word before it writes a file.
    asks: bool,
    usage: Usage,
}

struct Tool {
    block: BlockId,
    id: String,
    since: Timestamp,
    is_asked: bool,
    /// Why it may not be used.
    denied: Option<String>,
}

impl EchoDriver {
    pub(super) fn new(environment: Arc<dyn Environment>, delay_ms: u32, asks_tools: bool) -> Self {
        Self { ledger: Ledger::new(environment), delay_ms, asks_tools, ready: false, turn: None }
    }

    fn said(&mut self, segment: &str, out: &mut Vec<Output>) {
        let Some(turn) = self.turn.as_mut() else { return };
        turn.usage.output_tokens += 1;
        let text = turn.text.get_or_insert_with(|| {
            let begin = Begin::Text { content: String::new(), model: Some(MODEL.to_owned()) };
            self.ledger.start(&ConversationId::main(), begin, out)
        });
        self.ledger.delta(text, decode(segment), out);
    }

    fn writes(&mut self, name: &str, content: &str, out: &mut Vec<Output>) {
        let Some(turn) = self.turn.as_mut() else { return };
        let id = self.ledger.environment().uuid().to_string();
        let block = self.ledger.start(&ConversationId::main(), Begin::Tool { name: TOOL.to_owned(), tool_use_id: id.clone() }, out);
        let input = Map::from_iter([(FILE_PATH.to_owned(), decode(name).into()), (CONTENT.to_owned(), decode(content).into())]);
        let update = BlockUpdate { input: Some(Value::Object(input.clone())), status: Some(ToolStatus::Running), ..BlockUpdate::default() };
        self.ledger.update(&block, update, out);
        if turn.asks {
            let tool = TOOL.to_owned();
            out.push(Output::Asked(Asked { question: id.clone(), subagent: None, tool_use_id: id.clone(), tool, input }));
        }
        turn.tool = Some(Tool { block, id, since: self.ledger.environment().now(), is_asked: turn.asks, denied: None });
    }

    fn wrote(&mut self, failure: Option<&str>, out: &mut Vec<Output>) {
        let Some(tool) = self.turn.as_mut().and_then(|turn| turn.tool.take()) else { return };
        // The program does not know why.
        let failure = tool.denied.as_deref().or(failure);
        let is_error = failure.is_some();
        let finish = |block: &mut Block| {
            if let Block::ToolUse(block) = block {
                block.status = if is_error { ToolStatus::Error } else { ToolStatus::Success };
            }
        };
        self.ledger.complete(&tool.block, finish, out);
        let begin = Begin::ToolResult {
            tool_use_id: tool.id,
            output: Value::from(failure.unwrap_or("The file is written.")),
            is_error,
            duration_ms: Some(elapsed_ms(tool.since, self.ledger.environment().now())),
        };
        self.ledger.add(&ConversationId::main(), begin, out);
    }

    fn end(&mut self, outcome: TurnOutcome, out: &mut Vec<Output>) {
        let Some(turn) = self.turn.take() else { return };
        self.ledger.complete_all(out);
        out.push(Output::Spent { usage: turn.usage, cost_usd: 0.0 });
        out.push(Output::TurnEnded(outcome));
    }
}

fn text<'a>(input: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    input.get(name).and_then(Value::as_str)
}

impl Driver for EchoDriver {
    fn start(&mut self, out: &mut Vec<Output>) {
        let metadata = Metadata { model: Some(MODEL.to_owned()), tools: Some(vec![TOOL.to_owned()]), ..Metadata::default() };
        out.push(Output::Metadata { conversation: ConversationId::main(), metadata });
    }

    fn message(&mut self, message: &Message, out: &mut Vec<Output>) {
        let text = message.content.text();
        let usage = Usage { input_tokens: text.split_whitespace().count() as u64, ..Usage::default() };
        self.turn = Some(Turn { usage, asks: self.asks_tools, ..Turn::default() });
        let mode = if self.asks_tools { "ask" } else { "free" };
        let (seconds, millis) = (self.delay_ms / 1000, self.delay_ms % 1000);
        let pause = if self.delay_ms == 0 { "0".to_owned() } else { format!("{seconds}.{millis:03}") };
        out.push(Output::Stdin(Bytes::from(format!("{pause} {mode} {}\n", encode(&text)))));
    }

    fn interrupt(&mut self, out: &mut Vec<Output>) {
        if let Some(turn) = &mut self.turn {
            turn.interrupted = true;
            if let Some(tool) = turn.tool.take().filter(|tool| tool.is_asked) {
                // The program waits for a word, and comes to its end with this one.
                out.push(Output::Withdrawn(tool.id));
                out.push(Output::Stdin(DENY));
            }
            self.ledger.complete_all(out);
        }
    }

    fn options(&mut self, options: &Options, _out: &mut Vec<Output>) {
        match delay_ms(options) {
            Ok(delay_ms) => self.delay_ms = delay_ms,
            Err(error) => tracing::warn!(%error, "ignored options that were not checked"),
        }
    }

    fn ask_tools(&mut self, ask: bool, _out: &mut Vec<Output>) {
        self.asks_tools = ask;
    }

    fn decided(&mut self, question: &str, verdict: Verdict<Map<String, Value>>, out: &mut Vec<Output>) {
        let Some(tool) = self.turn.as_mut().and_then(|turn| turn.tool.as_mut()).filter(|tool| tool.is_asked && tool.id == question) else {
            return;
        };
        tool.is_asked = false;
        let answer = match verdict {
            Verdict::Allow => Bytes::from_static(b"allow\n"),
            Verdict::Replace(input) => match (text(&input, FILE_PATH), text(&input, CONTENT)) {
                (Some(name), Some(content)) if !name.is_empty() => {
                    let answer = format!("replace {} {}\n", encode_word(name), encode_word(content));
                    self.ledger.update(&tool.block, BlockUpdate { input: Some(Value::Object(input)), ..BlockUpdate::default() }, out);
                    answer.into()
                }
                _ => {
                    tool.denied = Some(format!("the input that a hook gave to {TOOL} has no {FILE_PATH} or no {CONTENT}"));
                    DENY
                }
            },
            Verdict::Deny { hook: _, reason } => {
                tool.denied = Some(reason);
                DENY
            }
        };
        out.push(Output::Stdin(answer));
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<Output>) {
        let line = String::from_utf8_lossy(line);
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let interrupted = self.turn.as_ref().is_some_and(|turn| turn.interrupted);
        match word {
            "ready" if !std::mem::replace(&mut self.ready, true) => out.push(Output::Ready),
            "end" if interrupted => self.end(TurnOutcome::Interrupted, out),
            "end" => self.end(TurnOutcome::Completed, out),
            _ if interrupted => {}
            "text" => self.said(rest, out),
            "write" => {
                let (name, content) = rest.split_once(' ').unwrap_or((rest, ""));
                self.writes(name, content, out);
            }
            "done" => self.wrote(None, out),
            "failed" => self.wrote(Some(rest), out),
            _ => tracing::debug!(bytes = line.len(), "ignored a line of echo.sh that is not understood"),
        }
    }

    fn exit(&mut self, exit: &Exit, stderr: &str, out: &mut Vec<Output>) {
        let Some(turn) = &self.turn else { return };
        if turn.interrupted {
            self.end(TurnOutcome::Interrupted, out);
            return;
        }
        let message = format!("the agent ended before it had answered, with {exit}: {}", stderr.trim());
        self.ledger.add(&ConversationId::main(), Begin::Error { message, code: Some("AGENT_EXITED".to_owned()) }, out);
        self.end(TurnOutcome::Failed, out);
    }
}
