//! What is decided, and what is done to a session that has used its budget.
//!
//! Decisions and events are different instances' work. What they have in common is the session's metadata: whether a budget is used is read from there each time.

use agent_host_hook::{Config, Decisions, Error, Event, HookInfo, MessageDraft, Result, ToolDraft, Verdict, log};
use serde_json::{Map, Value};

use crate::agent_files;
use crate::budget::{Budget, Exceeded, TOLD};
use crate::rules::{MessageRules, ToolRules};
use crate::sessions::Sessions;

/// Tells of costs, and of the turn's end, after which the next message's turn begins.
const METADATA: &str = "session:metadata:update";

/// Tells that a turn has begun.
const STATUS: &str = "session:status";

/// Everything that the operator wants denied.
pub(crate) struct Policy<S> {
    sessions: S,
    tools: ToolRules,
    messages: MessageRules,
    budget: Option<Budget>,
    protects_agent_files: bool,
}

impl<S: Sessions> Policy<S> {
    pub(crate) fn new(config: &Config, sessions: S) -> Result<Self> {
        config.only(&["deny_tools", "deny_messages", "max_cost_usd", "max_tokens", "protect_agent_files"])?;
        let policy = Self {
            sessions,
            tools: ToolRules::parse(config.get("deny_tools").unwrap_or_default())?,
            messages: MessageRules::parse(config.get("deny_messages").unwrap_or_default())?,
            budget: Budget::new(config)?,
            protects_agent_files: config.parse("protect_agent_files")?.unwrap_or(true),
        };
        if !policy.decides_on_messages() && !policy.decides_on_tools() {
            return Err(Error::invalid("the configuration denies nothing"));
        }
        Ok(policy)
    }

    fn decides_on_messages(&self) -> bool {
        self.budget.is_some() || !self.messages.is_empty()
    }

    fn decides_on_tools(&self) -> bool {
        self.budget.is_some() || self.protects_agent_files || !self.tools.is_empty()
    }

    pub(crate) fn info(&self) -> HookInfo {
        let mut info = HookInfo::new("guard", env!("CARGO_PKG_VERSION")).denies_on_failure();
        if self.budget.is_some() {
            info = info.wants([METADATA, STATUS]);
        }
        // Each question costs whoever waits for the answer: what is not decided on is not asked.
        if self.decides_on_messages() {
            info = info.decides(Decisions::BEFORE_MESSAGE);
        }
        if self.decides_on_tools() {
            info = info.decides(Decisions::BEFORE_TOOL_USE);
        }
        info
    }

    pub(crate) fn before_message(&self, draft: &MessageDraft) -> Result<Verdict> {
        if !self.messages.is_empty()
            && let Some(line) = self.messages.find(&text_of(&draft.content)?)
        {
            log::info!("a message to session {} was denied by line {line} of deny_messages", draft.session);
            return Ok(Verdict::Deny(format!("The message has something in it that is not allowed here (rule {line}).")));
        }
        if let Some(Exceeded { reason, .. }) = self.exceeded(&draft.session)?.map(|(exceeded, _)| exceeded) {
            return Ok(Verdict::Deny(format!("{reason} It takes no more messages.")));
        }
        Ok(Verdict::Allow)
    }

    pub(crate) fn before_tool_use(&self, draft: &ToolDraft) -> Result<Verdict> {
        let ToolDraft { session, tool, input, .. } = draft;
        let input: Map<String, Value> =
            serde_json::from_str(input).map_err(|error| Error::invalid(format!("failed to read the input of {tool:?}: {error}")))?;
        if self.protects_agent_files
            && let Some(path) = agent_files::written(tool, &input)
        {
            log::info!("{tool} was denied in session {session}: it would have written {path:?}");
            return Ok(Verdict::Deny(format!(
                "{path} must not be changed here: the agent's own program takes orders from it. Do not change it in another way; tell the user."
            )));
        }
        if let Some(rule) = self.tools.find(tool, &input) {
            log::info!("{tool} was denied in session {session} by the rule {rule:?}");
            return Ok(Verdict::Deny(format!(
                "This use of {tool} is not allowed here, by the rule `{rule}`. Do not try to do the same in another way; if it is needed, tell the user."
            )));
        }
        if let Some((Exceeded { reason, .. }, _)) = self.exceeded(session)? {
            return Ok(Verdict::Deny(format!("{reason} It may use no more tools: stop here, and tell the user what is left to do.")));
        }
        Ok(Verdict::Allow)
    }

    pub(crate) fn on_events(&self, events: &[Event]) -> Result<()> {
        let mut sessions: Vec<&str> = Vec::new();
        for event in events {
            // A session is looked at once for all its events: what counts is how it is now, which is also why repeats do no harm.
            if is_telling(event) && !sessions.contains(&event.session.as_str()) {
                sessions.push(&event.session);
            }
        }
        let mut result = Ok(());
        for session in sessions {
            match self.enforce(session) {
                Ok(()) => {}
                // All come again, but none of the others has to wait for that.
                Err(Error::Unavailable(reason)) => {
                    result = Err(Error::unavailable(format!("failed to keep session {session:?} to its budget: {reason}")));
                }
                // It would fail each time, and hold up all sessions. Messages and tools of this one are denied all the same.
                Err(error) => log::error!("failed to keep session {session} to its budget: {error:?}"),
            }
        }
        result
    }

    /// Whether the session has used its budget, and whether a turn is running.
    fn exceeded(&self, session: &str) -> Result<Option<(Exceeded, bool)>> {
        let Some(budget) = &self.budget else { return Ok(None) };
        let state = self.sessions.state(session)?;
        Ok(budget.check(&state.metadata)?.map(|exceeded| (exceeded, state.is_running)))
    }

    fn enforce(&self, session: &str) -> Result<()> {
        let (exceeded, is_running) = match self.exceeded(session) {
            Ok(Some(exceeded)) => exceeded,
            Ok(None) | Err(Error::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let is_interrupted = is_running && self.sessions.interrupt(session)?;
        if is_interrupted {
            log::info!("the turn of session {session} was interrupted: {}", exceeded.reason);
        }
        if exceeded.is_told {
            return Ok(());
        }
        let end = if is_interrupted { "The running turn was interrupted; further" } else { "Further" };
        self.tell(session, &format!("{} {end} messages and tools are denied.", exceeded.reason))
    }

    /// Kept first and said then: between the two the end of an instance loses a text that each denial repeats, where the other order might say it for ever.
    fn tell(&self, session: &str, text: &str) -> Result<()> {
        let Some(budget) = &self.budget else { return Ok(()) };
        self.sessions.set_metadata(session, TOLD, &budget.as_told()?.to_string())?;
        self.sessions.note(session, text).inspect_err(|_| {
            if let Err(error) = self.sessions.set_metadata(session, TOLD, "null") {
                log::error!("session {session} was not told that its budget is used, and will not be: {error:?}");
            }
        })
    }
}

/// Whether the session's costs may have changed, or a turn may have begun.
fn is_telling(event: &Event) -> bool {
    match event.name.as_str() {
        METADATA => true,
        STATUS => serde_json::from_str::<Value>(&event.data).is_ok_and(|data| data.pointer("/runtime/runningMessageId").is_some()),
        _ => false,
    }
}

/// The texts of a message: a JSON string, or those of a list of content blocks.
fn text_of(content: &str) -> Result<String> {
    let invalid = |reason: String| Error::invalid(format!("failed to read the content of the message: {reason}"));
    match serde_json::from_str(content).map_err(|error| invalid(error.to_string()))? {
        Value::String(text) => Ok(text),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            Ok(texts.join("\n"))
        }
        _ => Err(invalid("it is neither a text nor a list of content blocks".to_owned())),
    }
}

#[cfg(test)]
mod tests;
