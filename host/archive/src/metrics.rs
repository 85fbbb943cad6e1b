//! What is counted of the archive.

use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// A chunk could not be written.
    Write,
    /// A chunk could not be read, or was damaged.
    Read,
    /// Events were forgotten before they were written, because too many waited, or there is never room for them.
    Overflow,
}

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Events that were written.
    pub(crate) events: Counter,
    /// Bytes of all files.
    pub(crate) bytes: Gauge,
    failures: Family<[(&'static str, &'static str); 1], Counter>,
    /// Whether the log says already that the disk takes nothing, or too little.
    is_failing: AtomicBool,
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("log_archive_events", "Events that have left sessions' memory and were written to disk", self.events.clone());
        let help = "Size of the files with events that have left sessions' memory";
        registry.register_with_unit("log_archive", help, Unit::Bytes, self.bytes.clone());
        let help =
            "Times that events which have left sessions' memory could not be written, not be read, or not wait any longer to be written";
        registry.register("log_archive_failures", help, self.failures.clone());
    }

    pub(crate) fn failed(&self, failure: Failure) {
        let what = match failure {
            Failure::Write => "write",
            Failure::Read => "read",
            Failure::Overflow => "overflow",
        };
        self.failures.get_or_create_owned(&[("failure", what)]).inc();
    }

    /// Whether this is the first failure since it last went well.
    pub(crate) fn begins_to_fail(&self) -> bool {
        !self.is_failing.swap(true, Ordering::Relaxed)
    }

    /// Whether this is the first success since it last went wrong.
    pub(crate) fn is_well_again(&self) -> bool {
        self.is_failing.swap(false, Ordering::Relaxed)
    }
}
