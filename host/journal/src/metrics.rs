//! What is counted of the journal.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::disk::Disk;

/// What is counted from the start of the host.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    kept: Counter,
    kept_bytes: Counter,
    given_back: Counter,
    refused: Counter,
    lost: Counter,
}

impl Metrics {
    pub(crate) fn kept(&self, bytes: u64) {
        self.kept.inc();
        self.kept_bytes.inc_by(bytes);
    }

    pub(crate) fn given_back(&self) {
        self.given_back.inc();
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    /// Writes that the store will never take.
    pub(crate) fn lost(&self, records: usize) {
        self.lost.inc_by(records as u64);
    }
}

/// Shows the journal in a registry.
pub(crate) fn register(disk: &Arc<Disk>, registry: &mut Registry) {
    let Metrics { kept, kept_bytes, given_back, refused, lost } = &disk.metrics;
    registry.register("journal_writes", "Writes that the store could not take and the journal has kept", kept.clone());
    registry.register_with_unit("journal_written", "Bytes of them, in the journal's files", Unit::Bytes, kept_bytes.clone());
    registry.register("journal_replayed", "Writes that the journal has given to the store", given_back.clone());
    registry.register("journal_refused", "Writes that the journal could not take because it is full or its disk is", refused.clone());
    registry.register("journal_set_aside", "Writes in the journal that the store will never take", lost.clone());
    registry.register_collector(Box::new(Level(Arc::downgrade(disk))));
}

/// What the journal holds now.
struct Level(Weak<Disk>);

impl fmt::Debug for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Level")
    }
}

impl Collector for Level {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(disk) = self.0.upgrade() else { return Ok(()) };
        let lanes = disk.lanes();
        let records: usize = lanes.iter().map(|lane| lane.records()).sum();
        let mut gauge = |name, help, unit: Option<&Unit>, value: usize| {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        gauge("journal_sessions", "Sessions whose writes wait in the journal", None, lanes.len())?;
        gauge("journal_waiting", "Writes that wait in the journal", None, records)?;
        gauge("journal_size", "Bytes of the journal's files", Some(&Unit::Bytes), usize::try_from(disk.bytes()).unwrap_or(usize::MAX))
    }
}
