//! Blocks that come whole: what the model says, and what goes to it in the user's name.

use agent_host_session::message::Content;
use agent_host_session::ports::agent::Output;

use super::super::report::{self, AgentResult};
use super::super::wire::{Assistant, User};
use super::ClaudeDriver;
use super::stream::{Prose, settle};
use super::subagents::Origin;
use crate::ledger::Begin;

impl ClaudeDriver {
    /// Content of the model's answer.
    pub(super) fn assistant(&mut self, line: Assistant, out: &mut Vec<Output>) {
        self.retried(out);
        let origin = Origin {
            parent_tool_use_id: line.parent_tool_use_id,
            agent_id: line.agent_id,
            subagent_type: line.subagent_type,
            task_description: line.task_description,
        };
        let conversation = self.subagents.conversation(origin, &mut self.ledger, &self.tools, out);
        let model = report::model(line.message.model);
        let message = line.message.id;
        for block in line.message.content {
            match (block.kind.as_str(), block.id, block.name) {
                ("text", ..) if line.is_api_error_message => {
                    self.error_told |= conversation.is_main();
                    let begin = Begin::Error { message: block.text.unwrap_or_default(), code: line.error.clone() };
                    self.ledger.add(&conversation, begin, out);
                }
                ("text", ..) => {
                    let text = block.text.unwrap_or_default();
                    match self.stream.claim(&message, Prose::Text) {
                        Some(id) => self.ledger.complete(&id, |block| settle(block, text), out),
                        None if text.is_empty() => {}
                        None => self.ledger.add(&conversation, Begin::Text { content: text, model: model.clone() }, out),
                    }
                }
                ("thinking", ..) => {
                    let text = block.thinking.unwrap_or_default();
                    match self.stream.claim(&message, Prose::Thinking) {
                        Some(id) => self.ledger.complete(&id, |block| settle(block, text), out),
                        None if text.is_empty() => {}
                        None => self.ledger.add(&conversation, Begin::Thinking { content: text }, out),
                    }
                }
                ("tool_use", Some(id), Some(name)) => {
                    self.stream.claim_tool(&id);
                    let input = block.input.unwrap_or_default();
                    self.tools.run(&conversation, &id, &name, input, &mut self.ledger, out);
                }
                _ => {}
            }
        }
    }

    /// Tool results, prompts of subagents, and notes of the command.
    pub(super) fn user(&mut self, line: User<'_>, out: &mut Vec<Output>) {
        if line.is_replay {
            return;
        }
        let origin = Origin {
            parent_tool_use_id: line.parent_tool_use_id,
            agent_id: line.agent_id,
            subagent_type: line.subagent_type,
            task_description: line.task_description,
        };
        let conversation = self.subagents.conversation(origin, &mut self.ledger, &self.tools, out);
        let agent = line.tool_use_result.and_then(|result| AgentResult::parse(result.get()));
        for block in line.message.content {
            match (block.kind.as_str(), block.tool_use_id, block.text) {
                ("tool_result", Some(id), _) => {
                    let is_error = block.is_error.unwrap_or_default();
                    let agent = agent.as_ref().filter(|agent| !agent.is_async);
                    let report = agent.and_then(AgentResult::text);
                    if agent.is_some() || is_error {
                        self.subagents.returned(&id, !is_error, report.clone(), &mut self.ledger, out);
                    }
                    // Inside a subagent the line has only the text for the model.
                    let report = report.or_else(|| self.subagents.report(&id)).filter(|_| !is_error);
                    let output = report.map_or_else(|| report::tool_output(block.content), Into::into);
                    self.tools.finish(&conversation, &id, output, is_error, &mut self.ledger, out);
                }
                ("text", _, Some(text)) if report::is_interruption(&text) => self.note(&conversation, report::INTERRUPTED.to_owned(), out),
                ("text", _, Some(text)) if line.is_synthetic => self.note(&conversation, text, out),
                // What was asked of a subagent. What the user said is known.
                ("text", _, Some(text)) if !conversation.is_main() => {
                    self.ledger.add(&conversation, Begin::UserMessage { content: Content::Text(text) }, out);
                }
                _ => {}
            }
        }
    }
}
