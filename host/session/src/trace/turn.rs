//! The span of a turn.

use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanBuilder;

use super::{Cause, Span};
use crate::event::{Event, TurnOutcome};
use crate::id::{MessageId, SessionId};

/// The span of a turn, from its beginning until its end is stored. Of the text that streams it has the first delta and the last, and how many there were: a span for
/// each would cost more than all the host's work on it.
pub(crate) struct TurnSpan {
    span: Span,
    deltas: i64,
    last_delta: Option<SystemTime>,
}

impl TurnSpan {
    /// `cause` is the request that brought the message; a message that was found in the store begins a trace of its own.
    pub(crate) fn new(cause: &Cause, session: &SessionId, message: &MessageId, architecture: &'static str) -> Self {
        let span = cause.begin(SpanBuilder::from_name("turn"));
        if span.is_recorded() {
            span.set("session.id", session.to_string());
            span.set("message.id", message.to_string());
            span.set("architecture", architecture);
        }
        Self { span, deltas: 0, last_delta: None }
    }

    /// It, as the cause of something else.
    pub(crate) fn cause(&self) -> Cause {
        self.span.cause()
    }

    /// Events of the turn are published.
    pub(crate) fn published(&mut self, events: &[Event]) {
        if !self.span.is_recorded() {
            return;
        }
        let deltas = events.iter().filter(|event| matches!(event, Event::BlockDelta { .. })).count();
        if deltas == 0 {
            return;
        }
        let now = SystemTime::now();
        if self.last_delta.replace(now).is_none() {
            self.span.event("first delta", now, Vec::new());
        }
        self.deltas = self.deltas.saturating_add_unsigned(deltas as u64);
    }

    /// The turn is over as soon as that is stored.
    pub(crate) fn ends(&self, outcome: &TurnOutcome) {
        if let Some(last) = self.last_delta {
            self.span.event("last delta", last, vec![KeyValue::new("deltas", self.deltas)]);
        }
        self.span.set("deltas", self.deltas);
        self.span.set("outcome", outcome.as_str());
        if *outcome == TurnOutcome::Failed {
            self.span.failed(outcome.as_str());
        }
    }
}
