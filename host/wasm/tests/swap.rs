//! Exchanging adapters over real components: what goes on meanwhile, what is copied, and what gives way by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use agent_host_session::id::{Epoch, SessionId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{self, Store};
use agent_host_session::profile::Profile;
use agent_host_session::record::{FileInfo, StreamName};
use agent_host_session::time::Timestamp;
use agent_host_wasm::copy::{Copier, Writes};
use agent_host_wasm::exchange::{Candidate, Error, OnStart, Phase, Plan, Settings};
use agent_host_wasm::sql::OpenDatabases;
use agent_host_wasm::swap::{Components, Configuration, Report, Request};
use agent_host_wasm::{Engine, Grants, PersistenceOptions, Source, SqliteOptions};
use async_trait::async_trait;
use serde_json::json;
use sha2::{Digest, Sha256};
use support::{guest, options, record};
use tempfile::TempDir;

/// Grants are the path of a database file: `{"main": PATH}`.
struct Config {
    directory: PathBuf,
    databases: OpenDatabases,
}

#[async_trait]
impl Configuration for Config {
    fn source(&self) -> Source {
        Source::Builtin("sql".to_owned())
    }

    async fn options(&self, plan: &Plan) -> Result<PersistenceOptions, String> {
        let path = plan.grants.as_ref().and_then(|grants| grants["main"].as_str()).map_or(self.directory.join("main.db"), PathBuf::from);
        let database = self.databases.sqlite(&path, &SqliteOptions::default()).map_err(|error| error.to_string())?;
        let grants = Grants { databases: [("main".to_owned(), database)].into(), ..Grants::default() };
        let config = plan.config.clone().unwrap_or_default().into_iter().collect();
        Ok(PersistenceOptions { config, grants, ..PersistenceOptions::default() })
    }
}

struct World {
    components: Arc<Components>,
    store: Arc<dyn Store>,
    directory: TempDir,
}

async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    start(directory).await
}

async fn start(directory: TempDir) -> World {
    let configuration = Config { directory: directory.path().to_owned(), databases: OpenDatabases::default() };
    let settings = Settings { on_start: OnStart::Last, rollback_after: 3, ..Settings::default() };
    let engine = Engine::new(options()).unwrap();
    let components = Components::start(engine, Arc::new(configuration), directory.path().join("components"), settings).await.unwrap();
    World { store: components.store(), components, directory }
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn migrate(&self, path: &Path) -> Result<Report, Error> {
        let grants = Some(json!({"main": path}));
        self.components.swap(Request { candidate: Candidate::Builtin("sql".to_owned()), config: None, grants, migrate: true }).await
    }

    async fn swap(&self, candidate: Candidate, config: Option<BTreeMap<String, String>>) -> Result<Report, Error> {
        self.components.swap(Request { candidate, config, grants: None, migrate: false }).await
    }

    fn serving(&self) -> (String, u64) {
        let record = self.components.status().persistence.serving.record;
        (record.name, record.generation)
    }
}

fn id(number: usize) -> SessionId {
    SessionId::new(format!("s{number}")).unwrap()
}

fn file(name: &str, content: &[u8]) -> FileInfo {
    let sha256 = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let time = Timestamp::from_millis(1000);
    let path = RelativePath::new(name).unwrap();
    FileInfo { path, size: content.len() as u64, sha256: Some(sha256), created_at: time, modified_at: time }
}

async fn fill(store: &dyn Store, sessions: usize) {
    for number in 0..sessions {
        let id = id(number);
        store.create_session(Epoch::FIRST, &record(id.as_str(), 1000 + number as i64)).await.unwrap();
        store.append(Epoch(2), &id, &StreamName::Events, 0, format!("events of {number}\n").into()).await.unwrap();
        store.append(Epoch(2), &id, &StreamName::TranscriptMain, 0, vec![number as u8; 100_000].into()).await.unwrap();
        store.save_file(Epoch(2), &id, &file("a/b.bin", b"\0\xff"), b"\0\xff"[..].into()).await.unwrap();
    }
    store.save_profile(&Profile::named("p".to_owned().try_into().unwrap(), "P")).await.unwrap();
}

/// Everything in a store.
async fn contents(store: &dyn Store) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.list_sessions(cursor.as_deref(), 7).await.unwrap();
        for record in page.sessions {
            let snapshot = store.load_session(&record.id).await.unwrap().unwrap();
            found.push((format!("{:?} {:?} {:?}", snapshot.record, snapshot.epoch, snapshot.files), Vec::new()));
            for (name, length) in snapshot.streams {
                let content = store::read_stream(store, &record.id, &name, 0).await.unwrap();
                assert_eq!(content.len() as u64, length);
                found.push((format!("{} {}", record.id, name.to_text()), content));
            }
            for file in snapshot.files {
                let content = store::read_file(store, &record.id, &file.path).await.unwrap();
                found.push((format!("{} {}", record.id, file.path), content));
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    for profile in store.list_profiles().await.unwrap() {
        found.push((format!("{:?}", store.load_profile(&profile.id).await.unwrap()), Vec::new()));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_in_the_new_store_although_it_was_written_to_all_the_while() {
    let world = world().await;
    const SESSIONS: usize = 30;
    fill(world.store.as_ref(), SESSIONS).await;
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..SESSIONS)
        .step_by(2)
        .map(|number| {
            let (store, stop, written) = (Arc::clone(&world.store), Arc::clone(&stop), Arc::clone(&written));
            tokio::spawn(async move {
                let id = id(number);
                let mut length =
                    store.load_session(&id).await.unwrap().unwrap().streams.iter().find(|(name, _)| *name == StreamName::Events).unwrap().1;
                let mut round = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    let line = format!("line {round}\n");
                    length = store.append(Epoch(3), &id, &StreamName::Events, length, line.into()).await.unwrap();
                    let content = round.to_string();
                    store.save_file(Epoch(3), &id, &file("changing", content.as_bytes()), content.clone().into()).await.unwrap();
                    if round.is_multiple_of(5) {
                        store
                            .replace(Epoch(3), &id, &StreamName::TranscriptMain, vec![round as u8; (round % 1000) as usize].into())
                            .await
                            .unwrap();
                        store.delete_file(Epoch(3), &id, &RelativePath::new("changing").unwrap()).await.unwrap();
                    }
                    written.fetch_add(1, Ordering::Relaxed);
                }
                (id, length)
            })
        })
        .collect();
    // Created and deleted meanwhile.
    let (store, also_stop) = (Arc::clone(&world.store), Arc::clone(&stop));
    let coming_and_going = tokio::spawn(async move {
        let mut number = 1000;
        while !also_stop.load(Ordering::Relaxed) {
            number += 1;
            store.create_session(Epoch::FIRST, &record(id(number).as_str(), number as i64)).await.unwrap();
            if number.is_multiple_of(2) {
                store.delete_session(Epoch::FIRST, &id(number)).await.unwrap();
            }
        }
        number
    });
    while written.load(Ordering::Relaxed) < 50 {
        tokio::task::yield_now().await;
    }
    let report = world.migrate(&world.path("other.db")).await.unwrap();
    assert!(report.copied.unwrap().sessions >= SESSIONS as u64 && report.pause_ms.is_some(), "{report:?}");
    let at_swap = written.load(Ordering::Relaxed);
    while written.load(Ordering::Relaxed) < at_swap + 50 {
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        let (id, length) = writer.await.unwrap();
        let events = store::read_stream(world.store.as_ref(), &id, &StreamName::Events, 0).await.unwrap();
        assert_eq!(events.len() as u64, length);
        let lines = String::from_utf8(events).unwrap();
        let numbers: Vec<u64> = lines.lines().skip(1).map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "an acknowledged line is lost or doubled");
    }
    let newest = coming_and_going.await.unwrap();
    for number in 1001..=newest {
        assert_eq!(world.store.load_session(&id(number)).await.unwrap().is_some(), number % 2 == 1, "{number}");
    }
    for number in (1..SESSIONS).step_by(2) {
        assert_eq!(
            store::read_stream(world.store.as_ref(), &id(number), &StreamName::TranscriptMain, 0).await.unwrap(),
            vec![number as u8; 100_000]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_broken_off_goes_on_and_a_target_with_sessions_of_its_own_is_refused() {
    let (one, other) = (world().await, world().await);
    fill(one.store.as_ref(), 12).await;
    let quiet = |_| {};
    let first = Copier::new(one.store.as_ref(), other.store.as_ref(), &quiet);
    // Some of it, and of one session only the beginning, and something else.
    first.copy_sessions((0..5).map(id), Writes::Rest).await.unwrap();
    other.store.create_session(Epoch::FIRST, &record("s7", 1007)).await.unwrap();
    other.store.append(Epoch(2), &id(7), &StreamName::TranscriptMain, 0, vec![7; 10].into()).await.unwrap();
    other.store.create_session(Epoch::FIRST, &record("s8", 1008)).await.unwrap();
    other.store.append(Epoch(2), &id(8), &StreamName::TranscriptMain, 0, vec![99; 10].into()).await.unwrap();
    other.store.save_file(Epoch(2), &id(8), &file("extra", b"x"), b"x"[..].into()).await.unwrap();

    let copier = Copier::new(one.store.as_ref(), other.store.as_ref(), &quiet);
    copier.check_target().await.unwrap();
    let sessions = copier.sessions().await.unwrap();
    copier.copy_sessions(sessions, Writes::Rest).await.unwrap();
    copier.copy_profiles().await.unwrap();
    assert_eq!(contents(one.store.as_ref()).await, contents(other.store.as_ref()).await);
    let totals = copier.totals();
    assert_eq!((totals.sessions, totals.profiles), (12, 1));
    assert!(totals.kept_bytes >= 5 * 100_000 + 10, "what was there is not copied again: {totals:?}");

    other.store.create_session(Epoch::FIRST, &record("own", 1)).await.unwrap();
    let error = copier.check_target().await.unwrap_err();
    assert!(matches!(error, agent_host_wasm::copy::Error::NotEmpty(ref id) if id.as_str() == "own"), "{error}");
    let refused = one.migrate(&other.path("main.db")).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { phase: Phase::Copy, .. }), "{refused}");
    assert_eq!(one.serving(), ("sql".to_owned(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_whose_writes_fail_gives_way_by_itself_and_no_call_fails_for_it() {
    for answers in [false, true] {
        let world = world().await;
        let Source::File(fickle) = guest("fickle") else { panic!("a guest is a file") };
        let config = answers.then(|| BTreeMap::from([("answers".to_owned(), "yes".to_owned())]));
        world.swap(Candidate::File(fickle), config.or(Some(BTreeMap::new()))).await.unwrap();
        assert_eq!(world.serving(), ("fickle".to_owned(), 2));
        for number in 0..3 {
            let created = world.store.create_session(Epoch::FIRST, &record(id(number).as_str(), 1)).await;
            // The last of the failures that it takes is made again on the adapter that serves then.
            assert_eq!(created.is_ok(), number == 2, "{created:?}");
        }
        assert_eq!(world.serving(), ("sql".to_owned(), 1));
        support::eventually(|| world.components.status().events.iter().any(|event| event.event == "rolled-back")).await;
        assert!(world.components.status().persistence.earlier.is_empty(), "what does not work cannot be gone back to");
        world.store.append(Epoch(2), &id(2), &StreamName::Events, 0, b"x"[..].into()).await.unwrap();
        // A second one that does not work, while the first one's standby is not over, gives way as well.
        world.store.delete_session(Epoch(2), &id(2)).await.unwrap();
        let Source::File(fickle) = guest("fickle") else { panic!("a guest is a file") };
        world.swap(Candidate::File(fickle), Some(BTreeMap::new())).await.unwrap();
        for number in 3..6 {
            let created = world.store.create_session(Epoch::FIRST, &record(id(number).as_str(), 1)).await;
            assert_eq!(created.is_ok(), number == 5, "{created:?}");
        }
        assert_eq!(world.serving(), ("sql".to_owned(), 1));
        let rolled_back = || world.components.status().events.iter().filter(|event| event.event == "rolled-back").count() == 2;
        support::eventually(rolled_back).await;
        world.store.append(Epoch(2), &id(5), &StreamName::Events, 0, b"y"[..].into()).await.unwrap();

        world.components.shutdown(std::time::Duration::from_secs(5)).await;
        let World { components, store, directory } = world;
        drop((components, store));
        let world = start(directory).await;
        assert_eq!(world.serving().0, "sql", "a restart does not bring it back");
        assert!(world.store.load_session(&id(5)).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_swapped_in_can_be_gone_back_to_so_many_times_as_are_kept() {
    let world = world().await;
    for generation in 2..=9 {
        let report = world.swap(Candidate::Builtin("sql".to_owned()), None).await.unwrap();
        assert_eq!((report.record.generation, report.previous_generation), (generation, generation - 1));
    }
    let status = world.components.status();
    assert_eq!(status.persistence.earlier.iter().map(|record| record.generation).collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
    for generation in 10..=14 {
        assert_eq!(world.components.rollback(false).await.unwrap().record.generation, generation);
    }
    assert!(matches!(world.components.rollback(false).await, Err(Error::NothingEarlier)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_exchange_at_a_time() {
    let world = world().await;
    let swap = || world.swap(Candidate::Builtin("sql".to_owned()), None);
    let (one, other) = tokio::join!(swap(), swap());
    assert!(one.is_ok() != other.is_ok());
    assert!(matches!(one.and(other), Err(Error::Busy)));
}
