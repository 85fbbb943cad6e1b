//! Copying everything from one store to another: sessions with their streams and files, and agent profiles. What was copied is read back and compared by digest.
//!
//! A copy that was broken off goes on where it was: what the target has already is compared and kept. While the source is written to, a copy is a first approach; copying
//! what has changed since, again and again, comes as close as one likes (see [`swap`](crate::swap)).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use agent_host_session::id::{ProfileId, SessionId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{self, MAX_READ_BYTES, Store};
use agent_host_session::record::{FileInfo, RecordChanges, Snapshot, StreamName};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::cache::Sha256Digest;

/// Sessions that are copied at once: enough to keep both stores busy, while each holds one piece or file in memory.
const CONCURRENCY: usize = 8;

/// Sessions in a page of a listing: the most that the contract allows.
const PAGE: u32 = 1000;

/// How often a session that changes while it is copied is begun anew, before that is left to the next round.
const TRIES: usize = 3;

/// What was copied, and what of it was there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Sessions.
    pub sessions: u64,
    /// Streams: event records and transcripts.
    pub streams: u64,
    /// Workspace files.
    pub files: u64,
    /// Agent profiles.
    pub profiles: u64,
    /// Bytes of streams and files that were written and read back.
    pub bytes: u64,
    /// Bytes that the target had already, of the same digest.
    pub kept_bytes: u64,
}

/// Whether the source is written to while it is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// It is, and somebody notes what: a session that does not keep still is left out, since it is copied again.
    GoOn,
    /// It is not.
    Rest,
}

/// Why a copy was broken off. What was copied until then stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source failed.
    #[error("failed to read {what} from the source: {error}")]
    Source {
        /// What was read.
        what: String,
        /// Why it failed.
        error: store::Error,
    },
    /// The target failed.
    #[error("failed to write {what} to the target: {error}")]
    Target {
        /// What was written.
        what: String,
        /// Why it failed.
        error: store::Error,
    },
    /// The target has sessions of its own.
    #[error("the target has the session {0}, which the source has not: everything there would have to be one or the other")]
    NotEmpty(SessionId),
    /// What the target gives back is not what was written.
    #[error("{what} is not the same in the target")]
    Differs {
        /// What was compared.
        what: String,
    },
}

/// Copies from one store to another.
pub struct Copier<'a> {
    source: &'a dyn Store,
    target: &'a dyn Store,
    totals: Mutex<Totals>,
    /// Sessions that were copied whole once.
    copied: Mutex<HashSet<SessionId>>,
    progress: &'a (dyn Fn(Totals) + Send + Sync),
}

impl<'a> Copier<'a> {
    /// `progress` is called whenever a session has been copied.
    pub fn new(source: &'a dyn Store, target: &'a dyn Store, progress: &'a (dyn Fn(Totals) + Send + Sync)) -> Self {
        Self { source, target, totals: Mutex::default(), copied: Mutex::default(), progress }
    }

    /// What was copied so far.
    pub fn totals(&self) -> Totals {
        *self.totals.lock()
    }

    /// All sessions of the source, newest first.
    ///
    /// # Errors
    /// Those of the source.
    pub async fn sessions(&self) -> Result<Vec<SessionId>, Error> {
        list(self.source).await.map_err(|error| Error::Source { what: "the list of sessions".to_owned(), error })
    }

    /// Checks that the target has nothing that the source has not: it is empty, or what an earlier copy left.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], and those of both stores.
    pub async fn check_target(&self) -> Result<(), Error> {
        let there = list(self.target).await.map_err(|error| Error::Target { what: "the list of sessions".to_owned(), error })?;
        for id in there {
            let known = self.source.load_session(&id).await.map_err(|error| Error::Source { what: format!("the session {id}"), error })?;
            if known.is_none() {
                return Err(Error::NotEmpty(id));
            }
        }
        Ok(())
    }

    /// Copies sessions, several at once. What the target has of them from an earlier copy is compared.
    ///
    /// # Errors
    /// The first that occurs.
    pub async fn copy_sessions(&self, sessions: impl IntoIterator<Item = SessionId>, writes: Writes) -> Result<(), Error> {
        self.copy_each(sessions, writes, |_| Prefix::Compare).await
    }

    /// Copies what has changed in sessions that were copied before. Streams in `replaced` are copied whole.
    ///
    /// # Errors
    /// The first that occurs.
    pub async fn copy_changes(
        &self,
        sessions: impl IntoIterator<Item = SessionId>,
        replaced: &BTreeSet<(SessionId, StreamName)>,
        writes: Writes,
    ) -> Result<(), Error> {
        let prefix = |place: &(SessionId, StreamName)| match () {
            () if replaced.contains(place) => Prefix::Replace,
            () if self.copied().contains(&place.0) => Prefix::Trust,
            () => Prefix::Compare,
        };
        self.copy_each(sessions, writes, prefix).await
    }

    async fn copy_each(
        &self,
        sessions: impl IntoIterator<Item = SessionId>,
        writes: Writes,
        prefix: impl Fn(&(SessionId, StreamName)) -> Prefix,
    ) -> Result<(), Error> {
        let prefix = &prefix;
        let copies = stream::iter(sessions.into_iter().map(|id| async move { self.copy_session(&id, writes, prefix).await }));
        copies.buffer_unordered(CONCURRENCY).try_collect::<()>().await
    }

    async fn copy_session(
        &self,
        id: &SessionId,
        writes: Writes,
        prefix: &impl Fn(&(SessionId, StreamName)) -> Prefix,
    ) -> Result<(), Error> {
        let mut tries = 1;
        loop {
            match self.try_copy_session(id, prefix).await {
                // It was written to between the look at it and the reading.
                Err(Error::Source { error: store::Error::NotFound(_), .. } | Error::Differs { .. }) if tries < TRIES => tries += 1,
                // Its turn comes again, since it is among the changes.
                Err(Error::Source { error: store::Error::NotFound(_), .. } | Error::Differs { .. }) if writes == Writes::GoOn => {
                    return Ok(());
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        if self.copied().insert(id.clone()) {
            self.count(|totals| totals.sessions += 1);
        }
        (self.progress)(self.totals());
        Ok(())
    }

    async fn try_copy_session(&self, id: &SessionId, prefix: &impl Fn(&(SessionId, StreamName)) -> Prefix) -> Result<(), Error> {
        let place = Place { copier: self, id };
        let there = self.target.load_session(id).await.map_err(|error| place.target("the record", error))?;
        let Some(wanted) = self.source.load_session(id).await.map_err(|error| place.source("the record", error))? else {
            let Some(there) = there else { return Ok(()) };
            return self.target.delete_session(there.epoch, id).await.map_err(|error| place.target("that it was deleted", error));
        };
        let there = place.record(&wanted, there).await?;
        for (name, length) in &wanted.streams {
            let has =
                there.as_ref().and_then(|there| there.streams.iter().find(|(known, _)| known == name)).map_or(0, |(_, length)| *length);
            place.stream(&wanted, name, *length, has, prefix(&(id.clone(), name.clone()))).await?;
        }
        place.files(&wanted, there.map(|there| there.files).unwrap_or_default()).await
    }

    /// Copies all agent profiles, and removes those that the source has not.
    ///
    /// # Errors
    /// Those of both stores.
    pub async fn copy_profiles(&self) -> Result<(), Error> {
        let source = |error| Error::Source { what: "the agent profiles".to_owned(), error };
        let target = |error| Error::Target { what: "the agent profiles".to_owned(), error };
        let mut extra: BTreeSet<ProfileId> =
            self.target.list_profiles().await.map_err(target)?.into_iter().map(|profile| profile.id).collect();
        for summary in self.source.list_profiles().await.map_err(source)? {
            let Some(profile) = self.source.load_profile(&summary.id).await.map_err(source)? else { continue };
            extra.remove(&profile.id);
            self.target.save_profile(&profile).await.map_err(target)?;
            let back = self.target.load_profile(&profile.id).await.map_err(target)?;
            if back.as_ref() != Some(&profile) {
                return Err(Error::Differs { what: format!("the agent profile {}", profile.id) });
            }
            self.count(|totals| totals.profiles += 1);
        }
        for id in extra {
            self.target.delete_profile(&id).await.map_err(target)?;
        }
        Ok(())
    }

    fn copied(&self) -> MutexGuard<'_, HashSet<SessionId>> {
        // A panic elsewhere cannot have left it half-changed.
        self.copied.lock()
    }

    fn count(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut self.totals.lock());
    }
}

async fn list(store: &dyn Store) -> Result<Vec<SessionId>, store::Error> {
    let (mut sessions, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = store.list_sessions(cursor.as_deref(), PAGE).await?;
        sessions.extend(page.sessions.into_iter().map(|record| record.id));
        let Some(next) = page.next else { return Ok(sessions) };
        cursor = Some(next);
    }
}

/// What is to be thought of the bytes that the target has of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prefix {
    /// This copy wrote them.
    Trust,
    /// They are the source's if their digest is the same.
    Compare,
    /// They are another stream's.
    Replace,
}

/// A session that is copied.
struct Place<'a> {
    copier: &'a Copier<'a>,
    id: &'a SessionId,
}

impl Place<'_> {
    fn source(&self, what: &str, error: store::Error) -> Error {
        Error::Source { what: format!("{what} of the session {}", self.id), error }
    }

    fn target(&self, what: &str, error: store::Error) -> Error {
        Error::Target { what: format!("{what} of the session {}", self.id), error }
    }

    fn differs(&self, what: &str) -> Error {
        Error::Differs { what: format!("{what} of the session {}", self.id) }
    }

    /// Brings the record up to date, and gives what is there of the session beside it.
    async fn record(&self, wanted: &Snapshot, there: Option<Snapshot>) -> Result<Option<Snapshot>, Error> {
        let (target, record) = (self.copier.target, &wanted.record);
        let is_same = |there: &Snapshot| {
            there.record.created_at == record.created_at
                && there.record.profile == record.profile
                && there.record.architecture == record.architecture
        };
        let there = match there {
            // Deleted and created again meanwhile.
            Some(other) if !is_same(&other) => {
                target.delete_session(other.epoch, self.id).await.map_err(|error| self.target("the record", error))?;
                None
            }
            there => there,
        };
        match &there {
            None => target.create_session(wanted.epoch, record).await.map_err(|error| self.target("the record", error))?,
            Some(known) if known.record == *record && known.epoch == wanted.epoch => {}
            Some(_) => {
                let changes = RecordChanges {
                    last_activity: Some(record.last_activity),
                    name: record.name.clone(),
                    options: Some(record.options.clone()),
                    origin: record.origin.clone(),
                };
                target.update_session(wanted.epoch, self.id, &changes).await.map_err(|error| self.target("the record", error))?;
            }
        }
        Ok(there)
    }

    /// Copies the stream up to `length`, of which the target has `has` already.
    async fn stream(&self, wanted: &Snapshot, name: &StreamName, length: u64, has: u64, prefix: Prefix) -> Result<(), Error> {
        let what = format!("the stream {}", name.to_text());
        let keeps = match prefix {
            _ if has > length => false,
            Prefix::Trust => true,
            Prefix::Replace => false,
            Prefix::Compare => {
                let source = self.digest(self.copier.source, name, 0, has).await.map_err(|error| self.source(&what, error))?;
                let target = self.digest(self.copier.target, name, 0, has).await.map_err(|error| self.target(&what, error))?;
                source == target
            }
        };
        let (mut offset, mut begins_anew) = if keeps { (has, false) } else { (0, has > 0) };
        let start = offset;
        let mut written = Sha256::new();
        while offset < length {
            let max = u32::try_from(length - offset).unwrap_or(MAX_READ_BYTES).min(MAX_READ_BYTES);
            let read = self.copier.source.read(self.id, name, offset, max).await;
            let data = read.map_err(|error| self.source(&what, error))?;
            if data.is_empty() {
                // It was replaced by a shorter one since we looked.
                return Err(self.differs(&what));
            }
            written.update(&data);
            let end = offset + data.len() as u64;
            let result = if std::mem::take(&mut begins_anew) {
                self.copier.target.replace(wanted.epoch, self.id, name, data).await
            } else {
                self.copier.target.append(wanted.epoch, self.id, name, offset, data).await
            };
            result.map_err(|error| self.target(&what, error))?;
            offset = end;
        }
        if begins_anew {
            let emptied = self.copier.target.replace(wanted.epoch, self.id, name, Bytes::new()).await;
            emptied.map_err(|error| self.target(&what, error))?;
        }
        let back = self.digest(self.copier.target, name, start, length).await.map_err(|error| self.target(&what, error))?;
        if back != <[u8; 32]>::from(written.finalize()) {
            return Err(self.differs(&what));
        }
        self.copier.count(|totals| {
            totals.streams += 1;
            totals.bytes += length - start;
            totals.kept_bytes += start;
        });
        Ok(())
    }

    /// The SHA-256 of a part of a stream; of what there is of it, if it is shorter.
    async fn digest(&self, store: &dyn Store, name: &StreamName, mut offset: u64, end: u64) -> Result<[u8; 32], store::Error> {
        let mut digest = Sha256::new();
        while offset < end {
            let max = u32::try_from(end - offset).unwrap_or(MAX_READ_BYTES).min(MAX_READ_BYTES);
            let data = store.read(self.id, name, offset, max).await?;
            if data.is_empty() {
                break;
            }
            digest.update(&data);
            offset += data.len() as u64;
        }
        Ok(digest.finalize().into())
    }

    async fn files(&self, wanted: &Snapshot, there: Vec<FileInfo>) -> Result<(), Error> {
        let mut there: BTreeMap<RelativePath, FileInfo> = there.into_iter().map(|file| (file.path.clone(), file)).collect();
        for file in &wanted.files {
            let what = format!("the file {}", file.path);
            if there.remove(&file.path).as_ref() == Some(file) {
                self.copier.count(|totals| {
                    totals.files += 1;
                    totals.kept_bytes += file.size;
                });
                continue;
            }
            let content = store::read_file(self.copier.source, self.id, &file.path).await.map_err(|error| self.source(&what, error))?;
            if Some(Sha256Digest::of(&content).to_string()) != file.sha256 {
                return Err(self.differs(&what));
            }
            let saved = self.copier.target.save_file(wanted.epoch, self.id, file, content.into()).await;
            saved.map_err(|error| self.target(&what, error))?;
            let back = store::read_file(self.copier.target, self.id, &file.path).await.map_err(|error| self.target(&what, error))?;
            if Some(Sha256Digest::of(&back).to_string()) != file.sha256 {
                return Err(self.differs(&what));
            }
            self.copier.count(|totals| {
                totals.files += 1;
                totals.bytes += file.size;
            });
        }
        for path in there.into_keys() {
            let deleted = self.copier.target.delete_file(wanted.epoch, self.id, &path).await;
            deleted.map_err(|error| self.target(&format!("that the file {path} was deleted"), error))?;
        }
        Ok(())
    }
}
