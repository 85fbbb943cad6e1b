//! Ways to make the contract's errors.

use crate::{Error, Timestamp};

impl Error {
    /// [`Error::NotFound`] for a session.
    pub fn no_such_session(id: &str) -> Self {
        Self::NotFound(format!("there is no session {id:?}"))
    }

    /// [`Error::NotFound`] for a file.
    pub fn no_such_file(session: &str, path: &str) -> Self {
        Self::NotFound(format!("session {session:?} has no file {path:?}"))
    }

    /// [`Error::AlreadyExists`] for a session.
    pub fn session_exists(id: &str) -> Self {
        Self::AlreadyExists(format!("there is already a session {id:?}"))
    }

    /// [`Error::Invalid`]: the argument can never succeed.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// [`Error::Unavailable`]: the same call is worth another try.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::Unavailable(text.into())
    }

    /// [`Error::Corrupt`]: what is stored cannot be read.
    pub fn corrupt(text: impl Into<String>) -> Self {
        Self::Corrupt(text.into())
    }

    /// [`Error::Other`].
    pub fn other(text: impl Into<String>) -> Self {
        Self::Other(text.into())
    }

    /// Puts what was being done before the text of an error that says only why it failed.
    pub(crate) fn while_trying(mut self, to: impl FnOnce() -> String) -> Self {
        if let Self::Invalid(text) | Self::Unavailable(text) | Self::Corrupt(text) | Self::Other(text) = &mut self {
            *text = format!("failed to {}: {text}", to());
        }
        self
    }
}

/// Numbers stay below 2^53, so that every language can hold them.
const NUMBER_LIMIT: u64 = 1 << 53;

/// Refuses a number that some component could not hold.
pub(crate) fn check_number(what: &str, number: u64) -> Result<(), Error> {
    if number < NUMBER_LIMIT {
        return Ok(());
    }
    Err(Error::invalid(format!("the {what} {number} is not below 2^53")))
}

/// Refuses times that some component could not hold.
pub(crate) fn check_times(times: impl IntoIterator<Item = Timestamp>) -> Result<(), Error> {
    times.into_iter().try_for_each(|time| check_number("time", time))
}
