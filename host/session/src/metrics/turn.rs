//! What is counted of a turn.

use std::sync::Arc;

use tokio::time::Instant;

use super::Metrics;
use crate::event::{Event, TurnOutcome};

/// Accompanies a turn, which counts when this is dropped.
pub(crate) struct TurnWatch {
    metrics: Arc<Metrics>,
    architecture: &'static str,
    began: Instant,
    has_delta: bool,
    outcome: &'static str,
}

impl TurnWatch {
    pub(super) fn new(metrics: Arc<Metrics>, architecture: &'static str) -> Self {
        // What it is unless it comes to its end: another host has the session, or this one ends.
        let outcome = "abandoned";
        Self { metrics, architecture, began: Instant::now(), has_delta: false, outcome }
    }

    /// Events of the turn are published.
    pub(crate) fn published(&mut self, events: &[Event]) {
        if !self.has_delta && events.iter().any(|event| matches!(event, Event::BlockDelta { .. })) {
            self.has_delta = true;
            let histogram = self.metrics.first_delta.get_or_create_owned(&[("architecture", self.architecture)]);
            histogram.observe(self.began.elapsed().as_secs_f64());
        }
    }

    /// The turn is over as soon as that is stored.
    pub(crate) fn ends(&mut self, outcome: &TurnOutcome) {
        self.outcome = outcome.as_str();
    }
}

impl Drop for TurnWatch {
    fn drop(&mut self) {
        let architecture = ("architecture", self.architecture);
        self.metrics.turns.get_or_create_owned(&[architecture, ("outcome", self.outcome)]).inc();
        self.metrics.turn_duration.get_or_create_owned(&[architecture]).observe(self.began.elapsed().as_secs_f64());
    }
}
