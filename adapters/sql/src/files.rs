//! Workspace files: an index, and their contents as rows of bytes.

use agent_host_adapter::sql::Begin;
use agent_host_adapter::{Epoch, Error, FileInfo, Result, params};

use crate::chunks;
use crate::database::{Database, Step};
use crate::sessions;

/// Removes the contents of a file (session ?1, epoch ?2, path ?3).
const DELETE_CHUNKS: &str = "DELETE FROM file_chunks WHERE file =
    (SELECT f.id FROM files f JOIN sessions s ON s.id = f.session WHERE s.id = ?1 AND s.epoch = ?2 AND f.path = ?3)";

pub(crate) fn save(database: &Database<impl Begin>, epoch: Epoch, session: &str, file: &FileInfo, content: &[u8]) -> Result<()> {
    let FileInfo { path, size, sha256, created_at, modified_at, extra } = file;
    let place = params![session, epoch, path];
    let index_row = params![session, epoch, path, *size, sha256, *created_at, *modified_at, extra.as_deref()];
    let rows: Vec<_> =
        chunks::cut(0, content).map(|(start, data)| [session.into(), epoch.into(), path.into(), start.into(), data.into()]).collect();
    let mut steps: Vec<Step<'_>> = vec![
        (
            "INSERT INTO files (session, path, size, sha256, created_at, modified_at, extra)
             SELECT id, ?3, ?4, ?5, ?6, ?7, ?8 FROM sessions WHERE id = ?1 AND epoch = ?2
             ON CONFLICT (session, path) DO UPDATE SET size = excluded.size, sha256 = excluded.sha256,
                 created_at = excluded.created_at, modified_at = excluded.modified_at, extra = excluded.extra",
            index_row,
        ),
        (DELETE_CHUNKS, place),
    ];
    steps.extend(rows.iter().map(|row| {
        let sql = "INSERT INTO file_chunks (file, start, data)
                   SELECT f.id, ?4, ?5 FROM files f JOIN sessions s ON s.id = f.session
                   WHERE s.id = ?1 AND s.epoch = ?2 AND f.path = ?3";
        (sql, row.as_slice())
    }));
    sessions::write(database, epoch, session, &steps)
}

pub(crate) fn read(database: &Database<impl Begin>, session: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
    let rows = database.query(
        "SELECT c.start, c.data FROM files f
         LEFT JOIN file_chunks c ON c.file = f.id AND c.start < ?4
             AND c.start >= (SELECT MAX(b.start) FROM file_chunks b WHERE b.file = f.id AND b.start <= ?3)
         WHERE f.session = ?1 AND f.path = ?2 ORDER BY c.start",
        params![session, path, offset, offset + u64::from(max)],
    )?;
    chunks::collect(rows, offset, max as usize)?.ok_or_else(|| Error::no_such_file(session, path))
}

pub(crate) fn delete(database: &Database<impl Begin>, epoch: Epoch, session: &str, path: &str) -> Result<()> {
    let place = params![session, epoch, path];
    let delete_row = "DELETE FROM files WHERE path = ?3 AND session = (SELECT id FROM sessions WHERE id = ?1 AND epoch = ?2)";
    sessions::write(database, epoch, session, &[(DELETE_CHUNKS, place), (delete_row, place)])
}
