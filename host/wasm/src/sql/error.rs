//! Why a statement failed.

use crate::bindings::agent_host::sql::sql as wit;

/// Why a statement failed. The kinds are those of `agent-host:sql`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A constraint was violated.
    #[error("{0}")]
    Constraint(String),
    /// Another transaction is in the way, beyond the time that the host waits.
    #[error("{0}")]
    Busy(String),
    /// The statement is not valid, or its parameters do not fit it.
    #[error("{0}")]
    Syntax(String),
    /// The database cannot be reached or written now.
    #[error("{0}")]
    Unavailable(String),
    /// A component may not do this.
    #[error("{0}")]
    Denied(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Constraint(text) => Self::Constraint(text),
            Error::Busy(text) => Self::Busy(text),
            Error::Syntax(text) => Self::Syntax(text),
            Error::Unavailable(text) => Self::Unavailable(text),
            Error::Denied(text) => Self::Denied(text),
            Error::Other(text) => Self::Other(text),
        }
    }
}
