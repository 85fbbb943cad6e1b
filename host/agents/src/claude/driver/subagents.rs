//! Subagents: each has a conversation of its own, and a block in the conversation that started it.

use std::collections::{BTreeMap, HashMap};

use agent_host_session::block::{Block, BlockUpdate, ToolStatus};
use agent_host_session::event::{Event, SubagentStatus};
use agent_host_session::id::{BlockId, ConversationId};
use agent_host_session::ports::agent::Output;
use agent_host_session::time::Timestamp;
use serde_json::{Map, Value};

use super::super::wire::{TaskNotification, TaskStarted};
use super::tools::Tools;
use crate::ledger::{Begin, Ledger, elapsed_ms};

/// The subagents of one process.
#[derive(Default)]
pub(super) struct Subagents {
    /// By the conversation, which is named as the command names the task.
    known: BTreeMap<ConversationId, Subagent>,
    /// By the use of the tool that started it.
    by_tool: HashMap<String, ConversationId>,
}

struct Subagent {
    /// Open while it works.
    block: Option<BlockId>,
    since: Timestamp,
    /// Why it failed, if the command has said so.
    error: Option<String>,
    /// What it reported when it ended.
    report: Option<String>,
}

/// From where a line comes.
pub(super) struct Origin {
    /// `None` for the main conversation.
    pub parent_tool_use_id: Option<String>,
    pub agent_id: Option<String>,
    pub subagent_type: Option<String>,
    pub task_description: Option<String>,
}

impl Subagents {
    /// A subagent begins, or goes on after it had ended.
    pub(super) fn started(&mut self, task: TaskStarted, ledger: &mut Ledger, tools: &Tools, out: &mut Vec<Output>) {
        let id = conversation_id(&task.task_id, ledger);
        let fields = [("description", task.description), ("prompt", task.prompt)];
        let parent = task.parent_task_id.and_then(|parent| ConversationId::new(parent).ok());
        self.begin(id, task.subagent_type, input(fields), task.tool_use_id, parent, ledger, tools, out);
    }

    /// The conversation that a line belongs to. A subagent may first be heard of by a line of its own.
    pub(super) fn conversation(&mut self, origin: Origin, ledger: &mut Ledger, tools: &Tools, out: &mut Vec<Output>) -> ConversationId {
        let Some(tool_use_id) = origin.parent_tool_use_id else { return ConversationId::main() };
        if let Some(id) = self.by_tool.get(&tool_use_id) {
            return id.clone();
        }
        let id = conversation_id(origin.agent_id.as_deref().unwrap_or(&tool_use_id), ledger);
        if self.known.contains_key(&id) {
            self.by_tool.insert(tool_use_id, id.clone());
            return id;
        }
        let fields = [("description", origin.task_description)];
        self.begin(id.clone(), origin.subagent_type, input(fields), Some(tool_use_id), None, ledger, tools, out);
        id
    }

    /// A block comes into a conversation of which perhaps only the name is known: then the subagent begins with it.
    pub(super) fn acts(&mut self, id: &ConversationId, ledger: &mut Ledger, tools: &Tools, out: &mut Vec<Output>) {
        if !id.is_main() && !self.known.contains_key(id) {
            self.begin(id.clone(), None, Value::Object(Map::new()), None, None, ledger, tools, out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "everything that is known of a subagent when it begins, from two kinds of lines")]
    fn begin(
        &mut self,
        id: ConversationId,
        name: Option<String>,
        input: Value,
        tool_use_id: Option<String>,
        parent: Option<ConversationId>,
        ledger: &mut Ledger,
        tools: &Tools,
        out: &mut Vec<Output>,
    ) {
        if let Some(tool_use_id) = &tool_use_id {
            self.by_tool.insert(tool_use_id.clone(), id.clone());
        }
        if self.known.get(&id).is_some_and(|subagent| subagent.block.is_some()) {
            return;
        }
        if !self.known.contains_key(&id) {
            out.push(Output::Event(Event::SubagentDiscovered { id: id.clone(), name: name.clone() }));
        }
        let caller = tool_use_id.as_deref().and_then(|tool| tools.conversation(tool)).cloned();
        // A parent that nobody has told of, or that would be its own, shows the block to nobody.
        let parent =
            caller.or(parent).filter(|parent| self.known.contains_key(parent) && *parent != id).unwrap_or_else(ConversationId::main);
        let begin = Begin::Subagent { conversation: id.clone(), name, input, tool_use_id };
        let block = ledger.start(&parent, begin, out);
        self.known.insert(id, Subagent { block: Some(block), since: ledger.environment().now(), error: None, report: None });
    }

    /// The subagent is at work.
    pub(super) fn progress(&self, task_id: &str, elapsed_ms: u64, ledger: &mut Ledger, out: &mut Vec<Output>) {
        if let Some(block) = self.find(task_id).and_then(|(_, subagent)| subagent.block.as_ref()) {
            ledger.update(block, BlockUpdate { elapsed_ms: Some(elapsed_ms), ..BlockUpdate::default() }, out);
        }
    }

    /// The subagent has failed; its end is told separately.
    pub(super) fn failed(&mut self, task_id: &str, error: String) {
        if let Some(subagent) = ConversationId::new(task_id).ok().and_then(|id| self.known.get_mut(&id)) {
            subagent.error = Some(error);
        }
    }

    /// The command says how the subagent ended.
    pub(super) fn notified(&mut self, task: TaskNotification, ledger: &mut Ledger, out: &mut Vec<Output>) {
        let Some((id, _)) = self.find(&task.task_id) else { return };
        let (id, completed) = (id.clone(), task.status == "completed");
        // The summary of one that was stopped is only its description.
        let output = task.summary.filter(|_| task.status != "stopped");
        self.end(&id, completed, output, task.usage.and_then(|usage| usage.duration_ms), ledger, out);
    }

    /// The tool that started the subagent has its result, and so the subagent its end, if nothing told it before.
    pub(super) fn returned(
        &mut self,
        tool_use_id: &str,
        succeeded: bool,
        report: Option<String>,
        ledger: &mut Ledger,
        out: &mut Vec<Output>,
    ) {
        if let Some(id) = self.by_tool.get(tool_use_id).cloned() {
            self.end(&id, succeeded, report, None, ledger, out);
        }
    }

    /// What the subagent that this use of a tool started has reported, if it has ended.
    pub(super) fn report(&self, tool_use_id: &str) -> Option<String> {
        self.known.get(self.by_tool.get(tool_use_id)?)?.report.clone()
    }

    /// The turn is over: a subagent that still works is lost.
    pub(super) fn end_all(&mut self, ledger: &mut Ledger, out: &mut Vec<Output>) {
        let ids: Vec<ConversationId> = self.known.keys().cloned().collect();
        for id in ids {
            self.end(&id, false, None, None, ledger, out);
        }
    }

    fn end(
        &mut self,
        id: &ConversationId,
        completed: bool,
        output: Option<String>,
        duration_ms: Option<u64>,
        ledger: &mut Ledger,
        out: &mut Vec<Output>,
    ) {
        let Some(subagent) = self.known.get_mut(id) else { return };
        let Some(block) = subagent.block.take() else { return };
        let duration_ms = duration_ms.unwrap_or_else(|| elapsed_ms(subagent.since, ledger.environment().now()));
        if completed {
            subagent.report.clone_from(&output);
        }
        let output = output.or_else(|| subagent.error.take());
        let finish = |block: &mut Block| {
            if let Block::Subagent(block) = block {
                block.status = if completed { ToolStatus::Success } else { ToolStatus::Error };
                block.output = output;
                block.duration_ms = Some(duration_ms);
            }
        };
        ledger.complete(&block, finish, out);
        let status = if completed { SubagentStatus::Completed } else { SubagentStatus::Failed };
        out.push(Output::Event(Event::SubagentCompleted { id: id.clone(), status }));
    }

    fn find(&self, task_id: &str) -> Option<(&ConversationId, &Subagent)> {
        self.known.get_key_value(&ConversationId::new(task_id).ok()?)
    }
}

/// The command's name of a task, or a name of our own where that cannot be one or would be taken for the main conversation.
fn conversation_id(name: &str, ledger: &Ledger) -> ConversationId {
    ConversationId::new(name)
        .ok()
        .filter(|id| !id.is_main())
        .or_else(|| ConversationId::new(ledger.environment().uuid().to_string()).ok())
        .unwrap_or_else(ConversationId::main)
}

fn input<const N: usize>(fields: [(&str, Option<String>); N]) -> Value {
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    Value::Object(fields.collect::<Map<String, Value>>())
}
