//! The store: one for all hosts, which outlives them, and its faults. Each host speaks to it through a connection of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{Error, Lease, Owner, Store};
use agent_host_session::profile::{Profile, ProfileSummary};
use agent_host_session::record::{FileInfo, Page, RecordChanges, SessionRecord, Snapshot, StreamName};
use async_trait::async_trait;
use bytes::Bytes;
use fake_ports::store::MemoryStore;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::life::Pulse;
use crate::observed::Observed;
use crate::world::{Bug, Promise, World, note};

/// What a deletion writes.
const ENDS: &str = "the end";

/// What takes the epoch, and does no harm to another process that takes the same one.
const NOTHING: &str = "nothing but the epoch";

/// How the store is at the moment, in percent of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weather {
    /// Refused with `unavailable`, without effect.
    pub(crate) fails: u32,
    /// With effect, but answered with `unavailable`.
    pub(crate) loses_answers: u32,
    /// An append to the event record takes effect in part, which a store that is not atomic may leave behind.
    pub(crate) tears: u32,
    /// Answered after a while.
    pub(crate) is_slow: u32,
    /// Answered with `unavailable` after so long that everybody else gave up before.
    pub(crate) hangs: u32,
}

/// What happens to one call.
enum Fate {
    Served(Duration),
    Fails,
    LosesAnswer,
    Tears,
    Hangs { has_effect: bool, time: Duration },
}

/// When each host last read and last wrote a session, in the order of these things.
#[derive(Default)]
struct Claims {
    clock: u64,
    loaded: BTreeMap<(SessionId, String), u64>,
    written: BTreeMap<(SessionId, String), (u64, Epoch)>,
}

/// The store that all hosts share. Without leases there is one host at a time, and what it had under way ends with it.
pub(crate) struct SharedStore {
    world: Arc<World>,
    pub(crate) has_leases: bool,
    pub(crate) memory: MemoryStore,
    pub(crate) observed: Mutex<BTreeMap<SessionId, Observed>>,
    weather: Mutex<Weather>,
    claims: Mutex<Claims>,
}

impl SharedStore {
    pub(crate) fn new(world: &Arc<World>) -> Arc<Self> {
        let memory = MemoryStore::default();
        memory.add_profile(Profile::named(ProfileId::new("default").unwrap(), "Default"));
        Arc::new(Self {
            has_leases: world.chance(70),
            world: Arc::clone(world),
            memory,
            observed: Mutex::default(),
            weather: Mutex::default(),
            claims: Mutex::default(),
        })
    }

    pub(crate) fn weather(&self, weather: Weather) {
        note!(self.world, "store: {weather:?}");
        *self.weather.lock() = weather;
    }

    pub(crate) fn is_fine(&self) -> bool {
        *self.weather.lock() == Weather::default()
    }

    /// What is stored of a session's events.
    pub(crate) fn observed<T>(&self, session: &SessionId, look: impl FnOnce(&Observed) -> T) -> T {
        look(self.observed.lock().entry(session.clone()).or_default())
    }

    fn fate(&self, is_append: bool) -> Fate {
        let weather = *self.weather.lock();
        let mut dice = u32::try_from(self.world.below(100)).unwrap_or(0);
        let mut falls = |percent: u32| {
            let hit = dice < percent;
            dice = dice.wrapping_sub(percent);
            hit
        };
        if falls(weather.fails) {
            Fate::Fails
        } else if falls(weather.loses_answers) {
            Fate::LosesAnswer
        } else if falls(weather.tears) {
            if is_append { Fate::Tears } else { Fate::Fails }
        } else if falls(weather.hangs) {
            Fate::Hangs { has_effect: self.world.chance(50), time: Duration::from_secs(20) + self.world.millis(40_000) }
        } else if falls(weather.is_slow) {
            Fate::Served(self.world.millis(3_000))
        } else if self.world.chance(20) {
            Fate::Served(self.world.millis(20))
        } else {
            Fate::Served(Duration::ZERO)
        }
    }

    /// A host reads a session.
    fn loaded(&self, session: &SessionId, host: &str) {
        let claims = &mut *self.claims.lock();
        claims.clock += 1;
        claims.loaded.insert((session.clone(), host.to_owned()), claims.clock);
    }

    /// A write of a host took effect: no other may have written since this one has read the session, under the same epoch or a newer one.
    fn written(&self, session: &SessionId, host: &str, epoch: Epoch, what: &str) {
        let claims = &mut *self.claims.lock();
        claims.clock += 1;
        let loaded = claims.loaded.get(&(session.clone(), host.to_owned())).copied().unwrap_or(0);
        let other = claims.written.iter().find(|((of, by), (at, taken))| of == session && by != host && *at > loaded && *taken >= epoch);
        if let Some(((_, other), (_, taken))) = other {
            let text =
                format!("{host} wrote {what} of {session} under epoch {epoch} after {other} had taken the session over with epoch {taken}");
            self.world.violated(Promise::OneWriter, text);
        }
        claims.written.insert((session.clone(), host.to_owned()), (claims.clock, epoch));
    }
}

/// A host's connection to the store.
pub(crate) struct Connection {
    pub(crate) shared: Arc<SharedStore>,
    pub(crate) host: String,
    pub(crate) pulse: Pulse,
}

fn unavailable(what: &str) -> Error {
    Error::Unavailable(what.to_owned())
}

/// What a call does to the store, and gives.
type Effect<T> = Box<dyn FnOnce(&SharedStore) -> Result<T, Error> + Send>;

impl Connection {
    async fn read<T: Send + 'static>(&self, effect: impl FnOnce(&MemoryStore) -> Result<T, Error> + Send) -> Result<T, Error> {
        self.pulse.pass().await;
        let result = match self.shared.fate(false) {
            Fate::Served(time) => {
                self.wait(time).await;
                effect(&self.shared.memory)
            }
            Fate::Fails | Fate::LosesAnswer | Fate::Tears => Err(unavailable("it fails")),
            Fate::Hangs { time, .. } => {
                self.wait(time).await;
                Err(unavailable("it did not answer in time"))
            }
        };
        self.pulse.pass().await;
        result
    }

    async fn wait(&self, time: Duration) {
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        } else if self.shared.world.chance(30) {
            tokio::task::yield_now().await;
        }
    }

    async fn write<T: Send + 'static>(&self, what: String, torn: Option<Effect<T>>, effect: Effect<T>) -> Result<T, Error> {
        self.pulse.pass().await;
        let shared = &self.shared;
        let result = match shared.fate(torn.is_some()) {
            Fate::Served(time) if time.is_zero() => {
                self.wait(time).await;
                effect(shared)
            }
            Fate::Served(time) => {
                let (sender, answer) = oneshot::channel();
                let (shared, pulse) = (Arc::clone(shared), self.pulse.clone());
                tokio::spawn(async move {
                    let served = tokio::time::sleep(time);
                    tokio::pin!(served);
                    tokio::select! {
                        biased;
                        () = &mut served => {}
                        // A store that can refuse it may get it when the host has ended.
                        () = pulse.killed() => if shared.has_leases {
                            served.await;
                        } else if shared.world.chance(50) {
                            return;
                        }
                    }
                    drop(sender.send(effect(&shared)));
                });
                answer.await.unwrap_or_else(|_| Err(unavailable("the connection broke")))
            }
            Fate::Fails => Err(unavailable("it fails")),
            Fate::LosesAnswer => effect(shared).and_then(|_| Err(unavailable("the answer was lost"))),
            Fate::Tears => torn.unwrap_or(effect)(shared).and_then(|_| Err(unavailable("it failed in the middle"))),
            Fate::Hangs { has_effect, time } => {
                let done = if has_effect { effect(shared).map(drop) } else { Ok(()) };
                self.wait(time).await;
                done.and_then(|()| Err(unavailable("it did not answer in time")))
            }
        };
        note!(shared.world, "{} -> store: {what}: {}", self.host, result.as_ref().err().map_or("done".to_owned(), Error::to_string));
        self.pulse.pass().await;
        result
    }

    /// The epoch that the store is told.
    fn told(&self, epoch: Epoch, session: &SessionId) -> Epoch {
        match self.shared.world.bug {
            Some(Bug::WritesWithoutEpoch) => self.shared.memory.epoch(session).unwrap_or(epoch),
            _ => epoch,
        }
    }

    /// A write to a session, as an effect that is looked at.
    fn effect<T: Send + 'static>(
        &self,
        epoch: Epoch,
        session: &SessionId,
        what: &str,
        write: impl FnOnce(&MemoryStore, Epoch) -> Result<T, Error> + Send + 'static,
    ) -> Effect<T> {
        let (told, session, host, what) = (self.told(epoch, session), session.clone(), self.host.clone(), what.to_owned());
        Box::new(move |shared| {
            let is_gone = shared.memory.epoch(&session).is_none();
            let result = write(&shared.memory, told);
            // To end what has ended changes nothing.
            if result.is_ok() && what != NOTHING && !(is_gone && what == ENDS) {
                shared.written(&session, &host, epoch, &what);
            }
            result
        })
    }

    fn append_effect(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, offset: u64, data: Bytes) -> Effect<u64> {
        let (id, name) = (session.clone(), stream.clone());
        let append = self.effect(epoch, session, &stream.to_text(), {
            let (id, name) = (id.clone(), name.clone());
            move |memory, epoch| at_once(memory.append(epoch, &id, &name, offset, data))
        });
        Box::new(move |shared| {
            let result = append(shared);
            if name == StreamName::Events {
                let record = shared.memory.stream(&id, &name);
                shared.observed.lock().entry(id).or_default().take_in(&record);
            }
            result
        })
    }
}

/// The answer of a store in memory, which never waits.
fn at_once<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    answer.now_or_never().unwrap_or_else(|| Err(unavailable("a store in memory waited")))
}

#[async_trait]
impl Store for Connection {
    async fn health(&self) -> Result<(), Error> {
        self.read(|memory| at_once(memory.health())).await
    }

    async fn create_session(&self, epoch: Epoch, record: &SessionRecord) -> Result<(), Error> {
        let (what, record) = (format!("create {}", record.id), record.clone());
        self.write(what, None, Box::new(move |shared| at_once(shared.memory.create_session(epoch, &record)))).await
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Snapshot>, Error> {
        self.read(|memory| {
            self.shared.loaded(id, &self.host);
            at_once(memory.load_session(id))
        })
        .await
    }

    async fn update_session(&self, epoch: Epoch, id: &SessionId, changes: &RecordChanges) -> Result<(), Error> {
        let what = format!("update {id} under {epoch}");
        let (session, changes) = (id.clone(), changes.clone());
        let kind = if changes == RecordChanges::default() { NOTHING } else { "the row" };
        let effect = self.effect(epoch, id, kind, move |memory, epoch| at_once(memory.update_session(epoch, &session, &changes)));
        self.write(what, None, effect).await
    }

    async fn delete_session(&self, epoch: Epoch, id: &SessionId) -> Result<(), Error> {
        let session = id.clone();
        let effect = self.effect(epoch, id, ENDS, move |memory, epoch| at_once(memory.delete_session(epoch, &session)));
        self.write(format!("delete {id} under {epoch}"), None, effect).await
    }

    async fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page, Error> {
        self.read(|memory| at_once(memory.list_sessions(cursor, limit))).await
    }

    async fn append(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, offset: u64, data: Bytes) -> Result<u64, Error> {
        let what = format!("append {} bytes to {} of {session} at {offset} under {epoch}", data.len(), stream.to_text());
        if self.shared.world.bug == Some(Bug::AcknowledgesBeforeStored) {
            let (effect, shared) = (self.append_effect(epoch, session, stream, offset, data.clone()), Arc::clone(&self.shared));
            let time = self.shared.world.millis(50);
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                drop(effect(&shared));
            });
            return Ok(offset + data.len() as u64);
        }
        let torn = (*stream == StreamName::Events).then(|| {
            let part = data.slice(..self.shared.world.below(data.len().max(1)));
            self.append_effect(epoch, session, stream, offset, part)
        });
        self.write(what, torn, self.append_effect(epoch, session, stream, offset, data)).await
    }

    async fn read(&self, session: &SessionId, stream: &StreamName, offset: u64, max: u32) -> Result<Bytes, Error> {
        Self::read(self, |memory| at_once(memory.read(session, stream, offset, max))).await
    }

    async fn replace(&self, epoch: Epoch, session: &SessionId, stream: &StreamName, data: Bytes) -> Result<u64, Error> {
        let (id, name) = (session.clone(), stream.clone());
        let effect = self.effect(epoch, session, "a stream", move |memory, epoch| at_once(memory.replace(epoch, &id, &name, data)));
        self.write(format!("replace {} of {session} under {epoch}", stream.to_text()), None, effect).await
    }

    async fn save_file(&self, epoch: Epoch, session: &SessionId, file: &FileInfo, content: Bytes) -> Result<(), Error> {
        let what = format!("save {} of {session} under {epoch}", file.path);
        let (id, file) = (session.clone(), file.clone());
        let effect = self.effect(epoch, session, "a file", move |memory, epoch| at_once(memory.save_file(epoch, &id, &file, content)));
        self.write(what, None, effect).await
    }

    async fn read_file(&self, session: &SessionId, path: &RelativePath, offset: u64, max: u32) -> Result<Bytes, Error> {
        Self::read(self, |memory| at_once(memory.read_file(session, path, offset, max))).await
    }

    async fn delete_file(&self, epoch: Epoch, session: &SessionId, path: &RelativePath) -> Result<(), Error> {
        let what = format!("remove {path} of {session} under {epoch}");
        let (id, path) = (session.clone(), path.clone());
        let effect = self.effect(epoch, session, "a file", move |memory, epoch| at_once(memory.delete_file(epoch, &id, &path)));
        self.write(what, None, effect).await
    }

    async fn acquire_lease(&self, session: &SessionId, owner: &Owner, ttl: Duration) -> Result<Lease, Error> {
        let (what, id, owner) = (format!("take {session}"), session.clone(), owner.clone());
        self.write(what, None, Box::new(move |shared| at_once(shared.memory.acquire_lease(&id, &owner, ttl)))).await
    }

    async fn renew_leases(&self, owner: &str, ttl: Duration, sessions: &[SessionId]) -> Result<Vec<SessionId>, Error> {
        let (what, owner, sessions) = (format!("keep {} sessions", sessions.len()), owner.to_owned(), sessions.to_vec());
        self.write(what, None, Box::new(move |shared| at_once(shared.memory.renew_leases(&owner, ttl, &sessions)))).await
    }

    async fn release_lease(&self, session: &SessionId, owner: &str) -> Result<(), Error> {
        let (what, id, owner) = (format!("give {session} back"), session.clone(), owner.to_owned());
        self.write(what, None, Box::new(move |shared| at_once(shared.memory.release_lease(&id, &owner)))).await
    }

    async fn lease(&self, session: &SessionId) -> Result<Option<Lease>, Error> {
        Self::read(self, |memory| at_once(memory.lease(session))).await
    }

    async fn list_profiles(&self) -> Result<Vec<ProfileSummary>, Error> {
        self.read(|memory| at_once(memory.list_profiles())).await
    }

    async fn load_profile(&self, id: &ProfileId) -> Result<Option<Profile>, Error> {
        self.read(|memory| at_once(memory.load_profile(id))).await
    }

    async fn save_profile(&self, profile: &Profile) -> Result<(), Error> {
        self.read(|memory| at_once(memory.save_profile(profile))).await
    }

    async fn delete_profile(&self, id: &ProfileId) -> Result<(), Error> {
        self.read(|memory| at_once(memory.delete_profile(id))).await
    }
}
