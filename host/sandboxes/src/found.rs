//! A sandbox as an operator sees it.

use std::time::Duration;

/// A sandbox that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The provider's id of it.
    pub id: String,
    /// Whose it is: the id of a host's data directory.
    pub host: String,
    /// Which process of the host has made it or taken it up.
    pub process: Option<String>,
    /// For which session it is, if for any.
    pub session: Option<String>,
    /// Under which epoch the session got it.
    pub epoch: Option<u64>,
    /// How long it has been there.
    pub age: Duration,
}
