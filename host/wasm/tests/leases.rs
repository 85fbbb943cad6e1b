//! Who may write a session, as the shipped `sql` adapter keeps it.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::Epoch;
use agent_host_session::ports::store::{Error, Lease, Owner, Store};
use agent_host_session::record::StreamName;
use agent_host_wasm::{Engine, Persistence, PersistenceOptions, Source};
use bytes::Bytes;
use futures_util::future::join_all;
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

async fn epoch(store: &Persistence) -> Epoch {
    store.load_session(&session("s")).await.unwrap().unwrap().epoch
}

/// Waits until a lease has ended by the store's clock.
async fn ended(store: &Persistence) {
    while store.lease(&session("s")).await.unwrap().unwrap().expires_in > Duration::ZERO {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_session_is_taken_by_one_and_shown_to_the_others() {
    let (store, _directory) = store().await;
    let s = session("s");
    assert_eq!(store.lease(&s).await.unwrap(), None);
    let taken = store.acquire_lease(&s, &owner("one"), LONG).await.unwrap();
    assert_eq!(taken.owner, owner("one"));
    assert!(taken.expires_in <= LONG && taken.expires_in > LONG / 2, "{taken:?}");
    for _ in 0..2 {
        let refused: Lease = store.acquire_lease(&s, &owner("two"), LONG).await.unwrap();
        assert_eq!(refused.owner, owner("one"));
    }
    assert_eq!(store.lease(&s).await.unwrap().unwrap().owner, owner("one"));
    // Whoever has it may take it again, from another address.
    let moved = Owner { address: "http://elsewhere.example".to_owned(), ..owner("one") };
    assert_eq!(store.acquire_lease(&s, &moved, LONG).await.unwrap().owner, moved);
    // Nobody lost anything by that.
    assert_eq!(epoch(&store).await, FIRST);
    assert!(matches!(store.acquire_lease(&session("none"), &owner("one"), LONG).await, Err(Error::NotFound(_))));
    assert_eq!(store.lease(&session("none")).await.unwrap(), None);
}

#[tokio::test]
async fn a_released_session_is_free_and_only_its_owner_can_release_it() {
    let (store, _directory) = store().await;
    let s = session("s");
    store.acquire_lease(&s, &owner("one"), LONG).await.unwrap();
    store.release_lease(&s, "two").await.unwrap();
    assert_eq!(store.acquire_lease(&s, &owner("two"), LONG).await.unwrap().owner, owner("one"));
    store.release_lease(&s, "one").await.unwrap();
    store.release_lease(&s, "one").await.unwrap();
    assert_eq!(store.lease(&s).await.unwrap(), None);
    assert_eq!(store.acquire_lease(&s, &owner("two"), LONG).await.unwrap().owner, owner("two"));
    assert_eq!(epoch(&store).await, FIRST);
}

#[tokio::test]
async fn whoever_takes_over_what_has_ended_fences_the_one_before() {
    let (store, _directory) = store().await;
    let s = session("s");
    let events = StreamName::Events;
    store.acquire_lease(&s, &owner("one"), Duration::from_millis(30)).await.unwrap();
    store.append(Epoch(2), &s, &events, 0, Bytes::from_static(b"1")).await.unwrap();
    ended(&store).await;
    // It still may write, as long as nobody has taken the session.
    store.append(Epoch(2), &s, &events, 1, Bytes::from_static(b"2")).await.unwrap();
    assert_eq!(store.acquire_lease(&s, &owner("two"), LONG).await.unwrap().owner, owner("two"));
    assert_eq!(epoch(&store).await, Epoch(3));
    // Without a write of the new owner.
    let written = store.append(Epoch(2), &s, &events, 2, Bytes::from_static(b"3")).await;
    assert!(matches!(written, Err(Error::StaleEpoch(Epoch(3)))), "{written:?}");
    assert_eq!(store.renew_leases("one", LONG, std::slice::from_ref(&s)).await.unwrap(), [s]);
}

#[tokio::test]
async fn leases_are_prolonged_together_and_what_is_lost_is_told() {
    let (store, _directory) = store().await;
    for id in ["a", "b", "c"] {
        store.create_session(FIRST, &record(id, 1)).await.unwrap();
    }
    let all = ["a", "b", "c", "none"].map(session);
    store.acquire_lease(&all[0], &owner("one"), LONG).await.unwrap();
    store.acquire_lease(&all[1], &owner("two"), LONG).await.unwrap();
    let s = session("s");
    store.acquire_lease(&s, &owner("one"), Duration::from_millis(30)).await.unwrap();
    ended(&store).await;
    // One that has ended and that nobody has taken goes on.
    let asked = [all.as_slice(), std::slice::from_ref(&s)].concat();
    assert_eq!(store.renew_leases("one", LONG, &asked).await.unwrap(), &all[1..]);
    assert_eq!(store.acquire_lease(&s, &owner("two"), LONG).await.unwrap().owner, owner("one"));
    assert_eq!(store.renew_leases("one", LONG, &[]).await.unwrap(), []);
}

#[tokio::test]
async fn of_many_that_want_a_session_at_once_one_gets_it() {
    let (store, _directory) = store().await;
    for round in 0..10 {
        let id = session(&format!("wanted{round}"));
        store.create_session(FIRST, &record(id.as_str(), 1)).await.unwrap();
        let owners: Vec<Owner> = (0..12).map(|number| owner(&format!("host{number}"))).collect();
        let taken = join_all(owners.iter().map(|owner| store.acquire_lease(&id, owner, LONG))).await;
        let winners: BTreeSet<String> = taken.into_iter().map(|lease| lease.unwrap().owner.id).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
    }
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
