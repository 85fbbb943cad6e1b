//! What is counted of a component while it serves: by function, so that one that never works is noticed among others that do.

use std::collections::BTreeMap;

use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

use crate::bindings::agent_host::types::types as wit;
use crate::call::Error;

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// The component trapped.
    Trap,
    /// It took too long.
    Timeout,
    /// No instance was free in time.
    NoInstance,
    /// An instance could not be made or opened.
    CannotStart,
    /// The component answered that it cannot do its work: `unavailable`, `corrupt` or `other`.
    Answer,
    /// The host failed or is about to end.
    Host,
}

impl Failure {
    /// Its name, as in JSON and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::NoInstance => "no-instance",
            Self::CannotStart => "cannot-start",
            Self::Answer => "answer",
            Self::Host => "host",
        }
    }

    /// `None` for what the contract foresees, such as `not-found`: the component did its work.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        Some(match error {
            Error::Guest { error: wit::Error::Unavailable(_) | wit::Error::Corrupt(_) | wit::Error::Other(_), .. } => Self::Answer,
            Error::Guest { .. } => return None,
            Error::Trap { .. } => Self::Trap,
            Error::TimedOut { .. } => Self::Timeout,
            Error::NoInstance { .. } => Self::NoInstance,
            Error::CannotStart { .. } => Self::CannotStart,
            Error::ShutDown { .. } | Error::Host { .. } => Self::Host,
        })
    }
}

/// Calls so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Calls that have ended.
    pub calls: u64,
    /// Those of them that failed, by kind.
    pub failures: BTreeMap<Failure, u64>,
}

/// Counts of one generation of a component.
#[derive(Debug, Default)]
pub(crate) struct Stats(Mutex<BTreeMap<&'static str, Function>>);

#[derive(Debug, Default)]
struct Function {
    counts: Counts,
    has_succeeded: bool,
}

impl Stats {
    /// A call has ended.
    pub(crate) fn record(&self, operation: &'static str, error: Option<&Error>) {
        let mut functions = self.functions();
        let function = functions.entry(operation).or_default();
        function.counts.calls += 1;
        match error.and_then(Failure::of) {
            Some(failure) => *function.counts.failures.entry(failure).or_default() += 1,
            None => function.has_succeeded = true,
        }
    }

    /// Counts from nothing: what came before was a trial.
    pub(crate) fn reset(&self) {
        self.functions().clear();
    }

    /// A function that has failed at least `calls` times, and never done anything else.
    pub(crate) fn hopeless(&self, calls: u64) -> Option<&'static str> {
        let functions = self.functions();
        functions.iter().find(|(_, function)| !function.has_succeeded && function.counts.calls >= calls).map(|(operation, _)| *operation)
    }

    /// All functions together.
    pub(crate) fn total(&self) -> Counts {
        let mut total = Counts::default();
        for function in self.functions().values() {
            total.calls += function.counts.calls;
            for (failure, count) in &function.counts.failures {
                *total.failures.entry(*failure).or_default() += count;
            }
        }
        total
    }

    fn functions(&self) -> MutexGuard<'_, BTreeMap<&'static str, Function>> {
        // A panic elsewhere cannot have left a number half-changed.
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap() -> Error {
        Error::Trap { component: "c".into(), operation: "append", reason: "unreachable".into() }
    }

    fn answer(error: wit::Error) -> Error {
        Error::Guest { component: "c".into(), operation: "append", error }
    }

    #[test]
    fn a_function_is_hopeless_when_nothing_of_it_ever_worked() {
        let stats = Stats::default();
        for _ in 0..3 {
            stats.record("read", None);
            stats.record("append", Some(&trap()));
        }
        assert_eq!(stats.hopeless(4), None);
        assert_eq!(stats.hopeless(3), Some("append"), "others that work do not hide it");
        stats.record("append", None);
        assert_eq!(stats.hopeless(3), None);
    }

    #[test]
    fn what_the_contract_foresees_is_no_failure() {
        let stats = Stats::default();
        stats.record("append", Some(&answer(wit::Error::OffsetMismatch(3))));
        stats.record("append", Some(&answer(wit::Error::Other("disk".into()))));
        stats.record("append", Some(&trap()));
        let total = stats.total();
        assert_eq!(total.calls, 3);
        assert_eq!(total.failures, BTreeMap::from([(Failure::Trap, 1), (Failure::Answer, 1)]));
    }
}
