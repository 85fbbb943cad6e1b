//! A SQLite database: a writer and a pool of readers over one file.

mod connection;
mod error;
mod pool;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use self::connection::{Connection, Role};
use self::pool::{Lease, Pool};
use super::{Error, RowSet, Statement, Value};

/// How a SQLite database is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Connections that read.
    pub readers: usize,
    /// How long a statement waits for its connection, and for other programs' locks.
    pub busy_timeout: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            // Reads are short and mostly from memory: more than a few at once only wait for the same cores.
            readers: 4,
            // Longer than any honest transaction, shorter than the deadline of a component's call.
            busy_timeout: Duration::from_secs(5),
        }
    }
}

/// An open file. Clones are the same.
#[derive(Clone)]
pub(super) struct Sqlite(Arc<Inner>);

struct Inner {
    path: PathBuf,
    writer: Arc<Pool>,
    readers: Arc<Pool>,
}

/// A file that may have been closed.
pub(super) struct WeakSqlite(Weak<Inner>);

impl WeakSqlite {
    pub(super) fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }

    pub(super) fn upgrade(&self) -> Option<Sqlite> {
        self.0.upgrade().map(Sqlite)
    }
}

impl Sqlite {
    pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Self, Error> {
        create_private(path).map_err(|error| Error::open(path, error))?;
        // SQLite has one writer at a time anyway; a queue of our own is fair, which its lock is not.
        let writer = Pool::new(path.to_owned(), Role::Writer, 1, options.busy_timeout);
        writer.warm()?;
        let readers = Pool::new(path.to_owned(), Role::Reader, options.readers.max(1), options.busy_timeout);
        Ok(Self(Arc::new(Inner { path: path.to_owned(), writer, readers })))
    }

    /// Names it without keeping it open.
    pub(super) fn downgrade(&self) -> WeakSqlite {
        WeakSqlite(Arc::downgrade(&self.0))
    }

    /// Whether both are the same open database.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) async fn execute(&self, sql: String, params: Vec<Value>) -> Result<u64, Error> {
        let (_, result) = self.0.writer.lease().await?.run(move |connection| connection.execute(&sql, &params)).await?;
        result
    }

    pub(super) async fn query(&self, sql: String, params: Vec<Value>, limit: usize) -> Result<RowSet, Error> {
        let job = move |connection: &mut Connection| {
            if connection.is_read_only(&sql)? { connection.query(&sql, &params, limit).map(Ok) } else { Ok(Err((sql, params))) }
        };
        let (_, result) = self.0.readers.lease().await?.run(job).await?;
        match result? {
            Ok(rows) => Ok(rows),
            Err((sql, params)) => {
                let job = move |connection: &mut Connection| {
                    // Without a transaction, rows that are too many would be found so after the change had been made.
                    connection.begin()?;
                    let rows = connection.query(&sql, &params, limit)?;
                    still_open(connection)?;
                    connection.commit()?;
                    Ok(rows)
                };
                let (_, result) = self.0.writer.lease().await?.run(job).await?;
                result
            }
        }
    }

    pub(super) async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, Error> {
        let job = move |connection: &mut Connection| {
            connection.begin()?;
            let changed: Vec<u64> = statements
                .iter()
                .map(|statement| {
                    still_open(connection)?;
                    connection.execute(&statement.sql, &statement.params)
                })
                .collect::<Result<_, Error>>()?;
            still_open(connection)?;
            connection.commit()?;
            Ok(changed)
        };
        // What an error left open is rolled back as the lease ends.
        let (_, result) = self.0.writer.lease().await?.run(job).await?;
        result
    }

    pub(super) async fn begin(&self) -> Result<Transaction, Error> {
        let (lease, result) = self.0.writer.lease().await?.run(|connection| connection.begin()).await?;
        result?;
        Ok(Transaction { lease: Some(lease) })
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Sqlite").field(&self.0.path).finish()
    }
}

/// A transaction that may write. Dropping it rolls it back.
pub(super) struct Transaction {
    /// `None` once a call on it was abandoned: the connection then is rolled back by itself.
    lease: Option<Lease>,
}

impl Transaction {
    pub(super) async fn execute(&mut self, sql: String, params: Vec<Value>) -> Result<u64, Error> {
        self.run(move |connection| connection.execute(&sql, &params)).await
    }

    pub(super) async fn query(&mut self, sql: String, params: Vec<Value>, limit: usize) -> Result<RowSet, Error> {
        self.run(move |connection| connection.query(&sql, &params, limit)).await
    }

    pub(super) async fn commit(mut self) -> Result<(), Error> {
        self.run(|connection| connection.commit()).await
    }

    pub(super) async fn rollback(mut self) -> Result<(), Error> {
        self.run(|connection| connection.rollback()).await
    }

    async fn run<T, F>(&mut self, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    {
        let lease = self.lease.take().ok_or_else(over)?;
        let (lease, result) = lease
            .run(move |connection| {
                still_open(connection)?;
                job(connection)
            })
            .await?;
        self.lease = Some(lease);
        result
    }
}

fn over() -> Error {
    Error::Other("the transaction is over".to_owned())
}

/// Without this, what follows an error on which SQLite rolls back would run outside of any transaction.
fn still_open(connection: &Connection) -> Result<(), Error> {
    if connection.in_transaction() { Ok(()) } else { Err(Error::Other("the database has rolled the transaction back".to_owned())) }
}

/// SQLite would create the file for all to read; conversations are private. Its companions (`-wal`, `-shm`) take over the file's mode.
///
/// A file that is there is not touched: to close it here would release the locks that SQLite may hold on it elsewhere in this process.
pub(crate) fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
