//! How a session leaves memory: unloaded, idle, deleted, at the end of the host, or because another host has it.

use std::future::pending;
use std::time::Duration;

use tokio::time::Instant;

use super::{Reply, Task};
use crate::event::Runtime;
use crate::manager::{Error, ListChange};
use crate::run::{End, RunCommand};

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
}

enum Why {
    Unloaded(Vec<Reply<()>>),
    Deleted(Reply<()>),
    Shutdown,
    Fenced,
}

impl Closing {
    /// Another host has the session, or it was deleted: nothing that this one does counts any more.
    pub(super) fn fenced() -> Self {
        Self { why: Why::Fenced, interrupt_at: None, give_up_at: None, run_was_told: true }
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
        self.closing = Some(Closing { why: Why::Unloaded(vec![reply]), interrupt_at: None, give_up_at: None, run_was_told: false });
    }

    pub(super) fn delete(&mut self, reply: Reply<()>) {
        self.stop_run(Duration::ZERO);
        self.closing = Some(Closing { why: Why::Deleted(reply), interrupt_at: None, give_up_at: None, run_was_told: true });
    }

    pub(super) fn shut_down(&mut self) {
        let interrupt_at = Instant::now() + self.context.settings.shutdown_grace;
        let give_up_at = interrupt_at + self.context.settings.run.interrupt_grace + self.context.settings.run.stop_grace + STORE_GRACE;
        self.closing =
            Some(Closing { why: Why::Shutdown, interrupt_at: Some(interrupt_at), give_up_at: Some(give_up_at), run_was_told: false });
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
            self.closing = Some(Closing { why: Why::Unloaded(Vec::new()), interrupt_at: None, give_up_at: None, run_was_told: false });
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
            self.closing = Some(Closing::fenced());
        }
    }

    /// Takes the next step out: the turn ends, then the run, then the writes.
    pub(super) fn go_on_closing(&mut self) {
        let grace = self.context.settings.run.stop_grace;
        let Some(closing) = &mut self.closing else { return };
        if self.turn.is_none() && self.run.is_some() && !closing.run_was_told {
            closing.run_was_told = true;
            self.stop_run(grace);
        }
    }

    /// Ends the run, which says so when it is done.
    fn stop_run(&mut self, grace: Duration) {
        if let Some(run) = &self.run
            && !run.tell(RunCommand::Stop { grace })
        {
            // It takes no more commands, so that only force is left.
            self.run_ended(End::Stopped);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self.closing.as_ref().map(|closing| &closing.why) {
            None => false,
            Some(Why::Fenced) => true,
            Some(Why::Deleted(_)) => self.run.is_none(),
            Some(Why::Unloaded(_) | Why::Shutdown) => {
                self.turn.is_none() && self.run.is_none() && self.transcripts.is_empty() && self.recorder.is_idle()
            }
        }
    }

    /// The last step: nothing runs any more.
    pub(super) async fn leave(&mut self) {
        let deleted = match self.closing.take().map(|closing| closing.why) {
            Some(Why::Deleted(reply)) => {
                let result = self.context.store.delete_session(self.recorder.epoch(), self.id()).await;
                let deleted = result.is_ok();
                drop(reply.send(result.map_err(Error::from)));
                deleted
            }
            Some(Why::Unloaded(replies)) => {
                for reply in replies {
                    drop(reply.send(Ok(())));
                }
                false
            }
            Some(Why::Shutdown | Why::Fenced) | None => false,
        };
        if deleted {
            drop(self.context.changes.send(ListChange::Deleted(self.id().clone())));
            return;
        }
        self.sandbox = None;
        self.state.runtime = Runtime::default();
        self.log.publish([crate::event::Event::StatusChanged { runtime: Runtime::default() }]);
        self.publish_listed();
    }
}
