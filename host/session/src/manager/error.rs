//! Why the manager could not do what it was asked to do.

use std::time::Duration;

use crate::id::{MessageId, ProfileId, SessionId};
use crate::path::RelativePath;
use crate::ports::store;

/// Why the manager could not do what it was asked to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no such session.
    #[error("there is no session {0:?}")]
    SessionNotFound(SessionId),
    /// There is no such agent profile.
    #[error("there is no agent profile {0:?}")]
    ProfileNotFound(ProfileId),
    /// The session has no such workspace file, or its contents are not kept.
    #[error("there is no stored workspace file {0:?}")]
    FileNotFound(RelativePath),
    /// No agent of that name can be run.
    #[error("there is no architecture {name:?}; there are {known}")]
    UnknownArchitecture {
        /// What was asked for.
        name: String,
        /// What there is, for people.
        known: String,
    },
    /// The request can never succeed.
    #[error("{0}")]
    Invalid(String),
    /// The request is larger than the host takes.
    #[error("{what} has {size} bytes; at most {limit} are allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The session's id is taken by a session of other content.
    #[error("the session {0:?} exists already, with another profile, architecture, name or options")]
    SessionConflict(SessionId),
    /// The message's id is taken by a message of other content.
    #[error("the message {0:?} exists already, with another content")]
    MessageConflict(MessageId),
    /// A hook decided against it.
    #[error("the hook {hook:?} denied it: {reason}")]
    Denied {
        /// Which one.
        hook: String,
        /// Why.
        reason: String,
    },
    /// Another host has the session.
    #[error("the host at {address} has the session {id:?}; ask that one")]
    Owned {
        /// The session.
        id: SessionId,
        /// Where that host is reached, a URL.
        address: String,
        /// When its lease ends, unless it prolongs it.
        expires_in: Duration,
    },
    /// The session's agent runs outside of the host, which only keeps its transcripts.
    #[error(
        "the agent of session {0:?} runs outside of this host, which keeps its transcripts; the host can adopt the session, and then runs it"
    )]
    RunsOutside(SessionId),
    /// The host has adopted the session, and nobody else writes to it.
    #[error("the host has adopted session {0:?}: its transcripts are read-only for whoever kept them before")]
    Adopted(SessionId),
    /// The session has no such transcript.
    #[error("session {0:?} has no such transcript")]
    TranscriptNotFound(SessionId),
    /// An append that does not continue the transcript, or a read behind its end.
    #[error("the transcript has {0} bytes: it ends before the offset, or has other bytes there")]
    OffsetMismatch(u64),
    /// Too many messages wait for their turn.
    #[error("{0} messages wait for their turn already; try again when one has ended")]
    QueueFull(usize),
    /// Too many sessions are in memory.
    #[error("{0} sessions are loaded already; try again later")]
    TooManySessions(usize),
    /// The session is being unloaded, and takes longer than the request waits.
    #[error("the session {0:?} is busy; try again later")]
    Busy(SessionId),
    /// The host is about to end.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}
