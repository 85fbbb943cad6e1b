//! Who may write a session: what the conformance kit (`host/kit`) does not try with the adapters that ship.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::Epoch;
use agent_host_session::ports::store::{Error, Owner, Store as _};
use agent_host_wasm::{Engine, Persistence, PersistenceOptions, Source};
use support::{FIRST, options, record, session, start, with_database};

const LONG: Duration = Duration::from_secs(60);

fn owner(id: &str) -> Owner {
    Owner { id: id.to_owned(), address: format!("http://{id}.example") }
}

/// A store with a session `s`, and what has to live as long.
async fn store() -> (Arc<Persistence>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::new(options()).unwrap();
    let store = start(&engine, Source::Builtin("sql".into()), with_database(&directory.path().join("agent-host.db"))).await;
    store.create_session(FIRST, &record("s", 1)).await.unwrap();
    (Arc::new(store), directory)
}

#[tokio::test]
async fn a_deleted_session_has_no_lease() {
    let (store, _directory) = store().await;
    let s = session("s");
    store.acquire_lease(&s, &owner("one"), LONG).await.unwrap();
    store.delete_session(Epoch(2), &s).await.unwrap();
    assert_eq!(store.lease(&s).await.unwrap(), None);
    store.create_session(FIRST, &record("s", 1)).await.unwrap();
    assert_eq!(store.acquire_lease(&s, &owner("two"), LONG).await.unwrap().owner, owner("two"));
}

#[tokio::test]
async fn times_that_make_no_sense_are_refused() {
    let (store, _directory) = store().await;
    let s = session("s");
    for ttl in [Duration::ZERO, Duration::from_micros(1), Duration::from_secs(7 * 24 * 60 * 60)] {
        assert!(matches!(store.acquire_lease(&s, &owner("one"), ttl).await, Err(Error::Invalid(_))));
    }
    let many = vec![s; 501];
    assert!(matches!(store.renew_leases("one", LONG, &many).await, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn an_adapter_without_leases_says_so_and_is_refused_where_they_are_needed() {
    let engine = Engine::new(options()).unwrap();
    let memory = || Source::Builtin("memory".into());
    let store = start(&engine, memory(), PersistenceOptions::default()).await;
    store.create_session(FIRST, &record("s", 1)).await.unwrap();
    let error = store.acquire_lease(&session("s"), &owner("one"), LONG).await.unwrap_err();
    assert!(error.to_string().contains("leases"), "{error}");
    let component = engine.load(memory()).await.unwrap();
    let needs = PersistenceOptions { needs_leases: true, ..PersistenceOptions::default() };
    let Err(error) = Persistence::start(&engine, component, needs).await else { panic!("it was started") };
    assert!(error.to_string().contains("agent-host:persistence/leases"), "{error}");
}
