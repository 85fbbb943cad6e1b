//! What a component was refused: counted for whoever asks, and told to the operator without filling the log.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter as Metric;

/// How often a kind of refusal is logged: an operator who looks sees it, and a component that goes on trying fills no disk.
const QUIET: Duration = Duration::from_secs(60);

/// Longest target that is logged, in characters: a DNS name has at most 253.
const MAX_TARGET_CHARS: usize = 300;

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Denial {
    /// An address to connect to, to listen at, or to send datagrams to.
    Address,
    /// A name to look up.
    Name,
    /// A URL to fetch.
    Url,
    /// A database to open.
    Database,
}

impl Denial {
    /// All that there are.
    pub const ALL: [Self; 4] = [Self::Address, Self::Name, Self::Url, Self::Database];

    /// Its name, as it is in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Name => "name",
            Self::Url => "url",
            Self::Database => "database",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How often a component was refused something. All its instances count here.
///
/// Files are not among it: what leads out of a granted directory is refused by the operating system or within WASI, which tell only the component.
#[derive(Debug)]
pub struct Denials {
    component: Arc<str>,
    counted: Mutex<[Counter; Denial::ALL.len()]>,
}

/// The refusals of one kind.
#[derive(Debug)]
struct Counter {
    total: u64,
    /// The same, of all components that have had this role.
    metric: Metric,
    /// Since the last line in the log.
    untold: u64,
    told: Option<Instant>,
}

impl Denials {
    /// `metric` gives the metric in which a kind is counted, too.
    pub(crate) fn new(component: Arc<str>, metric: impl Fn(Denial) -> Metric) -> Self {
        let counter = |denial| Counter { total: 0, metric: metric(denial), untold: 0, told: None };
        Self { component, counted: Mutex::new(Denial::ALL.map(counter)) }
    }

    /// How often this was refused since the component was started.
    pub fn count(&self, denial: Denial) -> u64 {
        let counted = self.counted.lock();
        counted.get(denial as usize).map_or(0, |counter| counter.total)
    }

    /// Counts a refusal, and logs it unless one of its kind was logged a short while ago.
    pub(crate) fn record(&self, denial: Denial, target: &str) {
        if let Some(times) = self.record_at(denial, Instant::now()) {
            let target: String = target.chars().flat_map(char::escape_default).take(MAX_TARGET_CHARS).collect();
            tracing::warn!(component = &*self.component, %denial, target, times, "a component was refused what it was not granted");
        }
    }

    /// How often the kind was refused since it was last told, if it is to be told now.
    fn record_at(&self, denial: Denial, now: Instant) -> Option<u64> {
        let mut counted = self.counted.lock();
        let counter = counted.get_mut(denial as usize)?;
        counter.total += 1;
        counter.metric.inc();
        counter.untold += 1;
        if counter.told.is_some_and(|told| now.duration_since(told) < QUIET) {
            return None;
        }
        counter.told = Some(now);
        Some(std::mem::take(&mut counter.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_counted_and_one_a_minute_of_each_kind_is_told() {
        let denials = Denials::new("test".into(), |_| Metric::default());
        let began = Instant::now();
        assert_eq!(denials.record_at(Denial::Address, began), Some(1), "the first at once");
        for second in 0..59 {
            assert_eq!(denials.record_at(Denial::Address, began + Duration::from_secs(second)), None);
        }
        assert_eq!(denials.record_at(Denial::Url, began), Some(1), "another kind is another line");
        assert_eq!(denials.record_at(Denial::Address, began + QUIET), Some(60), "with those that were not told");
        assert_eq!(denials.count(Denial::Address), 61);
        assert_eq!(denials.count(Denial::Url), 1);
        assert_eq!(denials.count(Denial::Database), 0);
    }
}
