//! What happened to the components since the host started: what an operator looks at after something went wrong.

use std::collections::VecDeque;

use agent_host_session::time::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

/// Events that are remembered: some weeks of an operator's work.
const MAX_OCCURRENCES: usize = 100;

/// Something that happened to a component.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Occurrence {
    /// When.
    pub at: Timestamp,
    /// `swapped`, `refused` or `rolled-back`; for a hook also `removed`, `enabled` or `disabled`.
    pub event: &'static str,
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The component that something happened to.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// The hook's name in this host; absent for the persistence adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// The generation; 0 for one that never served.
    pub generation: u64,
    /// What the component calls itself; empty if that is not known.
    pub name: String,
    /// Its version; empty if that is not known.
    pub version: String,
}

/// The last occurrences.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<VecDeque<Occurrence>>);

impl History {
    pub(crate) fn note(&self, event: &'static str, subject: Subject, detail: Option<String>) {
        let mut occurrences = self.occurrences();
        if occurrences.len() == MAX_OCCURRENCES {
            occurrences.pop_front();
        }
        occurrences.push_back(Occurrence { at: Timestamp::now(), event, subject, detail });
    }

    /// All that are remembered, the latest last.
    pub(crate) fn list(&self) -> Vec<Occurrence> {
        self.occurrences().iter().cloned().collect()
    }

    fn occurrences(&self) -> MutexGuard<'_, VecDeque<Occurrence>> {
        // A panic elsewhere cannot have left the list half-changed.
        self.0.lock()
    }
}
