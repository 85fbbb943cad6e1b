//! What is done to a candidate, and why it may be refused.

use std::fmt;

use serde::Serialize;

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
