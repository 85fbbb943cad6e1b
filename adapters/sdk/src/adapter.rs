//! The trait that an adapter implements.

use crate::{AdapterInfo, Config, Epoch, FileInfo, Lease, Owner, Page, ProfileSummary, Result, SessionChanges, SessionRecord, Snapshot};

/// The most bytes that one read of a stream or file may ask for.
pub const MAX_READ_BYTES: u32 = 1024 * 1024;

/// The most sessions that one page may have.
pub const MAX_LIST_SESSIONS: u32 = 1000;

/// The longest time to live of a lease, in milliseconds: a day.
pub const MAX_LEASE_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// The most sessions that one renewal may name.
pub const MAX_RENEW_SESSIONS: usize = 500;

/// Keeps sessions, streams, files and profiles.
///
/// What each function must do is said in `wit/0.1/persistence/persistence.wit`; the rules that hold for all of them are:
///
/// - A write to a session that does not exist is [`Error::NotFound`](crate::Error::NotFound).
/// - A write with an epoch lower than the highest that a write to that session carried is
///   [`Error::StaleEpoch`](crate::Error::StaleEpoch) with that epoch, and changes nothing.
/// - A write that succeeds is durable, as far as the adapter claims to be, when it returns.
///
/// Before a function is called it has been checked that all numbers are below 2^53, that `max` is at most [`MAX_READ_BYTES`], that `limit` is
/// 1 to [`MAX_LIST_SESSIONS`], and that the id of a session that is created is valid. An instance gets one call at a time.
///
/// # Errors
/// All functions: those of [`Error`](crate::Error), as the contract says.
pub trait Adapter: Sized + 'static {
    /// Called once in each instance, before anything else. Creates or migrates the schema; may run in several instances at once.
    fn open(config: &Config) -> Result<Self>;

    /// Name, version, and how the host may run it.
    fn info(&self) -> AdapterInfo;

    /// Whether the store answers. Called often.
    fn health(&self) -> Result<()>;

    /// Adds a session; [`Error::AlreadyExists`](crate::Error::AlreadyExists) if the id is taken.
    fn create_session(&mut self, epoch: Epoch, session: SessionRecord) -> Result<()>;

    /// `None` if there is no such session.
    fn load_session(&self, id: &str) -> Result<Option<Snapshot>>;

    /// Changes the fields that are there.
    fn update_session(&mut self, epoch: Epoch, id: &str, changes: SessionChanges) -> Result<()>;

    /// Removes the record, the streams and the files. A session that does not exist is a success.
    fn delete_session(&mut self, epoch: Epoch, id: &str) -> Result<()>;

    /// Newest first, by creation time and then by id. [`Cursor`](crate::Cursor) helps with the cursor.
    fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page>;

    /// Appends at `offset` and gives the new length. [`plan_append`](crate::plan_append) tells what to do.
    fn append(&mut self, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64>;

    /// The bytes from `offset`, at most `max`; fewer only at the stream's end. A stream that was never written is empty;
    /// [`Error::NotFound`](crate::Error::NotFound) if there is no such session.
    fn read(&self, session: &str, stream: &str, offset: u64, max: u32) -> Result<Vec<u8>>;

    /// Puts `data` in the place of all that the stream had, and gives the new length.
    fn replace(&mut self, epoch: Epoch, session: &str, stream: &str, data: Vec<u8>) -> Result<u64>;

    /// Adds the file, or puts it in the place of the one with that path.
    fn save_file(&mut self, epoch: Epoch, session: &str, file: FileInfo, content: Vec<u8>) -> Result<()>;

    /// The bytes from `offset`, at most `max`; fewer only at the file's end. [`Error::NotFound`](crate::Error::NotFound) if there is no such file.
    fn read_file(&self, session: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>>;

    /// A file that does not exist is a success.
    fn delete_file(&mut self, epoch: Epoch, session: &str, path: &str) -> Result<()>;

    /// Sorted by id.
    fn list_profiles(&self) -> Result<Vec<ProfileSummary>>;

    /// The profile's document; `None` if there is no such profile.
    fn load_profile(&self, id: &str) -> Result<Option<String>>;

    /// Adds the profile, or puts it in the place of the one with that id.
    fn save_profile(&mut self, profile: ProfileSummary, document: String) -> Result<()>;

    /// A profile that does not exist is a success.
    fn delete_profile(&mut self, id: &str) -> Result<()>;
}

/// Keeps leases, too: who may write a session, where several hosts share the store. What each function must do is said in `wit/0.1/persistence/persistence.wit`,
/// interface `leases`. Exported by `export_adapter!(Type, leases)`.
///
/// Times to live are milliseconds, 1 to [`MAX_LEASE_MILLIS`]; all time is the store's.
///
/// # Errors
/// All functions: those of [`Error`](crate::Error), as the contract says.
pub trait Leases: Adapter {
    /// Takes the session, unless another owner's lease is in force, and gives the lease that is in force then.
    fn acquire_lease(&mut self, session: &str, owner: Owner, ttl: u64) -> Result<Lease>;

    /// Prolongs the owner's leases on the sessions, [`MAX_RENEW_SESSIONS`] at most, and gives those on which it has none any more.
    fn renew_leases(&mut self, owner: &str, ttl: u64, sessions: Vec<String>) -> Result<Vec<String>>;

    /// Ends the owner's lease. One that it does not have is a success.
    fn release_lease(&mut self, session: &str, owner: &str) -> Result<()>;

    /// The last lease on the session, ended or not.
    fn lease(&self, session: &str) -> Result<Option<Lease>>;
}
