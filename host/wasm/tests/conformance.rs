//! What every store must keep, tried with each adapter that ships. A failure names the adapter.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashSet;
use std::sync::Arc;

use agent_host_session::id::{Epoch, ProfileId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{self, Error, MAX_READ_BYTES, Store};
use agent_host_session::profile::Profile;
use agent_host_session::record::{FileInfo, RecordChanges, SessionRecord, StreamName};
use agent_host_session::time::Timestamp;
use agent_host_wasm::persistence::Concurrency;
use agent_host_wasm::{Engine, PersistenceOptions, Source};
use bytes::Bytes;
use support::{FIRST, options, record, session, start, with_database};

/// The store under test, its adapter's name, and what has to live as long.
struct Subject {
    name: &'static str,
    store: Arc<dyn Store>,
    _directory: tempfile::TempDir,
}

async fn subjects() -> [Subject; 2] {
    let engine = Engine::new(options()).unwrap();
    let directory = || tempfile::tempdir().unwrap();
    let (sql, memory) = (directory(), directory());
    let sql_store = start(&engine, Source::Builtin("sql".into()), with_database(&sql.path().join("agent-host.db"))).await;
    let memory_store = start(&engine, Source::Builtin("memory".into()), PersistenceOptions::default()).await;
    assert_eq!(sql_store.info().concurrency, Concurrency::Pooled);
    assert_eq!(memory_store.info().concurrency, Concurrency::Single);
    [
        Subject { name: "sql", store: Arc::new(sql_store), _directory: sql },
        Subject { name: "memory", store: Arc::new(memory_store), _directory: memory },
    ]
}

macro_rules! conformance {
    ($($(#[$attribute:meta])* async fn $name:ident($store:ident: &dyn Store, $adapter:ident: &str) $body:block)*) => {
        $(
            $(#[$attribute])*
            #[tokio::test]
            async fn $name() {
                for subject in subjects().await {
                    let ($store, $adapter): (&dyn Store, &str) = (&*subject.store, subject.name);
                    println!("with the adapter {}", $adapter);
                    $body
                }
            }
        )*
    };
}

fn events() -> StreamName {
    StreamName::Events
}

fn all_bytes() -> Bytes {
    (0..=255_u8).collect::<Vec<_>>().repeat(40).into()
}

fn file(path: &str, content: &[u8], time: i64) -> FileInfo {
    use std::fmt::Write;
    let mut sha256 = String::new();
    for byte in sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), content)) {
        write!(sha256, "{byte:02x}").unwrap();
    }
    FileInfo {
        path: RelativePath::new(path).unwrap(),
        size: content.len() as u64,
        sha256: Some(sha256),
        created_at: Timestamp::from_millis(time),
        modified_at: Timestamp::from_millis(time + 1),
    }
}

fn profile(id: &str, name: &str) -> Profile {
    serde_json::from_value(
        serde_json::json!({"id": id, "name": name, "description": "für alle", "systemPrompt": "Be brief.\n'\"\\", "tools": ["Bash"]}),
    )
    .unwrap()
}

conformance! {
    async fn a_session_comes_back_as_it_was_created(store: &dyn Store, adapter: &str) {
        assert!(store.load_session(&session("s")).await.unwrap().is_none(), "{adapter}");
        let full = record("s", 1_795_330_039_110);
        let bare = SessionRecord { name: None, options: Default::default(), ..record("bare", 1) };
        store.create_session(Epoch(7), &full).await.unwrap();
        store.create_session(FIRST, &bare).await.unwrap();
        let snapshot = store.load_session(&full.id).await.unwrap().unwrap();
        assert_eq!(snapshot.record, full);
        assert_eq!(snapshot.epoch, Epoch(7));
        assert!(snapshot.streams.is_empty() && snapshot.files.is_empty());
        assert_eq!(store.load_session(&bare.id).await.unwrap().unwrap().record, bare);
    }

    async fn an_id_that_is_taken_is_refused_whatever_the_record(store: &dyn Store, adapter: &str) {
        store.create_session(FIRST, &record("s", 1)).await.unwrap();
        for (epoch, again) in [(FIRST, record("s", 1)), (Epoch(9), record("s", 2))] {
            assert!(matches!(store.create_session(epoch, &again).await, Err(Error::AlreadyExists(_))), "{adapter}");
        }
        assert_eq!(store.load_session(&session("s")).await.unwrap().unwrap().record, record("s", 1));
    }

    async fn an_update_changes_what_it_names_and_nothing_else(store: &dyn Store, adapter: &str) {
        let mut expected = record("s", 1);
        store.create_session(FIRST, &expected).await.unwrap();
        store.update_session(FIRST, &expected.id, &RecordChanges::default()).await.unwrap();
        assert_eq!(store.load_session(&expected.id).await.unwrap().unwrap().record, expected, "{adapter}");

        expected.last_activity = Timestamp::from_millis(99);
        let changes = RecordChanges { last_activity: Some(expected.last_activity), ..Default::default() };
        store.update_session(FIRST, &expected.id, &changes).await.unwrap();
        expected.name = Some("new".to_owned());
        expected.options.clear();
        let changes = RecordChanges { name: expected.name.clone(), options: Some(expected.options.clone()), ..Default::default() };
        store.update_session(FIRST, &expected.id, &changes).await.unwrap();
        assert_eq!(store.load_session(&expected.id).await.unwrap().unwrap().record, expected, "{adapter}");
    }

    async fn every_write_to_a_session_that_is_not_there_is_not_found(store: &dyn Store, adapter: &str) {
        let nobody = session("nobody");
        let path = RelativePath::new("a").unwrap();
        let results = [
            store.update_session(FIRST, &nobody, &RecordChanges { name: Some("x".into()), ..Default::default() }).await,
            store.append(FIRST, &nobody, &events(), 0, Bytes::from("x")).await.map(drop),
            store.replace(FIRST, &nobody, &events(), Bytes::from("x")).await.map(drop),
            store.save_file(FIRST, &nobody, &file("a", b"x", 1), Bytes::from("x")).await,
            store.read_file(&nobody, &path, 0, 10).await.map(drop),
        ];
        for (index, result) in results.into_iter().enumerate() {
            assert!(matches!(result, Err(Error::NotFound(_))), "{adapter}, write {index}: {result:?}");
        }
        store.delete_session(FIRST, &nobody).await.unwrap();
    }

    async fn every_write_with_an_older_epoch_is_refused_and_changes_nothing(store: &dyn Store, adapter: &str) {
        let (id, path) = (session("s"), RelativePath::new("a").unwrap());
        store.create_session(FIRST, &record("s", 1)).await.unwrap();
        store.append(FIRST, &id, &events(), 0, Bytes::from("one")).await.unwrap();
        store.save_file(FIRST, &id, &file("a", b"x", 1), Bytes::from("x")).await.unwrap();
        // Another host takes over by its first write, of any kind.
        store.append(Epoch(5), &id, &events(), 3, Bytes::from("two")).await.unwrap();
        let before = store.load_session(&id).await.unwrap().unwrap();
        assert_eq!(before.epoch, Epoch(5));
        let old = Epoch(4);
        let results = [
            store.update_session(old, &id, &RecordChanges { name: Some("x".into()), ..Default::default() }).await,
            store.append(old, &id, &events(), 6, Bytes::from("x")).await.map(drop),
            store.append(old, &id, &StreamName::TranscriptMain, 0, Bytes::from("x")).await.map(drop),
            store.replace(old, &id, &events(), Bytes::from("x")).await.map(drop),
            store.save_file(old, &id, &file("b", b"x", 1), Bytes::from("x")).await,
            store.save_file(old, &id, &file("a", b"y", 1), Bytes::from("y")).await,
            store.delete_file(old, &id, &path).await,
            store.delete_session(old, &id).await,
        ];
        for (index, result) in results.into_iter().enumerate() {
            assert!(matches!(result, Err(Error::StaleEpoch(Epoch(5)))), "{adapter}, write {index}: {result:?}");
        }
        assert_eq!(store.load_session(&id).await.unwrap().unwrap(), before, "{adapter}");
        assert_eq!(store.read(&id, &events(), 0, 100).await.unwrap(), "onetwo");
        assert_eq!(store.read_file(&id, &path, 0, 100).await.unwrap(), "x");
        // Every kind of write takes the session over.
        store.update_session(Epoch(6), &id, &RecordChanges::default()).await.unwrap();
        store.replace(Epoch(7), &id, &events(), Bytes::new()).await.unwrap();
        store.save_file(Epoch(8), &id, &file("a", b"y", 1), Bytes::from("y")).await.unwrap();
        store.delete_file(Epoch(9), &id, &path).await.unwrap();
        assert_eq!(store.load_session(&id).await.unwrap().unwrap().epoch, Epoch(9), "{adapter}");
    }

    async fn an_append_can_be_repeated_and_nothing_is_doubled(store: &dyn Store, adapter: &str) {
        let id = session("s");
        store.create_session(FIRST, &record("s", 1)).await.unwrap();
        let (first, second) = (all_bytes(), Bytes::from_static(b"\xff\xfe\0second"));
        let length = first.len() as u64;
        for _ in 0..3 {
            assert_eq!(store.append(FIRST, &id, &events(), 0, first.clone()).await.unwrap(), length, "{adapter}");
        }
        let whole = length + second.len() as u64;
        for _ in 0..2 {
            assert_eq!(store.append(FIRST, &id, &events(), length, second.clone()).await.unwrap(), whole);
        }
        // Late repeats: of the first, of a piece of it, and of nothing.
        assert_eq!(store.append(FIRST, &id, &events(), 0, first.clone()).await.unwrap(), whole);
        assert_eq!(store.append(FIRST, &id, &events(), 100, first.slice(100..200)).await.unwrap(), whole);
        assert_eq!(store.append(FIRST, &id, &events(), whole, Bytes::new()).await.unwrap(), whole);
        let content = store::read_stream(store, &id, &events(), 0).await.unwrap();
        assert_eq!(content, [&first[..], &second[..]].concat(), "{adapter}");
        assert_eq!(store.load_session(&id).await.unwrap().unwrap().streams, [(events(), whole)]);
    }

    async fn an_append_after_a_gap_or_over_other_bytes_is_refused_with_the_length(store: &dyn Store, adapter: &str) {
        let id = session("s");
        store.create_session(FIRST, &record("s", 1)).await.unwrap();
        assert!(matches!(store.append(FIRST, &id, &events(), 1, Bytes::from("x")).await, Err(Error::OffsetMismatch(0))), "{adapter}");
        store.append(FIRST, &id, &events(), 0, Bytes::from("0123456789")).await.unwrap();
        for (offset, data) in [(11, "x"), (1_000_000, "x"), (0, "0123456780"), (5, "x"), (9, "xy"), (0, "1")] {
            let result = store.append(FIRST, &id, &events(), offset, Bytes::from(data)).await;
            assert!(matches!(result, Err(Error::OffsetMismatch(10))), "{adapter}, {data:?} at {offset}: {result:?}");
        }
        assert_eq!(store.read(&id, &events(), 0, 100).await.unwrap(), "0123456789");
    }

    async fn a_stream_is_read_by_range(store: &dyn Store, adapter: &str) {
        let (id, content) = (session("s"), all_bytes());
        store.create_session(FIRST, &record("s", 1)).await.unwrap();
        assert!(store.read(&id, &events(), 0, 10).await.unwrap().is_empty(), "{adapter}: a stream that was never written has length 0");
        let mut offset = 0;
        for piece in content.chunks(777) {
            offset = store.append(FIRST, &id, &events(), offset, Bytes::copy_from_slice(piece)).await.unwrap();
        }
        for (from, max) in [(0, 1), (776, 2), (776, 778), (1, 10_000), (10_239, 10), (10_240, 10), (99_999, 10), (5000, 0)] {
            let from_index = (from as usize).min(content.len());
            let expected = content.slice(from_index..(from_index + max as usize).min(content.len()));
            assert_eq!(store.read(&id, &events(), from, max).await.unwrap(), expected, "{adapter}: {max} from {from}");
        }
        assert!(matches!(store.read(&id, &events(), 0, MAX_READ_BYTES + 1).await, Err(Error::Invalid(_))));
    }

    async fn streams_beyond_a_megabyte_come_back_byte_for_byte(store: &dyn Store, adapter: &str) {
        let id = session("s");
        store.create_session(FIRST, &record("s", 1)).await.unwrap();
        let content: Bytes = (0..5_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>().into();
        store.append(FIRST, &id, &StreamName::TranscriptMain, 0, content.clone()).await.unwrap();
        assert!(store::read_stream(store, &id, &StreamName::TranscriptMain, 0).await.unwrap() == content, "{adapter}: other bytes came back");
        assert!(store::read_stream(store, &id, &StreamName::TranscriptMain, 4_999_000).await.unwrap() == content[4_999_000..]);
    }

    async fn a_replaced_stream_has_only_what_replaced_it(store: &dyn Store, adapter: &str) {
        let (id, stream) = (session("s"), StreamName::TranscriptSubagent("agent-a1".into()));
        store.create_session(FIRST, &record("s", 1)).await.unwrap();
        store.append(FIRST, &id, &stream, 0, all_bytes()).await.unwrap();
        assert_eq!(store.replace(FIRST, &id, &stream, Bytes::from("short")).await.unwrap(), 5, "{adapter}");
        assert_eq!(store::read_stream(store, &id, &stream, 0).await.unwrap(), b"short");
        assert_eq!(store.append(FIRST, &id, &stream, 5, Bytes::from(" and on")).await.unwrap(), 12);
        assert_eq!(store.replace(FIRST, &id, &stream, Bytes::new()).await.unwrap(), 0);
        assert!(store.read(&id, &stream, 0, 10).await.unwrap().is_empty());
    }

    async fn streams_of_a_session_are_apart_and_the_snapshot_has_their_lengths(store: &dyn Store, adapter: &str) {
        let id = session("s");
        store.create_session(FIRST, &record("s", 1)).await.unwrap();
        store.create_session(FIRST, &record("other", 1)).await.unwrap();
        let streams = [events(), StreamName::TranscriptMain, StreamName::TranscriptSubagent("x".into())];
        for (index, stream) in streams.iter().enumerate() {
            store.append(FIRST, &id, stream, 0, Bytes::from("x".repeat(index + 1))).await.unwrap();
        }
        let mut found = store.load_session(&id).await.unwrap().unwrap().streams;
        found.sort();
        assert_eq!(found, [(streams[0].clone(), 1), (streams[1].clone(), 2), (streams[2].clone(), 3)], "{adapter}");
        assert!(store.load_session(&session("other")).await.unwrap().unwrap().streams.is_empty());
    }

    async fn files_are_bytes_by_range_with_an_index(store: &dyn Store, adapter: &str) {
        let (id, content) = (session("s"), all_bytes());
        store.create_session(FIRST, &record("s", 1)).await.unwrap();
        let (binary, empty) = (file("deep/ü 💡.bin", &content, 5), file("empty", b"", 6));
        store.save_file(FIRST, &id, &binary, content.clone()).await.unwrap();
        store.save_file(FIRST, &id, &empty, Bytes::new()).await.unwrap();
        assert_eq!(store::read_file(store, &id, &binary.path).await.unwrap(), content, "{adapter}");
        assert_eq!(store.read_file(&id, &binary.path, 250, 10).await.unwrap(), content.slice(250..260));
        assert!(store.read_file(&id, &binary.path, 1_000_000, 10).await.unwrap().is_empty());
        assert!(store.read_file(&id, &empty.path, 0, 10).await.unwrap().is_empty());
        let mut index = store.load_session(&id).await.unwrap().unwrap().files;
        index.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(index, [binary.clone(), empty.clone()], "{adapter}");

        let newer = file("deep/ü 💡.bin", b"new", 9);
        store.save_file(FIRST, &id, &newer, Bytes::from("new")).await.unwrap();
        assert_eq!(store::read_file(store, &id, &binary.path).await.unwrap(), b"new");
        store.delete_file(FIRST, &id, &empty.path).await.unwrap();
        store.delete_file(FIRST, &id, &empty.path).await.unwrap();
        assert!(matches!(store.read_file(&id, &empty.path, 0, 10).await, Err(Error::NotFound(_))));
        assert_eq!(store.load_session(&id).await.unwrap().unwrap().files, [newer]);
    }

    async fn a_file_of_megabytes_comes_back_byte_for_byte(store: &dyn Store, adapter: &str) {
        let content = Bytes::from(all_bytes().repeat(400));
        store.create_session(FIRST, &record("s", 1)).await.unwrap();
        let info = file("big", &content, 1);
        store.save_file(FIRST, &session("s"), &info, content.clone()).await.unwrap();
        assert!(store::read_file(store, &session("s"), &info.path).await.unwrap() == content, "{adapter}: other bytes came back");
    }

    async fn a_deleted_session_leaves_nothing(store: &dyn Store, adapter: &str) {
        let id = session("s");
        let info = file("a", b"x", 1);
        store.create_session(Epoch(3), &record("s", 1)).await.unwrap();
        store.append(Epoch(3), &id, &events(), 0, Bytes::from("x")).await.unwrap();
        store.save_file(Epoch(3), &id, &info, Bytes::from("x")).await.unwrap();
        store.delete_session(Epoch(3), &id).await.unwrap();
        store.delete_session(Epoch(3), &id).await.unwrap();
        assert!(store.load_session(&id).await.unwrap().is_none(), "{adapter}");
        assert!(store.list_sessions(None, 10).await.unwrap().sessions.is_empty());
        // A new one of the same name has nothing of the old.
        store.create_session(FIRST, &record("s", 2)).await.unwrap();
        let snapshot = store.load_session(&id).await.unwrap().unwrap();
        assert!(snapshot.streams.is_empty() && snapshot.files.is_empty() && snapshot.epoch == FIRST, "{adapter}: {snapshot:?}");
        assert!(store.read(&id, &events(), 0, 10).await.unwrap().is_empty());
        assert!(matches!(store.read_file(&id, &info.path, 0, 10).await, Err(Error::NotFound(_))));
    }

    async fn a_listing_shows_each_session_once_while_others_are_added(store: &dyn Store, adapter: &str) {
        // Two of three have the same creation time: the id decides.
        for index in 0..25 {
            store.create_session(FIRST, &record(&format!("s{index:02}"), 1000 + index / 3)).await.unwrap();
        }
        let (mut seen, mut cursor, mut added) = (Vec::new(), None, 0);
        loop {
            let page = store.list_sessions(cursor.as_deref(), 4).await.unwrap();
            assert!(page.sessions.len() <= 4);
            seen.extend(page.sessions);
            // One newer than all, one between those that were shown.
            store.create_session(FIRST, &record(&format!("new{added}"), 5000)).await.unwrap();
            store.create_session(FIRST, &record(&format!("s24-{added}"), 1008)).await.unwrap();
            added += 1;
            let Some(next) = page.next else { break };
            cursor = Some(next);
        }
        let order: Vec<_> = seen.iter().map(|record| (record.created_at, record.id.clone())).collect();
        assert!(order.windows(2).all(|pair| pair[0] > pair[1]), "{adapter}: not newest first: {order:?}");
        let names: HashSet<_> = order.iter().map(|(_, id)| id.to_string()).collect();
        for index in 0..25 {
            assert!(names.contains(&format!("s{index:02}")), "{adapter}: s{index:02} is missing");
        }
        assert_eq!(seen[0], record("s24", 1008), "{adapter}: the whole record is listed");
    }

    async fn a_listing_that_cannot_be_is_invalid(store: &dyn Store, adapter: &str) {
        store.create_session(FIRST, &record("s", 1)).await.unwrap();
        for (cursor, limit) in [(None, 0), (None, 1001), (Some("rubbish \0 '"), 10)] {
            let result = store.list_sessions(cursor, limit).await;
            assert!(matches!(result, Err(Error::Invalid(_))), "{adapter}, {cursor:?}, {limit}: {result:?}");
        }
        assert_eq!(store.list_sessions(None, 1000).await.unwrap().sessions.len(), 1);
    }

    async fn profiles_are_saved_listed_replaced_and_deleted(store: &dyn Store, adapter: &str) {
        assert!(store.list_profiles().await.unwrap().is_empty(), "{adapter}");
        for (id, name) in [("b", "B"), ("a", "A"), ("c", "C")] {
            store.save_profile(&profile(id, name)).await.unwrap();
        }
        store.save_profile(&profile("b", "new")).await.unwrap();
        store.delete_profile(&ProfileId::new("c").unwrap()).await.unwrap();
        store.delete_profile(&ProfileId::new("c").unwrap()).await.unwrap();
        assert_eq!(store.list_profiles().await.unwrap(), [profile("a", "A").summary(), profile("b", "new").summary()], "{adapter}");
        assert_eq!(store.load_profile(&ProfileId::new("b").unwrap()).await.unwrap(), Some(profile("b", "new")));
        assert_eq!(store.load_profile(&ProfileId::new("c").unwrap()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_there_after_everything_is_reopened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent-host.db");
    for round in 0..3_u64 {
        let engine = Engine::new(options()).unwrap();
        let store = start(&engine, Source::Builtin("sql".into()), with_database(&path)).await;
        if round == 0 {
            store.create_session(FIRST, &record("s", 1)).await.unwrap();
            store.save_file(FIRST, &session("s"), &file("a", &all_bytes(), 1), all_bytes()).await.unwrap();
            store.save_profile(&profile("p", "P")).await.unwrap();
        }
        let snapshot = store.load_session(&session("s")).await.unwrap().unwrap();
        assert_eq!(snapshot.streams, if round == 0 { vec![] } else { vec![(events(), round * 10_240)] });
        assert_eq!(store::read_file(&store, &session("s"), &RelativePath::new("a").unwrap()).await.unwrap(), all_bytes());
        assert_eq!(store.list_profiles().await.unwrap().len(), 1);
        store.append(FIRST, &session("s"), &events(), round * 10_240, all_bytes()).await.unwrap();
        // Neither the store nor the engine is shut down: they are dropped, as by a host that ends in a hurry.
    }
}

#[tokio::test]
async fn many_callers_at_once_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::new(options()).unwrap();
    let store = Arc::new(start(&engine, Source::Builtin("sql".into()), with_database(&directory.path().join("agent-host.db"))).await);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..16 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let id = session(&format!("s{number}"));
            store.create_session(FIRST, &record(id.as_str(), number)).await.unwrap();
            let mut length = 0;
            for index in 0..20 {
                length = store.append(FIRST, &id, &events(), length, Bytes::from(format!("{number}:{index}\n"))).await.unwrap();
                assert_eq!(
                    store.load_session(&id).await.unwrap().unwrap().streams,
                    [(events(), length)],
                    "a reader sees what was acknowledged"
                );
            }
            let expected: String = (0..20).map(|index| format!("{number}:{index}\n")).collect();
            assert_eq!(store::read_stream(&*store, &id, &events(), 0).await.unwrap(), expected.as_bytes());
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    // One offset, many writers: exactly one of them wins each time.
    let id = session("s0");
    let length = store.load_session(&id).await.unwrap().unwrap().streams[0].1;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (store, id) = (Arc::clone(&store), id.clone());
        tasks.spawn(async move { store.append(FIRST, &id, &events(), length, Bytes::from(format!("winner {number}"))).await });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(Error::OffsetMismatch(_)))), "{results:?}");
}
