//! The persistence adapter that keeps everything in memory, for tests and demonstrations. What it stores ends with its instance.
#![forbid(unsafe_code)]

mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use agent_host_adapter::{
    Adapter, AdapterInfo, Concurrency, Config, Cursor, Epoch, Error, FileInfo, Page, ProfileSummary, Result, SessionChanges, SessionRecord,
    Snapshot, export_adapter,
};

use crate::session::{Session, range};

/// Everything that there is.
#[derive(Default)]
pub struct Memory {
    sessions: BTreeMap<String, Session>,
    /// The sessions as a listing shows them, newest first.
    order: BTreeSet<Reverse<Cursor>>,
    profiles: BTreeMap<String, (ProfileSummary, String)>,
}

export_adapter!(Memory);

impl Memory {
    fn session(&self, id: &str) -> Result<&Session> {
        self.sessions.get(id).ok_or_else(|| Error::no_such_session(id))
    }

    /// The session, if a write with `epoch` may change it.
    fn writable(&mut self, epoch: Epoch, id: &str) -> Result<&mut Session> {
        let session = self.sessions.get_mut(id).ok_or_else(|| Error::no_such_session(id))?;
        session.check(epoch)?;
        Ok(session)
    }
}

impl Adapter for Memory {
    fn open(config: &Config) -> Result<Self> {
        config.only(&[])?;
        Ok(Self::default())
    }

    fn info(&self) -> AdapterInfo {
        AdapterInfo {
            name: "memory".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            concurrency: Concurrency::Single,
            extra: None,
        }
    }

    fn health(&self) -> Result<()> {
        Ok(())
    }

    fn create_session(&mut self, epoch: Epoch, session: SessionRecord) -> Result<()> {
        if self.sessions.contains_key(&session.id) {
            return Err(Error::session_exists(&session.id));
        }
        self.order.insert(Reverse(Cursor::from(&session)));
        self.sessions.insert(session.id.clone(), Session::new(epoch, session));
        Ok(())
    }

    fn load_session(&self, id: &str) -> Result<Option<Snapshot>> {
        Ok(self.sessions.get(id).map(Session::snapshot))
    }

    fn update_session(&mut self, epoch: Epoch, id: &str, changes: SessionChanges) -> Result<()> {
        self.writable(epoch, id)?.update(epoch, changes);
        Ok(())
    }

    fn delete_session(&mut self, epoch: Epoch, id: &str) -> Result<()> {
        let Some(session) = self.sessions.get(id) else { return Ok(()) };
        session.check(epoch)?;
        self.order.remove(&Reverse(Cursor::from(session.record())));
        self.sessions.remove(id);
        Ok(())
    }

    fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page> {
        let after = match cursor {
            Some(cursor) => Bound::Excluded(Reverse(cursor.parse()?)),
            None => Bound::Unbounded,
        };
        let mut order = self.order.range((after, Bound::Unbounded));
        let sessions: Vec<_> = order
            .by_ref()
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .filter_map(|Reverse(place)| self.sessions.get(&place.id))
            .map(|session| session.record().clone())
            .collect();
        let next = order.next().and_then(|_| sessions.last().map(|last| Cursor::from(last).to_string()));
        Ok(Page { sessions, next })
    }

    fn append(&mut self, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64> {
        self.writable(epoch, session)?.append(epoch, stream, offset, data)
    }

    fn read(&self, session: &str, stream: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        Ok(self.session(session)?.read(stream, offset, max))
    }

    fn replace(&mut self, epoch: Epoch, session: &str, stream: &str, data: Vec<u8>) -> Result<u64> {
        Ok(self.writable(epoch, session)?.replace(epoch, stream, &data))
    }

    fn save_file(&mut self, epoch: Epoch, session: &str, file: FileInfo, content: Vec<u8>) -> Result<()> {
        self.writable(epoch, session)?.save_file(epoch, file, content);
        Ok(())
    }

    fn read_file(&self, session: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        let content = self.session(session)?.file(path).ok_or_else(|| Error::no_such_file(session, path))?;
        Ok(range(content, offset, max).to_vec())
    }

    fn delete_file(&mut self, epoch: Epoch, session: &str, path: &str) -> Result<()> {
        self.writable(epoch, session)?.delete_file(epoch, path);
        Ok(())
    }

    fn list_profiles(&self) -> Result<Vec<ProfileSummary>> {
        Ok(self.profiles.values().map(|(summary, _)| summary.clone()).collect())
    }

    fn load_profile(&self, id: &str) -> Result<Option<String>> {
        Ok(self.profiles.get(id).map(|(_, document)| document.clone()))
    }

    fn save_profile(&mut self, profile: ProfileSummary, document: String) -> Result<()> {
        self.profiles.insert(profile.id.clone(), (profile, document));
        Ok(())
    }

    fn delete_profile(&mut self, id: &str) -> Result<()> {
        self.profiles.remove(id);
        Ok(())
    }
}
