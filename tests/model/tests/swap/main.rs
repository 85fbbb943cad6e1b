//! How one adapter takes the place of another: no call fails for it, nothing that was written is missing in the store that it is moved to, and what serves is never ended.
//!
//! These are the files of `host/wasm` themselves, with other primitives (`sync`) and with generations over stores in memory: built with that crate, they would need wasmtime.

mod cache;
#[allow(dead_code, unreachable_pub, reason = "the whole room, of which a part is looked at")]
#[path = "../../../../host/wasm/src/copy.rs"]
mod copy;
mod generation;
#[allow(dead_code, reason = "the whole room, of which a part is looked at")]
#[path = "../../../../host/wasm/src/swap/migration.rs"]
mod migration;
mod smoke;
#[allow(dead_code, reason = "the whole room, of which a part is looked at")]
#[path = "../../../../host/wasm/src/swap/switch.rs"]
mod switch;
mod sync;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_host_model::{holds, is_found};
use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{Error, Store as _};
use agent_host_session::record::{FileInfo, Options, SessionRecord, StreamName};
use agent_host_session::time::Timestamp;
use bytes::Bytes;
use fake_ports::store::MemoryStore;
use futures_util::FutureExt as _;
use shuttle::future::{block_on, yield_now};
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::thread;

use self::cache::Sha256Digest;
use self::generation::Generation;
use self::switch::Switch;

const EPOCH: Epoch = Epoch(1);

const IDS: [&str; 2] = ["a", "b"];

/// What each session has written before.
const FIRST: &[u8] = b"first\n";

/// Writes of each session, which takes its time between them.
const WRITES: usize = 6;

/// How often others go on between two writes, at most: about as often as a migration needs for a session.
const PAUSE: usize = 30;

fn time() -> Timestamp {
    Timestamp::from_millis(1_000)
}

fn record(id: &str) -> SessionRecord {
    SessionRecord {
        id: SessionId::new(id).unwrap(),
        created_at: time(),
        last_activity: time(),
        profile: ProfileId::new("p").unwrap(),
        architecture: "echo".to_owned(),
        name: None,
        options: Options::new(),
        origin: None,
    }
}

/// A store with two sessions in it that have a line of events.
fn store() -> Arc<MemoryStore> {
    let store = MemoryStore::default();
    let written = async {
        for id in IDS {
            store.create_session(EPOCH, &record(id)).await?;
            store.append(EPOCH, &SessionId::new(id).unwrap(), &StreamName::Events, 0, Bytes::from_static(FIRST)).await?;
        }
        Ok::<_, Error>(())
    };
    written.now_or_never().expect("nothing waits in memory").unwrap();
    Arc::new(store)
}

/// What a session has written, as far as its writes were acknowledged.
#[derive(Debug, PartialEq)]
struct Written {
    events: Vec<u8>,
    file: Option<Vec<u8>>,
}

/// A session that writes a few times, as its task does: one write after the other. Gives what was acknowledged, and how many writes failed.
async fn session(switch: &Switch, id: &str) -> (Written, usize) {
    let (session, path) = (SessionId::new(id).unwrap(), RelativePath::new("f").unwrap());
    let (mut written, mut failed) = (Written { events: FIRST.to_vec(), file: None }, 0);
    for number in 0..WRITES {
        for _ in 0..thread_rng().gen_range(0..PAUSE) {
            yield_now().await;
        }
        let result = match thread_rng().gen_range(0..4) {
            0 => {
                let events = format!("{number} anew\n").into_bytes();
                let result = switch.replace(EPOCH, &session, &StreamName::Events, Bytes::from(events.clone())).await;
                result.map(|_| written.events = events)
            }
            1 => {
                let content = format!("content {number}").into_bytes();
                let sha256 = Some(Sha256Digest::of(&content).to_string());
                let file = FileInfo { path: path.clone(), size: content.len() as u64, sha256, created_at: time(), modified_at: time() };
                let result = switch.save_file(EPOCH, &session, &file, Bytes::from(content.clone())).await;
                result.map(|()| written.file = Some(content))
            }
            _ => {
                let (line, offset) = (format!("{number} more\n").into_bytes(), written.events.len() as u64);
                let result = switch.append(EPOCH, &session, &StreamName::Events, offset, Bytes::from(line.clone())).await;
                result.map(|_| written.events.extend_from_slice(&line))
            }
        };
        failed += usize::from(result.is_err());
    }
    (written, failed)
}

/// Two sessions that write at the same time.
fn sessions(switch: &Arc<Switch>) -> [thread::JoinHandle<(Written, usize)>; 2] {
    IDS.map(|id| {
        let switch = Arc::clone(switch);
        thread::spawn(move || block_on(session(&switch, id)))
    })
}

fn stored(store: &MemoryStore, id: &str) -> Written {
    let session = SessionId::new(id).unwrap();
    let file = store.file(&session, "f").map(|content| content.to_vec());
    Written { events: store.stream(&session, &StreamName::Events), file }
}

/// Sessions write while everything is copied to another store, which serves from then on.
fn migration() {
    let (from, to) = (store(), Arc::new(MemoryStore::default()));
    let (switch, _rolled_back) = Switch::new(Generation::over(&from, true));
    let switch = Arc::new(switch);
    let sessions = sessions(&switch);
    let next = Generation::over(&to, true);
    let is_migrated = block_on(async {
        let Ok(copied) = migration::copy_all(&switch, &next.persistence, &|_| ()).await else { return false };
        // That it serves is remembered on disk before it does.
        yield_now().await;
        switch.publish(Arc::clone(&next), None);
        drop(copied.held);
        true
    });
    switch.stop_watching();
    let serving = if is_migrated { &to } else { &from };
    MIGRATED.fetch_add(usize::from(is_migrated), Ordering::Relaxed);
    for (id, session) in IDS.into_iter().zip(sessions) {
        let (written, failed) = session.join().unwrap();
        assert_eq!(failed, 0, "a write is not in the store that serves: it failed");
        assert_eq!(stored(serving, id), written, "what was acknowledged is not in the store that serves");
    }
}

/// How many migrations were not given up.
static MIGRATED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn everything_that_was_acknowledged_is_in_the_store_that_a_migration_ends_with() {
    holds(migration);
    let migrated = MIGRATED.load(Ordering::Relaxed);
    assert!(migrated > 0, "no migration came to its end");
    println!("{migrated} of them came to their end");
}

#[test]
fn a_migration_that_does_not_hold_the_writes_is_found() {
    is_found("is not in the store that serves", || {
        sync::GATE_IS_OPEN.set(true);
        migration();
    });
}

/// Another generation over the same store takes over, and the one before is ended when its standby is over and it does not serve again. `ends_anyway` is a bug: it is not asked
/// whether it does.
fn exchange(works: bool, ends_anyway: bool) {
    let store = store();
    let previous = Generation::over(&store, true);
    let (switch, mut rolled_back) = Switch::new(Arc::clone(&previous));
    let switch = Arc::new(switch);
    let sessions = sessions(&switch);
    let next = Generation::over(&store, works);
    let replaced = switch.publish(Arc::clone(&next), Some(1));
    assert!(Arc::ptr_eq(&replaced, &previous));
    if !switch.needs(&replaced, true) || ends_anyway {
        replaced.persistence.shut_down();
    }
    let mut all_failed = 0;
    for (id, session) in IDS.into_iter().zip(sessions) {
        let (written, failed) = session.join().unwrap();
        assert_eq!(stored(&store, id), written);
        all_failed += failed;
    }
    let serving = switch.current();
    assert!(!serving.persistence.is_shut(), "what serves was ended");
    let is_back = Arc::ptr_eq(&serving, &previous);
    assert_eq!(rolled_back.try_recv().is_ok(), is_back, "a rollback is told");
    assert!(is_back || Arc::ptr_eq(&serving, &next));
    // If the standby was over before anything had failed, what does not work stays.
    assert!(all_failed == 0 || (!works && !is_back), "{all_failed} calls failed");
}

#[test]
fn no_call_fails_because_its_adapter_is_exchanged() {
    holds(|| exchange(true, false));
}

#[test]
fn an_adapter_that_does_not_work_gives_way_to_the_one_before_before_that_has_ended() {
    holds(|| exchange(false, false));
}

#[test]
fn ending_an_adapter_that_serves_again_is_found() {
    is_found("was ended", || exchange(false, true));
}
