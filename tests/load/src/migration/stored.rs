//! What the `sql` adapter has in a SQLite file, as it lies there: rows as JSON, bytes as digests.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, ensure};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub(super) type Digest = [u8; 32];

/// The SHA-256 of bytes that are at hand.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// A number of bytes, which is never negative.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

/// A database that nobody writes to.
pub(super) struct Stored(Connection);

impl Stored {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
        Ok(Self(connection.with_context(|| format!("failed to open {}", path.display()))?))
    }

    /// The ids of all sessions.
    pub(super) fn sessions(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut statement = self.0.prepare_cached("SELECT id FROM sessions")?;
        Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    /// A session's row: what never changes, and what does.
    pub(super) fn record(&self, session: &str) -> anyhow::Result<(String, String)> {
        let sql = "SELECT json_array(created_at, profile, architecture), json_array(epoch, last_activity, name, options, extra)
                   FROM sessions WHERE id = ?1";
        let mut statement = self.0.prepare_cached(sql)?;
        statement.query_row([session], |row| Ok((row.get(0)?, row.get(1)?))).with_context(|| format!("there is no session {session}"))
    }

    /// The lengths of a session's streams, by name.
    pub(super) fn streams(&self, session: &str) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut statement = self.0.prepare_cached("SELECT name, length FROM streams WHERE session = ?1")?;
        Ok(statement.query_map([session], |row| Ok((row.get(0)?, number(row, 1)?)))?.collect::<Result<_, _>>()?)
    }

    /// The SHA-256 of a part of a stream, all bytes of which must be there.
    pub(super) fn stream_digest(&self, session: &str, name: &str, part: Range<u64>) -> anyhow::Result<Digest> {
        let sql = "SELECT c.start, c.data FROM streams t JOIN stream_chunks c ON c.stream = t.id
                   WHERE t.session = ?1 AND t.name = ?2 AND c.start < ?3 ORDER BY c.start";
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query(params![session, name, i64::try_from(part.end)?])?;
        let mut digest = Sha256::new();
        let mut end = 0_u64;
        while let Some(row) = rows.next()? {
            let (start, data): (_, Vec<u8>) = (number(row, 0)?, row.get(1)?);
            ensure!(start == end, "the stream {name} of {session} has a hole at {end}");
            end = start + data.len() as u64;
            let from = usize::try_from(part.start.saturating_sub(start))?.min(data.len());
            let to = usize::try_from(part.end - start)?.min(data.len());
            digest.update(data.get(from..to).unwrap_or_default());
        }
        ensure!(end >= part.end, "the stream {name} of {session} ends at {end} and not at {}", part.end);
        Ok(digest.finalize().into())
    }

    /// The rows of a session's files, by path.
    pub(super) fn files(&self, session: &str) -> anyhow::Result<BTreeMap<String, File>> {
        let sql =
            "SELECT path, size, lower(sha256), json_array(size, sha256, created_at, modified_at, extra) FROM files WHERE session = ?1";
        let mut statement = self.0.prepare_cached(sql)?;
        let file = |row: &Row<'_>| Ok((row.get(0)?, File { size: number(row, 1)?, sha256: row.get(2)?, row: row.get(3)? }));
        Ok(statement.query_map([session], file)?.collect::<Result<_, _>>()?)
    }

    /// The SHA-256 of a file's contents.
    pub(super) fn file_digest(&self, session: &str, path: &str) -> anyhow::Result<Digest> {
        let sql = "SELECT c.data FROM files f JOIN file_chunks c ON c.file = f.id WHERE f.session = ?1 AND f.path = ?2 ORDER BY c.start";
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query([session, path])?;
        let mut digest = Sha256::new();
        while let Some(row) = rows.next()? {
            digest.update(row.get::<_, Vec<u8>>(0)?);
        }
        Ok(digest.finalize().into())
    }

    /// The rows of all agent profiles, by id.
    pub(super) fn profiles(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut statement = self.0.prepare_cached("SELECT id, json_array(name, description, document) FROM profiles")?;
        Ok(statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
    }

    /// The description of an agent profile.
    pub(super) fn description(&self, profile: &str) -> anyhow::Result<Option<String>> {
        let mut statement = self.0.prepare_cached("SELECT description FROM profiles WHERE id = ?1")?;
        Ok(statement.query_row([profile], |row| row.get(0)).optional()?)
    }
}

/// A file's row.
#[derive(Debug, PartialEq)]
pub(super) struct File {
    /// Bytes.
    pub(super) size: u64,
    /// Of the contents, in hexadecimal.
    pub(super) sha256: String,
    /// All of it.
    pub(super) row: String,
}
