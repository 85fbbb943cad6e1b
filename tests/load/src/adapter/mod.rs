//! Adapters as components, each against a native program that does the same to the same store, in the same run: what the component costs.

mod files;
mod http;
mod memory;
mod postgresql;
mod sqlite;

use std::time::{Duration, Instant};

use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::ports::store::Store;
use agent_host_session::record::{Options, SessionRecord, StreamName};
use agent_host_session::time::Timestamp;
use agent_host_wasm::grants::{Access, Directory};
use agent_host_wasm::{Database, Engine, EngineOptions, Grants, Persistence, PersistenceOptions, PostgresOptions, Source, SqliteOptions};
use anyhow::Context as _;
use bytes::Bytes;

use crate::Scale;
use crate::report::{Report, latencies, rate};

/// The sizes of appends: an event's line, and the end of a long turn.
const SIZES: [(usize, &str); 2] = [(4 * 1024, "4 KiB"), (1024 * 1024, "1 MiB")];

/// The session that is worked on.
const SESSION: &str = "load";

/// The tables of a native program, as far as an append and a load need them, in words that both databases know.
const TABLES: &str = "
    CREATE TABLE native_sessions (id TEXT PRIMARY KEY, epoch BIGINT NOT NULL, created_at BIGINT NOT NULL, profile TEXT NOT NULL);
    CREATE TABLE native_streams (session TEXT NOT NULL, name TEXT NOT NULL, length BIGINT NOT NULL, PRIMARY KEY (session, name));
    INSERT INTO native_sessions VALUES ('load', 1, 0, 'default');";

/// What an append does natively, statement by statement: takes the session under its epoch, adds the bytes, and says how long the stream is.
const CLAIM: &str = "UPDATE native_sessions SET epoch = $1 WHERE id = $2 AND epoch <= $1";
const INSERT: &str = "INSERT INTO native_chunks (session, stream, start, data) VALUES ($1, $2, $3, $4)";
const EXTEND: &str = "INSERT INTO native_streams (session, name, length) VALUES ($1, $2, $3)
    ON CONFLICT (session, name) DO UPDATE SET length = excluded.length WHERE native_streams.length = $4";

/// A session as it is loaded: its record, and its streams.
const LOAD: &str = "SELECT epoch, created_at, profile FROM native_sessions WHERE id = $1
    UNION ALL SELECT length, NULL, name FROM native_streams WHERE session = $1";

/// A program that does without a component what an adapter does.
trait Native {
    async fn append(&mut self, stream: &str, offset: u64, data: &[u8]) -> anyhow::Result<()>;
    async fn load(&mut self) -> anyhow::Result<()>;
}

pub(crate) async fn measure(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let directory = tempfile::tempdir().context("failed to make a directory")?;
    let directory = directory.path();
    let engine = Engine::new(EngineOptions { cache_dir: Some(directory.join("cache")), ..EngineOptions::default() })?;
    let granted = |database| Grants { databases: [("main".to_owned(), database)].into(), ..Grants::default() };
    let shipped = |name| Source::File(agent_host_test_programs::shipped_adapter(name));
    let sql = || Source::Builtin("sql".to_owned());

    let component = open(&engine, Source::Builtin("memory".to_owned()), PersistenceOptions::default()).await?;
    compare("memory", &component, memory::Program::default(), scale, report).await?;

    let database = Database::open_sqlite(&directory.join("component.db"), &SqliteOptions::default())?;
    let component = open(&engine, sql(), PersistenceOptions { grants: granted(database), ..PersistenceOptions::default() }).await?;
    compare("sqlite", &component, sqlite::Program::open(&directory.join("native.db"))?, scale, report).await?;

    let server = agent_host_test_programs::postgres().context("there is no PostgreSQL on this machine")?;
    let url = server.url("postgres");
    let database = Database::open_postgres(&PostgresOptions::new(&url)).await?;
    let component = open(&engine, sql(), PersistenceOptions { grants: granted(database), ..PersistenceOptions::default() }).await?;
    compare("postgresql", &component, postgresql::Program::connect(&url).await?, scale, report).await?;

    let files = directory.join("component-files");
    std::fs::create_dir(&files)?;
    let granted = Directory { host: files, guest: "/data".to_owned(), access: Access::ReadWrite };
    let grants = Grants { directories: vec![granted], ..Grants::default() };
    let component = open(&engine, shipped("filesystem"), PersistenceOptions { grants, ..PersistenceOptions::default() }).await?;
    compare("filesystem", &component, files::Program::open(&directory.join("native-files"))?, scale, report).await?;

    let store = agent_host_test_programs::http_store_in_python().context("there is no Python on this machine")?;
    let grants = Grants {
        http: vec![format!("{}/*", store.url()).parse()?],
        environment: [("STORE_SECRET".to_owned(), store.secret().to_owned())].into(),
        ..Grants::default()
    };
    let config = vec![("url".to_owned(), store.url())];
    let component = open(&engine, shipped("http"), PersistenceOptions { grants, config, ..PersistenceOptions::default() }).await?;
    compare("http", &component, http::Program::new(&store)?, scale, report).await
}

async fn compare(name: &str, component: &dyn Store, mut native: impl Native, scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let id = SessionId::new(SESSION)?;
    for (size, label) in SIZES {
        let calls = if size > 100_000 { scale.calls / 20 + 1 } else { scale.calls };
        let data = Bytes::from(vec![b'x'; size]);
        let of = format!("of-{size}");
        let stream = StreamName::TranscriptSubagent(of.clone());
        let mut offset = 0;
        let (samples, elapsed) = timed(calls, async || {
            offset = component.append(Epoch::FIRST, &id, &stream, offset, data.clone()).await?;
            Ok(())
        })
        .await?;
        report.add(format!("{name}: append {label} through the component"), format!("{}, {}", rate(calls, elapsed), latencies(samples)));
        let mut offset = 0;
        let (samples, elapsed) = timed(calls, async || {
            native.append(&of, offset, &data).await?;
            offset += size as u64;
            Ok(())
        })
        .await?;
        report.add(format!("{name}: append {label} natively"), format!("{}, {}", rate(calls, elapsed), latencies(samples)));
    }
    let (samples, elapsed) =
        timed(scale.calls, async || component.load_session(&id).await?.map(drop).context("the session is gone")).await?;
    report.add(format!("{name}: load a session through the component"), format!("{}, {}", rate(scale.calls, elapsed), latencies(samples)));
    let (samples, elapsed) = timed(scale.calls, async || native.load().await).await?;
    report.add(format!("{name}: load a session natively"), format!("{}, {}", rate(scale.calls, elapsed), latencies(samples)));
    Ok(())
}

async fn timed(calls: usize, mut call: impl AsyncFnMut() -> anyhow::Result<()>) -> anyhow::Result<(Vec<Duration>, Duration)> {
    let mut samples = Vec::with_capacity(calls);
    let begin = Instant::now();
    for _ in 0..calls {
        let start = Instant::now();
        call().await?;
        samples.push(start.elapsed());
    }
    Ok((samples, begin.elapsed()))
}

/// Opens a component with a session in its store.
async fn open(engine: &Engine, source: Source, options: PersistenceOptions) -> anyhow::Result<Persistence> {
    let persistence = Persistence::start(engine, engine.load(source).await?, options).await?;
    let now = Timestamp::now();
    let record = SessionRecord {
        id: SessionId::new(SESSION)?,
        created_at: now,
        last_activity: now,
        profile: ProfileId::new("default")?,
        architecture: "echo".to_owned(),
        name: None,
        options: Options::new(),
        origin: None,
    };
    persistence.create_session(Epoch::FIRST, &record).await?;
    Ok(persistence)
}
