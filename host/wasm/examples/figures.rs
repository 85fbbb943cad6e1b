//! Prints what components cost here: compiling and loading the built-in ones, and calls of the `sql` adapter beside the same work without a component.
//!
//! `cargo run --release -p agent-host-wasm --example figures`

use std::path::Path;
use std::time::{Duration, Instant};

use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::ports::store::Store;
use agent_host_session::record::{Options, SessionRecord, StreamName};
use agent_host_session::time::Timestamp;
use agent_host_wasm::sql::{Statement, Value};
use agent_host_wasm::{Database, Engine, EngineOptions, Grants, Persistence, PersistenceOptions, Source, SqliteOptions, builtin};
use bytes::Bytes;

/// How long each kind of call is repeated.
const MEASURED: Duration = Duration::from_secs(2);

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let scratch = tempfile::tempdir()?;
    let cache = scratch.path().join("cache");
    let engine = || Engine::new(EngineOptions { cache_dir: Some(cache.clone()), ..EngineOptions::default() });
    for (what, engine) in [("compile", engine()?), ("from cache", engine()?)] {
        for name in builtin::names() {
            let began = Instant::now();
            engine.load(Source::Builtin(name.to_owned())).await?;
            println!("{what} {name}: {:?}", began.elapsed());
        }
    }
    component(&engine()?, scratch.path()).await?;
    native(scratch.path()).await
}

async fn component(engine: &Engine, scratch: &Path) -> Result<(), Failure> {
    let mut grants = Grants::default();
    grants.databases.insert("main".to_owned(), Database::open_sqlite(&scratch.join("component.db"), &SqliteOptions::default())?);
    let component = engine.load(Source::Builtin("sql".to_owned())).await?;
    let store = Persistence::start(engine, component, PersistenceOptions { grants, ..PersistenceOptions::default() }).await?;
    let (id, now) = (SessionId::new("s")?, Timestamp::now());
    let (profile, architecture) = (ProfileId::new("default")?, "echo".to_owned());
    let record = SessionRecord {
        id: id.clone(),
        created_at: now,
        last_activity: now,
        profile,
        architecture,
        name: None,
        options: Options::new(),
        origin: None,
    };
    store.create_session(Epoch::FIRST, &record).await?;
    let (data, mut length) = (Bytes::from(vec![b'x'; 4096]), 0);
    measure("component: append 4 KiB", async || {
        length = store.append(Epoch::FIRST, &id, &StreamName::Events, length, data.clone()).await?;
        Ok(())
    })
    .await?;
    measure("component: load-session", async || Ok(store.load_session(&id).await.map(drop)?)).await?;
    measure("component: health", async || Ok(store.health().await?)).await
}

/// One row of 4 KiB in a transaction, and one row read, on the same database by the same pool, called directly.
async fn native(scratch: &Path) -> Result<(), Failure> {
    let database = Database::open_sqlite(&scratch.join("native.db"), &SqliteOptions::default())?;
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB NOT NULL)".to_owned(), vec![]).await?;
    measure("native: insert 4 KiB", async || {
        let insert = Statement { sql: "INSERT INTO t (data) VALUES (?1)".to_owned(), params: vec![Value::Blob(vec![b'x'; 4096])] };
        database.batch(vec![insert]).await?;
        Ok(())
    })
    .await?;
    measure("native: select", async || {
        database.query("SELECT id FROM t WHERE id = ?1".to_owned(), vec![Value::Integer(1)], 1_000_000).await?;
        Ok(())
    })
    .await
}

async fn measure(what: &str, mut call: impl AsyncFnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < MEASURED {
        let called = Instant::now();
        call().await?;
        times.push(called.elapsed());
    }
    times.sort();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    println!("{what}: {:.0} a second, p50 {:?}, p99 {:?}", times.len() as f64 / began.elapsed().as_secs_f64(), at(50), at(99));
    Ok(())
}
