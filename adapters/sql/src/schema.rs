//! The tables, and how they came to be: numbered migrations, each of which is run once.

use agent_host_adapter::sql::{Begin, Executor};
use agent_host_adapter::{Error, Result, log, params};

use crate::database::Database;
use crate::dialect;

/// The migrations; the first is number 1. One that was released is never changed: a new one is added behind it.
const MIGRATIONS: &[&[&str]] = &[
    &[
        "CREATE TABLE sessions (
        id {name} PRIMARY KEY,
        epoch {integer} NOT NULL,
        created_at {integer} NOT NULL,
        last_activity {integer} NOT NULL,
        profile TEXT NOT NULL,
        architecture TEXT NOT NULL,
        name TEXT,
        options TEXT,
        extra TEXT
    ) {table}",
        // The order of a listing.
        "CREATE INDEX sessions_by_creation ON sessions (created_at, id)",
        "CREATE TABLE streams (
        id {id},
        session {name} NOT NULL,
        name {name} NOT NULL,
        length {integer} NOT NULL,
        UNIQUE (session, name)
    ) {table}",
        // Without gaps: a chunk begins where the one before it ends. (Not clustered by its key in SQLite, which then would keep at most a quarter of a
        // page of a row in its place and the rest in a page of its own: lines of 1 KB took four times the room, and longer to write.)
        "CREATE TABLE stream_chunks (
        stream {integer} NOT NULL,
        start {integer} NOT NULL,
        data {bytes} NOT NULL,
        PRIMARY KEY (stream, start)
    ) {table}",
        "CREATE TABLE files (
        id {id},
        session {name} NOT NULL,
        path {name} NOT NULL,
        size {integer} NOT NULL,
        sha256 TEXT NOT NULL,
        created_at {integer} NOT NULL,
        modified_at {integer} NOT NULL,
        extra TEXT,
        UNIQUE (session, path)
    ) {table}",
        // Contents have a table of their own, so that the index of files is read without them.
        "CREATE TABLE file_chunks (
        file {integer} NOT NULL,
        start {integer} NOT NULL,
        data {bytes} NOT NULL,
        PRIMARY KEY (file, start)
    ) {table}",
        "CREATE TABLE profiles (
        id {name} PRIMARY KEY,
        name TEXT NOT NULL,
        description TEXT,
        document TEXT NOT NULL
    ) {table}",
    ],
    &["CREATE TABLE leases (
        session {name} PRIMARY KEY,
        owner TEXT NOT NULL,
        address TEXT NOT NULL,
        expires {integer} NOT NULL
    ) {table}"],
];

/// The number of the last migration.
const VERSION: u64 = MIGRATIONS.len() as u64;

/// Brings the database to this version, whatever other instances do at the same time.
pub(crate) fn migrate(database: &Database<impl Begin>) -> Result<()> {
    // Most often there is nothing to do, which is seen without waiting for writers. A query that fails proves nothing (the table may be missing):
    // what follows says what is wrong.
    if let Ok(Some(VERSION)) = version(database) {
        return Ok(());
    }
    let transaction = database.begin()?;
    if let Some(lock) = dialect::lock_schema(transaction.dialect()) {
        transaction.query(lock, &[])?;
    }
    transaction.execute(
        &dialect::definition(transaction.dialect(), "CREATE TABLE IF NOT EXISTS schema_version (version {integer} NOT NULL) {table}"),
        &[],
    )?;
    let found = version(&transaction)?.unwrap_or(0);
    if found == VERSION {
        return Ok(()); // Another instance was faster.
    }
    if found > VERSION {
        return Err(Error::other(format!(
            "the schema's version is {found}, and this adapter knows only {VERSION}: the database was opened by a newer adapter"
        )));
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        for statement in *migration {
            transaction.execute(&dialect::definition(transaction.dialect(), statement), &[])?;
        }
    }
    transaction.execute("DELETE FROM schema_version", &[])?;
    transaction.execute("INSERT INTO schema_version (version) VALUES (?1)", params![VERSION])?;
    transaction.commit()?;
    log::info!("the database's schema was brought from version {found} to {VERSION}");
    Ok(())
}

/// Whether the database answers, and has tables. Their version is not looked at: while a newer adapter takes over, this one still serves.
pub(crate) fn check(database: &Database<impl Begin>) -> Result<()> {
    version(database)?.map(drop).ok_or_else(|| Error::corrupt("the schema has no version"))
}

/// The version that the database has; `None` if it has none yet.
fn version<E: Executor>(database: &Database<E>) -> Result<Option<u64>> {
    database.query_one("SELECT version FROM schema_version", &[])?.map(|mut row| row.take("version")).transpose()
}
