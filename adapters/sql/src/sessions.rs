//! Sessions' records, and the epoch that guards every write to a session.

use agent_host_adapter::sql::{Begin, Executor, Row};
use agent_host_adapter::{Cursor, Epoch, Error, FileInfo, Page, Result, SessionChanges, SessionRecord, Snapshot, StreamInfo, params};

use crate::database::{Database, Step};

/// Takes the session (?1) for a write with an epoch (?2): changes one row, or none if there is no such session or the epoch is too low. Until the
/// transaction ends, no other one can do the same.
pub(crate) const CLAIM: &str = "UPDATE sessions SET epoch = ?2 WHERE id = ?1 AND epoch <= ?2";

/// Runs the steps, which must do nothing unless the session has this epoch, after [`CLAIM`].
pub(crate) fn write(database: &Database<impl Begin>, epoch: Epoch, id: &str, steps: &[Step<'_>]) -> Result<()> {
    let claim = params![id, epoch];
    let mut all: Vec<Step<'_>> = vec![(CLAIM, claim)];
    all.extend_from_slice(steps);
    match database.batch(&all)?.first() {
        Some(1) => Ok(()),
        _ => Err(refusal(database, epoch, id)?),
    }
}

/// Why a write to a session did nothing.
pub(crate) fn refusal<E: Executor>(database: &Database<E>, epoch: Epoch, id: &str) -> Result<Error> {
    let Some(mut row) = database.query_one("SELECT epoch FROM sessions WHERE id = ?1", params![id])? else {
        return Ok(Error::no_such_session(id));
    };
    let highest: Epoch = row.take("epoch")?;
    Ok(if epoch < highest { Error::StaleEpoch(highest) } else { Error::unavailable("the session was created at this moment") })
}

pub(crate) fn create(database: &Database<impl Begin>, epoch: Epoch, session: &SessionRecord) -> Result<()> {
    let SessionRecord { id, created_at, last_activity, profile, architecture, name, options, extra } = session;
    let created = database.execute(
        "INSERT INTO sessions (id, epoch, created_at, last_activity, profile, architecture, name, options, extra)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (id) DO NOTHING",
        params![id, epoch, *created_at, *last_activity, profile, architecture, name.as_deref(), options.as_deref(), extra.as_deref()],
    )?;
    if created == 1 { Ok(()) } else { Err(Error::session_exists(id)) }
}

/// One query, so that all of it is the picture of one moment. Its rows are of three kinds.
pub(crate) fn load(database: &Database<impl Begin>, id: &str) -> Result<Option<Snapshot>> {
    let rows = database.query(
        "SELECT 0, epoch, created_at, last_activity, profile, architecture, name, options, extra FROM sessions WHERE id = ?1
         UNION ALL
         SELECT 1, length, NULL, NULL, name, NULL, NULL, NULL, NULL FROM streams WHERE session = ?1
         UNION ALL
         SELECT 2, size, created_at, modified_at, path, sha256, extra, NULL, NULL FROM files WHERE session = ?1",
        params![id],
    )?;
    let mut session = None;
    let mut streams = Vec::new();
    let mut files = Vec::new();
    for mut row in rows {
        match row.take::<u64>("kind")? {
            0 => {
                let epoch = row.take("epoch")?;
                session = Some((epoch, record(id.to_owned(), &mut row)?));
            }
            1 => {
                let length = row.take("length")?;
                row.skip(2);
                streams.push(StreamInfo { length, name: row.take("name")? });
            }
            _ => files.push(FileInfo {
                size: row.take("size")?,
                created_at: row.take("created_at")?,
                modified_at: row.take("modified_at")?,
                path: row.take("path")?,
                sha256: row.take("sha256")?,
                extra: row.take("extra")?,
            }),
        }
    }
    files.sort_unstable_by(|one: &FileInfo, other| one.path.cmp(&other.path));
    streams.sort_unstable_by(|one: &StreamInfo, other| one.name.cmp(&other.name));
    Ok(session.map(|(epoch, session)| Snapshot { epoch, session, streams, files }))
}

/// The columns of a record behind its id.
fn record(id: String, row: &mut Row) -> Result<SessionRecord> {
    Ok(SessionRecord {
        id,
        created_at: row.take("created_at")?,
        last_activity: row.take("last_activity")?,
        profile: row.take("profile")?,
        architecture: row.take("architecture")?,
        name: row.take("name")?,
        options: row.take("options")?,
        extra: row.take("extra")?,
    })
}

pub(crate) fn update(database: &Database<impl Begin>, epoch: Epoch, id: &str, changes: &SessionChanges) -> Result<()> {
    let SessionChanges { last_activity, name, options, extra } = changes;
    let updated = database.execute(
        "UPDATE sessions
         SET epoch = ?2, last_activity = COALESCE(?3, last_activity), name = COALESCE(?4, name),
             options = COALESCE(?5, options), extra = COALESCE(?6, extra)
         WHERE id = ?1 AND epoch <= ?2",
        params![id, epoch, *last_activity, name.as_deref(), options.as_deref(), extra.as_deref()],
    )?;
    if updated == 1 { Ok(()) } else { Err(refusal(database, epoch, id)?) }
}

pub(crate) fn delete(database: &Database<impl Begin>, epoch: Epoch, id: &str) -> Result<()> {
    let session = params![id, epoch];
    let deleted = write(
        database,
        epoch,
        id,
        &[
            (
                "DELETE FROM stream_chunks WHERE stream IN
                 (SELECT t.id FROM streams t JOIN sessions s ON s.id = t.session WHERE s.id = ?1 AND s.epoch = ?2)",
                session,
            ),
            (
                "DELETE FROM file_chunks WHERE file IN
                 (SELECT f.id FROM files f JOIN sessions s ON s.id = f.session WHERE s.id = ?1 AND s.epoch = ?2)",
                session,
            ),
            ("DELETE FROM streams WHERE session = (SELECT id FROM sessions WHERE id = ?1 AND epoch = ?2)", session),
            ("DELETE FROM files WHERE session = (SELECT id FROM sessions WHERE id = ?1 AND epoch = ?2)", session),
            ("DELETE FROM leases WHERE session = (SELECT id FROM sessions WHERE id = ?1 AND epoch = ?2)", session),
            ("DELETE FROM sessions WHERE id = ?1 AND epoch = ?2", session),
        ],
    );
    match deleted {
        Err(Error::NotFound(_)) => Ok(()),
        deleted => deleted,
    }
}

/// The rows of one query of a listing. Records may have large options: so many of a megabyte are within the 64 MiB that the host holds for one query.
const LIST_ROWS: usize = 60;

/// The bytes of names, options and extras after which a page ends, however short it is: what a component's memory can easily hold.
const LIST_BYTES: usize = 4 * 1024 * 1024;

pub(crate) fn list(database: &Database<impl Begin>, cursor: Option<&str>, limit: u32) -> Result<Page> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Where there is no cursor, the listing begins before the newest.
    let mut place = cursor.map_or(Ok(Cursor { created_at: u64::MAX, id: String::new() }), str::parse)?;
    let mut sessions = Vec::new();
    let mut bytes = 0;
    loop {
        // One more than there is room for tells whether there is a further page.
        let asked = LIST_ROWS.min(limit - sessions.len() + 1);
        let rows = database.query(
            "SELECT id, created_at, last_activity, profile, architecture, name, options, extra FROM sessions
             WHERE (created_at, id) < (?1, ?2) ORDER BY created_at DESC, id DESC LIMIT ?3",
            params![place.created_at, &place.id, asked as u64],
        )?;
        let mut got = 0;
        for mut row in rows {
            if sessions.len() == limit || bytes >= LIST_BYTES {
                return Ok(Page { sessions, next: Some(place.to_string()) });
            }
            let id = row.take("id")?;
            let session = record(id, &mut row)?;
            bytes += [&session.name, &session.options, &session.extra].into_iter().flatten().map(String::len).sum::<usize>();
            place = Cursor::from(&session);
            sessions.push(session);
            got += 1;
        }
        if got < asked {
            return Ok(Page { sessions, next: None });
        }
    }
}
