//! What clients ask hosts for, again until they have an answer, and what must be true of the answers.

use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::{MessageId, ProfileId, SessionId};
use agent_host_session::manager::{Create, Error};
use agent_host_session::message::Content;
use agent_host_session::ports::store;
use agent_host_session::record::Options;
use serde_json::Value;

use crate::client::PATIENCE;
use crate::host::Host;
use crate::hosts::Hosts;
use crate::store::SharedStore;
use crate::world::{Promise, World, note};

/// Who asks.
#[derive(Clone)]
pub(crate) struct Requests {
    pub(crate) world: Arc<World>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) store: Arc<SharedStore>,
}

/// What came of one try.
enum Tried<T> {
    Answered(T),
    /// Worth another try.
    Failed,
    Refused(Error),
}

impl Requests {
    async fn attempt<T>(&self, what: &str, asking: impl AsyncFnOnce(&Host) -> Result<T, Error>) -> Tried<T> {
        let host = self.hosts.any().await;
        let answer = tokio::time::timeout(PATIENCE, host.ask(asking(&host))).await;
        let (tried, how) = match answer {
            Ok(Ok(Ok(answer))) => (Tried::Answered(answer), "done".to_owned()),
            Ok(Ok(Err(error))) => {
                let how = error.to_string();
                let is_passing = match &error {
                    Error::Store(error) => error.is_transient(),
                    Error::QueueFull(_) | Error::TooManySessions(_) | Error::Busy(_) | Error::ShuttingDown | Error::Owned { .. } => true,
                    _ => false,
                };
                (if is_passing { Tried::Failed } else { Tried::Refused(error) }, how)
            }
            Ok(Err(_)) => (Tried::Failed, "cut".to_owned()),
            Err(_) => (Tried::Failed, "no answer".to_owned()),
        };
        note!(self.world, "{what} at {}: {how}", host.name);
        tried
    }

    /// Asks again until there is an answer, or the client has enough of it.
    async fn persist<T>(&self, what: &str, patience: u32, mut asking: impl AsyncFnMut(&Host) -> Result<T, Error>) -> Option<T> {
        for _ in 0..patience {
            match self.attempt(what, async |host| asking(host).await).await {
                Tried::Answered(answer) => return Some(answer),
                Tried::Failed => tokio::time::sleep(self.world.millis(10_000)).await,
                Tried::Refused(error) => {
                    self.refused(what, &error);
                    return None;
                }
            }
        }
        None
    }

    fn refused(&self, what: &str, error: &Error) {
        let is_fine = match error {
            Error::SessionNotFound(session) => self.world.known(session, |known| known.may_be_gone),
            // Another host has it; what was to be stored here may be lost.
            Error::Store(store::Error::StaleEpoch(_)) => self.store.has_leases,
            // What an adapter says of a session that was deleted under the request.
            Error::Store(_) => self.world.all().len() != self.world.present().len(),
            _ => false,
        };
        if !is_fine {
            self.world.violated(Promise::GoesOn, format!("{what} was refused: {error}"));
        }
    }

    pub(crate) async fn create(&self, session: &SessionId) {
        let create = Create {
            id: Some(session.clone()),
            profile: ProfileId::new("default").unwrap(),
            architecture: "fake".to_owned(),
            name: None,
            options: Options::new(),
        };
        let what = format!("create {session}");
        while self.persist(&what, 1, async |host| host.manager.create(create.clone()).await).await.is_none() && !self.world.is_violated() {}
    }

    /// Sends a message until it is accepted or the client has enough of it.
    pub(crate) async fn send(self, session: SessionId, id: MessageId, text: String, patience: u32) {
        self.world.known(&session, |known| {
            known.messages.entry(id.clone()).or_default();
        });
        let what = format!("{text:?} to {session}");
        let sent = self.persist(&what, patience, async |host| {
            host.manager.send_message(&session, Some(id.clone()), Content::Text(text.clone())).await
        });
        if sent.await.is_none() {
            return;
        }
        self.world.known(&session, |known| known.messages.entry(id.clone()).or_default().is_acknowledged = true);
        if !self.store.observed(&session, |observed| observed.accepted.contains_key(&id)) {
            let text = format!("the message {id} to {session} was acknowledged, and is not in the store");
            self.world.violated(Promise::AcknowledgedIsDurable, text);
        }
    }

    pub(crate) async fn update_options(self, session: SessionId, model: String) {
        let patch = Options::from_iter([("model".to_owned(), Value::from(model.clone()))]);
        let what = format!("the option {model} for {session}");
        let updated = self.persist(&what, 3, async |host| host.manager.update_options(&session, patch.clone()).await).await;
        if updated.is_some() && !self.store.observed(&session, |observed| observed.models.contains(&model)) {
            let text = format!("the option {model} of {session} was acknowledged, and is not in the store");
            self.world.violated(Promise::AcknowledgedIsDurable, text);
        }
    }

    pub(crate) async fn interrupt(self, session: SessionId) {
        self.persist(&format!("interrupt {session}"), 1, async |host| host.manager.interrupt(&session).await).await;
    }

    pub(crate) async fn sync(self, session: SessionId) {
        self.persist(&format!("sync {session}"), 2, async |host| host.manager.sync(&session).await).await;
    }

    pub(crate) async fn unload(self, session: SessionId) {
        self.persist(&format!("unload {session}"), 2, async |host| host.manager.unload(&session).await).await;
    }

    pub(crate) async fn look(self, session: SessionId) {
        self.persist(&format!("get {session}"), 1, async |host| host.manager.get(&session).await).await;
    }

    /// Deletes a session, which nothing is promised of from then on.
    pub(crate) async fn delete(self, session: SessionId) {
        self.world.known(&session, |known| known.may_be_gone = true);
        let what = format!("delete {session}");
        while self.persist(&what, 1, async |host| deleted(host.manager.delete(&session).await)).await.is_none() && !self.world.is_violated()
        {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// A session that is not there any more is deleted.
fn deleted(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::SessionNotFound(_)) => Ok(()),
        result => result,
    }
}
