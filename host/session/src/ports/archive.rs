//! The port to what keeps the events that have left the logs of loaded sessions, for clients that come back late.
//!
//! A session's log gives each event away when it has no more room for it, and reads it again only for those that ask for it. What is kept is of use only as long as its
//! session is loaded: the numbers of a session that was loaded anew are others.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::id::{Sequence, SessionId};
use crate::log::Published;

/// Keeps what leaves the logs of all loaded sessions. Its troubles are its own to report: what it cannot keep can only not be read again.
pub trait Archive: Send + Sync + 'static {
    /// A volume for a session that is being loaded; `None` if nothing is kept.
    fn open(&self, session: &SessionId) -> Option<Arc<dyn Volume>>;
}

/// What has left one session's log. It is thrown away when the session has left memory and nobody reads it any more, by dropping it.
#[async_trait]
pub trait Volume: fmt::Debug + Send + Sync + 'static {
    /// Takes the event that comes after the one before. Never waits for anything: it is called in the midst of publishing. `weight` is about how many bytes of memory the event holds.
    fn put(&self, event: Arc<Published>, weight: usize);

    /// The number of the oldest event from which on it has all that it was given; `None` if that is nothing.
    fn oldest(&self) -> Option<Sequence>;

    /// Some of what comes after that number: one event at least, in order, without gaps. Can be dropped at any time.
    ///
    /// # Errors
    /// If it does not have what comes next, any more or ever.
    async fn read(&self, after: Sequence) -> Result<Vec<Arc<Published>>, Gone>;
}

/// What was asked for is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the events are not kept any more")]
pub struct Gone;

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoArchive;

impl Archive for NoArchive {
    fn open(&self, _: &SessionId) -> Option<Arc<dyn Volume>> {
        None
    }
}
