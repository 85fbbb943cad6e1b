//! Sessions whose agents run outside of the host, which keeps their transcripts: written, read and listed by the programs that run them, and adopted by the host.
//!
//! Nothing of such a session is in memory, and no host has it: programs append under the epoch of the creation, and the store itself says by the offset who was first. Adopting a session
//! takes the next epoch, so that what a program still appends is refused by the store, also where it comes by another host.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Create, Error, ListChange, Listed, Manager, SlotGuard, TRIES, import, leases};
use crate::event::{Event, Runtime};
use crate::id::{Epoch, ProfileId, SessionId};
use crate::origin::{self, Origin};
use crate::ports::store::{self, MAX_READ_BYTES};
use crate::record::{RecordChanges, SessionRecord, Snapshot, StreamName};
use crate::recorder::Write;
use crate::task::{self, Command};
use crate::time::Timestamp;

/// Pages of the store that one list looks through: so an answer comes in time however many sessions are others'.
const LIST_PAGES: usize = 10;

/// Sessions in each, the most that a store gives.
const LIST_PAGE: u32 = 1000;

/// Transcripts of a session that are read to show its conversation, in bytes: it is done for each request, since nothing of such a session is kept in memory. A larger one is shown when it is adopted.
const SHOWN_BYTES: u64 = 8 * 1024 * 1024;

/// A session that a program outside of the host keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Its id in the host.
    pub id: SessionId,
    /// The program's names of it.
    pub origin: Origin,
    /// When it was created.
    pub created_at: Timestamp,
    /// When something was last added to one of its transcripts.
    pub modified_at: Timestamp,
}

/// Some of the sessions of a project.
#[derive(Clone, Debug)]
pub struct KeptListing {
    /// The sessions.
    pub sessions: Vec<Kept>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// A transcript, of which nothing is read yet.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// Whose it is.
    pub session: SessionId,
    /// Which one.
    pub stream: StreamName,
    /// Bytes.
    pub length: u64,
}

impl Kept {
    fn of(record: SessionRecord) -> Option<Self> {
        let SessionRecord { id, created_at, last_activity, origin, .. } = record;
        Some(Self { id, origin: origin?, created_at, modified_at: last_activity })
    }
}

fn id_of(origin: &Origin) -> Result<SessionId, Error> {
    origin.host_id().map_err(|error| Error::Invalid(error.to_string()))
}

/// What the store says to a write from outside.
fn refused(id: &SessionId, error: store::Error) -> Error {
    match error {
        store::Error::OffsetMismatch(length) => Error::OffsetMismatch(length),
        store::Error::StaleEpoch(_) => Error::Adopted(id.clone()),
        error => error.into(),
    }
}

fn transcripts(snapshot: &Snapshot) -> impl Iterator<Item = (&StreamName, u64)> {
    snapshot.streams.iter().filter(|(stream, length)| stream.is_transcript() && *length > 0).map(|(stream, length)| (stream, *length))
}

impl Manager {
    /// Adds whole lines to a transcript that a program outside of the host keeps, at `offset`, and gives its new length in bytes. Bytes that are there already are a success. The first
    /// append, at offset 0, creates the session, of this profile and architecture.
    ///
    /// # Errors
    /// `OffsetMismatch` with the present length if the transcript does not continue there with this; if the host has adopted the session; if a session that would be created cannot be; those of the store,
    /// after which the same append may be repeated.
    pub async fn append_outside(
        &self,
        origin: &Origin,
        stream: &StreamName,
        offset: u64,
        data: Bytes,
        agent: (ProfileId, String),
    ) -> Result<u64, Error> {
        self.check_open()?;
        let id = id_of(origin)?;
        let store = &self.context.store;
        let appended = match store.append(Epoch::FIRST, &id, stream, offset, data.clone()).await {
            Err(store::Error::NotFound(_)) if offset == 0 => {
                self.create_outside(id.clone(), origin, agent).await?;
                store.append(Epoch::FIRST, &id, stream, offset, data.clone()).await
            }
            Err(store::Error::NotFound(_)) => return Err(Error::OffsetMismatch(0)),
            appended => appended,
        };
        let length = appended.map_err(|error| refused(&id, error))?;
        self.context.metrics.stored(&Write::Append { stream: stream.clone(), data });
        self.has_changed(&id).await?;
        Ok(length)
    }

    async fn create_outside(&self, id: SessionId, origin: &Origin, (profile, architecture): (ProfileId, String)) -> Result<(), Error> {
        let create = Create { id: None, profile, architecture, name: None, options: serde_json::Map::new() };
        let mut record = self.new_record(create).await?;
        record.id = id;
        record.origin = Some(Origin { adopted: false, ..origin.clone() });
        if self.context.hooks.wants().sessions {
            self.decide_on(&mut record).await?;
        }
        match self.context.store.create_session(Epoch::FIRST, &record).await {
            Ok(()) => {
                drop(self.context.changes.send(ListChange::Updated(Arc::new(Listed { record, runtime: Runtime::default() }))));
                Ok(())
            }
            // Another append was faster.
            Err(store::Error::AlreadyExists(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes the time of a change that is stored.
    async fn has_changed(&self, id: &SessionId) -> Result<(), Error> {
        let changes = RecordChanges { last_activity: Some(self.context.environment.now()), ..RecordChanges::default() };
        match self.context.store.update_session(Epoch::FIRST, id, &changes).await {
            // Deleted or adopted since, which has its own time.
            Ok(()) | Err(store::Error::NotFound(_) | store::Error::StaleEpoch(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A part of the sessions of a project, newest first; perhaps of none while there are more. Costs a look at the records of all sessions of the store that are as new.
    ///
    /// # Errors
    /// Those of the store; a cursor that it did not give is `Invalid`.
    pub async fn list_outside(&self, project_key: &str, mut cursor: Option<String>) -> Result<KeptListing, Error> {
        let mut sessions = Vec::new();
        for _ in 0..LIST_PAGES {
            let page = self.context.store.list_sessions(cursor.as_deref(), LIST_PAGE).await?;
            sessions.extend(page.sessions.into_iter().filter_map(Kept::of).filter(|kept| kept.origin.project_key == project_key));
            cursor = page.next;
            if cursor.is_none() || sessions.len() >= LIST_PAGE as usize {
                break;
            }
        }
        Ok(KeptListing { sessions, next: cursor })
    }

    /// A session that a program outside of the host keeps, or kept before it was adopted, with its transcripts and their lengths in bytes, the main one first.
    ///
    /// # Errors
    /// If there is no such session, or the store fails.
    pub async fn outside(&self, origin: &Origin) -> Result<(Kept, Vec<(StreamName, u64)>), Error> {
        let id = id_of(origin)?;
        let snapshot = self.context.store.load_session(&id).await?.ok_or_else(|| Error::SessionNotFound(id.clone()))?;
        let mut streams: Vec<_> = transcripts(&snapshot).map(|(stream, length)| (stream.clone(), length)).collect();
        streams.sort();
        let kept = Kept::of(snapshot.record).ok_or(Error::SessionNotFound(id))?;
        Ok((kept, streams))
    }

    /// A transcript to be read.
    ///
    /// # Errors
    /// If there is no such session or transcript, or the store fails.
    pub async fn transcript(&self, origin: &Origin, stream: &StreamName) -> Result<Transcript, Error> {
        let (kept, streams) = self.outside(origin).await?;
        match streams.into_iter().find(|(other, _)| other == stream) {
            Some((stream, length)) => Ok(Transcript { session: kept.id, stream, length }),
            None => Err(Error::TranscriptNotFound(kept.id)),
        }
    }

    /// Bytes of a transcript from `offset`: a piece, none at its end as it was when it was asked for.
    ///
    /// # Errors
    /// `OffsetMismatch` if it ends before `offset`; if it is gone meanwhile, or the store fails.
    pub async fn read_transcript(&self, transcript: &Transcript, offset: u64) -> Result<Bytes, Error> {
        let left = transcript.length.checked_sub(offset).ok_or(Error::OffsetMismatch(transcript.length))?;
        if left == 0 {
            return Ok(Bytes::new());
        }
        let max = u32::try_from(left).unwrap_or(MAX_READ_BYTES).min(MAX_READ_BYTES);
        let piece = self.context.store.read(&transcript.session, &transcript.stream, offset, max).await?;
        if piece.is_empty() { Err(Error::TranscriptNotFound(transcript.session.clone())) } else { Ok(piece) }
    }

    /// Removes one transcript of a session that a program outside of the host keeps. One that does not exist is a success.
    ///
    /// # Errors
    /// If the host has adopted the session, or the store fails.
    pub async fn delete_transcript(&self, origin: &Origin, stream: &StreamName) -> Result<(), Error> {
        self.check_open()?;
        let id = id_of(origin)?;
        match self.context.store.replace(Epoch::FIRST, &id, stream, Bytes::new()).await {
            Ok(_) => self.has_changed(&id).await,
            Err(store::Error::NotFound(_)) => Ok(()),
            Err(error) => Err(refused(&id, error)),
        }
    }

    /// Removes a session that a program outside of the host keeps, with its transcripts. One that does not exist is a success.
    ///
    /// # Errors
    /// If the host has adopted the session, or the store fails.
    pub async fn delete_outside(&self, origin: &Origin) -> Result<(), Error> {
        let runs_outside = |record: &SessionRecord| if record.runs_outside() { Ok(()) } else { Err(Error::Adopted(record.id.clone())) };
        match self.delete_if(&id_of(origin)?, runs_outside).await {
            // What is to be gone is gone.
            Err(Error::SessionNotFound(_)) => Ok(()),
            deleted => deleted,
        }
    }

    /// Makes a session that a program outside of the host keeps one that the host runs: its conversation becomes blocks, its next message goes on with it, and what the program still appends is refused.
    /// One that is adopted already stays as it is.
    ///
    /// # Errors
    /// If there is no such session, it is the host's own, its transcripts are none that its architecture can read, another host has it, or the store fails.
    pub async fn adopt(&self, id: &SessionId) -> Result<SessionRecord, Error> {
        self.check_open()?;
        for _ in 0..TRIES {
            let _guard = SlotGuard { sessions: &self.sessions, id };
            let slot = Arc::clone(&self.sessions.entry(id.clone()).or_default());
            // Nobody can load the session as long as this holds its place.
            match slot.get_or_try_init(|| async { Err(self.adopt_stored(id).await) }).await {
                Err(result) => return result,
                // Whoever has loaded it has found it adopted.
                Ok(handle) => match handle.ask(|reply| Command::State { reply }).await {
                    Ok(state) => return state.and_then(|state| check_adopted(state.record)),
                    Err(task::Unloading) => self.wait_for_end(id, handle).await?,
                },
            }
        }
        Err(Error::Busy(id.clone()))
    }

    async fn adopt_stored(&self, id: &SessionId) -> Result<SessionRecord, Error> {
        let snapshot = self.context.store.load_session(id).await?.ok_or_else(|| Error::SessionNotFound(id.clone()))?;
        if !snapshot.record.runs_outside() {
            return check_adopted(snapshot.record);
        }
        // What could not be read must stay with the program that can.
        self.events_of(&snapshot).await?;
        self.acquire(id).await?;
        let adopted = self.keeping(id, self.adopt_acquired(id)).await;
        self.context.store.release(id);
        leases::release(&self.context, id).await;
        let record = adopted?;
        drop(self.context.changes.send(ListChange::Updated(Arc::new(Listed { record: record.clone(), runtime: Runtime::default() }))));
        Ok(record)
    }

    /// A host that ends in the middle leaves a session that is no program's any more and not adopted yet: adopting it once more does all of this again.
    async fn adopt_acquired(&self, id: &SessionId) -> Result<SessionRecord, Error> {
        let store = self.context.store.as_ref();
        let found = async || store.load_session(id).await?.ok_or_else(|| Error::SessionNotFound(id.clone()));
        let before = found().await?;
        if !before.record.runs_outside() {
            // Another host was faster, before this one had the lease, and what has happened there since is in the events.
            return check_adopted(before.record);
        }
        let epoch = before.epoch.next();
        store.update_session(epoch, id, &RecordChanges::default()).await?;
        // From here on the transcripts stay as they are.
        let snapshot = found().await?;
        let events = self.events_of(&snapshot).await?;
        let mut record = snapshot.record;
        store.replace(epoch, id, &StreamName::Events, Bytes::new()).await?;
        import::store_events(store, epoch, &record, &events).await?;
        if let Some(origin) = &mut record.origin {
            origin.adopted = true;
        }
        store.update_session(epoch, id, &RecordChanges { origin: record.origin.clone(), ..RecordChanges::default() }).await?;
        Ok(record)
    }

    async fn events_of(&self, snapshot: &Snapshot) -> Result<Vec<Event>, Error> {
        let record = &snapshot.record;
        let mut contents = BTreeMap::new();
        for (stream, _) in transcripts(snapshot) {
            let content = store::read_stream(self.context.store.as_ref(), &record.id, stream, 0).await?;
            contents.insert(stream.clone(), Bytes::from(content));
        }
        self.architecture(&record.architecture)?.import(&contents).map_err(|error| Error::Invalid(error.to_string()))
    }

    /// Folds the transcripts of a session into its state whose agent runs outside, and which has no event record.
    pub(super) async fn show_outside(&self, id: &SessionId, loaded: &mut task::Loaded) -> Result<(), Error> {
        let record = &loaded.state.record;
        if !record.runs_outside() {
            return Ok(());
        }
        let streams = loaded.lengths.iter().map(|(stream, length)| (stream.clone(), *length)).collect();
        let snapshot = Snapshot { epoch: loaded.epoch, record: record.clone(), streams, files: Vec::new() };
        let length: u64 = transcripts(&snapshot).map(|(_, length)| length).sum();
        if length > SHOWN_BYTES {
            tracing::debug!(session = %id, length, "the transcripts from outside are too large to be shown");
            return Ok(());
        }
        match self.events_of(&snapshot).await {
            Ok(events) => events.iter().for_each(|event| loaded.state.apply(event)),
            Err(error @ (Error::Invalid(_) | Error::UnknownArchitecture { .. })) => {
                tracing::debug!(session = %id, %error, "the transcripts from outside hold nothing to show")
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Refuses to load a session whose agent runs outside: a host that has it would keep the program out.
    pub(super) async fn check_runs_here(&self, id: &SessionId) -> Result<(), Error> {
        // No other session costs a look.
        if !origin::is_outside(id) {
            return Ok(());
        }
        match self.context.store.load_session(id).await? {
            Some(snapshot) if snapshot.record.runs_outside() => Err(Error::RunsOutside(id.clone())),
            Some(_) | None => Ok(()),
        }
    }
}

fn check_adopted(record: SessionRecord) -> Result<SessionRecord, Error> {
    match &record.origin {
        Some(_) => Ok(record),
        None => Err(Error::Invalid(format!("session {:?} is the host's own", record.id))),
    }
}
