//! Why a call into a component failed.

use std::time::Duration;

use crate::bindings::agent_host::types::types as wit;

/// Why a call into a component failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The component answered with an error of the contract. Nothing is wrong with the instance.
    #[error("the component {component} answered {operation} with an error: {error:?}")]
    Guest {
        /// Which component.
        component: String,
        /// Which function.
        operation: &'static str,
        /// The answer.
        error: wit::Error,
    },
    /// The component did what it may not do, or gave up by itself. The instance is gone.
    #[error("the component {component} failed in {operation}: {reason}")]
    Trap {
        /// Which component.
        component: String,
        /// Which function.
        operation: &'static str,
        /// Why.
        reason: String,
    },
    /// The call took too long. The instance is gone.
    #[error("the component {component} did not finish {operation} within {limit:?} of {kind}")]
    TimedOut {
        /// Which component.
        component: String,
        /// Which function.
        operation: &'static str,
        /// How long it had.
        limit: Duration,
        /// Of what.
        kind: Time,
    },
    /// All instances were busy for too long.
    #[error("no instance of the component {component} was free for {operation} within {waited:?}")]
    NoInstance {
        /// Which component.
        component: String,
        /// Which function.
        operation: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// A new instance could not be made or opened.
    #[error("failed to start an instance of the component {component}: {reason}")]
    CannotStart {
        /// Which component.
        component: String,
        /// Why.
        reason: String,
    },
    /// The pool was shut down.
    #[error("the component {component} has been shut down")]
    ShutDown {
        /// Which component.
        component: String,
    },
    /// The host itself failed.
    #[error("the host failed while it called {operation} of the component {component}: {reason}")]
    Host {
        /// Which component.
        component: String,
        /// Which function.
        operation: &'static str,
        /// Why.
        reason: String,
    },
}

/// What a call has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Time that it computes.
    Computing,
    /// Time by the clock.
    Clock,
}

impl std::fmt::Display for Time {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Computing => "computing",
            Self::Clock => "time",
        })
    }
}
