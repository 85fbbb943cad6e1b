//! Ways to make the contract's errors.

use crate::Error;

impl Error {
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
