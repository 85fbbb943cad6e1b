//! What the manager is asked, and what it answers.

use std::sync::Arc;

use crate::event::Runtime;
use crate::id::{ProfileId, SessionId};
use crate::log::Subscription;
use crate::metadata::Metadata;
use crate::record::{Options, SessionRecord};
use crate::state::{State, View};

/// A session to create.
#[derive(Clone, Debug)]
pub struct Create {
    /// Its id, if the client chooses it.
    pub id: Option<SessionId>,
    /// Its agent profile.
    pub profile: ProfileId,
    /// Its architecture's name.
    pub architecture: String,
    /// A name for people.
    pub name: Option<String>,
    /// Its options.
    pub options: Options,
}

/// A session that was created, now or before.
#[derive(Clone, Debug)]
pub struct Created {
    /// Its row.
    pub record: SessionRecord,
    /// What it is doing.
    pub runtime: Runtime,
    /// Whether it did not exist before.
    pub is_new: bool,
}

/// A session as a list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its row.
    pub record: SessionRecord,
    /// What it is doing.
    pub runtime: Runtime,
}

/// A session without its conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionState {
    /// Its row.
    pub record: SessionRecord,
    /// Of the conversation with the user.
    pub metadata: Metadata,
    /// Whether a turn is running.
    pub is_running: bool,
}

impl From<&State> for SessionState {
    fn from(state: &State) -> Self {
        let is_running = state.runtime.running_message_id.is_some();
        Self { record: state.record.clone(), metadata: state.metadata().clone(), is_running }
    }
}

/// A page of sessions, newest first.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The sessions.
    pub sessions: Vec<Listed>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// What changed in the list of sessions.
#[derive(Clone, Debug)]
pub enum ListChange {
    /// A session was created, or does something else than before.
    Updated(Arc<Listed>),
    /// A session was deleted.
    Deleted(SessionId),
}

/// A subscription, and what it continues.
#[derive(Debug)]
pub enum Subscribed {
    /// Start from this picture; the subscription continues exactly after [`View::sequence`].
    Snapshot {
        /// The session as it is now.
        view: Box<View>,
        /// What follows.
        subscription: Subscription,
        /// Whether the client asked to continue where that is not possible any more.
        resync: bool,
    },
    /// The subscription continues exactly after the number that the client named.
    Continued(Subscription),
}
