//! Leases: who may write a session, by the database's clock.

use agent_host_adapter::sql::Begin;
use agent_host_adapter::{Error, Lease, Owner, Result, params};

use crate::database::{Database, Step};
use crate::dialect;

pub(crate) fn acquire(database: &Database<impl Begin>, session: &str, owner: &Owner, ttl: u64) -> Result<Lease> {
    let now = dialect::now(database.dialect());
    // That it has ended is decided once, however long the steps take.
    let end = format!("UPDATE leases SET expires = 0 WHERE session = ?1 AND owner <> ?2 AND expires <= {now}");
    // Whoever had it before, and may still think so, can write nothing more.
    let fence = "UPDATE sessions SET epoch = epoch + 1
                 WHERE id = ?1 AND EXISTS (SELECT 1 FROM leases WHERE session = ?1 AND owner <> ?2 AND expires = 0)";
    let take = format!(
        "INSERT INTO leases (session, owner, address, expires) SELECT id, ?2, ?3, {now} + ?4 FROM sessions WHERE id = ?1
         ON CONFLICT (session) DO UPDATE SET owner = excluded.owner, address = excluded.address, expires = excluded.expires
         WHERE leases.owner = excluded.owner OR leases.expires = 0"
    );
    let (who, all) = (params![session, &owner.id], params![session, &owner.id, &owner.address, ttl]);
    let steps: [Step<'_>; 3] = [(&end, who), (fence, who), (&take, all)];
    database.batch(&steps)?;
    get(database, session)?.ok_or_else(|| Error::no_such_session(session))
}

pub(crate) fn renew(database: &Database<impl Begin>, owner: &str, ttl: u64, sessions: Vec<String>) -> Result<Vec<String>> {
    let prolong = format!("UPDATE leases SET expires = {} + ?3 WHERE session = ?1 AND owner = ?2", dialect::now(database.dialect()));
    let all: Vec<_> = sessions.iter().map(|session| params![session.as_str(), owner, ttl].to_vec()).collect();
    let steps: Vec<Step<'_>> = all.iter().map(|params| (prolong.as_str(), params.as_slice())).collect();
    let changed = database.batch(&steps)?;
    Ok(sessions.into_iter().zip(changed).filter(|(_, changed)| *changed == 0).map(|(session, _)| session).collect())
}

pub(crate) fn release(database: &Database<impl Begin>, session: &str, owner: &str) -> Result<()> {
    database.execute("DELETE FROM leases WHERE session = ?1 AND owner = ?2", params![session, owner]).map(drop)
}

pub(crate) fn get(database: &Database<impl Begin>, session: &str) -> Result<Option<Lease>> {
    // The clock is read once: between two readings the lease could end.
    let sql = format!("SELECT owner, address, expires - {} AS expires_in FROM leases WHERE session = ?1", dialect::now(database.dialect()));
    let Some(mut row) = database.query_one(&sql, params![session])? else { return Ok(None) };
    let owner = Owner { id: row.take("owner")?, address: row.take("address")? };
    let expires_in: i64 = row.take("expires_in")?;
    Ok(Some(Lease { owner, expires_in: expires_in.max(0).unsigned_abs() }))
}
