//! The persistence adapter that keeps everything in tables of a database that the host grants, by default a SQLite file.
//!
//! Every write is one call into the host, a batch of statements that do nothing unless the session exists and the write's epoch holds; the
//! number of rows that each changed tells what happened. Only what a batch cannot tell (why nothing happened, whether an append repeats what is
//! stored) takes further calls. So writes cost what is new, and never hold the database longer than they need it.
//!
//! - `dialect`: what differs between the databases.
//! - `database`: the granted connection, speaking its dialect.
//! - `schema`: the tables, and how they came to be.
//! - `chunks`: contents of streams and files as rows of bytes.
//! - `sessions`, `streams`, `files`, `profiles`, `leases`: the contract.
#![forbid(unsafe_code)]

mod chunks;
mod database;
mod dialect;
mod files;
mod leases;
mod profiles;
mod schema;
mod sessions;
mod streams;

#[cfg(feature = "component")]
use agent_host_adapter::export_adapter;
use agent_host_adapter::sql::{Begin, Connection};
use agent_host_adapter::{
    Adapter, AdapterInfo, Concurrency, Config, Epoch, FileInfo, Lease, Leases, Owner, Page, ProfileSummary, Result, SessionChanges,
    SessionRecord, Snapshot,
};

use crate::database::Database;

/// The configuration key that names the granted database.
const DATABASE_KEY: &str = "database";

/// The granted database, if the configuration names none.
const DEFAULT_DATABASE: &str = "main";

/// Where the tables are: a database of the host, unless a component brings a connection of its own along.
pub trait Open: Begin + Sized + 'static {
    /// What the adapter is called that keeps its tables there.
    const NAME: &str;

    /// Opens it, by what the operator configured.
    ///
    /// # Errors
    /// [`Error::Invalid`](agent_host_adapter::Error::Invalid) if the configuration is wrong; those of the database.
    fn open(config: &Config) -> Result<Self>;
}

impl Open for Connection {
    const NAME: &str = "sql";

    fn open(config: &Config) -> Result<Self> {
        config.only(&[DATABASE_KEY])?;
        Ok(Self::open(config.get(DATABASE_KEY).unwrap_or(DEFAULT_DATABASE))?)
    }
}

/// The adapter. It keeps nothing but the connection: everything is in the database, so any number of instances may run at once.
pub struct Sql<C = Connection> {
    database: Database<C>,
}

#[cfg(feature = "component")]
export_adapter!(Sql, leases);

/// The crate's version, or the one that whoever builds it wants it to be known by.
const VERSION: &str = match option_env!("AGENT_HOST_ADAPTER_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

impl<C: Open> Adapter for Sql<C> {
    fn open(config: &Config) -> Result<Self> {
        let database = Database::new(C::open(config)?);
        schema::migrate(&database)?;
        Ok(Self { database })
    }

    fn info(&self) -> AdapterInfo {
        AdapterInfo { name: C::NAME.to_owned(), version: VERSION.to_owned(), concurrency: Concurrency::Pooled, extra: None }
    }

    fn health(&self) -> Result<()> {
        schema::check(&self.database)
    }

    fn create_session(&mut self, epoch: Epoch, session: SessionRecord) -> Result<()> {
        sessions::create(&self.database, epoch, &session)
    }

    fn load_session(&self, id: &str) -> Result<Option<Snapshot>> {
        sessions::load(&self.database, id)
    }

    fn update_session(&mut self, epoch: Epoch, id: &str, changes: SessionChanges) -> Result<()> {
        sessions::update(&self.database, epoch, id, &changes)
    }

    fn delete_session(&mut self, epoch: Epoch, id: &str) -> Result<()> {
        sessions::delete(&self.database, epoch, id)
    }

    fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page> {
        sessions::list(&self.database, cursor, limit)
    }

    fn append(&mut self, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64> {
        streams::append(&self.database, epoch, session, stream, offset, data)
    }

    fn read(&self, session: &str, stream: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        streams::read(&self.database, session, stream, offset, max)
    }

    fn replace(&mut self, epoch: Epoch, session: &str, stream: &str, data: Vec<u8>) -> Result<u64> {
        streams::replace(&self.database, epoch, session, stream, &data)
    }

    fn save_file(&mut self, epoch: Epoch, session: &str, file: FileInfo, content: Vec<u8>) -> Result<()> {
        files::save(&self.database, epoch, session, &file, &content)
    }

    fn read_file(&self, session: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        files::read(&self.database, session, path, offset, max)
    }

    fn delete_file(&mut self, epoch: Epoch, session: &str, path: &str) -> Result<()> {
        files::delete(&self.database, epoch, session, path)
    }

    fn list_profiles(&self) -> Result<Vec<ProfileSummary>> {
        profiles::list(&self.database)
    }

    fn load_profile(&self, id: &str) -> Result<Option<String>> {
        profiles::load(&self.database, id)
    }

    fn save_profile(&mut self, profile: ProfileSummary, document: String) -> Result<()> {
        profiles::save(&self.database, &profile, &document)
    }

    fn delete_profile(&mut self, id: &str) -> Result<()> {
        profiles::delete(&self.database, id)
    }
}

impl<C: Open> Leases for Sql<C> {
    fn acquire_lease(&mut self, session: &str, owner: Owner, ttl: u64) -> Result<Lease> {
        leases::acquire(&self.database, session, &owner, ttl)
    }

    fn renew_leases(&mut self, owner: &str, ttl: u64, sessions: Vec<String>) -> Result<Vec<String>> {
        leases::renew(&self.database, owner, ttl, sessions)
    }

    fn release_lease(&mut self, session: &str, owner: &str) -> Result<()> {
        leases::release(&self.database, session, owner)
    }

    fn lease(&self, session: &str) -> Result<Option<Lease>> {
        leases::get(&self.database, session)
    }
}
