//! What there is of components at the moment when it is asked.

use std::fmt;
use std::sync::Arc;

use agent_host_session::metrics::show_gauges;
use agent_host_session::time::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;

use super::Role;
use crate::hooks::spool::Backlog;

/// Who knows what there is of some components.
pub trait Inventory: Send + Sync + 'static {
    /// Those components, each role once.
    fn standings(&self) -> Vec<Standing>;

    /// Events that no hook is told of, because they could not be stored.
    fn lost_events(&self) -> u64 {
        0
    }
}

/// What there is of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which component.
    pub role: Role,
    /// Instances that there are.
    pub instances: usize,
    /// Instances that there may be.
    pub max_instances: usize,
    /// Of a hook: what it has still to be told of.
    pub backlog: Option<Backlog>,
}

/// All inventories of a host.
pub(super) struct Watched(pub(super) Vec<Arc<dyn Inventory>>);

impl Watched {
    fn standings(&self) -> Vec<Standing> {
        self.0.iter().flat_map(|inventory| inventory.standings()).collect()
    }

    fn show(&self, now: Timestamp, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let standings = self.standings();
        let each = |value: fn(&Standing) -> usize| {
            standings.iter().map(move |standing| ([("component", standing.role.clone())], value(standing) as u64))
        };
        show_gauges(encoder, "component_instances", "Instances of components that there are.", None, each(|standing| standing.instances))?;
        let help = "Instances of components that there may be.";
        show_gauges(encoder, "component_instances_max", help, None, each(|standing| standing.max_instances))?;

        let backlogs: Vec<(&str, Backlog)> = standings.iter().filter_map(backlog).collect();
        let each = |value: fn(&Backlog) -> u64| backlogs.iter().map(move |(hook, backlog)| ([("hook", *hook)], value(backlog)));
        let help = "Events that a hook has still to be told of.";
        show_gauges(encoder, "hook_backlog_events", help, None, each(|backlog| backlog.events as u64))?;
        let help = "Size of the events that a hook has still to be told of.";
        show_gauges(encoder, "hook_backlog", help, Some(&Unit::Bytes), each(|backlog| backlog.bytes))?;
        let ages = backlogs.iter().map(|(hook, backlog)| ([("hook", *hook)], age(backlog, now)));
        let help = "Age of the oldest event that a hook has still to be told of.";
        show_gauges(encoder, "hook_backlog_age", help, Some(&Unit::Seconds), ages)?;

        let help = "Events that were too many for a hook, which is not told of them.";
        let mut skipped = encoder.encode_descriptor("hook_skipped_events", help, None, MetricType::Counter)?;
        for (hook, backlog) in &backlogs {
            ConstCounter::new(backlog.skipped).encode(skipped.encode_family(&[("hook", *hook)])?)?;
        }
        let help = "Events that no hook is told of, because they could not be stored.";
        let lost: u64 = self.0.iter().map(|inventory| inventory.lost_events()).sum();
        ConstCounter::new(lost).encode(encoder.encode_descriptor("hook_lost_events", help, None, MetricType::Counter)?)
    }
}

fn backlog(standing: &Standing) -> Option<(&str, Backlog)> {
    match &standing.role {
        Role::Hook(name) => standing.backlog.map(|backlog| (&**name, backlog)),
        Role::Persistence => None,
    }
}

/// In seconds; none if nothing waits, or the clock was put back.
fn age(backlog: &Backlog, now: Timestamp) -> f64 {
    let millis = backlog.oldest_at.map_or(0, |oldest| now.as_millis().saturating_sub(oldest.as_millis()).max(0));
    // Years of milliseconds are exact in it.
    millis as f64 / 1000.0
}

impl Collector for Watched {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.show(Timestamp::now(), &mut encoder)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Watched").field(&self.standings()).finish()
    }
}
