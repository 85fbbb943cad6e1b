//! Agent profiles, as the documents that they are.

use agent_host_adapter::sql::Begin;
use agent_host_adapter::{ProfileSummary, Result, params};

use crate::database::Database;

pub(crate) fn list(database: &Database<impl Begin>) -> Result<Vec<ProfileSummary>> {
    let rows = database.query("SELECT id, name, description FROM profiles ORDER BY id", &[])?;
    rows.map(|mut row| Ok(ProfileSummary { id: row.take("id")?, name: row.take("name")?, description: row.take("description")? })).collect()
}

pub(crate) fn load(database: &Database<impl Begin>, id: &str) -> Result<Option<String>> {
    let row = database.query_one("SELECT document FROM profiles WHERE id = ?1", params![id])?;
    row.map(|mut row| row.take("document")).transpose()
}

pub(crate) fn save(database: &Database<impl Begin>, profile: &ProfileSummary, document: &str) -> Result<()> {
    database.execute(
        "INSERT INTO profiles (id, name, description, document) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description, document = excluded.document",
        params![&profile.id, &profile.name, profile.description.as_deref(), document],
    )?;
    Ok(())
}

pub(crate) fn delete(database: &Database<impl Begin>, id: &str) -> Result<()> {
    database.execute("DELETE FROM profiles WHERE id = ?1", params![id])?;
    Ok(())
}
