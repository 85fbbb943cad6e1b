//! The questions of an agent that are being decided, beside everything else that it does.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;

use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Map, Value};

use crate::id::SessionId;
use crate::ports::agent::Asked;
use crate::ports::hooks::{Hooks, ToolDraft, Verdict};
use crate::trace::Cause;

/// Questions that may be open at once. Claude uses ten tools at once, in each of its subagents; an agent that asks for more does not wait for answers.
const OPEN: usize = 256;

type Decision = (String, Verdict<Map<String, Value>>);

/// The open questions of one agent. Dropping it withdraws them all.
pub(super) struct Asking {
    hooks: Arc<dyn Hooks>,
    session: SessionId,
    /// The turn in which is asked.
    cause: Cause,
    open: HashMap<String, AbortHandle>,
    deciding: FuturesUnordered<Abortable<BoxFuture<'static, Decision>>>,
}

impl Asking {
    pub(super) fn new(hooks: Arc<dyn Hooks>, session: SessionId) -> Self {
        Self { hooks, session, cause: Cause::default(), open: HashMap::new(), deciding: FuturesUnordered::new() }
    }

    /// What is asked from now on is part of this.
    pub(super) fn caused_by(&mut self, cause: Cause) {
        self.cause = cause;
    }

    /// Puts a question to the hooks.
    pub(super) fn ask(&mut self, asked: Asked) {
        let Asked { question, subagent, tool_use_id, tool, input } = asked;
        let decision = if self.open.len() < OPEN {
            let draft = ToolDraft { session: self.session.clone(), subagent, tool_use_id, tool, input };
            let (hooks, question) = (Arc::clone(&self.hooks), question.clone());
            let cause = self.cause.clone();
            async move { (question, cause.carry(hooks.before_tool_use(&draft)).await) }.boxed()
        } else {
            tracing::warn!(session = %self.session, tool, open = OPEN, "the agent asks for too many tools at once; this one is denied");
            let reason = format!("{OPEN} questions of this agent are open already");
            let (question, hook) = (question.clone(), "agent-host".to_owned());
            async move { (question, Verdict::Deny { hook, reason }) }.boxed()
        };
        let (abort, registration) = AbortHandle::new_pair();
        self.deciding.push(Abortable::new(decision, registration));
        // An agent that asks the same again has forgotten the first.
        if let Some(before) = self.open.insert(question, abort) {
            before.abort();
        }
    }

    /// The agent does not wait for the answer any more.
    pub(super) fn withdraw(&mut self, question: &str) {
        if let Some(abort) = self.open.remove(question) {
            abort.abort();
        }
    }

    /// The agent does not wait for any answer.
    pub(super) fn withdraw_all(&mut self) {
        self.open.clear();
        self.deciding.clear();
    }

    /// Waits for the next decision. Can be dropped at any time.
    pub(super) async fn decided(&mut self) -> Decision {
        while let Some(decided) = self.deciding.next().await {
            if let Ok((question, verdict)) = decided {
                self.open.remove(&question);
                return (question, verdict);
            }
        }
        pending().await
    }
}
