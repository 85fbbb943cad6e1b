//! After a host was killed: its successor goes on with what was going on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;

use super::{Error, Manager};
use crate::id::SessionId;
use crate::task::Command;

/// Sessions that are taken up at once: each starts a sandbox.
const AT_ONCE: usize = 16;

/// How long a sandbox that was left waits for its session's next message before what is in it is stored: shorter than the grace of all providers.
const LATE: Duration = Duration::from_secs(5 * 60);

/// Between two tries to take a session up, first and at most: the store may not be there yet.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

impl Manager {
    /// Goes on, in the background, with the sessions in which something was going on when the last process of this host ended: messages that wait get their turn, a turn
    /// that was interrupted is reported or begins again as the settings say, and what agents did meanwhile is stored.
    pub fn take_up(self: &Arc<Self>) {
        // What a session has left is to be seen to even if the agenda does not know of it: the session may have been deleted just before the kill, or the agenda be lost.
        let open: BTreeSet<SessionId> = self.context.agenda.open().into_iter().chain(self.context.provider.left()).collect();
        if open.is_empty() {
            return;
        }
        tracing::info!(sessions = open.len(), "taking up what the last process of this host has left");
        let manager = Arc::clone(self);
        self.tasks.spawn(async move {
            let taking_up = async {
                manager.take_up_all(&open, false).await;
                tokio::time::sleep(LATE).await;
                manager.take_up_all(&open, true).await;
            };
            tokio::select! {
                () = taking_up => {}
                () = manager.context.shutdown.cancelled() => {}
            }
        });
    }

    async fn take_up_all(&self, sessions: &BTreeSet<SessionId>, is_late: bool) {
        futures_util::stream::iter(sessions).for_each_concurrent(AT_ONCE, |id| self.take_up_session(id, is_late)).await;
    }

    async fn take_up_session(&self, id: &SessionId, is_late: bool) {
        let mut pause = PAUSE;
        loop {
            match self.ask(id, |reply| Command::TakeUp { is_late, reply }).await {
                Ok(()) | Err(Error::ShuttingDown) => return,
                Err(Error::SessionNotFound(_)) => {
                    self.context.provider.discard(id);
                    return self.context.agenda.end(id);
                }
                // Whoever has it now goes on with it.
                Err(Error::Owned { .. }) => return self.context.agenda.end(id),
                Err(error) => tracing::warn!(session = %id, %error, "a session cannot be taken up, which is tried again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}
