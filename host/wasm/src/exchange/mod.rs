//! What all exchanges of components in a running host have in common, whatever the components are for: where a candidate comes from, what is done to it, why it may be
//! refused, and what is remembered.

mod history;
mod shelf;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::history::Occurrence;
pub(crate) use self::history::{History, Subject};
pub use self::shelf::Error as ShelfError;
pub(crate) use self::shelf::{Kept, Shelf};
pub(crate) use self::watch::{Change, watch};
pub use self::watch::{Watch, WatchError};
use crate::cache::Sha256Digest;
use crate::component::Source;

/// Which is in force when the host starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStart {
    /// What an operator did last.
    Last,
    /// What is configured.
    Configured,
}

/// How components are exchanged.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a start begins with.
    pub on_start: OnStart,
    /// Generations of the persistence adapter, and of each hook, that can be gone back to, the present one not counted.
    pub keep: usize,
    /// How long the calls of a generation that is retired may go on before nobody waits for them any more.
    pub drain_timeout: Duration,
    /// First calls of a function that have to fail until the generation is rolled back; 0 for never.
    pub rollback_after: u64,
    /// For so long after it was published a generation can be rolled back by itself.
    pub probation: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            on_start: OnStart::Last,
            keep: 5,
            // Longer than a call may take.
            drain_timeout: Duration::from_secs(30),
            rollback_after: 5,
            probation: Duration::from_secs(10 * 60),
        }
    }
}

/// A component that is to take over.
#[derive(Clone, Debug)]
pub enum Candidate {
    /// Its bytes.
    Bytes(Bytes),
    /// A file on the host's machine.
    File(PathBuf),
    /// One that ships with the host.
    Builtin(String),
    /// One that is remembered, by its SHA-256 in hexadecimal.
    Digest(String),
    /// The one that the configuration names, with what the configuration says of it.
    Configured,
}

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
    /// What the component is told at `open`; what the configuration says if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<BTreeMap<String, String>>,
    /// What it may use, as the configuration would write it, but in JSON; what the configuration says if absent. Secrets are references in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Value>,
}

impl Plan {
    /// What the configuration says, in all.
    pub fn configured() -> Self {
        Self { origin: Origin::Configured, config: None, grants: None }
    }
}

/// What is done to a candidate, in this order. Hooks have no store, and so fewer phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Its bytes are fetched.
    Read,
    /// It is compiled to machine code.
    Compile,
    /// It is given its configuration and grants, instantiated and opened.
    Open,
    /// It is asked whether its store answers.
    Health,
    /// It shows what it can in a session of its own.
    SmokeTest,
    /// It must have what the present adapter has.
    SameStore,
    /// Everything is copied to its store.
    Copy,
    /// The change is written down for the next start.
    Remember,
}

impl Phase {
    /// Its name, as in JSON and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Compile => "compile",
            Self::Open => "open",
            Self::Health => "health",
            Self::SmokeTest => "smoke-test",
            Self::SameStore => "same-store",
            Self::Copy => "copy",
            Self::Remember => "remember",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why a component was not exchanged. The present one goes on serving.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another exchange is under way.
    #[error("another component is being exchanged at the moment")]
    Busy,
    /// No earlier generation is known.
    #[error("there is no earlier generation to go back to")]
    NothingEarlier,
    /// The host is about to end.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// What was to be done cannot be written down, and was not done.
    #[error("the change cannot be kept: {0}")]
    NotKept(String),
    /// There is no hook of this name.
    #[error("there is no hook {0:?}")]
    UnknownHook(String),
    /// The candidate did not pass a phase.
    #[error("the new component was refused in the phase {phase}: {reason}")]
    Refused {
        /// In which phase.
        phase: Phase,
        /// Why.
        reason: String,
    },
}

pub(crate) fn refused<E: fmt::Display>(phase: Phase) -> impl Fn(E) -> Error + Clone {
    move |error| Error::Refused { phase, reason: error.to_string() }
}

/// Gets a candidate's bytes, and puts them where they are found again after a restart, whatever becomes of the file that they came from. `configured` is what the
/// configuration names.
pub(crate) async fn fetch(
    shelf: Shelf,
    candidate: Candidate,
    configured: Option<Source>,
    origin: Origin,
) -> Result<(Source, String), Error> {
    let fetch = move || {
        let read = |source: Source| source.read().map(std::borrow::Cow::into_owned).map_err(refused(Phase::Read));
        let bytes = match candidate {
            Candidate::Bytes(bytes) => bytes.to_vec(),
            Candidate::File(path) => read(Source::File(path))?,
            Candidate::Builtin(name) => read(Source::Builtin(name))?,
            Candidate::Digest(digest) => shelf.get(&digest).map_err(refused(Phase::Read))?,
            Candidate::Configured => {
                let nothing = || Error::Refused { phase: Phase::Read, reason: "the configuration names no such component".to_owned() };
                read(configured.ok_or_else(nothing)?)?
            }
        };
        let digest = Sha256Digest::of(&bytes);
        shelf.put(&digest, &bytes).map_err(refused(Phase::Read))?;
        let digest = digest.to_string();
        Ok((shelf.source(&origin, &digest), digest))
    };
    tokio::task::spawn_blocking(fetch).await.unwrap_or_else(|error| Err(refused(Phase::Read)(error)))
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
