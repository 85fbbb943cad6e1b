//! The way back: what hooks may do to sessions, and who does it.

use std::future::Future;
use std::sync::{Arc, OnceLock, Weak};

use agent_host_session::id::{MessageId, SessionId};
use agent_host_session::manager::{Error, Manager, SessionState};
use agent_host_session::message::Content;
use async_trait::async_trait;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::start::Name;

/// What hooks may do to sessions. `hook` is the name of the one that does it.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// A session's row, metadata, and whether a turn runs.
    async fn state(&self, session: &SessionId) -> Result<SessionState, Error>;

    /// Sends a message, on which all other hooks decide. It is stored when this returns.
    async fn send_message(&self, session: &SessionId, hook: &str, id: MessageId, content: Content) -> Result<(), Error>;

    /// Ends the running turn; whether there was one.
    async fn interrupt(&self, session: &SessionId) -> Result<bool, Error>;

    /// Puts a value into the metadata, among those of the hook; `null` removes it.
    async fn set_metadata(&self, session: &SessionId, hook: &str, key: &str, value: Value) -> Result<(), Error>;

    /// Adds a `system` block to the conversation.
    async fn note(&self, session: &SessionId, hook: &str, text: &str) -> Result<(), Error>;

    /// Tells subscribers and hooks an event `hook:HOOK:NAME`.
    async fn emit(&self, session: &SessionId, hook: &str, name: &str, data: Value) -> Result<(), Error>;
}

#[async_trait]
impl Control for Manager {
    async fn state(&self, session: &SessionId) -> Result<SessionState, Error> {
        self.state(session).await
    }

    async fn send_message(&self, session: &SessionId, hook: &str, id: MessageId, content: Content) -> Result<(), Error> {
        self.send_message_of_hook(session, hook, id, content).await.map(drop)
    }

    async fn interrupt(&self, session: &SessionId) -> Result<bool, Error> {
        self.interrupt(session).await
    }

    async fn set_metadata(&self, session: &SessionId, hook: &str, key: &str, value: Value) -> Result<(), Error> {
        self.set_metadata(session, hook, key, value).await
    }

    async fn note(&self, session: &SessionId, hook: &str, text: &str) -> Result<(), Error> {
        self.note(session, hook, text).await
    }

    async fn emit(&self, session: &SessionId, hook: &str, name: &str, data: Value) -> Result<(), Error> {
        self.emit(session, hook, name, data).await
    }
}

/// Where hooks find the [`Control`]: the sessions need the hooks before they are there, so it is connected later. Clones are the same.
#[derive(Clone, Default)]
pub struct Controller(Arc<OnceLock<Connection>>);

struct Connection {
    /// The sessions hold the hooks; hooks that held the sessions would keep both for ever.
    control: Weak<dyn Control>,
    /// The threads that serve. Sessions that a hook wakes must not live on those of the components.
    runtime: Handle,
}

impl Controller {
    /// Connects the hooks with the sessions, whose work is done on the threads of the caller. Called once; a second call changes nothing.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(&self, control: Weak<dyn Control>) {
        if self.0.set(Connection { control, runtime: Handle::current() }).is_err() {
            tracing::error!("the hooks were to be connected with sessions twice; they stay with the first");
        }
    }
}

/// A hook as it speaks to sessions: the host, not the component, says which one it is.
pub(crate) struct Caller {
    name: Name,
    controller: Controller,
}

/// Why a hook could not be served.
pub(super) enum Refusal {
    /// There are no sessions yet, or no more.
    NotConnected,
    /// They say no.
    Error(Error),
}

impl Caller {
    pub(crate) fn new(name: Name, controller: Controller) -> Self {
        Self { name, controller }
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// Does something to sessions. Ended when the caller does not wait any more: so its deadline is that of the component's call.
    pub(super) async fn ask<T, F>(&self, call: impl FnOnce(Arc<dyn Control>, Name) -> F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let Some(connection) = self.controller.0.get() else { return Err(Refusal::NotConnected) };
        let Some(control) = connection.control.upgrade() else { return Err(Refusal::NotConnected) };
        let task = AbortOnDropHandle::new(connection.runtime.spawn(call(control, self.name.clone())));
        // It fails only when the threads that serve have ended, or by a defect that has been told already.
        task.await.map_or(Err(Refusal::NotConnected), |result| result.map_err(Refusal::Error))
    }
}
