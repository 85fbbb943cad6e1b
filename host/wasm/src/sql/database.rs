//! A database that components can be granted, of one of the kinds that the host opens.

use std::path::Path;

use super::postgres::{self, Postgres, PostgresOptions};
use super::sqlite::{self, Sqlite, SqliteOptions};
use super::{Dialect, Error, RowSet, Statement, Value};

/// An open database. Clones are the same database.
#[derive(Clone, Debug)]
pub struct Database(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl From<Sqlite> for Database {
    fn from(sqlite: Sqlite) -> Self {
        Self(Kind::Sqlite(sqlite))
    }
}

impl From<Postgres> for Database {
    fn from(postgres: Postgres) -> Self {
        Self(Kind::Postgres(postgres))
    }
}

impl Database {
    /// Opens a SQLite file, which is created (readable by its owner only) if it is not there. Blocks while it does.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the file cannot be opened, or cannot have a write-ahead log.
    pub fn open_sqlite(path: &Path, options: &SqliteOptions) -> Result<Self, Error> {
        Ok(Sqlite::open(path, options)?.into())
    }

    /// Connects to a PostgreSQL server. Its connections live on the runtime that this is called on.
    ///
    /// # Errors
    /// [`Error::Syntax`] if the options cannot be used, [`Error::Unavailable`] if the server cannot be reached or does not let the host in.
    pub async fn open_postgres(options: &PostgresOptions) -> Result<Self, Error> {
        Ok(Postgres::open(options).await?.into())
    }

    /// The SQL that it speaks.
    pub fn dialect(&self) -> Dialect {
        match &self.0 {
            Kind::Sqlite(_) => Dialect::Sqlite,
            Kind::Postgres(_) => Dialect::Postgresql,
        }
    }

    /// Whether both are the same open database.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Sqlite(one), Kind::Sqlite(other)) => one.is(other),
            (Kind::Postgres(one), Kind::Postgres(other)) => one.is(other),
            _ => false,
        }
    }

    /// Runs one statement in a transaction of its own, and gives the number of rows that it changed. It is durable when this returns.
    ///
    /// # Errors
    /// [`Error`] says what kind; nothing has changed then, unless the connection broke before the database had answered ([`Error::Unavailable`]).
    pub async fn execute(&self, sql: String, params: Vec<Value>) -> Result<u64, Error> {
        match &self.0 {
            Kind::Sqlite(sqlite) => sqlite.execute(sql, params).await,
            Kind::Postgres(postgres) => postgres.execute(&sql, &params).await,
        }
    }

    /// Runs one statement and gives its rows, which may take at most `limit` bytes in memory.
    ///
    /// # Errors
    /// As for [`Database::execute`].
    pub async fn query(&self, sql: String, params: Vec<Value>, limit: usize) -> Result<RowSet, Error> {
        match &self.0 {
            Kind::Sqlite(sqlite) => sqlite.query(sql, params, limit).await,
            Kind::Postgres(postgres) => postgres.query(&sql, &params, limit).await,
        }
    }

    /// Runs the statements in one transaction, all or nothing, and gives the number of rows that each changed. It is durable when this returns.
    ///
    /// # Errors
    /// As for [`Database::execute`].
    pub async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<u64>, Error> {
        match &self.0 {
            Kind::Sqlite(sqlite) => sqlite.batch(statements).await,
            Kind::Postgres(postgres) => postgres.batch(&statements).await,
        }
    }

    /// Begins a transaction that may write. SQLite has one at a time, and others wait.
    ///
    /// # Errors
    /// [`Error::Busy`] if no connection is free in time.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        Ok(Transaction(match &self.0 {
            Kind::Sqlite(sqlite) => Open::Sqlite(sqlite.begin().await?),
            Kind::Postgres(postgres) => Open::Postgres(postgres.begin().await?),
        }))
    }
}

/// A transaction that may write. Dropping it rolls it back.
pub struct Transaction(Open);

enum Open {
    Sqlite(sqlite::Transaction),
    Postgres(postgres::Transaction),
}

impl Transaction {
    /// Runs one statement and gives the number of rows that it changed.
    ///
    /// # Errors
    /// [`Error`] says what kind. Whether the transaction can go on without the statement is the database's to say: SQLite's mostly can, PostgreSQL's cannot.
    pub async fn execute(&mut self, sql: String, params: Vec<Value>) -> Result<u64, Error> {
        match &mut self.0 {
            Open::Sqlite(transaction) => transaction.execute(sql, params).await,
            Open::Postgres(transaction) => transaction.execute(&sql, &params).await,
        }
    }

    /// Runs one statement and gives its rows, which may take at most `limit` bytes in memory.
    ///
    /// # Errors
    /// As for [`Transaction::execute`].
    pub async fn query(&mut self, sql: String, params: Vec<Value>, limit: usize) -> Result<RowSet, Error> {
        match &mut self.0 {
            Open::Sqlite(transaction) => transaction.query(sql, params, limit).await,
            Open::Postgres(transaction) => transaction.query(&sql, &params, limit).await,
        }
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// As for [`Database::execute`].
    pub async fn commit(self) -> Result<(), Error> {
        match self.0 {
            Open::Sqlite(transaction) => transaction.commit().await,
            Open::Postgres(transaction) => transaction.commit().await,
        }
    }

    /// Undoes it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rollback(self) -> Result<(), Error> {
        match self.0 {
            Open::Sqlite(transaction) => transaction.rollback().await,
            Open::Postgres(transaction) => transaction.rollback().await,
        }
    }
}
