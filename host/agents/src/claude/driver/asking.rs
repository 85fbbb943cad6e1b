//! Questions of the command whether a tool may be used.

use std::collections::HashMap;

use agent_host_session::id::ConversationId;
use agent_host_session::ports::agent::{Asked, Output};
use agent_host_session::ports::hooks::Verdict;
use serde_json::{Map, Value};

use super::super::control::{self, Hooks, Request};
use super::super::wire::{Answer, BeforeTool, ControlRequest};
use super::ClaudeDriver;

/// The open questions, by the name of the command's request.
pub(super) type Questions = HashMap<String, Question>;

/// What a question is about.
pub(super) struct Question {
    conversation: ConversationId,
    tool_use_id: String,
    tool: String,
}

impl ClaudeDriver {
    /// From now on the command is to ask about tools, or not any more.
    pub(super) fn begin_to_ask(&mut self, ask: bool, out: &mut Vec<Output>) {
        if std::mem::replace(&mut self.asks_tools, ask) != ask {
            let hooks = Some(if ask { Hooks::tools() } else { Hooks::default() });
            self.request(&Request::Initialize { forward_subagent_text: true, hooks }, out);
            self.ask_request = ask.then(|| self.last_request());
        }
    }

    /// Whether that is what the command answers. One that does not say that it asks from now on, does not.
    pub(super) fn is_answer_to_ask(&mut self, answer: &Answer, out: &mut Vec<Output>) -> bool {
        if self.ask_request.as_ref() != Some(&answer.request_id) {
            return false;
        }
        self.ask_request = None;
        if answer.response.as_ref().and_then(|response| response.hooks_applied) != Some(true) {
            out.push(Output::Outdated);
        }
        true
    }

    /// The command asks something.
    pub(super) fn asked(&mut self, asked: &ControlRequest<'_>, out: &mut Vec<Output>) {
        if asked.request.subtype != "hook_callback" {
            out.push(Output::Stdin(control::answer(asked)));
            return;
        }
        let input = asked.request.input.map(|input| serde_json::from_str::<BeforeTool>(input.get()));
        let Some(Ok(before)) = input else {
            // Older commands use the tool if the answer is an error.
            let reason = "the host does not understand what is asked".to_owned();
            let denied = Verdict::Deny { hook: "agent-host".to_owned(), reason };
            out.push(Output::Stdin(control::decision(&asked.request_id, denied)));
            return;
        };
        let BeforeTool { tool_name: tool, tool_input, tool_use_id, agent_id } = before;
        // A subagent's id is one of a conversation, as the command names the task.
        let subagent = agent_id.and_then(|id| ConversationId::new(id).ok()).filter(|id| !id.is_main());
        let conversation = subagent.clone().unwrap_or_else(ConversationId::main);
        let question = Question { conversation, tool_use_id: tool_use_id.clone(), tool: tool.clone() };
        self.questions.insert(asked.request_id.clone(), question);
        out.push(Output::Asked(Asked { question: asked.request_id.clone(), subagent, tool_use_id, tool, input: tool_input }));
    }

    /// The command does not wait for the answer any more: the turn was interrupted.
    pub(super) fn withdrawn(&mut self, request_id: String, out: &mut Vec<Output>) {
        if self.questions.remove(&request_id).is_some() {
            out.push(Output::Withdrawn(request_id));
        }
    }

    /// The host answers. Of an input that was replaced, the block shows what really happens.
    pub(super) fn decide(&mut self, request_id: &str, verdict: Verdict<Map<String, Value>>, out: &mut Vec<Output>) {
        let Some(Question { conversation, tool_use_id, tool }) = self.questions.remove(request_id) else { return };
        if let Verdict::Replace(input) = &verdict {
            self.subagents.acts(&conversation, &mut self.ledger, &self.tools, out);
            self.tools.replace(&conversation, &tool_use_id, &tool, Value::Object(input.clone()), &mut self.ledger, out);
        }
        out.push(Output::Stdin(control::decision(request_id, verdict)));
    }
}
