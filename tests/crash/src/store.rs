//! What is stored, read from the database itself while no host runs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use rusqlite::{Connection, OpenFlags, params};
use serde_json::Value;

/// What is stored of one session.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The lines of its event record.
    pub record: Vec<Value>,
    /// Its transcripts, by the names of their streams.
    pub transcripts: BTreeMap<String, Vec<u8>>,
    /// Its workspace files.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Its options.
    pub options: Value,
}

/// All sessions of a database.
///
/// # Errors
/// If it cannot be read.
pub fn read(database: &Path) -> anyhow::Result<BTreeMap<String, Stored>> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE).context("failed to open the database")?;
    let mut sessions = BTreeMap::new();
    let mut statement = connection.prepare("SELECT id, options FROM sessions")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))?;
    for row in rows {
        let (id, options) = row?;
        let options = options.map(|options| serde_json::from_str(&options)).transpose()?.unwrap_or_default();
        sessions.insert(id, Stored { options, ..Stored::default() });
    }
    for (session, name, data) in pieces(&connection, "streams", "stream_chunks", "stream", "name")? {
        let stored = sessions.entry(session.clone()).or_default();
        if name == "events" {
            let lines = data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let lines: Result<Vec<Value>, _> = lines.map(serde_json::from_slice).collect();
            stored.record = lines.with_context(|| format!("the event record of {session} is damaged"))?;
        } else {
            stored.transcripts.insert(name, data);
        }
    }
    for (session, path, data) in pieces(&connection, "files", "file_chunks", "file", "path")? {
        sessions.entry(session).or_default().files.insert(path, data);
    }
    Ok(sessions)
}

/// What is kept in pieces: session, name, and all pieces joined.
fn pieces(connection: &Connection, table: &str, chunks: &str, key: &str, name: &str) -> anyhow::Result<Vec<(String, String, Vec<u8>)>> {
    let mut all = Vec::new();
    let mut owners = connection.prepare(&format!("SELECT id, session, {name} FROM {table}"))?;
    let mut parts = connection.prepare(&format!("SELECT data FROM {chunks} WHERE {key} = ?1 ORDER BY start"))?;
    let rows = owners.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)))?;
    for row in rows {
        let (id, session, name) = row?;
        let parts: Result<Vec<Vec<u8>>, _> = parts.query_map(params![id], |row| row.get(0))?.collect();
        all.push((session, name, parts?.concat()));
    }
    Ok(all)
}
