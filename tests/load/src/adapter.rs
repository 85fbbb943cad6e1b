//! The `sqlite` adapter as a component, against the same SQL called natively: what the component costs.

use std::path::Path;
use std::time::{Duration, Instant};

use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::ports::store::Store;
use agent_host_session::record::{Options, SessionRecord, StreamName};
use agent_host_session::time::Timestamp;
use agent_host_wasm::{Database, Engine, EngineOptions, Grants, Persistence, PersistenceOptions, Source, SqliteOptions};
use anyhow::Context as _;
use bytes::Bytes;
use rusqlite::{Connection, params};

use crate::Scale;
use crate::report::{Report, latencies, rate};

/// The sizes of appends: an event's line, and the end of a long turn.
const SIZES: [(usize, &str); 2] = [(4 * 1024, "4 KiB"), (1024 * 1024, "1 MiB")];

pub(crate) async fn measure(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let directory = tempfile::tempdir().context("failed to make a directory")?;
    let component = component(directory.path()).await?;
    let native = Native::open(&directory.path().join("native.db"))?;
    for (size, name) in SIZES {
        let calls = if size > 100_000 { scale.calls / 20 + 1 } else { scale.calls };
        let data = Bytes::from(vec![b'x'; size]);
        let (samples, elapsed) = append(&component, &data, calls).await?;
        report.add(format!("adapter: append {name} through the component"), format!("{}, {}", rate(calls, elapsed), latencies(samples)));
        let (samples, elapsed) = native.append(&data, calls)?;
        report.add(format!("adapter: the same SQL natively, {name}"), format!("{}, {}", rate(calls, elapsed), latencies(samples)));
    }
    let (samples, elapsed) = load(&component, scale.calls).await?;
    report.add("adapter: load-session through the component", format!("{}, {}", rate(scale.calls, elapsed), latencies(samples)));
    Ok(())
}

fn id() -> anyhow::Result<SessionId> {
    Ok(SessionId::new("load")?)
}

async fn component(directory: &Path) -> anyhow::Result<Persistence> {
    let engine = Engine::new(EngineOptions { cache_dir: Some(directory.join("cache")), ..EngineOptions::default() })?;
    let loaded = engine.load(Source::Builtin("sql".to_owned())).await?;
    let database = Database::open_sqlite(&directory.join("component.db"), &SqliteOptions::default())?;
    let grants = Grants { databases: [("main".to_owned(), database)].into(), ..Grants::default() };
    let persistence = Persistence::start(&engine, loaded, PersistenceOptions { grants, ..PersistenceOptions::default() }).await?;
    let now = Timestamp::now();
    let record = SessionRecord {
        id: id()?,
        created_at: now,
        last_activity: now,
        profile: ProfileId::new("default")?,
        architecture: "echo".to_owned(),
        name: None,
        options: Options::new(),
    };
    persistence.create_session(Epoch::FIRST, &record).await?;
    Ok(persistence)
}

async fn append(store: &dyn Store, data: &Bytes, calls: usize) -> anyhow::Result<(Vec<Duration>, Duration)> {
    let (id, stream) = (id()?, StreamName::TranscriptSubagent(format!("of-{}", data.len())));
    let mut samples = Vec::new();
    let mut offset = 0;
    let begin = Instant::now();
    for _ in 0..calls {
        let start = Instant::now();
        offset = store.append(Epoch::FIRST, &id, &stream, offset, data.clone()).await?;
        samples.push(start.elapsed());
    }
    Ok((samples, begin.elapsed()))
}

async fn load(store: &dyn Store, calls: usize) -> anyhow::Result<(Vec<Duration>, Duration)> {
    let id = id()?;
    let mut samples = Vec::new();
    let begin = Instant::now();
    for _ in 0..calls {
        let start = Instant::now();
        store.load_session(&id).await?.context("the session is gone")?;
        samples.push(start.elapsed());
    }
    Ok((samples, begin.elapsed()))
}

/// What the adapter does for an append, without the adapter: three statements in a transaction, as durable.
struct Native(Connection);

impl Native {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path).context("failed to open a database")?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             CREATE TABLE sessions (id TEXT PRIMARY KEY, epoch INTEGER NOT NULL);
             CREATE TABLE streams (session TEXT NOT NULL, name TEXT NOT NULL, length INTEGER NOT NULL, PRIMARY KEY (session, name));
             CREATE TABLE chunks (session TEXT NOT NULL, stream TEXT NOT NULL, offset INTEGER NOT NULL, data BLOB NOT NULL,
                                  PRIMARY KEY (session, stream, offset));
             INSERT INTO sessions VALUES ('load', 1);",
        )?;
        Ok(Self(connection))
    }

    fn append(&self, data: &Bytes, calls: usize) -> anyhow::Result<(Vec<Duration>, Duration)> {
        let stream = format!("of-{}", data.len());
        let mut samples = Vec::new();
        let begin = Instant::now();
        let mut offset = 0_i64;
        for _ in 0..calls {
            let start = Instant::now();
            let transaction = self.0.unchecked_transaction()?;
            transaction.prepare_cached("UPDATE sessions SET epoch = ?1 WHERE id = ?2 AND epoch <= ?1")?.execute(params![1, "load"])?;
            transaction
                .prepare_cached(
                    "INSERT INTO chunks SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM sessions WHERE id = ?1 AND epoch = 1)",
                )?
                .execute(params!["load", stream, offset, data.as_ref()])?;
            transaction
                .prepare_cached("INSERT INTO streams VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET length = length + ?3")?
                .execute(params!["load", stream, i64::try_from(data.len())?])?;
            transaction.commit()?;
            offset += i64::try_from(data.len())?;
            samples.push(start.elapsed());
        }
        Ok((samples, begin.elapsed()))
    }
}
