//! How others speak to a session's task.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::id::{MessageId, Sequence};
use crate::log::{Observer, Reveal};
use crate::manager::{Error, Listed, SessionState, Subscribed};
use crate::message::Message;
use crate::metadata::OfHooks;
use crate::record::Options;
use crate::state::View;
use crate::trace::Cause;

/// Where the answer to a command goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What others ask a session for.
pub(crate) enum Command {
    Message {
        message: Message,
        reply: Reply<MessageId>,
    },
    /// Whether the id of a message is taken, so that nobody needs to decide on one any more.
    Knows {
        id: MessageId,
        reply: Reply<bool>,
    },
    Interrupt {
        reply: Reply<bool>,
    },
    UpdateOptions {
        patch: Options,
        reply: Reply<Options>,
    },
    Sync {
        reply: Reply<()>,
    },
    /// Not to be shown before it is revealed.
    View {
        reply: Reply<(View, Option<Reveal>)>,
    },
    /// Not to be shown before it is revealed.
    Subscribe {
        since: Option<Sequence>,
        reply: Reply<(Subscribed, Option<Reveal>)>,
    },
    State {
        reply: Reply<SessionState>,
    },
    /// Changes what hooks keep in the metadata.
    SetMetadata {
        update: OfHooks,
        reply: Reply<()>,
    },
    /// Adds a `system` block of a hook.
    Note {
        hook: String,
        text: String,
        reply: Reply<()>,
    },
    /// Publishes an event that is not stored.
    Tell {
        event: Event,
        reply: Reply<()>,
    },
    /// Goes on with what an earlier process of the host has left: at once with what somebody waits for, and later with the rest.
    TakeUp {
        is_late: bool,
        reply: Reply<()>,
    },
    /// Another host has the session: nothing that this one does counts any more.
    Fence {
        reply: Reply<()>,
    },
    Unload {
        reply: Reply<()>,
    },
    Delete {
        reply: Reply<()>,
    },
}

/// A command, and what caused it.
pub(super) struct Asked {
    pub(super) command: Command,
    pub(super) cause: Cause,
}

/// Speaks to a session's task. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(super) commands: mpsc::Sender<Asked>,
    pub(super) listed: watch::Receiver<Arc<Listed>>,
    pub(super) observer: Observer,
    /// Cancelled when the task has ended and its session can be loaded anew.
    pub(super) ended: CancellationToken,
}

/// The session is being unloaded: it can be loaded anew when the handle's [`Handle::ended`] returns.
#[derive(Debug)]
pub(crate) struct Unloading;

impl Handle {
    /// Asks the session and waits for its answer.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<Result<T, Error>, Unloading> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { command: command(reply), cause: Cause::current() };
        self.commands.send(asked).await.map_err(|_| Unloading)?;
        answer.await.map_err(|_| Unloading)
    }

    /// The session as a list shows it.
    pub(crate) fn listed(&self) -> Arc<Listed> {
        Arc::clone(&self.listed.borrow())
    }

    /// How many events each of its subscribers has still to read.
    pub(crate) fn behind(&self) -> Vec<u64> {
        self.observer.behind()
    }

    /// Waits until the session has left memory.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}
