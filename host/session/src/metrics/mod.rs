//! What is counted of sessions for whoever operates the host: events, turns, sandboxes and what was stored.
//!
//! The numbers are those of one host, from its start. A counter is found by its labels where something begins or ends; what happens two hundred thousand times
//! a second is counted by the batch, in counters that were found when the host started. What can be seen at any moment is not counted but looked at when somebody
//! asks: that is the census.
//!
//! No label is a session, a path or anything else of which there can be any number.

mod census;
mod sandbox;
mod turn;

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use self::census::Census;
pub(crate) use self::sandbox::SandboxWatch;
pub(crate) use self::turn::TurnWatch;
use crate::event::Event;
use crate::record::StreamName;
use crate::recorder::Write;

/// Labels whose values are words of the program.
type Words<const COUNT: usize> = [(&'static str, &'static str); COUNT];

/// Counters of one name.
type Counters<const COUNT: usize> = Family<Words<COUNT>, Counter>;

/// Histograms of one name.
type Histograms<const COUNT: usize> = Family<Words<COUNT>, Histogram, fn() -> Histogram>;

/// The kinds of events as clients know them. Those that hooks emit are one, since they call them what they like.
const EVENTS: [&str; 15] = [
    "session:block:delta",
    "session:block:start",
    "session:block:update",
    "session:block:complete",
    "session:block:removed",
    "session:subagent:discovered",
    "session:subagent:completed",
    "session:metadata:update",
    "session:options:update",
    "session:file:created",
    "session:file:modified",
    "session:file:deleted",
    "session:status",
    "hook",
    "error",
];

/// What is stored.
const STORED: [&str; 3] = ["events", "transcript", "file"];

/// What is counted of the sessions of one host.
#[derive(Debug)]
pub struct Metrics {
    events: Counters<1>,
    /// The same counters in the order of [`EVENTS`].
    event_kinds: [Counter; EVENTS.len()],
    stored: Counters<1>,
    /// The same counters in the order of [`STORED`].
    stored_kinds: [Counter; STORED.len()],
    turns: Counters<2>,
    turn_duration: Histograms<1>,
    first_delta: Histograms<1>,
    sandbox_starts: Counters<2>,
    sandbox_start_duration: Histograms<1>,
    sandbox_ends: Counters<2>,
    left_out: Counters<1>,
}

impl Default for Metrics {
    fn default() -> Self {
        let (events, stored) = (Counters::default(), Counters::default());
        Self {
            event_kinds: EVENTS.map(|kind| events.get_or_create_owned(&[("event", kind)])),
            events,
            stored_kinds: STORED.map(|kind| stored.get_or_create_owned(&[("kind", kind)])),
            stored,
            turns: Family::default(),
            turn_duration: Family::new_with_constructor(turn_buckets),
            first_delta: Family::new_with_constructor(first_delta_buckets),
            sandbox_starts: Family::default(),
            sandbox_start_duration: Family::new_with_constructor(start_buckets),
            sandbox_ends: Family::default(),
            left_out: Family::default(),
        }
    }
}

/// In seconds: an agent answers within tenths of a second, or works for an hour.
fn turn_buckets() -> Histogram {
    Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0])
}

/// In seconds: the host itself takes a millisecond or two, a model up to a minute. For more nobody waits.
fn first_delta_buckets() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

/// In seconds: a directory and a process take hundredths, a machine elsewhere takes seconds, and after a minute it is given up.
fn start_buckets() -> Histogram {
    Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

impl Metrics {
    /// Shows them in a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("events", "Events that sessions published, by kind", self.events.clone());
        registry.register_with_unit(
            "stored",
            "Bytes that the store took: the sessions' event records, the agents' transcripts, workspace files",
            Unit::Bytes,
            self.stored.clone(),
        );
        registry.register("turns", "Turns that are over, by how they ended", self.turns.clone());
        registry.register_with_unit(
            "turn_duration",
            "From the beginning of a turn until its end is stored",
            Unit::Seconds,
            self.turn_duration.clone(),
        );
        registry.register_with_unit(
            "turn_first_delta",
            "From the beginning of a turn to the first text of the agent; a sandbox that has to be started first is part of it",
            Unit::Seconds,
            self.first_delta.clone(),
        );
        registry.register("sandbox_starts", "Sandboxes that were to be started, by what came of it", self.sandbox_starts.clone());
        registry.register_with_unit(
            "sandbox_start_duration",
            "From the decision to start a sandbox until the agent's process runs in it",
            Unit::Seconds,
            self.sandbox_start_duration.clone(),
        );
        registry.register("sandbox_ends", "Sandboxes that ended, by the reason", self.sandbox_ends.clone());
        registry.register(
            "left_out",
            "What was too large or too much: lines of agents, contents of workspace files, workspace files",
            self.left_out.clone(),
        );
    }

    /// Something reached a limit, and is not kept: a `line`, a `content` or a `file`.
    pub(crate) fn left_out(&self, what: &'static str) {
        self.left_out.get_or_create_owned(&[("what", what)]).inc();
    }

    /// Events are published.
    pub(crate) fn published(&self, events: &[Event]) {
        // Each kind is added once, so that sessions that stream at once do not fight for the counters.
        let mut counts = [0_u64; EVENTS.len()];
        for event in events {
            if let Some(count) = counts.get_mut(kind(event)) {
                *count += 1;
            }
        }
        for (counter, count) in self.event_kinds.iter().zip(counts).filter(|(_, count)| *count > 0) {
            counter.inc_by(count);
        }
    }

    /// The store has taken a write.
    pub(crate) fn stored(&self, write: &Write) {
        let [events, transcript, file] = &self.stored_kinds;
        let counter = match write {
            Write::Append { stream: StreamName::Events, .. } => events,
            Write::Append { .. } => transcript,
            Write::SaveFile { .. } => file,
            Write::Reset { .. } | Write::DeleteFile { .. } | Write::Update { .. } | Write::Barrier => return,
        };
        counter.inc_by(write.weight() as u64);
    }

    /// A turn begins.
    pub(crate) fn turn(self: &Arc<Self>, architecture: &'static str) -> TurnWatch {
        TurnWatch::new(Arc::clone(self), architecture)
    }

    /// A sandbox is about to be started.
    pub(crate) fn sandbox(self: &Arc<Self>, provider: &'static str) -> SandboxWatch {
        SandboxWatch::new(Arc::clone(self), provider)
    }
}

/// The place in [`EVENTS`]; beyond its end for what is never published.
fn kind(event: &Event) -> usize {
    match event {
        Event::BlockDelta { .. } => 0,
        Event::BlockStarted { .. } => 1,
        Event::BlockUpdated { .. } => 2,
        Event::BlockCompleted { .. } => 3,
        Event::BlockRemoved { .. } => 4,
        Event::SubagentDiscovered { .. } => 5,
        Event::SubagentCompleted { .. } => 6,
        Event::MetadataUpdated { .. } => 7,
        Event::OptionsUpdated { .. } => 8,
        Event::FileCreated { .. } => 9,
        Event::FileModified { .. } => 10,
        Event::FileDeleted { .. } => 11,
        Event::StatusChanged { .. } => 12,
        Event::Emitted { .. } => 13,
        Event::Failed { .. } => 14,
        Event::SandboxTaken | Event::MessageAccepted { .. } | Event::TurnStarted { .. } | Event::TurnEnded { .. } => EVENTS.len(),
    }
}

/// Shows gauges of one name that were looked at just now.
///
/// # Errors
/// Those of the encoder.
pub fn show_gauges<Labels, Value>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    gauges: impl IntoIterator<Item = (Labels, Value)>,
) -> fmt::Result
where
    Labels: EncodeLabelSet,
    Value: EncodeGaugeValue,
{
    let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (labels, value) in gauges {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::prometheus_text;

    use super::*;
    use crate::event::Runtime;
    use crate::id::{BlockId, ConversationId};

    fn shown(metrics: &Metrics) -> String {
        let mut registry = Registry::with_prefix("agent_host");
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).unwrap();
        text
    }

    fn delta() -> Event {
        Event::BlockDelta { conversation: ConversationId::main(), block_id: BlockId::new("b").unwrap(), delta: "x".into() }
    }

    #[test]
    fn events_are_counted_under_the_names_that_clients_know() {
        let status = Event::StatusChanged { runtime: Runtime::default() };
        let failed = Event::Failed { code: "C".into(), message: String::new() };
        for event in [&status, &failed, &delta()] {
            assert_eq!(EVENTS[kind(event)], event.name());
        }
        let metrics = Metrics::default();
        metrics.published(&[delta(), status, delta(), Event::Emitted { name: "hook:h:n".into(), data: serde_json::Value::Null }]);
        let text = shown(&metrics);
        for line in [
            "# TYPE agent_host_events_total counter\n",
            "agent_host_events_total{event=\"session:block:delta\"} 2\n",
            "agent_host_events_total{event=\"session:status\"} 1\n",
            "agent_host_events_total{event=\"hook\"} 1\n",
            "agent_host_events_total{event=\"error\"} 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn bytes_are_counted_by_where_they_go() {
        let metrics = Metrics::default();
        for (stream, data) in [(StreamName::Events, "four"), (StreamName::TranscriptMain, "sixsix"), (StreamName::Events, "1")] {
            metrics.stored(&Write::Append { stream, data: data.into() });
        }
        metrics.stored(&Write::Barrier);
        let text = shown(&metrics);
        assert!(text.contains("agent_host_stored_bytes_total{kind=\"events\"} 5\n"), "{text}");
        assert!(text.contains("agent_host_stored_bytes_total{kind=\"transcript\"} 6\n"), "{text}");
        assert!(text.contains("agent_host_stored_bytes_total{kind=\"file\"} 0\n"), "{text}");
    }

    #[test]
    fn a_turn_counts_when_it_is_over() {
        let metrics = Arc::new(Metrics::default());
        let mut turn = metrics.turn("fake");
        turn.published(&[delta(), delta()]);
        turn.ends(&crate::event::TurnOutcome::Completed);
        assert!(!shown(&metrics).contains("agent_host_turns_total{"), "it is not over");
        drop(turn);
        drop(metrics.turn("fake"));
        let text = shown(&metrics);
        for line in [
            "agent_host_turns_total{architecture=\"fake\",outcome=\"completed\"} 1\n",
            "agent_host_turns_total{architecture=\"fake\",outcome=\"abandoned\"} 1\n",
            "agent_host_turn_duration_seconds_count{architecture=\"fake\"} 2\n",
            "agent_host_turn_first_delta_seconds_count{architecture=\"fake\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn a_sandbox_counts_when_it_has_started_and_when_it_has_ended() {
        let metrics = Arc::new(Metrics::default());
        let mut sandbox = metrics.sandbox("fake");
        sandbox.started();
        sandbox.ends("stopped");
        metrics.sandbox("fake").ends("SANDBOX_FAILED");
        drop(metrics.sandbox("fake"));
        let text = shown(&metrics);
        for line in [
            "agent_host_sandbox_starts_total{provider=\"fake\",outcome=\"started\"} 1\n",
            "agent_host_sandbox_starts_total{provider=\"fake\",outcome=\"SANDBOX_FAILED\"} 1\n",
            "agent_host_sandbox_starts_total{provider=\"fake\",outcome=\"abandoned\"} 1\n",
            "agent_host_sandbox_ends_total{provider=\"fake\",reason=\"stopped\"} 1\n",
            "agent_host_sandbox_start_duration_seconds_count{provider=\"fake\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
