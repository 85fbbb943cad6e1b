//! A generation: one adapter with one configuration, from when it was made ready until it is retired.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use agent_host_session::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::persistence::Persistence;

/// Where a generation's component came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The configuration names it.
    Configured,
    /// It ships with the host.
    Builtin(String),
    /// A file.
    File(PathBuf),
    /// It came through the admin API.
    Upload,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => formatter.write_str("the configured component"),
            Self::Builtin(name) => write!(formatter, "the built-in component {name}"),
            Self::File(path) => path.display().fmt(formatter),
            Self::Upload => formatter.write_str("an upload"),
        }
    }
}

/// What a generation is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Where the component came from.
    pub origin: Origin,
    /// What the adapter is told at `open`; what the configuration says if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<BTreeMap<String, String>>,
    /// What it may use, as the configuration would write it, but in JSON; what the configuration says if absent. Secrets are references in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Value>,
}

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
