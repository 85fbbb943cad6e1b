//! `agent-host:hooks/session-control` as a hook sees it.

use std::future::Future;
use std::sync::Arc;

use agent_host_session::id::{MessageId, SessionId};
use agent_host_session::manager::{self, SessionState};
use agent_host_session::message::Content;
use agent_host_session::ports::store;
use serde_json::Value;
use wasmtime::Result;

use super::control::{Control, Refusal};
use super::start::Name;
use crate::bindings::agent_host::types::types as wit;
use crate::bindings::hook::agent_host::hooks::session_control::{Host, SessionState as WitState};
use crate::capabilities::Capabilities;
use crate::persistence::convert;
use crate::state::State;

/// The longest JSON text of an event or of a value in the metadata, in bytes. What they may hold is less, but six bytes of text can stand for one of these: a text
/// that is longer is not even read.
const JSON_BYTES: usize = 6 * 64 * 1024;

type Answer<T> = std::result::Result<T, wit::Error>;

async fn ask<T, F>(capabilities: Arc<Capabilities>, call: impl FnOnce(Arc<dyn Control>, Name) -> F) -> Answer<T>
where
    T: Send + 'static,
    F: Future<Output = std::result::Result<T, manager::Error>> + Send + 'static,
{
    let answer = match &capabilities.caller {
        Some(caller) => caller.ask(call).await,
        None => Err(Refusal::NotConnected),
    };
    answer.map_err(|refusal| match refusal {
        Refusal::NotConnected => wit::Error::Unavailable("the host has no sessions at the moment".to_owned()),
        Refusal::Error(error) => refused(error),
    })
}

impl Host for State {
    async fn get_session(&mut self, session: String) -> Result<Answer<WitState>> {
        let id = match session_id(session) {
            Ok(id) => id,
            Err(error) => return Ok(Err(error)),
        };
        let found = ask(self.capabilities(), |control, _| async move { control.state(&id).await }).await;
        Ok(found.and_then(state))
    }

    async fn send_message(&mut self, session: String, id: String, content: String) -> Result<Answer<()>> {
        let arguments = || Ok((session_id(session)?, MessageId::new(id).map_err(invalid)?, json::<Content>("content", &content)?));
        let (session, id, content) = match arguments() {
            Ok(arguments) => arguments,
            Err(error) => return Ok(Err(error)),
        };
        Ok(ask(self.capabilities(), |control, hook| async move { control.send_message(&session, hook.as_str(), id, content).await }).await)
    }

    async fn interrupt(&mut self, session: String) -> Result<Answer<bool>> {
        let session = match session_id(session) {
            Ok(session) => session,
            Err(error) => return Ok(Err(error)),
        };
        Ok(ask(self.capabilities(), |control, _| async move { control.interrupt(&session).await }).await)
    }

    async fn set_metadata(&mut self, session: String, key: String, value: String) -> Result<Answer<()>> {
        let (session, value) = match session_id(session).and_then(|session| Ok((session, small("value", &value)?))) {
            Ok(arguments) => arguments,
            Err(error) => return Ok(Err(error)),
        };
        Ok(ask(self.capabilities(), |control, hook| async move { control.set_metadata(&session, hook.as_str(), &key, value).await }).await)
    }

    async fn note(&mut self, session: String, text: String) -> Result<Answer<()>> {
        let session = match session_id(session) {
            Ok(session) => session,
            Err(error) => return Ok(Err(error)),
        };
        Ok(ask(self.capabilities(), |control, hook| async move { control.note(&session, hook.as_str(), &text).await }).await)
    }

    async fn emit(&mut self, session: String, name: String, data: String) -> Result<Answer<()>> {
        let (session, data) = match session_id(session).and_then(|session| Ok((session, small("data", &data)?))) {
            Ok(arguments) => arguments,
            Err(error) => return Ok(Err(error)),
        };
        Ok(ask(self.capabilities(), |control, hook| async move { control.emit(&session, hook.as_str(), &name, data).await }).await)
    }
}

fn invalid(reason: impl std::fmt::Display) -> wit::Error {
    wit::Error::Invalid(reason.to_string())
}

fn session_id(text: String) -> Answer<SessionId> {
    SessionId::new(text).map_err(invalid)
}

fn json<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Answer<T> {
    serde_json::from_str(text).map_err(|error| invalid(format_args!("the {what} cannot be read: {error}")))
}

fn small(what: &str, text: &str) -> Answer<Value> {
    if text.len() > JSON_BYTES {
        return Err(invalid(format_args!("the {what} has {} bytes of JSON; at most {JSON_BYTES} are read", text.len())));
    }
    json(what, text)
}

fn state(state: SessionState) -> Answer<WitState> {
    let SessionState { record, metadata, is_running } = state;
    let unreadable = |error: &dyn std::fmt::Display| wit::Error::Other(format!("the session cannot be shown: {error}"));
    let session = convert::record(&record).map_err(|error| unreadable(&error))?;
    let metadata = serde_json::to_string(&metadata).map_err(|error| unreadable(&error))?;
    Ok(WitState { session, metadata, is_running })
}

/// What the manager refuses, in the words of the contract: above all, whether it is worth another try.
fn refused(error: manager::Error) -> wit::Error {
    use manager::Error as E;
    let text = error.to_string();
    match error {
        E::SessionNotFound(_) | E::ProfileNotFound(_) | E::FileNotFound(_) | E::TranscriptNotFound(_) => wit::Error::NotFound(text),
        E::SessionConflict(_) | E::MessageConflict(_) => wit::Error::AlreadyExists(text),
        E::OffsetMismatch(length) => wit::Error::OffsetMismatch(length),
        E::UnknownArchitecture { .. } | E::Invalid(_) | E::TooLarge { .. } | E::RunsOutside(_) | E::Adopted(_) => wit::Error::Invalid(text),
        // The session is free again when the other host has lost or released it.
        E::QueueFull(_) | E::TooManySessions(_) | E::Busy(_) | E::ShuttingDown | E::Owned { .. } => wit::Error::Unavailable(text),
        E::Store(store::Error::Unavailable(_)) => wit::Error::Unavailable(text),
        E::Store(store::Error::Corrupt(_)) => wit::Error::Corrupt(text),
        E::Denied { .. } | E::Store(_) => wit::Error::Other(text),
    }
}
