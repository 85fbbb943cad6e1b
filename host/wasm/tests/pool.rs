//! What a component that misbehaves costs: a call, an instance, never the host, the database or another call.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_host_session::ports::store::{Error, Store};
use agent_host_wasm::grants::{Access, Directory};
use agent_host_wasm::persistence::StartError;
use agent_host_wasm::sql::Value;
use agent_host_wasm::{Database, Engine, Persistence, PersistenceOptions, Source};
use support::{database, guest, impatient, misbehaving, options, session, start, with_database};

/// A pool of so many instances.
fn instances(instances: u32) -> PersistenceOptions {
    PersistenceOptions { instances, ..PersistenceOptions::default() }
}

async fn act(store: &Persistence, what: &str) -> Result<(), Error> {
    store.load_session(&session(what)).await.map(drop)
}

/// Calls that the instance has had which answers, this one included.
async fn calls(store: &Persistence) -> u64 {
    store.list_sessions(None, 1).await.unwrap().next.unwrap().parse().unwrap()
}

fn unavailable(result: Result<(), Error>) -> String {
    match result {
        Err(Error::Unavailable(text)) => text,
        other => panic!("expected the store to be unavailable, got {other:?}"),
    }
}

async fn rows(database: &Database) -> Vec<String> {
    let found = database.query("SELECT name FROM rows ORDER BY name".to_owned(), vec![], 1_000_000).await.unwrap();
    found.rows.into_iter().map(|row| if let [Value::Text(name)] = &row[..] { name.clone() } else { panic!("{row:?}") }).collect()
}

/// Waits for something that another thread brings about, with a deadline.
async fn eventually(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{what} did not come about");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_instance_is_used_again_after_an_answer_and_never_after_a_trap() {
    let engine = Engine::new(options()).unwrap();
    let store = misbehaving(&engine, &[], instances(1)).await;
    act(&store, "nothing").await.unwrap();
    assert!(matches!(act(&store, "commit-forgotten").await, Err(Error::Other(_))), "an answer that is an error");
    assert_eq!(calls(&store).await, 3, "the same instance answers");
    for (what, text) in [("trap", "unreachable"), ("exit", "exit")] {
        let error = unavailable(act(&store, what).await);
        assert!(error.contains("load-session") && error.contains(text), "{error}");
        assert_eq!(calls(&store).await, 1, "a new instance answers after {what}");
    }
}

#[tokio::test]
async fn a_call_that_computes_too_long_is_cut_off() {
    let engine = Engine::new(options()).unwrap();
    let store = misbehaving(&engine, &[], impatient(instances(1))).await;
    let error = unavailable(act(&store, "spin").await);
    assert!(error.contains("500ms of computing"), "{error}");
    assert_eq!(calls(&store).await, 1);
}

#[tokio::test]
async fn a_call_that_waits_too_long_is_cut_off() {
    let engine = Engine::new(options()).unwrap();
    let store = misbehaving(&engine, &[], impatient(instances(1))).await;
    let error = unavailable(act(&store, "sleep").await);
    assert!(error.contains("3s of time"), "{error}");
    assert_eq!(calls(&store).await, 1);
}

#[tokio::test]
async fn an_abandoned_call_ends_and_its_instance_with_it() {
    let engine = Engine::new(options()).unwrap();
    for what in ["spin", "sleep"] {
        let store = misbehaving(&engine, &[], instances(1)).await;
        act(&store, "nothing").await.unwrap();
        let abandoned = tokio::time::timeout(Duration::from_millis(100), act(&store, what)).await;
        assert!(abandoned.is_err());
        // There is room for one: this waits until the other is gone, long before its deadline of 30 s.
        let began = Instant::now();
        assert_eq!(calls(&store).await, 1, "a new instance answers");
        assert!(began.elapsed() < Duration::from_secs(4), "{what} went on for {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn the_one_instance_of_a_component_with_state_survives_an_abandoned_call() {
    let engine = Engine::new(options()).unwrap();
    let store = misbehaving(&engine, &["single"], instances(16)).await;
    act(&store, "nothing").await.unwrap();
    let abandoned = tokio::time::timeout(Duration::from_millis(10), act(&store, "nap")).await;
    assert!(abandoned.is_err());
    assert_eq!(calls(&store).await, 3, "the same instance answers, after the nap");
    unavailable(act(&store, "trap").await);
    assert_eq!(calls(&store).await, 1, "a trap takes the state with it");
}

#[tokio::test]
async fn calls_wait_for_an_instance_and_not_for_ever() {
    let engine = Engine::new(options()).unwrap();
    let options = PersistenceOptions { wait_timeout: Duration::from_millis(50), ..instances(2) };
    let store = Arc::new(misbehaving(&engine, &[], options).await);
    let naps: Vec<_> = (0..2)
        .map(|_| {
            tokio::spawn({
                let store = Arc::clone(&store);
                async move { act(&store, "nap").await }
            })
        })
        .collect();
    // Only when both sleep does a third find no instance.
    eventually("a call without an instance", async || match act(&store, "nothing").await {
        Err(Error::Unavailable(text)) => {
            assert!(text.contains("no instance") && text.contains("50ms"), "{text}");
            true
        }
        _ => false,
    })
    .await;
    for nap in naps {
        nap.await.unwrap().unwrap();
    }
    act(&store, "nothing").await.unwrap();
}

#[tokio::test]
async fn memory_is_bounded_and_an_instance_that_has_taken_half_is_replaced() {
    let engine = Engine::new(options()).unwrap();
    let store = misbehaving(&engine, &[], impatient(instances(1))).await;
    let Err(Error::Other(text)) = act(&store, "hog").await else { panic!("the allocation did not fail") };
    let held: u32 = text.strip_suffix(" MiB").unwrap().parse().unwrap();
    assert!((30..64).contains(&held), "{held} MiB of 64");
    // The guest itself carried on; what it has taken is never given back.
    assert_eq!((calls(&store).await, store.retired()), (1, 1));
    assert_eq!((calls(&store).await, store.retired()), (2, 1), "one that takes nothing stays");
    let stateful = misbehaving(&engine, &["single"], impatient(instances(1))).await;
    assert!(matches!(act(&stateful, "hog").await, Err(Error::Other(_))));
    assert_eq!((calls(&stateful).await, stateful.retired()), (2, 0), "its state is worth more");
}

#[tokio::test]
async fn a_leak_of_resources_costs_the_instance() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::new(options()).unwrap();
    let store = misbehaving(&engine, &[], with_database(&directory.path().join("db"))).await;
    unavailable(act(&store, "leak").await);
    assert_eq!(calls(&store).await, 1);
}

#[tokio::test]
async fn the_writer_is_free_again_however_a_transaction_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let engine = Engine::new(options()).unwrap();
    let store = misbehaving(&engine, &[], impatient(with_database(&path))).await;
    for what in ["trap-in-transaction", "spin-in-transaction", "sleep-in-transaction"] {
        unavailable(act(&store, what).await);
        act(&store, &format!("insert-after-{what}")).await.unwrap();
    }
    let abandoned = tokio::time::timeout(Duration::from_millis(100), act(&store, "sleep-in-transaction")).await;
    assert!(abandoned.is_err());
    act(&store, "insert-after-abandoned").await.unwrap();
    act(&store, "forget-transaction").await.unwrap();
    act(&store, "insert-after-forgotten").await.unwrap();
    assert_eq!(
        rows(&database(&path)).await,
        ["after-abandoned", "after-forgotten", "after-sleep-in-transaction", "after-spin-in-transaction", "after-trap-in-transaction",],
        "what was not committed is not there"
    );
}

#[tokio::test]
async fn a_transaction_ends_with_the_call_that_began_it() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::new(options()).unwrap();
    let store = misbehaving(&engine, &["single"], with_database(&directory.path().join("db"))).await;
    act(&store, "forget-transaction").await.unwrap();
    let Err(Error::Other(text)) = act(&store, "commit-forgotten").await else { panic!("no answer") };
    assert!(text.contains("the transaction is over"), "{text}");
}

#[tokio::test]
async fn a_query_without_end_is_ended_with_its_call() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let engine = Engine::new(options()).unwrap();
    let store = Arc::new(misbehaving(&engine, &[], impatient(with_database(&path))).await);
    // As many as there are readers: if one were not ended, the next would find none.
    for _ in 0..2 {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let store = Arc::clone(&store);
            tasks.spawn(async move { unavailable(act(&store, "endless-query").await) });
        }
        for error in tasks.join_all().await {
            assert!(error.contains("3s of time"), "{error}");
        }
    }
}

#[tokio::test]
async fn nothing_is_granted_by_default() {
    let engine = Engine::new(options()).unwrap();
    let store = misbehaving(&engine, &[], instances(1)).await;
    let Err(Error::Other(text)) = act(&store, "look-around").await else { panic!("no answer") };
    assert_eq!(text, "files false, variables 0, network Err(PermissionDenied), lookup Err(())");
    let Err(Error::Other(text)) = act(&store, "other-database").await else { panic!("no answer") };
    assert!(text.contains("Denied") && text.contains("secrets"), "{text}");
}

#[tokio::test]
async fn grants_give_what_they_say_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("hello"), "hello").unwrap();
    let engine = Engine::new(options()).unwrap();
    for (access, write) in [(Access::ReadOnly, "false"), (Access::ReadWrite, "true")] {
        let mut options = instances(1);
        options.grants.directories.push(Directory { host: directory.path().to_owned(), guest: "/granted".to_owned(), access });
        options.grants.environment.insert("GRANTED".to_owned(), "value".to_owned());
        let store = misbehaving(&engine, &[], options).await;
        let Err(Error::Other(text)) = act(&store, "use-grants").await else { panic!("no answer") };
        assert_eq!(text, format!("read \"hello\", write {write}, escape false, variable \"value\""));
    }
}

#[tokio::test]
async fn what_a_component_gives_is_not_believed() {
    let engine = Engine::new(options()).unwrap();
    let store = misbehaving(&engine, &[], instances(1)).await;
    assert!(matches!(act(&store, "lie").await, Err(Error::Corrupt(_))));
}

#[tokio::test]
async fn an_adapter_that_cannot_be_opened_is_refused_with_its_own_words() {
    let engine = Engine::new(options()).unwrap();
    let component = engine.load(guest("misbehaving")).await.unwrap();
    let config = vec![("fail".to_owned(), "yes".to_owned())];
    let refused = Persistence::start(&engine, component, PersistenceOptions { config, ..Default::default() }).await;
    let Err(error @ StartError::Open(_)) = refused else { panic!("it was opened") };
    assert!(error.to_string().contains("told to fail"), "{error}");
    // Neither is there room left over, nor is it used up.
    start(&engine, guest("misbehaving"), instances(options().max_instances)).await;
    let component = engine.load(guest("misbehaving")).await.unwrap();
    let none = PersistenceOptions { instances: options().max_instances + 1, ..Default::default() };
    assert!(matches!(Persistence::start(&engine, component, none).await, Err(StartError::NoRoom { .. })));
}

#[tokio::test]
async fn a_component_that_is_something_else_is_refused_by_name() {
    let engine = Engine::new(options()).unwrap();
    let component = engine.load(guest("stranger")).await.unwrap();
    let Err(error) = Persistence::start(&engine, component, PersistenceOptions::default()).await else { panic!("it was opened") };
    let text = error.to_string();
    assert!(text.contains("agent-host:persistence/lifecycle@0.1.0") && text.contains("example:stranger/greeting"), "{text}");

    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("x.wasm");
    std::fs::write(&text, "not a component").unwrap();
    let error = engine.load(Source::File(text)).await.unwrap_err().to_string();
    assert!(error.contains("x.wasm"), "{error}");
    let error = engine.load(Source::Builtin("sqlite".to_owned())).await.unwrap_err().to_string();
    assert!(error.contains("sql, memory"), "{error}");
    assert!(engine.load(Source::File("/nowhere".into())).await.is_err());
}

#[tokio::test]
async fn after_a_shutdown_calls_are_refused_and_those_that_ran_were_finished() {
    let engine = Engine::new(options()).unwrap();
    let store = Arc::new(misbehaving(&engine, &[], instances(2)).await);
    let napping = Arc::clone(&store);
    let mut nap = std::pin::pin!(async move { act(&napping, "nap").await });
    // Polled once, so that it runs.
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut nap).await.is_err());
    let (nap, ()) = tokio::join!(nap, store.shutdown(Duration::from_secs(20)));
    nap.unwrap();
    assert!(unavailable(act(&store, "nothing").await).contains("shut down"));
}

#[tokio::test(flavor = "current_thread")]
async fn components_that_spin_do_not_delay_the_server() {
    let engine = Engine::new(options()).unwrap();
    let store = Arc::new(misbehaving(&engine, &[], impatient(instances(4))).await);
    let mut spinning = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = Arc::clone(&store);
        spinning.spawn(async move { unavailable(act(&store, "spin").await) });
    }
    // The server's one thread goes on in thousands of turns. If components ran on it, it would have one for each time that all four gave way.
    let (mut turns, mut done) = (0_u64, 0);
    while done < 4 {
        tokio::select! {
            Some(result) = spinning.join_next() => {
                result.unwrap();
                done += 1;
            }
            () = tokio::task::yield_now() => turns += 1,
        }
    }
    assert!(turns > 5000, "the server had {turns} turns");
}
