//! The port to the persistence adapter. `wit/0.1/persistence` says what each operation must keep; this is the same contract in Rust.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::{Epoch, ProfileId, SessionId};
use crate::path::RelativePath;
use crate::profile::{Profile, ProfileSummary};
use crate::record::{FileInfo, Page, RecordChanges, SessionRecord, Snapshot, StreamName};

/// The most bytes that one read of a stream or file may ask for.
pub const MAX_READ_BYTES: u32 = 1024 * 1024;

/// Why a store could not do what it was asked to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The session, profile or file does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// The id is taken.
    #[error("already exists: {0}")]
    AlreadyExists(String),
    /// Another host has taken the session over.
    #[error("the write's epoch is older than {0}, which the store has")]
    StaleEpoch(Epoch),
    /// The stream is not as long as the writer thought, or has other bytes there.
    #[error("the stream does not continue at this offset; it has {0} bytes")]
    OffsetMismatch(u64),
    /// The argument can never succeed.
    #[error("invalid: {0}")]
    Invalid(String),
    /// Worth another try: the store did not answer, or not in time. Whether a write took effect is unknown.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored cannot be read.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// A host that takes sessions of a store which it shares with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Tells it from all others, for as long as it keeps its data.
    pub id: String,
    /// Where clients and other hosts reach it, a URL.
    pub address: String,
}

/// Who may write a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who.
    pub owner: Owner,
    /// For how long, by the store's clock; zero if it has ended.
    pub expires_in: Duration,
}

/// The most sessions that one renewal of leases may name.
pub const MAX_RENEW_SESSIONS: usize = 500;

fn no_leases<T>() -> Result<T, Error> {
    Err(Error::Other("the persistence component keeps no leases".to_owned()))
}

/// Where sessions, streams, files and profiles are kept.
///
/// What is written under [`Epoch::FIRST`] after the creation comes from nobody in particular, as long as no host has taken the session: whoever appends to a stream is told by the offset
/// whether somebody else was faster.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Whether the store answers.
    async fn health(&self) -> Result<(), Error>;

    /// Why not everything works, although it does for the sessions that are loaded; for operators.
    fn degradation(&self) -> Option<String> {
        None
    }

    /// Whether writes of this session are kept somewhere else, durably, because the store could not take them.
    fn is_behind(&self, _session: &SessionId) -> bool {
        false
    }

    /// This host writes nothing more to the session, until it has loaded it anew.
    fn release(&self, _session: &SessionId) {}

    /// Adds a session.
    async fn create_session(&self, epoch: Epoch, record: &SessionRecord) -> Result<(), Error>;

    /// Everything about a session but the contents of its streams and files; `None` if there is no such session.
    async fn load_session(&self, id: &SessionId) -> Result<Option<Snapshot>, Error>;

    /// Changes a session's row.
    async fn update_session(&self, epoch: Epoch, id: &SessionId, changes: &RecordChanges) -> Result<(), Error>;

    /// Removes a session with its streams and files.
    async fn delete_session(&self, epoch: Epoch, id: &SessionId) -> Result<(), Error>;

    /// Sessions, newest first. `limit` is 1 to 1000.
    async fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page, Error>;

    /// Appends at `offset` and gives the new length; bytes that the stream already has there are a success.
    async fn append(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, offset: u64, data: Bytes) -> Result<u64, Error>;

    /// Bytes from `offset`, at most `max` (up to [`MAX_READ_BYTES`]).
    async fn read(&self, session: &SessionId, stream: &StreamName, offset: u64, max: u32) -> Result<Bytes, Error>;

    /// Puts `data` in the place of all that the stream had, and gives the new length.
    async fn replace(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, data: Bytes) -> Result<u64, Error>;

    /// Adds or replaces a file. `file.sha256` must be there.
    async fn save_file(&self, epoch: Epoch, session: &SessionId, file: &FileInfo, content: Bytes) -> Result<(), Error>;

    /// Bytes of a file from `offset`, at most `max` (up to [`MAX_READ_BYTES`]).
    async fn read_file(&self, session: &SessionId, path: &RelativePath, offset: u64, max: u32) -> Result<Bytes, Error>;

    /// Removes a file; one that does not exist is a success.
    async fn delete_file(&self, epoch: Epoch, session: &SessionId, path: &RelativePath) -> Result<(), Error>;

    /// Takes a session for so long, unless another host's lease is in force. Gives the lease that is in force then.
    async fn acquire_lease(&self, _session: &SessionId, _owner: &Owner, _ttl: Duration) -> Result<Lease, Error> {
        no_leases()
    }

    /// Prolongs an owner's leases, [`MAX_RENEW_SESSIONS`] at most, and gives the sessions on which it has none any more.
    async fn renew_leases(&self, _owner: &str, _ttl: Duration, _sessions: &[SessionId]) -> Result<Vec<SessionId>, Error> {
        no_leases()
    }

    /// Ends an owner's lease. One that it does not have is a success.
    async fn release_lease(&self, _session: &SessionId, _owner: &str) -> Result<(), Error> {
        no_leases()
    }

    /// The last lease on a session, ended or not; `None` if there was none, or it was released.
    async fn lease(&self, _session: &SessionId) -> Result<Option<Lease>, Error> {
        no_leases()
    }

    /// All profiles, sorted by id.
    async fn list_profiles(&self) -> Result<Vec<ProfileSummary>, Error>;

    /// A profile; `None` if there is no such profile.
    async fn load_profile(&self, id: &ProfileId) -> Result<Option<Profile>, Error>;

    /// Adds or replaces a profile.
    async fn save_profile(&self, profile: &Profile) -> Result<(), Error>;

    /// Removes a profile; one that does not exist is a success.
    async fn delete_profile(&self, id: &ProfileId) -> Result<(), Error>;
}

/// Reads a stream from `offset` to its end.
///
/// # Errors
/// Those of the store.
pub async fn read_stream(store: &dyn Store, session: &SessionId, stream: &StreamName, mut offset: u64) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    loop {
        let piece = store.read(session, stream, offset, MAX_READ_BYTES).await?;
        if piece.is_empty() {
            return Ok(content);
        }
        offset += piece.len() as u64;
        content.extend_from_slice(&piece);
    }
}

/// Reads a whole file.
///
/// # Errors
/// Those of the store.
pub async fn read_file(store: &dyn Store, session: &SessionId, path: &RelativePath) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    loop {
        let piece = store.read_file(session, path, content.len() as u64, MAX_READ_BYTES).await?;
        if piece.is_empty() {
            return Ok(content);
        }
        content.extend_from_slice(&piece);
    }
}
