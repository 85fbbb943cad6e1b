//! Messages and turns: one turn at a time, in the order in which the messages were accepted.

use bytes::Bytes;

use super::{Reply, Task, Then};
use crate::block::Block;
use crate::event::{Event, TurnOutcome};
use crate::id::{BlockId, ConversationId, MessageId};
use crate::manager::{Error, InterruptedTurn};
use crate::message::{self, Message};
use crate::metadata::Metadata;
use crate::metrics::TurnWatch;
use crate::ports::store;
use crate::record::{RecordChanges, StreamName};
use crate::recorder::Write;
use crate::run::{Purpose, RunCommand};
use crate::trace::{Cause, TurnSpan};

/// The turn that is running.
pub(super) struct Turn {
    pub(super) message: Message,
    /// Whether the agent has the message.
    pub(super) is_delivered: bool,
    /// Whether it is over and only its end is not stored yet.
    pub(super) is_ending: bool,
    /// Counts it when it is dropped.
    pub(super) watch: TurnWatch,
    pub(super) span: TurnSpan,
}

impl Task {
    /// Takes a message in: it is written, and then waits for its turn.
    pub(super) fn accept(&mut self, message: Message, reply: Reply<MessageId>) {
        self.touch();
        let id = message.id.clone();
        if let Some(is_same) = self.is_repeat(&message) {
            if !is_same {
                drop(reply.send(Err(Error::MessageConflict(id))));
            } else {
                // Durable when everything that was written up to now is.
                self.recorder.push(Write::Barrier, Some(Then::Known { id, reply }));
            }
            return;
        }
        if self.state.block(&BlockId::from(id.clone())).is_some() {
            // The message's block would take the place of another one.
            drop(reply.send(Err(Error::MessageConflict(id))));
            return;
        }
        let waiting = self.state.queue().len() + self.accepting.len();
        let refused = self.can_write().err().or((waiting >= self.context.settings.queue).then_some(Error::QueueFull(waiting)));
        if let Some(error) = refused {
            drop(reply.send(Err(error)));
            return;
        }
        self.repair();
        self.accepting.insert(id, message.clone());
        // Before it is stored: from then on it must not be forgotten.
        self.keep_agenda();
        let data = self.record_lines(&[Event::MessageAccepted { message: message.clone() }]);
        let then = Then::Accepted { message, cause: self.recorder.cause().clone(), reply };
        self.recorder.push(Write::Append { stream: StreamName::Events, data }, Some(then));
    }

    /// Whether the id is a message's, or could not be one any more.
    pub(super) fn knows(&self, id: &MessageId) -> bool {
        self.accepting.contains_key(id)
            || self.state.queue().iter().any(|message| message.id == *id)
            || self.state.begun().is_some_and(|message| message.id == *id)
            || self.state.block(&BlockId::from(id.clone())).is_some()
    }

    /// Of a message with this id, if there is one: whether the client had sent the same.
    fn is_repeat(&self, sent: &Message) -> Option<bool> {
        let queued = || self.state.queue().iter().find(|message| message.id == sent.id);
        let begun = || self.state.begun().filter(|message| message.id == sent.id);
        if let Some(known) = self.accepting.get(&sent.id).or_else(queued).or_else(begun) {
            return Some(message::is_same(&known.content, known.sent_digest.as_deref(), sent));
        }
        match self.state.block(&BlockId::from(sent.id.clone())) {
            Some(Block::UserMessage(block)) => Some(message::is_same(&block.content, self.state.sent_digest(&sent.id), sent)),
            _ => None,
        }
    }

    /// The message is in the store.
    pub(super) fn accepted(&mut self, message: Message, cause: Cause, reply: Reply<MessageId>, result: Result<(), store::Error>) {
        self.accepting.remove(&message.id);
        let id = message.id.clone();
        if result.is_ok() {
            if cause.is_traced() {
                self.causes.insert(id.clone(), cause);
            }
            self.publish_recorded([Event::MessageAccepted { message }]);
        }
        drop(reply.send(result.map(|()| id).map_err(Error::from)));
    }

    /// Before the first write: closes what an earlier host left unfinished.
    pub(super) fn repair(&mut self) {
        if std::mem::replace(&mut self.repaired, true) {
            return;
        }
        if self.is_torn {
            self.recorder.push(Write::Append { stream: StreamName::Events, data: Bytes::from_static(b"\n") }, None);
        }
        let resumed = match self.context.settings.interrupted_turn {
            InterruptedTurn::Resume => self.state.interrupted(),
            InterruptedTurn::Report => None,
        };
        let events = self.state.repair(self.context.environment.as_ref(), resumed.is_some());
        if events.is_empty() {
            return;
        }
        let data = self.record_lines(&events);
        self.recorder.push(Write::Append { stream: StreamName::Events, data }, Some(Then::Repaired(events)));
        if let Some(message) = resumed {
            let cause = self.recorder.cause().clone();
            // That it begins again is stored before a sandbox is started for it.
            self.turn = Some(self.turn_of(message, &cause));
        }
    }

    /// Goes on with what an earlier process of the host has left: a turn and messages that wait at once. The sandbox of a session for which nobody waits is left to the next
    /// message; if none comes, what is in it is stored `is_late`.
    pub(super) fn take_up(&mut self, is_late: bool, reply: Reply<()>) {
        drop(reply.send(Ok(())));
        if self.run.is_some() || self.closing.is_some() {
            return;
        }
        self.on_agenda = true;
        let was_interrupted = self.state.running().is_some() && self.turn.is_none();
        let is_idle = self.turn.is_none() && self.state.queue().is_empty() && !was_interrupted;
        if is_idle && !is_late {
            // Writes nothing: as long as the epoch is the sandbox's, the next process can take it up as well.
            self.has_left = true;
            return;
        }
        if is_idle && !std::mem::take(&mut self.has_left) {
            return;
        }
        self.touch();
        self.repair();
        // With a message to run, the sandbox is found again when the agent is started for it.
        if self.turn.is_none() && self.state.queue().is_empty() {
            self.taking_up = Some(if was_interrupted { Purpose::AgentIfLeft } else { Purpose::Collect });
        }
        // Takes the epoch before anything is published, and goes on then.
        self.take_epoch();
    }

    pub(super) fn take_epoch(&mut self) {
        let changes = RecordChanges { last_activity: Some(self.state.record.last_activity), ..RecordChanges::default() };
        self.recorder.push(Write::Update { changes }, Some(Then::Repaired(Vec::new())));
    }

    /// When the session is loaded: goes on with the messages that are waiting, and with a turn that an earlier host did not end. Nobody else may come to say what became of it:
    /// that host may have been another one, whose agenda is not here.
    pub(super) fn go_on(&mut self) {
        let was_interrupted = self.state.running().is_some();
        if self.state.queue().is_empty() && !was_interrupted {
            return;
        }
        self.repair();
        if self.turn.is_none() && self.state.queue().is_empty() {
            self.taking_up = Some(Purpose::AgentIfLeft);
        }
        // Takes the epoch before anything is published.
        let changes = RecordChanges { last_activity: Some(self.context.environment.now()), ..RecordChanges::default() };
        self.recorder.push(Write::Update { changes }, Some(Then::Repaired(Vec::new())));
    }

    /// Begins the next turn if none is running, and gives its message to the agent as soon as that can take it.
    pub(super) fn advance(&mut self) {
        if self.turn.is_none() && self.closing.is_none() {
            self.begin_turn();
        }
        if self.turn.is_none()
            && self.run.is_none()
            && self.may_take_up()
            && self.recorder.is_idle()
            && let Some(purpose) = self.taking_up.take()
        {
            self.start_run(purpose, Cause::default());
        }
        if let Some(turn) = self.turn.as_ref().filter(|turn| !turn.is_delivered && !turn.is_ending) {
            let (message, cause) = (turn.message.clone(), turn.span.cause());
            if self.run_is_ready && self.run_is_outdated {
                self.stop_run(self.context.settings.run.stop_grace);
            } else if self.run_is_ready && self.recorder.is_idle() {
                // That the turn has begun is stored before the agent has the message: a host that was killed in between would give it to the agent again. So is how the agent
                // calls its own session, without which nobody could find its transcript.
                let is_delivered = self.tell_run(RunCommand::Message { message, cause });
                if let Some(turn) = &mut self.turn {
                    turn.is_delivered = is_delivered;
                }
            } else if self.run.is_none() && self.recorder.is_idle() {
                // A new sandbox is made from what is stored, so everything must be.
                self.start_run(Purpose::Agent, cause);
            }
        }
        self.publish_status();
    }

    fn begin_turn(&mut self) {
        let Some(message) = self.state.queue().front().cloned() else { return };
        self.touch();
        // The sandbox is found again when the agent is started.
        self.taking_up = None;
        let cause = self.causes.remove(&message.id).unwrap_or_default();
        let turn = self.turn_of(message.clone(), &cause);
        self.recorder.caused_by(turn.span.cause());
        let started = Event::TurnStarted { message_id: message.id.clone() };
        self.publish([started].into_iter().chain(Event::said(&message, self.context.environment.now())));
        self.turn = Some(turn);
    }

    fn turn_of(&self, message: Message, cause: &Cause) -> Turn {
        // One that only another host knows could be called anything.
        let architecture = self.architecture().map_or("unknown", |architecture| architecture.name());
        let watch = self.context.metrics.turn(architecture);
        let span = TurnSpan::new(cause, self.id(), &message.id, architecture);
        Turn { message, is_delivered: false, is_ending: false, watch, span }
    }

    /// Ends the running turn as soon as the agent can; whether there was one.
    pub(super) fn interrupt(&mut self) -> bool {
        let Some(turn) = self.turn.as_ref().filter(|turn| !turn.is_ending) else { return false };
        if turn.is_delivered {
            self.tell_run(RunCommand::Interrupt)
        } else {
            // The agent never sees the message.
            self.end_turn(TurnOutcome::Interrupted);
            true
        }
    }

    /// The agent is done with the turn: everything of it is written, and when it is durable the turn is over.
    pub(super) fn end_turn(&mut self, outcome: TurnOutcome) {
        let Some(turn) = self.turn.as_mut().filter(|turn| !turn.is_ending) else { return };
        turn.is_ending = true;
        turn.watch.ends(&outcome);
        turn.span.ends(&outcome);
        let message_id = turn.message.id.clone();
        let is_delivered = turn.is_delivered;
        self.touch();
        self.flush_transcripts();
        // Every block of the turn is complete, and so recorded whole.
        self.grown.clear();
        let mut events = Vec::new();
        // A turn that the agent never saw does not count: if it was the first, the session has not run yet.
        if is_delivered {
            let turns = self.state.metadata().turns.unwrap_or(0) + 1;
            let metadata = Metadata { turns: Some(turns), ..Metadata::default() };
            events.push(Event::MetadataUpdated { conversation: ConversationId::main(), metadata });
        }
        events.push(Event::TurnEnded { message_id, outcome });
        let now = self.context.environment.now();
        self.state.record.last_activity = now;
        self.recorder.push(Write::Update { changes: RecordChanges { last_activity: Some(now), ..RecordChanges::default() } }, None);
        let data = self.record_lines(&events);
        self.recorder.push(Write::Append { stream: StreamName::Events, data }, Some(Then::TurnEnded(events)));
    }

    /// The turn's end is durable.
    pub(super) fn turn_ended(&mut self, events: Vec<Event>) {
        self.publish_recorded(events);
        self.turn = None;
        self.recorder.caused_by(Cause::default());
    }
}
