//! What follows from each line that `claude` prints.
//!
//! A turn begins with a message on standard input. Its `result` says how it went; it is over when the command says that it is `idle`, since
//! background work can go on after a result. (A command that never says that it is `running` does not announce its states; there the result ends
//! the turn.) Whatever is open then is completed as it is, so that a turn never leaves a block open.

mod asking;
mod content;
mod session;
mod stream;
mod subagents;
mod tools;
mod turn;

use std::sync::Arc;

use agent_host_session::event::TurnOutcome;
use agent_host_session::id::{BlockId, ConversationId};
use agent_host_session::message::Message;
use agent_host_session::metadata::{Metadata, Usage};
use agent_host_session::ports::agent::{Driver, Output};
use agent_host_session::ports::environment::Environment;
use agent_host_session::ports::hooks::Verdict;
use agent_host_session::ports::sandbox::Exit;
use agent_host_session::record::Options;
use serde_json::{Map, Value, json};

use self::asking::Questions;
pub(super) use self::session::Session;
use self::stream::Stream;
use self::subagents::Subagents;
use self::tools::Tools;
use self::turn::Turn;
use super::control::{self, Hooks, Request};
use super::options::SessionOptions;
use super::report;
use super::wire::{self, Answer, ApiRetry, CompactBoundary, Init, Line, Mirror, System, TurnResult};
use crate::ledger::{Begin, Ledger};

/// The name of the request that the command answers when it is ready.
const INITIALIZE: &str = "initialize";

/// The host's side of the protocol, for one process.
pub(super) struct ClaudeDriver {
    ledger: Ledger,
    session: Session,
    options: SessionOptions,
    stream: Stream,
    tools: Tools,
    /// What the command asks and the host has not answered.
    questions: Questions,
    asks_tools: bool,
    /// The request to ask about tools from now on, until it is answered.
    ask_request: Option<String>,
    subagents: Subagents,
    turn: Option<Turn>,
    ready: bool,
    /// The command says when it is running and when it is idle.
    announces_state: bool,
    /// What was last told of the conversation, so that it is not repeated with each turn.
    told: Metadata,
    /// A notice that stands while the command tries the model's API again.
    retrying: Option<BlockId>,
    /// A block has told the error that the next result reports.
    error_told: bool,
    /// Of the session as the command counts it; not known of a resumed one until its first result.
    total_cost_usd: Option<f64>,
    /// Control requests so far, for their names.
    requests: u64,
}

impl ClaudeDriver {
    pub(super) fn new(environment: Arc<dyn Environment>, session: Session, options: SessionOptions, asks_tools: bool) -> Self {
        let total_cost_usd = session.is_fresh().then_some(0.0);
        Self {
            ledger: Ledger::new(environment),
            session,
            options,
            stream: Stream::default(),
            tools: Tools::default(),
            questions: Questions::default(),
            asks_tools,
            ask_request: None,
            subagents: Subagents::default(),
            turn: None,
            ready: false,
            announces_state: false,
            told: Metadata::default(),
            retrying: None,
            error_told: false,
            total_cost_usd,
            requests: 0,
        }
    }

    fn request(&mut self, request: &Request<'_>, out: &mut Vec<Output>) {
        self.requests += 1;
        out.push(Output::Stdin(control::request(&self.last_request(), request)));
    }

    /// The name of the last request.
    fn last_request(&self) -> String {
        format!("host-{}", self.requests)
    }

    /// Tells what is new in `metadata` about the conversation with the user.
    fn tell(&mut self, metadata: Metadata, out: &mut Vec<Output>) {
        let before = self.told.clone();
        self.told.merge(&metadata);
        if self.told != before {
            out.push(Output::Metadata { conversation: ConversationId::main(), metadata });
        }
    }

    fn tell_session(&mut self, out: &mut Vec<Output>) {
        let agent_session_id = Some(self.session.id().to_owned());
        self.tell(Metadata { agent_session_id, ..Metadata::default() }, out);
    }

    fn note(&mut self, conversation: &ConversationId, message: String, out: &mut Vec<Output>) {
        self.ledger.add(conversation, Begin::Status { message, metadata: None }, out);
    }

    fn handle(&mut self, line: Line<'_>, out: &mut Vec<Output>) {
        match line {
            Line::Stream(event) => {
                self.retried(out);
                self.stream.event(event, &mut self.ledger, &mut self.tools, out);
            }
            Line::Assistant(line) => self.assistant(line, out),
            Line::User(line) => self.user(line, out),
            Line::System(line) => self.system(line, out),
            Line::Result(result) => self.result(&result, out),
            Line::ToolProgress(progress) => {
                let seconds = progress.elapsed_time_seconds.unwrap_or_default();
                if let Some(id) = progress.parent_tool_use_id.or(progress.tool_use_id) {
                    self.tools.progress(&id, (seconds * 1000.0) as u64, &mut self.ledger, out);
                }
            }
            Line::Lifecycle(line) => self.lifecycle(&line.command_uuid, &line.state, out),
            Line::Mirror(mirror) => self.mirror(&mirror, out),
            Line::ConversationReset => {
                self.session.announce_reset();
                self.note(&ConversationId::main(), report::CLEARED.to_owned(), out);
            }
            Line::ControlRequest(asked) => self.asked(&asked, out),
            Line::ControlCancel(line) => self.withdrawn(line.request_id, out),
            Line::ControlResponse(line) => self.answered(line.response, out),
            Line::Unknown => {}
        }
    }

    fn system(&mut self, line: System, out: &mut Vec<Output>) {
        match line {
            System::Init(init) => self.init(init, out),
            System::StateChanged(line) => {
                self.announces_state = true;
                if line.state == "idle" {
                    self.idle(out);
                }
            }
            System::TaskStarted(task) => {
                // Other tasks, such as a command that takes long, are no subagents.
                if task.task_type.as_deref() == Some("local_agent") {
                    self.subagents.started(task, &mut self.ledger, &self.tools, out);
                }
            }
            System::TaskProgress(task) => {
                if let Some(elapsed_ms) = task.usage.and_then(|usage| usage.duration_ms) {
                    self.subagents.progress(&task.task_id, elapsed_ms, &mut self.ledger, out);
                }
            }
            System::TaskUpdated(task) => {
                if let Some(error) = task.patch.error {
                    self.subagents.failed(&task.task_id, error);
                }
            }
            System::TaskNotification(task) => self.subagents.notified(task, &mut self.ledger, out),
            System::ApiRetry(retry) => self.retry(&retry, out),
            System::CompactBoundary(boundary) => self.compacted(boundary, out),
            System::Notice(notice) => {
                if let Some(text) = notice.content {
                    self.note(&ConversationId::main(), text, out);
                }
            }
            System::PermissionDenied(denied) => {
                let conversation =
                    denied.tool_use_id.and_then(|id| self.tools.conversation(&id).cloned()).unwrap_or_else(ConversationId::main);
                self.note(&conversation, format!("The tool {} was not permitted.", denied.tool_name), out);
            }
            System::TitleChanged(line) => self.tell(Metadata { title: Some(line.title), ..Metadata::default() }, out),
            System::Unknown => {}
        }
    }

    fn init(&mut self, init: Init, out: &mut Vec<Output>) {
        if self.session.is_now(&init.session_id, out) {
            self.switched(out);
        }
        self.tell(Metadata { model: init.model, tools: init.tools, ..Metadata::default() }, out);
    }

    fn mirror(&mut self, mirror: &Mirror<'_>, out: &mut Vec<Output>) {
        if self.session.mirror(mirror, out) {
            self.switched(out);
        }
    }

    /// The command has begun another session, whose costs it counts from nothing.
    fn switched(&mut self, out: &mut Vec<Output>) {
        self.total_cost_usd = Some(0.0);
        self.tell_session(out);
    }

    fn compacted(&mut self, boundary: CompactBoundary, out: &mut Vec<Output>) {
        let metadata = boundary
            .compact_metadata
            .map(|metadata| json!({"trigger": metadata.trigger, "preTokens": metadata.pre_tokens, "postTokens": metadata.post_tokens}));
        self.ledger.add(&ConversationId::main(), Begin::Status { message: report::COMPACTED.to_owned(), metadata }, out);
    }

    /// The command waits before it asks the model's API again. One notice stands for all attempts, and goes when there is an answer.
    fn retry(&mut self, retry: &ApiRetry, out: &mut Vec<Output>) {
        if self.retrying.is_some() {
            return;
        }
        let reason = match (retry.error_status, retry.error.as_deref()) {
            (Some(status), Some(error)) => format!("answered {status} ({error})"),
            (Some(status), None) => format!("answered {status}"),
            (None, Some(error)) if error != "unknown" => format!("failed ({error})"),
            (None, _) => "failed".to_owned(),
        };
        let begin = Begin::Status { message: format!("The model's API {reason}. Trying again."), metadata: None };
        self.retrying = Some(self.ledger.start(&ConversationId::main(), begin, out));
    }

    fn retried(&mut self, out: &mut Vec<Output>) {
        if let Some(notice) = self.retrying.take() {
            self.ledger.remove(&ConversationId::main(), &notice, out);
        }
    }

    fn lifecycle(&mut self, uuid: &str, state: &str, out: &mut Vec<Output>) {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.uuid == uuid) else { return };
        match state {
            "queued" => {}
            "started" => {
                turn.started = true;
                if std::mem::take(&mut turn.interrupt_again) {
                    self.request(&Request::Interrupt, out);
                }
            }
            // Also a message that was dropped without a result is dealt with.
            _ => {
                let interrupted = turn.interrupted;
                turn.outcome.get_or_insert(if interrupted { TurnOutcome::Interrupted } else { TurnOutcome::Completed });
            }
        }
    }

    fn answered(&mut self, answer: Answer, out: &mut Vec<Output>) {
        if let Some(error) = &answer.error {
            tracing::warn!(request = answer.request_id, error, "claude refused a request of the host");
        }
        if answer.request_id == INITIALIZE {
            if !std::mem::replace(&mut self.ready, true) {
                out.push(Output::Ready);
            }
            return;
        }
        if self.is_answer_to_ask(&answer, out) {
            return;
        }
        let queued = answer.response.and_then(|response| response.still_queued).unwrap_or_default();
        if let Some(turn) = self.turn.as_mut().filter(|turn| queued.contains(&turn.uuid)) {
            turn.interrupt_again = !turn.started;
        }
    }

    fn result(&mut self, result: &TurnResult, out: &mut Vec<Output>) {
        self.retried(out);
        let (usage, cost_usd) = result.spent(self.total_cost_usd);
        self.total_cost_usd = result.total_cost_usd.or(self.total_cost_usd);
        if usage != Usage::default() || cost_usd > 0.0 {
            out.push(Output::Spent { usage, cost_usd });
        }
        let outcome = result.outcome(self.turn.as_ref().is_some_and(|turn| turn.interrupted));
        if outcome == TurnOutcome::Failed && !self.error_told {
            let (message, code) = result.error();
            self.ledger.add(&ConversationId::main(), Begin::Error { message, code: Some(code) }, out);
        }
        self.error_told = false;
        if result.origin.is_some() {
            return;
        }
        if let Some(turn) = &mut self.turn {
            turn.outcome = Some(outcome);
        }
        if !self.announces_state {
            self.idle(out);
        }
    }

    /// The command does nothing more by itself.
    fn idle(&mut self, out: &mut Vec<Output>) {
        match self.turn.take() {
            // It was idle before it read the message.
            Some(turn) if turn.outcome.is_none() => self.turn = Some(turn),
            turn => {
                self.close(out);
                if let Some(outcome) = turn.and_then(|turn| turn.outcome) {
                    out.push(Output::TurnEnded(outcome));
                }
            }
        }
    }

    /// Completes whatever is open.
    fn close(&mut self, out: &mut Vec<Output>) {
        self.retried(out);
        self.stream.clear();
        self.tools.clear();
        self.questions.clear();
        self.subagents.end_all(&mut self.ledger, out);
        self.ledger.complete_all(out);
    }
}

impl Driver for ClaudeDriver {
    fn start(&mut self, out: &mut Vec<Output>) {
        self.session.start(out);
        self.tell_session(out);
        let hooks = self.asks_tools.then(Hooks::tools);
        out.push(Output::Stdin(control::request(INITIALIZE, &Request::Initialize { forward_subagent_text: true, hooks })));
    }

    fn message(&mut self, message: &Message, out: &mut Vec<Output>) {
        // The command wants a UUID, which the message's own id need not be.
        let uuid = self.ledger.environment().uuid().to_string();
        out.push(Output::Stdin(control::user(&uuid, &message.content)));
        self.turn = Some(Turn::new(uuid));
    }

    fn interrupt(&mut self, out: &mut Vec<Output>) {
        if let Some(turn) = &mut self.turn {
            turn.interrupted = true;
            self.request(&Request::Interrupt, out);
        }
    }

    fn options(&mut self, options: &Options, out: &mut Vec<Output>) {
        let new = match SessionOptions::parse(options) {
            Ok(new) => new,
            Err(error) => {
                tracing::warn!(%error, "ignored options that were not checked");
                return;
            }
        };
        if new.model != self.options.model {
            self.request(&Request::SetModel { model: new.model.as_deref() }, out);
        }
        if new.max_thinking_tokens != self.options.max_thinking_tokens {
            self.request(&Request::SetMaxThinkingTokens { max_thinking_tokens: new.max_thinking_tokens }, out);
        }
        self.options = new;
    }

    fn ask_tools(&mut self, ask: bool, out: &mut Vec<Output>) {
        self.begin_to_ask(ask, out);
    }

    fn decided(&mut self, question: &str, verdict: Verdict<Map<String, Value>>, out: &mut Vec<Output>) {
        self.decide(question, verdict, out);
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<Output>) {
        let line = String::from_utf8_lossy(line);
        match wire::parse(&line) {
            Ok(line) => self.handle(line, out),
            Err(error) => tracing::debug!(bytes = line.len(), %error, "ignored a line of claude that is not understood"),
        }
    }

    fn exit(&mut self, exit: &Exit, stderr: &str, out: &mut Vec<Output>) {
        self.retried(out);
        let turn = self.turn.take();
        let outcome = turn.as_ref().map(|turn| turn.outcome.clone().unwrap_or_else(|| turn.unanswered()));
        if let Some(Turn { outcome: None, interrupted: false, .. }) = turn {
            let reason = match stderr.trim() {
                "" => String::new(),
                stderr => format!(": {stderr}"),
            };
            let message = format!("the agent ended before it had answered, with {exit}{reason}");
            self.ledger.add(&ConversationId::main(), Begin::Error { message, code: Some("AGENT_EXITED".to_owned()) }, out);
        }
        self.close(out);
        if let Some(outcome) = outcome {
            out.push(Output::TurnEnded(outcome));
        }
    }
}
