//! How a session leaves memory: unloaded, idle, deleted, at the end of the host, or because another host has it.

use std::future::pending;
use std::time::Duration;

use tokio::time::Instant;

use super::{Reply, Task};
use crate::event::{Event, Runtime};
use crate::manager::{Error, ListChange};
use crate::ports::store;
use crate::run::{End, Purpose, RunCommand};

/// How long a host that ends waits for a store that does not answer, beyond the turns' grace.
const STORE_GRACE: Duration = Duration::from_secs(10);

/// A session on its way out.
pub(super) struct Closing {
    why: Why,
    /// When the running turn is interrupted.
    interrupt_at: Option<Instant>,
    /// When everything that is not done by then is given up.
    give_up_at: Option<Instant>,
    run_was_told: bool,
    /// Whether what an earlier process of the host has left was asked for. Once: what cannot be had now is not waited for.
    has_collected: bool,
}

enum Why {
    Unloaded(Vec<Reply<()>>),
    Deleted(Reply<()>),
    Shutdown,
    /// Another host has it, or it was deleted.
    Fenced,
    /// The host ended before the store took everything: its next process has to look after it.
    GivenUp,
}

impl Closing {
    fn new(why: Why) -> Self {
        Self { why, interrupt_at: None, give_up_at: None, run_was_told: false, has_collected: false }
    }
}

/// Waits for the next of the deadlines.
pub(super) async fn deadline(closing: Option<&Closing>) {
    let next = closing.and_then(|closing| [closing.interrupt_at, closing.give_up_at].into_iter().flatten().min());
    match next {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}

impl Task {
    pub(super) fn unload(&mut self, reply: Reply<()>) {
        if let Err(error) = self.can_write() {
            drop(reply.send(Err(error)));
            return;
        }
        self.interrupt();
        self.closing = Some(Closing::new(Why::Unloaded(vec![reply])));
    }

    pub(super) fn delete(&mut self, reply: Reply<()>) {
        self.stop_run(Duration::ZERO);
        self.closing = Some(Closing { run_was_told: true, ..Closing::new(Why::Deleted(reply)) });
    }

    /// The host is about to end: whatever the session is doing, it has so much time.
    pub(super) fn shut_down(&mut self) {
        let interrupt_at = Instant::now() + self.context.settings.shutdown_grace;
        let give_up_at = interrupt_at + self.context.settings.run.interrupt_grace + self.context.settings.run.stop_grace + STORE_GRACE;
        let closing = self.closing.get_or_insert_with(|| Closing::new(Why::Shutdown));
        closing.interrupt_at = Some(interrupt_at);
        closing.give_up_at = Some(give_up_at);
    }

    /// Whether the session's end has a time limit already.
    pub(super) fn has_deadline(&self) -> bool {
        self.closing.as_ref().is_some_and(|closing| closing.give_up_at.is_some())
    }

    pub(super) fn is_deleting(&self) -> bool {
        matches!(self.closing, Some(Closing { why: Why::Deleted(_), .. }))
    }

    /// Another host has the session, or it was deleted, or it is given up: nothing that this one does counts any more.
    pub(super) fn fence(&mut self, error: &store::Error) {
        match self.closing.take().map(|closing| closing.why) {
            Some(Why::Unloaded(replies)) => {
                for reply in replies {
                    drop(reply.send(Err(error.clone().into())));
                }
            }
            Some(Why::Deleted(reply)) => drop(reply.send(Err(error.clone().into()))),
            Some(Why::Shutdown | Why::Fenced | Why::GivenUp) | None => {}
        }
        if let store::Error::StaleEpoch(_) | store::Error::OffsetMismatch(_) = error
            && self.recorder.epoch_taken
        {
            let message =
                "another host has taken the session over: what was shown here last may not be stored, and that host goes on".to_owned();
            self.publish([Event::Failed { code: "TAKEN_OVER".to_owned(), message }]);
        }
        let why = if error.is_transient() { Why::GivenUp } else { Why::Fenced };
        self.closing = Some(Closing { give_up_at: Some(Instant::now()), run_was_told: true, ..Closing::new(why) });
    }

    /// Nothing has happened for the idle time.
    pub(super) fn idle(&mut self) {
        let is_working = self.turn.is_some() || !self.state.queue().is_empty() || !self.accepting.is_empty();
        if is_working || self.closing.is_some() || self.recorder.is_failing() {
            self.touch();
        } else if self.log.has_subscribers() {
            // Those who watch keep the session, but not its sandbox.
            self.stop_run(self.context.settings.run.stop_grace);
            self.touch();
        } else {
            self.closing = Some(Closing::new(Why::Unloaded(Vec::new())));
        }
    }

    pub(super) fn closing_deadline(&mut self) {
        let now = Instant::now();
        let Some(closing) = &mut self.closing else { return };
        if closing.interrupt_at.is_some_and(|at| at <= now) {
            closing.interrupt_at = None;
            self.interrupt();
            return;
        }
        if closing.give_up_at.is_some_and(|at| at <= now) {
            tracing::error!(session = %self.id(), "the session could not be stored in time; its last events are lost");
            self.fence(&store::Error::Unavailable("the host ended before the store took everything".to_owned()));
        }
    }

    /// Takes the next step out: the turn ends, then the run, then the writes.
    pub(super) fn go_on_closing(&mut self) {
        let grace = self.context.settings.run.stop_grace;
        let leaves_sandbox = self.leaves_sandbox();
        let Some(closing) = &mut self.closing else { return };
        if leaves_sandbox && self.turn.is_none() && self.run.is_none() {
            closing.has_collected = true;
            self.repair();
            self.taking_up = Some(Purpose::Collect);
            self.take_epoch();
            return;
        }
        if self.turn.is_none() && self.run.is_some() && !closing.run_was_told {
            closing.run_was_told = true;
            self.stop_run(grace);
        }
    }

    /// Whether the session would leave behind what an earlier process of the host has left of it: what is in that is to be stored first.
    fn leaves_sandbox(&self) -> bool {
        let has_collected = self.closing.as_ref().is_some_and(|closing| closing.has_collected);
        self.may_take_up() && !has_collected && self.context.provider.has_left(self.id())
    }

    /// Whether what was left may still be taken up.
    pub(super) fn may_take_up(&self) -> bool {
        !matches!(self.closing, Some(Closing { why: Why::Deleted(_) | Why::Fenced, .. }))
    }

    /// Ends the run, which says so when it is done.
    pub(super) fn stop_run(&mut self, grace: Duration) {
        self.run_is_ready = false;
        let is_deaf = self.run.as_ref().is_some_and(|run| run.tell(RunCommand::Stop { grace }).is_err() && !run.has_ended());
        if is_deaf {
            // It was told so much that it does not keep up, so that only force is left.
            self.run_ended(End::Stopped);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self.closing.as_ref().map(|closing| &closing.why) {
            None => false,
            Some(Why::Fenced | Why::GivenUp) => true,
            Some(Why::Deleted(_)) => self.run.is_none(),
            Some(Why::Unloaded(_) | Why::Shutdown) => {
                let has_ended = self.turn.is_none() && self.run.is_none() && self.taking_up.is_none() && !self.leaves_sandbox();
                has_ended && self.transcripts.is_empty() && self.recorder.is_idle()
            }
        }
    }

    /// The last step: nothing runs any more. `false` if the session cannot go yet, because the store did not delete it.
    pub(super) async fn leave(&mut self) -> bool {
        let deleted = match self.closing.take().map(|closing| closing.why) {
            Some(Why::Deleted(reply)) => {
                let result = self.context.store.delete_session(self.recorder.epoch(), self.id()).await;
                let deleted = result.is_ok();
                drop(reply.send(result.map_err(Error::from)));
                if !deleted {
                    // Then it stays whole, with what is still to be written.
                    self.closing = Some(Closing::new(Why::Unloaded(Vec::new())));
                    return false;
                }
                true
            }
            Some(Why::Unloaded(replies)) => {
                for reply in replies {
                    drop(reply.send(Ok(())));
                }
                false
            }
            Some(Why::Fenced) => {
                self.context.agenda.end(self.id());
                false
            }
            Some(Why::Shutdown | Why::GivenUp) | None => false,
        };
        if deleted {
            self.context.provider.discard(self.id());
            self.context.agenda.end(self.id());
            drop(self.context.changes.send(ListChange::Deleted(self.id().clone())));
            return true;
        }
        self.sandbox = None;
        self.state.runtime = Runtime::default();
        // Numbers of an epoch that was not taken would be given out again by the next host.
        if self.recorder.epoch_taken {
            self.show(vec![Event::StatusChanged { runtime: Runtime::default() }]);
        }
        self.publish_listed();
        true
    }
}
