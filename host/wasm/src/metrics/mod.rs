//! What is counted of components for whoever operates the host: calls, exchanges; and what there is of them at the moment when it is asked.
//!
//! The numbers are those of one engine, from its start, and go on when a component is exchanged. A component is known by its [role](Role), of which there are as many as the
//! operator has configured.

mod call;
mod inventory;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use self::call::CallWatch;
use self::inventory::Watched;
pub use self::inventory::{Inventory, Standing};
use crate::engine::Engine;
use crate::grants::Denial;

/// What a component is to the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It stores sessions.
    Persistence,
    /// It is the event hook of this name.
    Hook(Arc<str>),
}

impl fmt::Display for Role {
    /// `persistence` or `hook:NAME`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Persistence => formatter.write_str("persistence"),
            Self::Hook(name) => write!(formatter, "hook:{name}"),
        }
    }
}

impl EncodeLabelValue for Role {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        fmt::Write::write_fmt(encoder, format_args!("{self}"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ComponentLabels {
    component: Role,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    component: Role,
    function: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    component: Role,
    function: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SwapLabels {
    component: Role,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    component: Role,
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DenialLabels {
    component: Role,
    kind: &'static str,
}

type Histograms<Labels> = Family<Labels, Histogram, fn() -> Histogram>;

/// What is counted of the components of one engine.
#[derive(Debug)]
pub(crate) struct Metrics {
    calls: Histograms<CallLabels>,
    failures: Family<FailureLabels, Counter>,
    retired: Family<ComponentLabels, Counter>,
    denials: Family<DenialLabels, Counter>,
    swaps: Family<SwapLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    swap_duration: Histograms<ComponentLabels>,
    drain: Histograms<ComponentLabels>,
}

/// In seconds: a call that asks no database takes a tenth of a millisecond, and none may take much longer than ten seconds.
fn call_buckets() -> Histogram {
    Histogram::new([0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

/// In seconds: a component that was compiled before is tried in hundredths, and copying a store takes minutes or hours.
fn swap_buckets() -> Histogram {
    Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0])
}

/// In seconds: as long as a call may take, and not longer than `components.drain_timeout`.
fn drain_buckets() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            calls: Family::new_with_constructor(call_buckets),
            failures: Family::default(),
            retired: Family::default(),
            denials: Family::default(),
            swaps: Family::default(),
            refusals: Family::default(),
            swap_duration: Family::new_with_constructor(swap_buckets),
            drain: Family::new_with_constructor(drain_buckets),
        }
    }
}

/// Shows in a registry what is counted of the components of an engine, and what those who know say of them when it is asked.
pub fn register(engine: &Engine, inventories: Vec<Arc<dyn Inventory>>, registry: &mut Registry) {
    let metrics = engine.metrics();
    registry.register_with_unit(
        "component_call_duration",
        "Calls into components, with the wait for an instance",
        Unit::Seconds,
        metrics.calls.clone(),
    );
    registry.register(
        "component_call_failures",
        "Calls into components that failed, by kind; an answer that the contract foresees, such as not-found, is no failure",
        metrics.failures.clone(),
    );
    registry.register(
        "component_instances_retired",
        "Instances that were replaced because of the memory that their calls had taken",
        metrics.retired.clone(),
    );
    registry.register(
        "component_denials",
        "What components were refused because it was not granted, by kind; refused files are told to the component only",
        metrics.denials.clone(),
    );
    registry.register("component_swaps", "Components that were to take the place of another, by what came of it", metrics.swaps.clone());
    registry.register(
        "component_swap_refusals",
        "Components that were refused, by the phase that they failed in",
        metrics.refusals.clone(),
    );
    registry.register_with_unit(
        "component_swap_duration",
        "From the request to exchange a component until the new one serves",
        Unit::Seconds,
        metrics.swap_duration.clone(),
    );
    registry.register_with_unit(
        "component_drain_duration",
        "How long the last calls of a component that was replaced went on",
        Unit::Seconds,
        metrics.drain.clone(),
    );
    registry.register_collector(Box::new(Watched(inventories)));
}

impl Metrics {
    /// A call begins.
    pub(crate) fn call(self: &Arc<Self>, component: &Role, function: &'static str) -> CallWatch {
        CallWatch::new(Arc::clone(self), component.clone(), function)
    }

    /// An instance had taken too much memory to serve on.
    pub(crate) fn retired(&self, component: &Role) {
        self.retired.get_or_create_owned(&ComponentLabels { component: component.clone() }).inc();
    }

    /// Where it is counted what a component is refused.
    pub(crate) fn denials(&self, component: &Role, denial: Denial) -> Counter {
        let labels = DenialLabels { component: component.clone(), kind: denial.as_str() };
        self.denials.get_or_create_owned(&labels)
    }

    /// Another component serves.
    pub(crate) fn swapped(&self, component: Role, took: Duration) {
        self.swap_ended(component.clone(), "swapped");
        self.swap_duration.get_or_create_owned(&ComponentLabels { component }).observe(took.as_secs_f64());
    }

    /// One was refused.
    pub(crate) fn refused(&self, component: Role, phase: &'static str) {
        self.swap_ended(component.clone(), "refused");
        self.refusals.get_or_create_owned(&RefusalLabels { component, phase }).inc();
    }

    /// One that served did not work.
    pub(crate) fn rolled_back(&self, component: Role) {
        self.swap_ended(component, "rolled-back");
    }

    /// The last calls of one that was replaced have ended, or were given up.
    pub(crate) fn drained(&self, component: Role, took: Duration) {
        self.drain.get_or_create_owned(&ComponentLabels { component }).observe(took.as_secs_f64());
    }

    fn swap_ended(&self, component: Role, outcome: &'static str) {
        self.swaps.get_or_create_owned(&SwapLabels { component, outcome }).inc();
    }
}

#[cfg(test)]
mod tests;
