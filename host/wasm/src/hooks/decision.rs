//! The questions on which a hook decides, each in the contract's words and in the domain's.

use std::borrow::Cow;

use agent_host_session::id::SessionId;
use agent_host_session::message::{Content, Message};
use agent_host_session::ports::hooks::{SessionDraft, ToolDraft, Verdict};
use agent_host_session::record::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use wasmtime::Store;

use crate::bindings::hook::Hook as Exports;
use crate::bindings::hook::exports::agent_host::hooks::event_hook as wit;
use crate::pool::Call;
use crate::state::State;

/// The largest thing that a hook may put in the place of another, in bytes of JSON: twice the largest message, for what JSON takes more.
const REPLACEMENT_BYTES: usize = 16 * 1024 * 1024;

/// The longest reason, in characters: it is shown to people, and to the agent, which pays for each word.
const REASON_CHARS: usize = 2000;

/// A question, as it is put to one hook after the other.
pub(super) trait Question: Clone + Send + Sync + 'static {
    /// What a hook may replace.
    type Subject: Serialize + DeserializeOwned + Send;

    /// The hooks that want to be asked.
    const DECISION: wit::Decisions;

    /// The function that is called.
    const OPERATION: &'static str;

    fn call<'a>(self, exports: &'a Exports, store: &'a mut Store<State>) -> Call<'a, wit::Verdict>;

    /// What is asked about, as JSON. The next hook sees what the last one has made of it.
    fn subject(&mut self) -> &mut String;
}

macro_rules! question {
    ($draft:ident, $subject:ty, $decision:ident, $operation:literal, $call:ident) => {
        impl Question for wit::$draft {
            type Subject = $subject;

            const DECISION: wit::Decisions = wit::Decisions::$decision;
            const OPERATION: &'static str = $operation;

            fn call<'a>(self, exports: &'a Exports, store: &'a mut Store<State>) -> Call<'a, wit::Verdict> {
                Box::pin(async move { exports.agent_host_hooks_event_hook().$call(store, &self).await })
            }

            fn subject(&mut self) -> &mut String {
                question!(@field $draft, self)
            }
        }
    };
    (@field SessionDraft, $draft:ident) => { &mut $draft.options };
    (@field MessageDraft, $draft:ident) => { &mut $draft.content };
    (@field ToolDraft, $draft:ident) => { &mut $draft.input };
}

question!(SessionDraft, Options, BEFORE_SESSION, "before-session", call_before_session);
question!(MessageDraft, Content, BEFORE_MESSAGE, "before-message", call_before_message);
question!(ToolDraft, Map<String, Value>, BEFORE_TOOL_USE, "before-tool-use", call_before_tool_use);

pub(super) fn session(draft: &SessionDraft) -> serde_json::Result<wit::SessionDraft> {
    Ok(wit::SessionDraft {
        profile: draft.profile.to_string(),
        architecture: draft.architecture.clone(),
        name: draft.name.clone(),
        options: serde_json::to_string(&draft.options)?,
    })
}

pub(super) fn message(session: &SessionId, message: &Message) -> serde_json::Result<wit::MessageDraft> {
    let content = serde_json::to_string(&message.content)?;
    Ok(wit::MessageDraft { session: session.to_string(), id: message.id.to_string(), content })
}

pub(super) fn tool_use(draft: &ToolDraft) -> serde_json::Result<wit::ToolDraft> {
    Ok(wit::ToolDraft {
        session: draft.session.to_string(),
        subagent: draft.subagent.as_ref().map(ToString::to_string),
        tool_use_id: draft.tool_use_id.clone(),
        tool: draft.tool.clone(),
        input: serde_json::to_string(&draft.input)?,
    })
}

/// What a hook says, if it is something that can be said.
pub(super) fn verdict<T: DeserializeOwned>(hook: &str, verdict: wit::Verdict) -> Result<Verdict<T>, Cow<'static, str>> {
    Ok(match verdict {
        wit::Verdict::Allow => Verdict::Allow,
        wit::Verdict::Deny(reason) => {
            let reason = reason.chars().filter(|character| !character.is_control() || *character == '\n').take(REASON_CHARS).collect();
            Verdict::Deny { hook: hook.to_owned(), reason }
        }
        wit::Verdict::Replace(json) if json.len() > REPLACEMENT_BYTES => {
            return Err(format!("its replacement has {} bytes; at most {REPLACEMENT_BYTES} are allowed", json.len()).into());
        }
        wit::Verdict::Replace(json) => {
            Verdict::Replace(serde_json::from_str(&json).map_err(|error| format!("its replacement cannot be read: {error}"))?)
        }
    })
}
