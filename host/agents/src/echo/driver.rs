//! What follows from each line that `echo.sh` prints.

use std::sync::Arc;

use agent_host_session::block::{Block, BlockUpdate, ToolStatus};
use agent_host_session::event::TurnOutcome;
use agent_host_session::id::{BlockId, ConversationId};
use agent_host_session::message::Message;
use agent_host_session::metadata::{Metadata, Usage};
use agent_host_session::ports::agent::{Driver, Output};
use agent_host_session::ports::environment::Environment;
use agent_host_session::ports::sandbox::Exit;
use agent_host_session::record::Options;
use agent_host_session::time::Timestamp;
use bytes::Bytes;
use serde_json::{Value, json};

use super::encoding::{decode, encode};
use super::{MODEL, TOOL, delay_ms};
use crate::ledger::{Begin, Ledger, elapsed_ms};

/// The host's side of the shell program's protocol.
pub(super) struct EchoDriver {
    ledger: Ledger,
    delay_ms: u32,
    ready: bool,
    turn: Option<Turn>,
}

#[derive(Default)]
struct Turn {
    text: Option<BlockId>,
    tool: Option<Tool>,
    interrupted: bool,
    usage: Usage,
}

struct Tool {
    block: BlockId,
    id: String,
    since: Timestamp,
}

impl EchoDriver {
    pub(super) fn new(environment: Arc<dyn Environment>, delay_ms: u32) -> Self {
        Self { ledger: Ledger::new(environment), delay_ms, ready: false, turn: None }
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
        let input = json!({"file_path": decode(name), "content": decode(content)});
        let update = BlockUpdate { input: Some(input), status: Some(ToolStatus::Running), ..BlockUpdate::default() };
        self.ledger.update(&block, update, out);
        turn.tool = Some(Tool { block, id, since: self.ledger.environment().now() });
    }

    fn wrote(&mut self, failure: Option<&str>, out: &mut Vec<Output>) {
        let Some(tool) = self.turn.as_mut().and_then(|turn| turn.tool.take()) else { return };
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

impl Driver for EchoDriver {
    fn start(&mut self, out: &mut Vec<Output>) {
        let metadata = Metadata { model: Some(MODEL.to_owned()), tools: Some(vec![TOOL.to_owned()]), ..Metadata::default() };
        out.push(Output::Metadata { conversation: ConversationId::main(), metadata });
    }

    fn message(&mut self, message: &Message, out: &mut Vec<Output>) {
        let text = message.content.text();
        let usage = Usage { input_tokens: text.split_whitespace().count() as u64, ..Usage::default() };
        self.turn = Some(Turn { usage, ..Turn::default() });
        let (seconds, millis) = (self.delay_ms / 1000, self.delay_ms % 1000);
        let pause = if self.delay_ms == 0 { "0".to_owned() } else { format!("{seconds}.{millis:03}") };
        out.push(Output::Stdin(Bytes::from(format!("{pause} {}\n", encode(&text)))));
    }

    fn interrupt(&mut self, out: &mut Vec<Output>) {
        if let Some(turn) = &mut self.turn {
            turn.interrupted = true;
            turn.tool = None;
            self.ledger.complete_all(out);
        }
    }

    fn options(&mut self, options: &Options, _out: &mut Vec<Output>) {
        match delay_ms(options) {
            Ok(delay_ms) => self.delay_ms = delay_ms,
            Err(error) => tracing::warn!(%error, "ignored options that were not checked"),
        }
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
