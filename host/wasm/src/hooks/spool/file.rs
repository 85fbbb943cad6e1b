//! The spool's file: the events, numbered by position, and how far each hook is. One connection writes it and one reads it, neither of which waits for the other.
//!
//! A commit has been handed to the operating system when it returns, and outlives the end of the process. Only checkpoints wait for the disk, so that a
//! power failure costs the last moments, but never the whole file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_host_session::id::{Epoch, Sequence};
use agent_host_session::time::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Row, Transaction, params};

use super::Error;
use super::backlog::Entry;
use crate::hooks::{Event, Interests};
use crate::sql::create_private;

/// The version of the tables, as in the file's header.
const VERSION: i64 = 1;

/// Pages of 4 KiB between two checkpoints, which wait for the disk: so 16 MiB, some seconds of a busy host.
const PAGES_PER_CHECKPOINT: i64 = 4096;

/// A log that a long burst made longer than so many bytes is cut back.
const LOG_BYTES_KEPT: i64 = 64 * 1024 * 1024;

/// What an event takes beside its texts, about: its numbers, and SQLite's own.
const FIXED_BYTES: usize = 40;

const TABLES: &str = "
    CREATE TABLE event (
        position INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        name TEXT NOT NULL,
        session TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        data TEXT NOT NULL
    ) STRICT;
    CREATE TABLE hook (
        name TEXT PRIMARY KEY,
        interests TEXT NOT NULL,
        position INTEGER NOT NULL,
        skipped INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// A hook as the file has it: it has had all events up to its position.
pub(super) struct Stored {
    /// Its name, or what stands for its [place before](place_before).
    pub(super) key: String,
    pub(super) interests: Arc<Interests>,
    pub(super) position: u64,
    pub(super) skipped: u64,
}

/// An event to be written.
pub(super) struct NewEvent<'a> {
    pub(super) entry: Entry,
    pub(super) session: &'a str,
    pub(super) epoch: Epoch,
    pub(super) sequence: Sequence,
    pub(super) name: &'a str,
    pub(super) data: &'a str,
}

impl NewEvent<'_> {
    pub(super) fn bytes(session: &str, name: &str, data: &str) -> u64 {
        (FIXED_BYTES + session.len() + name.len() + data.len()) as u64
    }
}

/// What follows a hook's name where its place is kept that it had with other interests. No name has a slash.
const BEFORE: &str = "/before";

/// The key of the place that a hook had with other interests.
pub(super) fn place_before(hook: &str) -> String {
    format!("{hook}{BEFORE}")
}

/// Whose place this is, if it is one from before.
pub(super) fn whose_before(key: &str) -> Option<&str> {
    key.strip_suffix(BEFORE)
}

pub(super) struct File(Connection);

impl File {
    /// Opens the file, which is created, readable by its owner only, if it is not there. One that is damaged is moved aside.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source };
        match Self::try_open(path) {
            Err(rusqlite::Error::SqliteFailure(error, _)) if matches!(error.code, ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                let aside = move_aside(path).map_err(|source| Error::MoveAside { path: path.to_owned(), source })?;
                tracing::error!(
                    path = %path.display(), aside = %aside.display(),
                    "the spool of event hooks is damaged; it was moved aside and a new one begins: hooks may miss events"
                );
                Self::try_open(path).map_err(failed)
            }
            opened => opened.map_err(failed),
        }
        .and_then(|file| {
            let found: i64 = file.0.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
            if found == VERSION { Ok(file) } else { Err(Error::Version { path: path.to_owned(), found }) }
        })
    }

    fn try_open(path: &Path) -> rusqlite::Result<Self> {
        // SQLite says better than this why it cannot open the file.
        let _ = create_private(path);
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", PAGES_PER_CHECKPOINT)?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
        if connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))? == 0 {
            let tables = format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT");
            connection.execute_batch(&tables)?;
        }
        // Reads every page, so that damage is found now and not in the middle of the work.
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(rusqlite::Error::SqliteFailure(corrupt, Some(verdict)));
        }
        Ok(Self(connection))
    }

    /// The transaction in which a group is written.
    pub(super) fn begin(&mut self) -> rusqlite::Result<Writing<'_>> {
        Ok(Writing(self.0.transaction()?))
    }

    pub(super) fn hooks(&self) -> rusqlite::Result<Vec<Stored>> {
        let mut statement = self.0.prepare("SELECT name, interests, position, skipped FROM hook")?;
        let mut rows = statement.query([])?;
        let mut hooks = Vec::new();
        while let Some(row) = rows.next()? {
            let key: String = row.get(0)?;
            let interests = Interests::new(whose_before(&key).unwrap_or(&key), row.get_ref(1)?.as_str()?.split_whitespace())
                .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error)))?;
            hooks.push(Stored { key, interests: Arc::new(interests), position: unsigned(row, 2)?, skipped: unsigned(row, 3)? });
        }
        Ok(hooks)
    }

    /// The last position, and the bytes of all events.
    pub(super) fn extent(&self) -> rusqlite::Result<(u64, u64)> {
        let extent = "SELECT max(ifnull((SELECT max(position) FROM event), 0), ifnull((SELECT max(position) FROM hook), 0)), \
             (SELECT ifnull(sum(bytes), 0) FROM event)";
        self.0.query_row(extent, [], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)))
    }

    /// Looks at all events after `position`, in order.
    pub(super) fn scan(&self, position: u64, mut each: impl FnMut(&str, Entry)) -> rusqlite::Result<()> {
        let mut statement = self.0.prepare_cached("SELECT position, bytes, at, name FROM event WHERE position > ? ORDER BY position")?;
        let mut rows = statement.query([position.cast_signed()])?;
        while let Some(row) = rows.next()? {
            each(row.get_ref(3)?.as_str()?, entry(row)?);
        }
        Ok(())
    }
}

/// The connection over which hooks are told.
pub(super) struct Reader(Connection);

impl Reader {
    /// Opens a file that is there.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        Ok(Self(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?))
    }

    /// The events at `positions`, without those that are not there.
    pub(super) fn events(&mut self, positions: &[u64]) -> rusqlite::Result<Vec<Event>> {
        let reading = self.0.transaction()?;
        let mut statement = reading.prepare_cached("SELECT session, epoch, sequence, name, data FROM event WHERE position = ?")?;
        let event = |row: &Row<'_>| {
            let (session, name, data) = (row.get(0)?, row.get(3)?, row.get(4)?);
            Ok(Event { session, epoch: Epoch(unsigned(row, 1)?), sequence: Sequence(unsigned(row, 2)?), name, data })
        };
        let found = positions.iter().filter_map(|position| statement.query_row([position.cast_signed()], event).optional().transpose());
        found.collect()
    }
}

/// What becomes of an event that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Goes,
    Stays,
    /// It stays, and no other is looked at.
    Enough,
}

/// A transaction. Dropped, it is rolled back.
pub(super) struct Writing<'a>(Transaction<'a>);

impl Writing<'_> {
    pub(super) fn append(&self, event: &NewEvent<'_>) -> rusqlite::Result<()> {
        let NewEvent { entry: Entry { position, bytes, at }, session, epoch, sequence, name, data } = *event;
        let [position, bytes, epoch, sequence] = [position, bytes, epoch.0, sequence.0].map(u64::cast_signed);
        self.0
            .prepare_cached(
                "INSERT INTO event (position, at, bytes, name, session, epoch, sequence, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![position, at.as_millis(), bytes, name, session, epoch, sequence, data])?;
        Ok(())
    }

    pub(super) fn put_hook(&self, hook: &Stored) -> rusqlite::Result<()> {
        self.0.prepare_cached("INSERT OR REPLACE INTO hook (name, interests, position, skipped) VALUES (?, ?, ?, ?)")?.execute(params![
            hook.key,
            hook.interests.to_string(),
            hook.position.cast_signed(),
            hook.skipped.cast_signed()
        ])?;
        Ok(())
    }

    pub(super) fn remove_hook(&self, key: &str) -> rusqlite::Result<()> {
        self.0.prepare_cached("DELETE FROM hook WHERE name = ?")?.execute([key])?;
        Ok(())
    }

    /// Looks at the oldest events after the position `after`, and deletes those that `judge` says.
    pub(super) fn sweep(&self, after: u64, mut judge: impl FnMut(&Entry) -> Judgement) -> rusqlite::Result<()> {
        let mut statement = self.0.prepare_cached("SELECT position, bytes, at FROM event WHERE position > ? ORDER BY position")?;
        let mut rows = statement.query([after.cast_signed()])?;
        // Neighbours go together.
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let mut is_open = false;
        while let Some(row) = rows.next()? {
            let entry = entry(row)?;
            match judge(&entry) {
                Judgement::Goes => match runs.last_mut().filter(|_| is_open) {
                    Some((_, last)) => *last = entry.position,
                    None => runs.push((entry.position, entry.position)),
                },
                Judgement::Stays => {}
                Judgement::Enough => break,
            }
            is_open = runs.last().is_some_and(|(_, last)| *last == entry.position);
        }
        drop(rows);
        let mut delete = self.0.prepare_cached("DELETE FROM event WHERE position BETWEEN ? AND ?")?;
        for (first, last) in runs {
            delete.execute([first.cast_signed(), last.cast_signed()])?;
        }
        Ok(())
    }

    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.0.commit()
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry { position: unsigned(row, 0)?, bytes: unsigned(row, 1)?, at: Timestamp::from_millis(row.get(2)?) })
}

/// SQLite's integers have a sign, which none of these numbers uses.
fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}

/// Gives the file another name, and with it what SQLite keeps beside it, which would be taken for the new file's.
fn move_aside(path: &Path) -> std::io::Result<PathBuf> {
    let with = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = with(path, &format!(".damaged-{}", Timestamp::now().as_millis()));
    for companion in ["-wal", "-shm"] {
        match std::fs::rename(with(path, companion), with(&aside, companion)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(path, &aside)?;
    Ok(aside)
}
