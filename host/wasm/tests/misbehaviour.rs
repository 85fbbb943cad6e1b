//! What a component that misbehaves costs itself: a clear error for whoever called it, while another one on the same engine goes on.
//! (`pool.rs` has what becomes of the instance, `cache.rs` what becomes of damaged machine code.)

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use agent_host_session::ports::store::{Error, Store};
use agent_host_wasm::component::LoadError;
use agent_host_wasm::grants::{Access, Directory};
use agent_host_wasm::persistence::StartError;
use agent_host_wasm::{Engine, Limits, Persistence, PersistenceOptions, Source};
use support::network::echo;
use support::{FIRST, guest, impatient, misbehaving, options, probe, record, session, start, try_probe, with_database};

/// Has a component that behaves answer, again and again, until `misbehaviour` is over.
async fn meanwhile<T>(engine: &Engine, misbehaviour: impl Future<Output = T>) -> T {
    let honest = start(engine, Source::Builtin("memory".to_owned()), PersistenceOptions::default()).await;
    let mut misbehaviour = std::pin::pin!(misbehaviour);
    let mut served = 0_u64;
    loop {
        let id = format!("s{served}");
        honest.create_session(FIRST, &record(&id, 1)).await.unwrap();
        assert!(honest.load_session(&session(&id)).await.unwrap().is_some());
        served += 1;
        if let Ok(done) = tokio::time::timeout(Duration::from_millis(5), &mut misbehaviour).await {
            return done;
        }
    }
}

fn unavailable(result: Result<impl std::fmt::Debug, Error>) -> String {
    match result {
        Err(Error::Unavailable(text)) => text,
        other => panic!("expected the store to be unavailable, got {other:?}"),
    }
}

#[tokio::test]
async fn each_way_to_fail_is_told_by_name_while_others_are_served() {
    let engine = Engine::new(options()).unwrap();
    let store = misbehaving(&engine, &[], impatient(PersistenceOptions::default())).await;
    for (what, words) in [("trap", "unreachable"), ("exit", "exit"), ("spin", "500ms of computing"), ("sleep", "3s of time")] {
        let error = unavailable(meanwhile(&engine, store.load_session(&session(what))).await);
        assert!(error.contains("misbehaving.wasm") && error.contains("load-session") && error.contains(words), "{what}: {error}");
    }
    let Err(Error::Other(text)) = meanwhile(&engine, store.load_session(&session("hog"))).await else {
        panic!("the allocation did not fail")
    };
    assert!(text.ends_with("MiB"), "{text}");
    assert!(matches!(meanwhile(&engine, store.load_session(&session("lie"))).await, Err(Error::Corrupt(_))));
    assert!(matches!(meanwhile(&engine, store.load_session(&session("rubbish"))).await, Err(Error::Corrupt(_))));
}

#[tokio::test]
async fn a_gigabyte_of_log_is_a_few_lines_of_it() {
    let engine = Engine::new(options()).unwrap();
    let store = start(&engine, guest("prober"), PersistenceOptions::default()).await;
    // A quarter of a million lines of 4 KiB. It may be cut off for taking too long; how many are logged is what `output.rs` tests.
    match meanwhile(&engine, try_probe(&store, "flood 262144")).await {
        Ok(answer) => assert_eq!(answer, "ok"),
        Err(error) => assert!(error.to_string().contains("of computing") || error.to_string().contains("of time"), "{error}"),
    }
    assert_eq!(probe(&store, "argument 1").await, "ok", "the component goes on");
}

#[tokio::test]
async fn what_is_held_open_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "x").unwrap();
    let engine = Engine::new(options()).unwrap();
    let port = echo().await;
    let mut options = with_database(&directory.path().join("db"));
    options.limits.resources = 100;
    options.grants.directories.push(Directory {
        host: directory.path().to_owned(),
        guest: "/granted".to_owned(),
        access: Access::ReadOnly,
    });
    options.grants.network.push(format!("127.0.0.1:{port}").parse().unwrap());
    let store = start(&engine, guest("prober"), options).await;
    // The instance cannot go on without what it asked for: it ends, and all that it held is closed.
    for what in ["hold-files /granted/file".to_owned(), format!("hold-sockets 127.0.0.1:{port}")] {
        let error = unavailable(meanwhile(&engine, try_probe(&store, &what)).await);
        assert!(error.contains("list-sessions"), "{what}: {error}");
        assert_eq!(probe(&store, "read /granted/file").await, "ok \"x\"", "after {what}");
    }
    // The contract has words for these, so the instance is told.
    let rows = meanwhile(&engine, probe(&store, "hold-rows")).await;
    assert!(rows.starts_with("error (6"), "some sixty results of a mebibyte fit into 64 MiB: {rows}");
    let transactions = meanwhile(&engine, probe(&store, "hold-transactions")).await;
    assert!(transactions.starts_with("error (1, Error::Busy"), "{transactions}");
    assert_eq!(probe(&store, "database main").await, "ok ()");
}

#[tokio::test]
async fn what_a_component_gives_the_host_at_once_is_bounded() {
    let engine = Engine::new(options()).unwrap();
    let limits = Limits { argument_bytes: 1024 * 1024, ..Limits::default() };
    let store = start(&engine, guest("prober"), PersistenceOptions { limits, ..PersistenceOptions::default() }).await;
    assert_eq!(probe(&store, "argument 1000000").await, "ok");
    let error = unavailable(try_probe(&store, "argument 2000000").await);
    assert!(error.contains("fuel"), "{error}");
    assert_eq!(probe(&store, "argument 1").await, "ok");
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_waited_for_and_not_believed() {
    let engine = Engine::new(options()).unwrap();
    let limits = Limits { call_timeout: Duration::from_millis(100), ..Limits::default() };
    let store = misbehaving(&engine, &[], PersistenceOptions { limits, instances: 1, ..PersistenceOptions::default() }).await;
    let error = unavailable(meanwhile(&engine, store.load_session(&session("nap"))).await);
    assert!(error.contains("100ms of time"), "{error}");
    assert_eq!(store.list_sessions(None, 1).await.unwrap().next.unwrap(), "1", "a new instance answers");
}

#[tokio::test]
async fn a_component_that_cannot_be_used_is_refused_before_it_serves() {
    let engine = Engine::new(options()).unwrap();
    let start = async |source: Source, options: PersistenceOptions| {
        let component = engine.load(source).await.map_err(StartError::from)?;
        Persistence::start(&engine, component, options).await.map(drop)
    };
    let refused = |options: &[&str]| PersistenceOptions {
        config: options.iter().map(|name| ((*name).to_owned(), "yes".to_owned())).collect(),
        ..PersistenceOptions::default()
    };
    let error = meanwhile(&engine, start(guest("misbehaving"), refused(&["fail"]))).await.unwrap_err();
    assert!(matches!(error, StartError::Open(_)) && error.to_string().contains("told to fail"), "{error}");
    for other in ["stranger", "newer"] {
        let error = start(guest(other), refused(&[])).await.unwrap_err();
        assert!(matches!(error, StartError::NotAnAdapter(LoadError::NotAnAdapter { .. })), "{error}");
        assert!(error.to_string().contains("agent-host:persistence/lifecycle@0.1.0"), "{error}");
    }
    let error = start(guest("mistyped"), refused(&[])).await.unwrap_err();
    assert!(matches!(error, StartError::Link { .. } | StartError::Open(_)) && error.to_string().contains("mistyped.wasm"), "{error}");
    let much = PersistenceOptions { limits: Limits { memory: usize::MAX, ..Limits::default() }, ..PersistenceOptions::default() };
    let error = start(guest("misbehaving"), much).await.unwrap_err();
    assert!(matches!(error, StartError::TooMuchMemory { .. }), "{error}");

    let directory = tempfile::tempdir().unwrap();
    let Source::File(whole) = guest("misbehaving") else { panic!("it is not a file") };
    let whole = std::fs::read(whole).unwrap();
    for (name, bytes) in
        [("text.wasm", &b"no component"[..]), ("module.wasm", b"\0asm\x01\0\0\0"), ("cut.wasm", &whole[..whole.len() - 1000])]
    {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = start(Source::File(path), refused(&[])).await.unwrap_err();
        assert!(matches!(error, StartError::NotAnAdapter(LoadError::Compile { .. })) && error.to_string().contains(name), "{error}");
    }
}
