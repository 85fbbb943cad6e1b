//! A generation: one adapter with one configuration, from when it was made ready until it is retired.

use std::fmt;

use agent_host_session::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::exchange::{Kept, Plan, Subject};
use crate::persistence::Persistence;

/// A generation as it is remembered, on disk and in lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Counts up with each generation that is published, over restarts.
    pub generation: u64,
    /// The SHA-256 of the component's bytes, in hexadecimal.
    pub digest: String,
    /// What it was made from.
    #[serde(flatten)]
    pub plan: Plan,
    /// The adapter's own name.
    pub name: String,
    /// The adapter's own version.
    pub version: String,
    /// When it began to serve.
    pub since: Timestamp,
    /// Whether the one before it keeps its data elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub migrated: bool,
}

impl fmt::Display for Record {
    /// `sql 0.1.0 (generation 3)`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} (generation {})", self.name, self.version, self.generation)
    }
}

impl Record {
    pub(super) fn subject(&self) -> Subject {
        Subject { hook: None, generation: self.generation, name: self.name.clone(), version: self.version.clone() }
    }
}

/// Generations, and which one serves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct State {
    /// The number of the newest generation.
    pub(super) newest: u64,
    /// Generations that served, the one that does last. The ones before it can be gone back to.
    pub(super) persistence: Vec<Record>,
}

impl Kept for State {
    fn needs(&self, digest: &str) -> bool {
        self.persistence.iter().any(|record| record.digest == digest)
    }
}

/// An adapter that is ready to serve, serves, or did.
pub(super) struct Generation {
    pub(super) record: Record,
    pub(super) persistence: Persistence,
}

impl fmt::Debug for Generation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Generation").field("record", &self.record).finish_non_exhaustive()
    }
}
