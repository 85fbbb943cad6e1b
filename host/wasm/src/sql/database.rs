//! A database that components can be granted: a writer and a pool of readers over one file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::pool::{Lease, Pool};
use super::sqlite::{Role, RowSet, Sqlite};
use super::{Dialect, Error, Statement, Value};

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

/// An open database. Clones are the same database.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    path: PathBuf,
    writer: Arc<Pool>,
    readers: Arc<Pool>,
}

/// A database that may have been closed.
pub(super) struct WeakDatabase(Weak<Inner>);

impl WeakDatabase {
    pub(super) fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }

    pub(super) fn upgrade(&self) -> Option<Database> {
        self.0.upgrade().map(Database)
    }
}

impl Database {
    /// Opens a SQLite file, which is created (readable by its owner only) if it is not there. Blocks while it does.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the file cannot be opened, or cannot have a write-ahead log.
    pub fn open_sqlite(path: &Path, options: &SqliteOptions) -> Result<Self, Error> {
        create_private(path).map_err(|error| Error::open(path, error))?;
        // SQLite has one writer at a time anyway; a queue of our own is fair, which its lock is not.
        let writer = Pool::new(path.to_owned(), Role::Writer, 1, options.busy_timeout);
        writer.warm()?;
        let readers = Pool::new(path.to_owned(), Role::Reader, options.readers.max(1), options.busy_timeout);
        Ok(Self(Arc::new(Inner { path: path.to_owned(), writer, readers })))
    }

    /// The SQL that it speaks.
    pub fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    /// Names it without keeping it open.
    pub(super) fn downgrade(&self) -> WeakDatabase {
        WeakDatabase(Arc::downgrade(&self.0))
    }

    /// Whether both are the same open database.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Runs one statement in a transaction of its own, and gives the number of rows that it changed. It is durable when this returns.
    ///
    /// # Errors
    /// [`Error`] says what kind; nothing has changed then.
    pub async fn execute(&self, sql: String, params: Vec<Value>) -> Result<u64, Error> {
        let (_, result) = self.0.writer.lease().await?.run(move |sqlite| sqlite.execute(&sql, &params)).await?;
        result
    }

    /// Runs one statement and gives its rows, which may take at most `limit` bytes in memory.
    ///
    /// # Errors
    /// [`Error`] says what kind; nothing has changed then.
    pub async fn query(&self, sql: String, params: Vec<Value>, limit: usize) -> Result<RowSet, Error> {
        let job = move |sqlite: &mut Sqlite| {
            if sqlite.is_read_only(&sql)? { sqlite.query(&sql, &params, limit).map(Ok) } else { Ok(Err((sql, params))) }
        };
        let (_, result) = self.0.readers.lease().await?.run(job).await?;
        match result? {
            Ok(rows) => Ok(rows),
            Err((sql, params)) => {
                let job = move |sqlite: &mut Sqlite| {
                    // Without a transaction, rows that are too many would be found so after the change had been made.
                    sqlite.begin()?;
                    let rows = sqlite.query(&sql, &params, limit)?;
                    still_open(sqlite)?;
                    sqlite.commit()?;
                    Ok(rows)
                };
                let (_, result) = self.0.writer.lease().await?.run(job).await?;
                result
            }
        }
    }

    /// Runs the statements in one transaction, all or nothing, and gives the number of rows that each changed. It is durable when this returns.
    ///
    /// # Errors
    /// [`Error`] says what kind; nothing has changed then.
    pub async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, Error> {
        let job = move |sqlite: &mut Sqlite| {
            sqlite.begin()?;
            let changed: Vec<u64> = statements
                .iter()
                .map(|statement| {
                    still_open(sqlite)?;
                    sqlite.execute(&statement.sql, &statement.params)
                })
                .collect::<Result<_, Error>>()?;
            still_open(sqlite)?;
            sqlite.commit()?;
            Ok(changed)
        };
        // What an error left open is rolled back as the lease ends.
        let (_, result) = self.0.writer.lease().await?.run(job).await?;
        result
    }

    /// Begins a transaction that may write; it has the database's only writer until it ends.
    ///
    /// # Errors
    /// [`Error::Busy`] if the writer is not free in time.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        let (lease, result) = self.0.writer.lease().await?.run(|sqlite| sqlite.begin()).await?;
        result?;
        Ok(Transaction { lease: Some(lease) })
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Database").field(&self.0.path).finish()
    }
}

/// A transaction that may write. Dropping it rolls it back.
pub struct Transaction {
    /// `None` once a call on it was abandoned: the connection then is rolled back by itself.
    lease: Option<Lease>,
}

impl Transaction {
    /// Runs one statement and gives the number of rows that it changed.
    ///
    /// # Errors
    /// [`Error`] says what kind. The transaction goes on without the statement, unless the database ended it.
    pub async fn execute(&mut self, sql: String, params: Vec<Value>) -> Result<u64, Error> {
        self.run(move |sqlite| sqlite.execute(&sql, &params)).await
    }

    /// Runs one statement and gives its rows, which may take at most `limit` bytes in memory.
    ///
    /// # Errors
    /// [`Error`] says what kind. The transaction goes on without the statement, unless the database ended it.
    pub async fn query(&mut self, sql: String, params: Vec<Value>, limit: usize) -> Result<RowSet, Error> {
        self.run(move |sqlite| sqlite.query(&sql, &params, limit)).await
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// [`Error`] says what kind; nothing has changed then.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.run(|sqlite| sqlite.commit()).await
    }

    /// Undoes it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rollback(mut self) -> Result<(), Error> {
        self.run(|sqlite| sqlite.rollback()).await
    }

    async fn run<T, F>(&mut self, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut Sqlite) -> Result<T, Error> + Send + 'static,
    {
        let lease = self.lease.take().ok_or_else(over)?;
        let (lease, result) = lease
            .run(move |sqlite| {
                still_open(sqlite)?;
                job(sqlite)
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
fn still_open(sqlite: &Sqlite) -> Result<(), Error> {
    if sqlite.in_transaction() { Ok(()) } else { Err(Error::Other("the database has rolled the transaction back".to_owned())) }
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
