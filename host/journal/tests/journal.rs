//! A store that is away, comes back, loses answers, and is taken over, with a journal before it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_host_journal::{JournaledStore, Options};
use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{self, Error, Store};
use agent_host_session::record::{FileInfo, RecordChanges, SessionRecord, StreamName};
use agent_host_session::time::Timestamp;
use bytes::Bytes;
use fake_ports::store::MemoryStore;
use tempfile::TempDir;

const EPOCH: Epoch = Epoch(2);
const MEBIBYTE: u64 = 1024 * 1024;

struct Scene {
    directory: TempDir,
    behind: Arc<MemoryStore>,
    store: Arc<JournaledStore>,
}

fn options(directory: &Path, max_bytes: u64) -> Options {
    Options { directory: directory.join("journal"), max_bytes, fsync: true }
}

fn id() -> SessionId {
    SessionId::new("one").unwrap()
}

fn path(path: &str) -> RelativePath {
    RelativePath::new(path).unwrap()
}

fn file(name: &str, content: &[u8]) -> FileInfo {
    let at = Timestamp::from_millis(1);
    FileInfo { path: path(name), size: content.len() as u64, sha256: Some("0".repeat(64)), created_at: at, modified_at: at }
}

fn record(id: SessionId) -> SessionRecord {
    let at = Timestamp::from_millis(0);
    let profile = ProfileId::new("default").unwrap();
    SessionRecord {
        id,
        created_at: at,
        last_activity: at,
        profile,
        architecture: "echo".to_owned(),
        name: None,
        options: serde_json::Map::new(),
        origin: None,
    }
}

impl Scene {
    /// A store with a session whose epoch was taken.
    async fn new(max_bytes: u64) -> Self {
        let (directory, behind) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::default()));
        let store = open(&directory, &behind, max_bytes);
        store.create_session(Epoch::FIRST, &record(id())).await.unwrap();
        store.append(EPOCH, &id(), &StreamName::Events, 0, "0\n".into()).await.unwrap();
        Self { directory, behind, store }
    }

    /// The host is killed, and another one starts with what was on the disk at that moment.
    fn restart(&mut self) {
        let after = tempfile::tempdir().unwrap();
        fs::create_dir(after.path().join("journal")).unwrap();
        if let Ok(journal) = fs::read(self.journal()) {
            fs::write(after.path().join("journal/one.journal"), journal).unwrap();
        }
        self.directory = after;
        self.store = open(&self.directory, &self.behind, MEBIBYTE);
    }

    async fn append(&self, text: &'static str) -> Result<u64, Error> {
        let length = self.store.append(EPOCH, &id(), &StreamName::Events, self.expected().len() as u64, text.into()).await?;
        Ok(length)
    }

    /// What the store and the journal have of the event record together.
    fn expected(&self) -> Vec<u8> {
        let mut all = self.behind.stream(&id(), &StreamName::Events);
        if let Ok(file) = fs::read(self.journal()) {
            let contents = agent_host_journal::record::recover(&mut std::io::Cursor::new(&file)).unwrap().unwrap();
            for found in contents.records {
                all.extend_from_slice(&file[found.body.start as usize..found.body.end as usize]);
            }
        }
        all
    }

    fn journal(&self) -> std::path::PathBuf {
        self.directory.path().join("journal/one.journal")
    }

    fn refused(&self) -> usize {
        fs::read_dir(self.directory.path().join("journal/refused")).map_or(0, Iterator::count)
    }

    /// The store is back.
    async fn back(&self) {
        self.behind.fail_writes(false);
        self.settled().await;
    }

    async fn settled(&self) {
        while self.store.is_behind(&id()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn stored(&self) -> String {
        String::from_utf8(self.behind.stream(&id(), &StreamName::Events)).unwrap()
    }
}

fn open(directory: &TempDir, behind: &Arc<MemoryStore>, max_bytes: u64) -> Arc<JournaledStore> {
    JournaledStore::open(Arc::<MemoryStore>::clone(behind), options(directory.path(), max_bytes)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_loaded_session_writes_while_the_store_is_away_is_given_to_it_in_order() {
    let scene = Scene::new(MEBIBYTE).await;
    scene.behind.fail_writes(true);
    assert_eq!(scene.append("1\n").await.unwrap(), 4);
    assert_eq!(scene.append("2\n").await.unwrap(), 6);
    let changes = RecordChanges { name: Some("a name".to_owned()), ..RecordChanges::default() };
    scene.store.update_session(EPOCH, &id(), &changes).await.unwrap();
    scene.store.replace(EPOCH, &id(), &StreamName::TranscriptMain, "t".into()).await.unwrap();
    assert!(scene.store.is_behind(&id()));
    assert_eq!(scene.stored(), "0\n");

    scene.back().await;
    assert_eq!(scene.stored(), "0\n1\n2\n");
    assert_eq!(scene.behind.stream(&id(), &StreamName::TranscriptMain), b"t");
    let snapshot = scene.store.load_session(&id()).await.unwrap().unwrap();
    assert_eq!(snapshot.record.name.as_deref(), Some("a name"));
    assert!(!scene.journal().exists(), "nothing is left of the journal");
    assert_eq!(scene.append("3\n").await.unwrap(), 8);
    assert_eq!(scene.stored(), "0\n1\n2\n3\n");
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_outlives_the_host() {
    let mut scene = Scene::new(MEBIBYTE).await;
    scene.behind.fail_writes(true);
    scene.append("1\n").await.unwrap();
    scene.restart();
    // Read as it was, it would continue at a place that the journal fills later.
    assert!(matches!(scene.store.load_session(&id()).await, Err(Error::Unavailable(_))));
    scene.behind.fail_writes(false);
    let snapshot = scene.store.load_session(&id()).await.unwrap().unwrap();
    assert_eq!((snapshot.epoch, snapshot.streams), (EPOCH, vec![(StreamName::Events, 4)]));
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_epoch_the_store_has_not_seen_cannot_write_into_the_journal() {
    let scene = Scene::new(MEBIBYTE).await;
    scene.behind.fail_writes(true);
    let written = scene.store.append(EPOCH.next(), &id(), &StreamName::Events, 2, "x".into()).await;
    assert!(matches!(written, Err(Error::Unavailable(_))));
    scene.store.release(&id());
    assert!(matches!(scene.append("x").await, Err(Error::Unavailable(_))));
    assert!(!scene.journal().exists());
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_double_nothing() {
    let scene = Scene::new(MEBIBYTE).await;
    scene.behind.lose_answers(true);
    scene.store.append(EPOCH, &id(), &StreamName::Events, 2, "1\n".into()).await.unwrap();
    scene.store.append(EPOCH, &id(), &StreamName::Events, 4, "2\n".into()).await.unwrap();
    scene.behind.lose_answers(false);
    scene.settled().await;
    assert_eq!(scene.stored(), "0\n1\n2\n");
}

#[tokio::test(start_paused = true)]
async fn a_full_journal_refuses_and_drops_nothing() {
    let scene = Scene::new(4096).await;
    scene.behind.fail_writes(true);
    let piece = Bytes::from(vec![b'x'; 1000]);
    let mut offset = 2;
    let refused = loop {
        match scene.store.append(EPOCH, &id(), &StreamName::Events, offset, piece.clone()).await {
            Ok(length) => offset = length,
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, Error::Unavailable(text) if text.contains("full")), "{refused:?}");
    assert_eq!(offset, 3002, "three fit, with what stands around them");
    assert!(fs::metadata(scene.journal()).unwrap().len() <= 4096);
    assert!(scene.store.health().await.is_err(), "nothing more can be written");

    scene.back().await;
    assert_eq!(scene.store.append(EPOCH, &id(), &StreamName::Events, offset, piece).await.unwrap(), 4002);
    assert_eq!(scene.stored().len(), 4002);
    assert!(scene.store.health().await.is_ok());
    assert_eq!(scene.store.degradation(), None);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_nothing_is_survived() {
    let scene = Scene::new(MEBIBYTE).await;
    scene.behind.fail_writes(true);
    let journal = scene.directory.path().join("journal");
    fs::remove_dir(&journal).unwrap();
    fs::write(&journal, "in the way").unwrap();
    assert!(matches!(scene.append("1\n").await, Err(Error::Unavailable(_))));
    fs::remove_file(&journal).unwrap();
    fs::create_dir(&journal).unwrap();
    scene.append("1\n").await.unwrap();
    scene.back().await;
    assert_eq!(scene.stored(), "0\n1\n");
}

#[tokio::test(start_paused = true)]
async fn what_the_store_refuses_because_another_host_has_the_session_is_set_aside() {
    let scene = Scene::new(MEBIBYTE).await;
    scene.behind.fail_writes(true);
    scene.append("1\n").await.unwrap();
    let events = StreamName::Events;
    scene.behind.fail_writes(false);
    scene.behind.append(EPOCH.next(), &id(), &events, 2, "of another host\n".into()).await.unwrap();
    scene.settled().await;
    assert_eq!(scene.stored(), "0\nof another host\n");
    assert_eq!(scene.refused(), 1);
    assert!(matches!(scene.store.append(EPOCH, &id(), &events, 4, "2\n".into()).await, Err(Error::StaleEpoch(_))));
}

#[tokio::test(start_paused = true)]
async fn files_are_read_from_the_journal_and_others_from_the_store() {
    let scene = Scene::new(MEBIBYTE).await;
    let save = async |name: &'static str, content: &'static [u8]| {
        scene.store.save_file(EPOCH, &id(), &file(name, content), Bytes::from_static(content)).await.unwrap();
    };
    save("stored", b"stored").await;
    save("gone", b"gone").await;
    save("changed", b"before").await;
    scene.behind.fail_writes(true);
    save("new", b"first").await;
    save("new", b"0123456789").await;
    save("changed", b"after").await;
    save("empty", b"").await;
    scene.store.delete_file(EPOCH, &id(), &path("gone")).await.unwrap();

    let read = async |name: &str| store::read_file(scene.store.as_ref(), &id(), &path(name)).await.ok();
    let all = async || [read("stored").await, read("new").await, read("changed").await, read("empty").await, read("gone").await];
    let expected = ["stored", "0123456789", "after", ""].map(|content| Some(content.as_bytes().to_vec()));
    let expected = [expected.as_slice(), &[None]].concat();
    assert_eq!(all().await.as_slice(), expected);
    assert_eq!(scene.store.read_file(&id(), &path("new"), 3, 4).await.unwrap(), "3456");
    scene.back().await;
    assert_eq!(all().await.as_slice(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_session_takes_its_journal_along() {
    let scene = Scene::new(MEBIBYTE).await;
    scene.behind.lose_answers(true);
    scene.append("1\n").await.unwrap();
    scene.behind.lose_answers(false);
    scene.store.delete_session(EPOCH, &id()).await.unwrap();
    scene.settled().await;
    assert!(!scene.journal().exists());
    assert_eq!(scene.refused(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_damaged_record_the_rest_is_given_to_the_store() {
    let mut scene = Scene::new(MEBIBYTE).await;
    scene.behind.fail_writes(true);
    for text in ["1\n", "22\n", "3\n", "4\n"] {
        scene.append(text).await.unwrap();
    }
    scene.restart();
    let mut journal = fs::read(scene.journal()).unwrap();
    let place = journal.windows(3).position(|bytes| bytes == b"22\n").unwrap();
    journal[place] = b'X';
    // And the last one was not written to its end.
    journal.truncate(journal.len() - 1);
    fs::write(scene.journal(), journal).unwrap();
    scene.restart();
    // Its answers are lost, too, so that the rest is tried more than once.
    scene.behind.lose_answers(true);
    scene.behind.fail_writes(false);
    tokio::time::sleep(Duration::from_secs(3)).await;
    scene.behind.lose_answers(false);
    scene.settled().await;
    assert_eq!(scene.stored(), "0\n1\n3\n");
    assert_eq!(scene.refused(), 0);
}

#[tokio::test(start_paused = true)]
async fn whatever_a_store_fails_at_it_has_everything_in_the_end() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut scene = Scene::new(64 * MEBIBYTE).await;
        let mut model: BTreeMap<&str, Vec<u8>> = BTreeMap::from([("events", b"0\n".to_vec()), ("transcript/main", Vec::new())]);
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut epoch = EPOCH;
        for _ in 0..60 {
            scene.behind.fail_writes(random.u8(..4) == 0);
            scene.behind.lose_answers(random.u8(..4) == 0);
            let mut content = vec![0; random.usize(..300)];
            random.fill(&mut content);
            // Now and then the journal's threads are in the middle of something.
            if random.bool() {
                tokio::task::yield_now().await;
            }
            let name = if random.bool() { "events" } else { "transcript/main" };
            let stream = StreamName::parse(name).unwrap();
            match random.u8(..12) {
                0 => {
                    // The host is killed; the next one reads the session when the store is there, and takes it over.
                    scene.restart();
                    scene.behind.fail_writes(false);
                    scene.behind.lose_answers(false);
                    let snapshot = scene.store.load_session(&id()).await.unwrap().unwrap();
                    epoch = snapshot.epoch.next();
                    let offset = model["events"].len() as u64;
                    scene.store.append(epoch, &id(), &StreamName::Events, offset, "n".into()).await.unwrap();
                    model.get_mut("events").unwrap().push(b'n');
                }
                1 => {
                    scene.store.replace(epoch, &id(), &stream, Bytes::from(content.clone())).await.unwrap();
                    model.insert(name, content);
                }
                2..=4 => {
                    let name = random.u8(..5).to_string();
                    scene.store.save_file(epoch, &id(), &file(&name, &content), Bytes::from(content.clone())).await.unwrap();
                    files.insert(name, content);
                }
                5 => {
                    let name = random.u8(..5).to_string();
                    scene.store.delete_file(epoch, &id(), &path(&name)).await.unwrap();
                    files.remove(&name);
                }
                6 => tokio::time::sleep(Duration::from_millis(random.u64(..500))).await,
                _ => {
                    let stored = model.get_mut(name).unwrap();
                    let length =
                        scene.store.append(epoch, &id(), &stream, stored.len() as u64, Bytes::from(content.clone())).await.unwrap();
                    stored.extend(content);
                    assert_eq!(length, stored.len() as u64);
                }
            }
            for (name, content) in &files {
                let read = store::read_file(scene.store.as_ref(), &id(), &path(name)).await.unwrap();
                assert_eq!(&read, content, "seed {seed}");
            }
        }
        scene.behind.lose_answers(false);
        scene.back().await;
        for (name, content) in &model {
            assert_eq!(&scene.behind.stream(&id(), &StreamName::parse(name).unwrap()), content, "seed {seed}, {name}");
        }
        let snapshot = scene.store.load_session(&id()).await.unwrap().unwrap();
        assert_eq!(snapshot.files.len(), files.len(), "seed {seed}");
        assert_eq!(scene.refused(), 0, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_can_be_read_and_takes_no_write_is_not_well() {
    let scene = Scene::new(MEBIBYTE).await;
    scene.behind.fail_writes(true);
    let other = record(SessionId::new("two").unwrap());
    assert!(matches!(scene.store.create_session(Epoch::FIRST, &other).await, Err(Error::Unavailable(_))));
    assert!(scene.store.load_session(&id()).await.unwrap().is_some());
    assert!(scene.store.degradation().is_some(), "that it can be read does not help those who write");
    scene.behind.fail_writes(false);
    scene.store.create_session(Epoch::FIRST, &other).await.unwrap();
    assert_eq!(scene.store.degradation(), None);
}

/// A write of nobody in particular is not kept for later: whether it continues what is there only the store can say.
#[tokio::test(start_paused = true)]
async fn what_several_may_write_is_taken_by_the_store_or_by_nobody() {
    let scene = Scene::new(MEBIBYTE).await;
    let (two, stream) = (SessionId::new("two").unwrap(), StreamName::TranscriptMain);
    scene.store.create_session(Epoch::FIRST, &record(two.clone())).await.unwrap();
    scene.store.append(Epoch::FIRST, &two, &stream, 0, "1\n".into()).await.unwrap();
    scene.behind.fail_writes(true);
    for _ in 0..5 {
        let refused = scene.store.append(Epoch::FIRST, &two, &stream, 2, "2\n".into()).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    }
    assert!(!scene.store.is_behind(&two));
    scene.behind.fail_writes(false);
    scene.behind.append(Epoch::FIRST, &two, &stream, 2, "3\n".into()).await.unwrap();
    assert!(matches!(scene.store.append(Epoch::FIRST, &two, &stream, 2, "2\n".into()).await, Err(Error::OffsetMismatch(4))));
}
