//! Streams: rows of bytes, and a row that says how long the stream is.

use agent_host_adapter::sql::{Begin, Executor, Rows};
use agent_host_adapter::{Append, Epoch, Error, MAX_READ_BYTES, Result, params, plan_append};

use crate::chunks;
use crate::database::{Database, Step};
use crate::dialect;
use crate::sessions::{self, CLAIM};

pub(crate) fn append(database: &Database<impl Begin>, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64> {
    match append_at_end(database, epoch, session, stream, offset, data)? {
        Some(length) => Ok(length),
        None => append_with_care(database, epoch, session, stream, offset, data),
    }
}

/// The append that nearly all are, by one call into the host: the session has this epoch already, and the stream ends at `offset`. `None` if it is
/// not so; then nothing was changed.
fn append_at_end(
    database: &Database<impl Begin>,
    epoch: Epoch,
    session: &str,
    stream: &str,
    offset: u64,
    data: &[u8],
) -> Result<Option<u64>> {
    let length = offset + data.len() as u64;
    let rows: Vec<_> = chunks::cut(offset, data)
        .map(|(start, data)| [session.into(), epoch.into(), stream.into(), offset.into(), start.into(), data.into()])
        .collect();
    let claim = params![session, epoch];
    let set_length = params![session, epoch, stream, offset, length];
    let mut steps: Vec<Step<'_>> = dialect::lock_session(database.dialect()).map(|sql| (sql, claim.as_slice())).into_iter().collect();
    steps.extend(rows.iter().map(|row| {
        let sql = "INSERT INTO stream_chunks (stream, start, data)
                   SELECT t.id, ?5, ?6 FROM streams t JOIN sessions s ON s.id = t.session
                   WHERE s.id = ?1 AND s.epoch = ?2 AND t.name = ?3 AND t.length = ?4";
        (sql, row.as_slice())
    }));
    steps.push((
        "UPDATE streams SET length = ?5
         WHERE session = ?1 AND name = ?3 AND length = ?4 AND EXISTS (SELECT 1 FROM sessions WHERE id = ?1 AND epoch = ?2)",
        set_length,
    ));
    Ok((database.batch(&steps)?.last() == Some(&1)).then_some(length))
}

/// Any append: the first of a stream or of an epoch, one that repeats what is stored, one that is refused.
fn append_with_care(database: &Database<impl Begin>, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64> {
    let transaction = database.begin()?;
    if transaction.execute(CLAIM, params![session, epoch])? == 0 {
        return Err(sessions::refusal(&transaction, epoch, session)?);
    }
    let stored = transaction.query_one("SELECT length FROM streams WHERE session = ?1 AND name = ?2", params![session, stream])?;
    let length = stored.map_or(Ok(0), |mut row| row.take("length"))?;
    let Append { expected, new } = plan_append(length, offset, data)?;
    let mut at = offset;
    for expected in expected.chunks(MAX_READ_BYTES as usize) {
        if chunks::collect(rows(&transaction, session, stream, at, expected.len() as u64)?, at, expected.len())?.as_deref()
            != Some(expected)
        {
            return Err(Error::OffsetMismatch(length));
        }
        at += expected.len() as u64;
    }
    let end = length + new.len() as u64;
    if !new.is_empty() {
        transaction.execute(
            "INSERT INTO streams (session, name, length) VALUES (?1, ?2, ?3)
             ON CONFLICT (session, name) DO UPDATE SET length = excluded.length",
            params![session, stream, end],
        )?;
        for (start, data) in chunks::cut(length, new) {
            transaction.execute(
                "INSERT INTO stream_chunks (stream, start, data) SELECT id, ?3, ?4 FROM streams WHERE session = ?1 AND name = ?2",
                params![session, stream, start, data],
            )?;
        }
    }
    transaction.commit()?;
    Ok(end)
}

pub(crate) fn read(database: &Database<impl Begin>, session: &str, stream: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
    let content = chunks::collect(rows(database, session, stream, offset, max.into())?, offset, max as usize)?;
    content.ok_or_else(|| Error::no_such_session(session))
}

/// The rows that hold the bytes from `offset`, at most `max`; a row of nulls if there are none, no row if there is no such session.
fn rows<E: Executor>(database: &Database<E>, session: &str, stream: &str, offset: u64, max: u64) -> Result<Rows> {
    database.query(
        "SELECT c.start, c.data FROM sessions s
         LEFT JOIN streams t ON t.session = s.id AND t.name = ?2
         LEFT JOIN stream_chunks c ON c.stream = t.id AND c.start < ?4
             AND c.start >= (SELECT MAX(b.start) FROM stream_chunks b WHERE b.stream = t.id AND b.start <= ?3)
         WHERE s.id = ?1 ORDER BY c.start",
        params![session, stream, offset, offset + max],
    )
}

pub(crate) fn replace(database: &Database<impl Begin>, epoch: Epoch, session: &str, stream: &str, data: &[u8]) -> Result<u64> {
    let length = data.len() as u64;
    let place = params![session, epoch, stream];
    let stream_row = params![session, epoch, stream, length];
    let rows: Vec<_> =
        chunks::cut(0, data).map(|(start, data)| [session.into(), epoch.into(), stream.into(), start.into(), data.into()]).collect();
    let mut steps: Vec<Step<'_>> = vec![
        (
            "INSERT INTO streams (session, name, length) SELECT id, ?3, ?4 FROM sessions WHERE id = ?1 AND epoch = ?2
             ON CONFLICT (session, name) DO UPDATE SET length = excluded.length",
            stream_row,
        ),
        (
            "DELETE FROM stream_chunks WHERE stream =
             (SELECT t.id FROM streams t JOIN sessions s ON s.id = t.session WHERE s.id = ?1 AND s.epoch = ?2 AND t.name = ?3)",
            place,
        ),
    ];
    steps.extend(rows.iter().map(|row| {
        let sql = "INSERT INTO stream_chunks (stream, start, data)
                   SELECT t.id, ?4, ?5 FROM streams t JOIN sessions s ON s.id = t.session
                   WHERE s.id = ?1 AND s.epoch = ?2 AND t.name = ?3";
        (sql, row.as_slice())
    }));
    sessions::write(database, epoch, session, &steps)?;
    Ok(length)
}
