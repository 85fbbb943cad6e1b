//! The shipped `sql` adapter on a bad day: it fails, hangs and traps as often as a file in a granted directory says, before and after it has done its work.
//!
//! In scratch sessions, in which it is tried before it is swapped in, it does what it should. `/faults/faults` holds percentages of calls, such as `unavailable 30 hang 5 trap 1 lost 10 slow 20`: `lost` does the work and answers that it is unavailable, `slow` does it half a second later. Without the file nothing fails.

use std::cell::Cell;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adapter_sql::Sql;
use agent_host_adapter::*;

const FAULTS: &str = "/faults/faults";

struct Faulty(Sql);

export_adapter!(Faulty);

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// A number below 100. Each instance goes its own way, by the clock.
fn random() -> u64 {
    let seed = match SEED.get() {
        0 => SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64) | 1,
        seed => seed,
    };
    // xorshift64
    let seed = seed ^ (seed << 13);
    let seed = seed ^ (seed >> 7);
    let seed = seed ^ (seed << 17);
    SEED.set(seed);
    (seed >> 32) % 100
}

/// Does `work` for a session, or not.
fn call<T>(session: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    if session.starts_with("agent-host.scratch.") {
        return work();
    }
    let faults = fs::read_to_string(FAULTS).unwrap_or_default();
    let words: Vec<&str> = faults.split_whitespace().collect();
    let mut chance = random();
    for fault in words.chunks_exact(2) {
        let percent: u64 = fault[1].parse().expect("a percentage");
        if chance >= percent {
            chance -= percent;
            continue;
        }
        match fault[0] {
            "unavailable" => {}
            "lost" => drop(work()),
            "hang" => std::thread::sleep(Duration::from_secs(3600)),
            "slow" => {
                std::thread::sleep(Duration::from_millis(500));
                return work();
            }
            "trap" => panic!("as told"),
            other => panic!("there is no fault {other:?}"),
        }
        return Err(Error::Unavailable("as told".to_owned()));
    }
    work()
}

impl Adapter for Faulty {
    fn open(config: &Config) -> Result<Self> {
        Sql::open(config).map(Self)
    }

    fn info(&self) -> AdapterInfo {
        AdapterInfo { name: "faulty".to_owned(), ..self.0.info() }
    }

    fn health(&self) -> Result<()> {
        call("", || self.0.health())
    }

    fn create_session(&mut self, epoch: Epoch, session: SessionRecord) -> Result<()> {
        let id = session.id.clone();
        call(&id, || self.0.create_session(epoch, session))
    }

    fn load_session(&self, id: &str) -> Result<Option<Snapshot>> {
        call(id, || self.0.load_session(id))
    }

    fn update_session(&mut self, epoch: Epoch, id: &str, changes: SessionChanges) -> Result<()> {
        call(id, || self.0.update_session(epoch, id, changes))
    }

    fn delete_session(&mut self, epoch: Epoch, id: &str) -> Result<()> {
        call(id, || self.0.delete_session(epoch, id))
    }

    fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page> {
        call("", || self.0.list_sessions(cursor, limit))
    }

    fn append(&mut self, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64> {
        call(session, || self.0.append(epoch, session, stream, offset, data))
    }

    fn read(&self, session: &str, stream: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        call(session, || self.0.read(session, stream, offset, max))
    }

    fn replace(&mut self, epoch: Epoch, session: &str, stream: &str, data: Vec<u8>) -> Result<u64> {
        call(session, || self.0.replace(epoch, session, stream, data))
    }

    fn save_file(&mut self, epoch: Epoch, session: &str, file: FileInfo, content: Vec<u8>) -> Result<()> {
        call(session, || self.0.save_file(epoch, session, file, content))
    }

    fn read_file(&self, session: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        call(session, || self.0.read_file(session, path, offset, max))
    }

    fn delete_file(&mut self, epoch: Epoch, session: &str, path: &str) -> Result<()> {
        call(session, || self.0.delete_file(epoch, session, path))
    }

    fn list_profiles(&self) -> Result<Vec<ProfileSummary>> {
        call("", || self.0.list_profiles())
    }

    fn load_profile(&self, id: &str) -> Result<Option<String>> {
        call(id, || self.0.load_profile(id))
    }

    fn save_profile(&mut self, profile: ProfileSummary, document: String) -> Result<()> {
        call("", || self.0.save_profile(profile, document))
    }

    fn delete_profile(&mut self, id: &str) -> Result<()> {
        call(id, || self.0.delete_profile(id))
    }
}
