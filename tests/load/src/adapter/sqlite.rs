//! A native program on SQLite, with rusqlite: a write-ahead log, and each commit on the disk.

use std::path::Path;

use anyhow::Context as _;
use rusqlite::{Connection, params};

use super::{CLAIM, EXTEND, INSERT, LOAD, Native, SESSION, TABLES};

pub(super) struct Program(Connection);

impl Program {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path).context("failed to open a database")?;
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             {TABLES}
             CREATE TABLE native_chunks (session TEXT NOT NULL, stream TEXT NOT NULL, start INTEGER NOT NULL, data BLOB NOT NULL,
                                         PRIMARY KEY (session, stream, start))"
        ))?;
        Ok(Self(connection))
    }
}

impl Native for Program {
    async fn append(&mut self, stream: &str, offset: u64, data: &[u8]) -> anyhow::Result<()> {
        let (start, end) = (i64::try_from(offset)?, i64::try_from(offset)? + i64::try_from(data.len())?);
        let transaction = self.0.transaction()?;
        transaction.prepare_cached(CLAIM)?.execute(params![1, SESSION])?;
        transaction.prepare_cached(INSERT)?.execute(params![SESSION, stream, start, data])?;
        transaction.prepare_cached(EXTEND)?.execute(params![SESSION, stream, end, start])?;
        Ok(transaction.commit()?)
    }

    async fn load(&mut self) -> anyhow::Result<()> {
        let mut statement = self.0.prepare_cached(LOAD)?;
        let mut rows = statement.query([SESSION])?;
        while let Some(row) = rows.next()? {
            let _: (i64, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        }
        Ok(())
    }
}
