//! What the tests share: engines with a cache that outlives them, components that misbehave, stores over a scratch directory.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod network;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::ports::store::{Error, Store as _};
use agent_host_session::record::{Options, SessionRecord};
use agent_host_session::time::Timestamp;
use agent_host_wasm::{Database, Engine, EngineOptions, Grants, Limits, Persistence, PersistenceOptions, Source, SqliteOptions};

/// Where machine code is kept from one test to the next.
pub(crate) fn cache_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("component-cache")
}

pub(crate) fn options() -> EngineOptions {
    EngineOptions { cache_dir: Some(cache_dir()), ..EngineOptions::default() }
}

/// Deadlines so short that a test of them is short, and so long that an honest call does not miss them on a busy machine.
pub(crate) fn impatient(options: PersistenceOptions) -> PersistenceOptions {
    let limits =
        Limits { call_timeout: Duration::from_secs(3), cpu: Duration::from_millis(500), memory: 64 * 1024 * 1024, ..options.limits };
    PersistenceOptions { limits, ..options }
}

/// Builds the components of `tests/guests`, in the target directory of those that ship with the host, whose dependencies are the same.
pub(crate) fn guest(name: &str) -> Source {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let shipped = Path::new(env!("AGENT_HOST_COMPONENT_SQL"));
        let directory = shipped.parent().unwrap();
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/Cargo.toml");
        let mut cargo = Command::new(env!("CARGO"));
        for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") || name.starts_with("RUST")) {
            if !matches!(variable.as_str(), "CARGO_HOME" | "RUSTUP_HOME" | "RUSTUP_TOOLCHAIN") {
                cargo.env_remove(variable);
            }
        }
        cargo.args(["build", "--quiet", "--release", "--locked", "--target", "wasm32-wasip2", "--manifest-path"]).arg(manifest);
        cargo.arg("--target-dir").arg(directory.parent().unwrap().parent().unwrap());
        assert!(cargo.status().unwrap().success(), "failed to build the components of tests/guests");
        directory.to_owned()
    });
    Source::File(built.join(name).with_extension("wasm"))
}

pub(crate) fn database(path: &Path) -> Database {
    Database::open_sqlite(path, &SqliteOptions::default()).unwrap()
}

pub(crate) fn with_database(path: &Path) -> PersistenceOptions {
    let mut grants = Grants::default();
    grants.databases.insert("main".to_owned(), database(path));
    PersistenceOptions { grants, ..PersistenceOptions::default() }
}

pub(crate) async fn start(engine: &Engine, source: Source, options: PersistenceOptions) -> Persistence {
    let component = engine.load(source).await.unwrap();
    Persistence::start(engine, component, options).await.unwrap()
}

/// The misbehaving adapter, with `config` set to `yes`.
pub(crate) async fn misbehaving(engine: &Engine, config: &[&str], mut options: PersistenceOptions) -> Persistence {
    options.config.extend(config.iter().map(|name| ((*name).to_owned(), "yes".to_owned())));
    start(engine, guest("misbehaving"), options).await
}

/// Has the component `prober` try something, and gives its words for what came of it.
pub(crate) async fn probe(store: &Persistence, what: &str) -> String {
    try_probe(store, what).await.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// The same, where the instance may not survive it.
pub(crate) async fn try_probe(store: &Persistence, what: &str) -> Result<String, Error> {
    store.list_sessions(Some(what), 1).await.map(|page| page.next.unwrap())
}

pub(crate) fn session(id: &str) -> SessionId {
    SessionId::new(id).unwrap()
}

pub(crate) fn record(id: &str, created_at: i64) -> SessionRecord {
    let mut options = Options::new();
    options.insert("model".to_owned(), "sonnet".into());
    options.insert("nested".to_owned(), serde_json::json!({"list": [1, null, "ü💡"], "deep": {"big": 9_007_199_254_740_991_u64}}));
    SessionRecord {
        id: session(id),
        created_at: Timestamp::from_millis(created_at),
        last_activity: Timestamp::from_millis(created_at + 1),
        profile: ProfileId::new("default").unwrap(),
        architecture: "echo".to_owned(),
        name: Some("Ünïcödé 💡 'quoted'; DROP TABLE sessions".to_owned()),
        options,
        origin: None,
    }
}

pub(crate) const FIRST: Epoch = Epoch::FIRST;

/// Waits until the condition holds.
pub(crate) async fn eventually(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("waited in vain");
}
