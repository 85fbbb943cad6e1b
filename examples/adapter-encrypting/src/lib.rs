//! A persistence adapter in front of another one, which stores what is in sessions encrypted, whatever the other one stores it in.
//!
//! It keeps nothing itself: it encrypts what it is given, calls the adapter behind it, and decrypts what that gives back. The `README.md` says what remains
//! readable, and against whom it helps.
//!
//! - `keys`: the operator's keys, and encryption for a place.
//! - `place`: what is sealed along, so that nothing can be put elsewhere.
//! - `frame`, `content`: streams and files as frames in pages, written and read.
//! - `text`, `records`: names, JSON documents, and which fields of records they are.
//! - `streams`, `hints`: appends and reads, and where to look first.

mod content;
mod frame;
mod hints;
mod keys;
mod place;
mod records;
mod streams;
#[cfg(test)]
mod tests;
mod text;

use std::env::{self, VarError};

use agent_host_adapter::inner::Inner;
use agent_host_adapter::{
    Adapter, AdapterInfo, Config, Epoch, Error, FileInfo, Lease, Leases, Owner, Page, ProfileSummary, Result, SessionChanges,
    SessionRecord, Snapshot, StreamInfo, export_adapter, log,
};

use crate::content::Content;
use crate::frame::Tail;
use crate::hints::Hints;
use crate::keys::Keyring;
use crate::place::Place;

/// The environment variable with the keys.
const KEYS: &str = "ENCRYPTION_KEYS";

/// How often a session is loaded anew because it was changed meanwhile.
const TRIES: u32 = 32;

/// An adapter around another one.
pub struct Encrypting<I> {
    inner: I,
    keys: Keyring,
    hints: Hints,
}

#[cfg(feature = "leases")]
export_adapter!(Encrypting<Inner>, leases);

#[cfg(not(feature = "leases"))]
export_adapter!(Encrypting<Inner>);

impl<I: Adapter> Encrypting<I> {
    /// Around an adapter that is open.
    fn around(inner: I, keys: Keyring) -> Result<Self> {
        let this = Self { inner, keys, hints: Hints::default() };
        this.check_keys()?;
        let AdapterInfo { name, version, .. } = this.inner.info();
        log::debug!("what {name} {version} stores is encrypted with the key {}", this.keys.id());
        Ok(this)
    }

    /// Whether what was written last can be read: so somebody who gives the wrong key, or the wrong store, is told before anything is written.
    fn check_keys(&self) -> Result<()> {
        let newest = self.inner.list_sessions(None, 1)?.sessions.into_iter().next();
        let checked = match newest {
            Some(session) => {
                let what = format!("session {:?}", session.id);
                records::open_session(&self.keys, session).map(drop).map_err(|error| (what, error))
            }
            None => match self.inner.list_profiles()?.into_iter().next() {
                Some(profile) => {
                    let what = format!("profile {:?}", profile.id);
                    records::open_profile(&self.keys, profile).map(drop).map_err(|error| (what, error))
                }
                None => Ok(()),
            },
        };
        checked.map_err(|(what, error)| match error {
            Error::Corrupt(text) | Error::Other(text) => {
                Error::invalid(format!("the store has a {what} that cannot be read with the keys in {KEYS}: {text}"))
            }
            error => error,
        })
    }

    /// A session as the inner adapter has it, decrypted.
    fn decrypt(&self, snapshot: Snapshot) -> Result<Snapshot> {
        let Snapshot { epoch, session, streams, files } = snapshot;
        let id = session.id.clone();
        let length = |StreamInfo { name, length }| {
            let Tail { plain, .. } = self.tail_at(&id, &name, length)?;
            Ok(StreamInfo { name, length: plain })
        };
        Ok(Snapshot {
            epoch,
            streams: streams.into_iter().map(length).collect::<Result<_>>()?,
            files: files.into_iter().map(|file| records::open_file(&self.keys, &id, file)).collect::<Result<_>>()?,
            session: records::open_session(&self.keys, session)?,
        })
    }
}

impl<I: Adapter> Adapter for Encrypting<I> {
    fn open(config: &Config) -> Result<Self> {
        let text = env::var(KEYS).map_err(|error| match error {
            VarError::NotPresent => Error::invalid(format!("the environment variable {KEYS} is not granted")),
            VarError::NotUnicode(_) => Error::invalid(format!("the environment variable {KEYS} is no text")),
        })?;
        let keys = Keyring::parse(&text).map_err(|error| match error {
            Error::Invalid(text) => Error::invalid(format!("the environment variable {KEYS} is invalid: {text}")),
            error => error,
        })?;
        Self::around(I::open(config)?, keys)
    }

    fn info(&self) -> AdapterInfo {
        let AdapterInfo { name, concurrency, extra, .. } = self.inner.info();
        AdapterInfo { name: format!("encrypting+{name}"), version: env!("CARGO_PKG_VERSION").to_owned(), concurrency, extra }
    }

    fn health(&self) -> Result<()> {
        self.inner.health()
    }

    fn create_session(&mut self, epoch: Epoch, session: SessionRecord) -> Result<()> {
        self.inner.create_session(epoch, records::seal_session(&self.keys, session)?)
    }

    fn load_session(&self, id: &str) -> Result<Option<Snapshot>> {
        let mut found = self.inner.load_session(id)?;
        for _ in 0..TRIES {
            let Some(snapshot) = found else { return Ok(None) };
            let streams = snapshot.streams.clone();
            match self.decrypt(snapshot) {
                Ok(snapshot) => return Ok(Some(snapshot)),
                // The ends of streams are read one after the other, and may be others by then.
                Err(error @ (Error::Corrupt(_) | Error::NotFound(_))) => {
                    found = self.inner.load_session(id)?;
                    if found.as_ref().is_some_and(|found| found.streams == streams) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable("others were writing the session all the time"))
    }

    fn update_session(&mut self, epoch: Epoch, id: &str, changes: SessionChanges) -> Result<()> {
        self.inner.update_session(epoch, id, records::seal_changes(&self.keys, id, changes)?)
    }

    fn delete_session(&mut self, epoch: Epoch, id: &str) -> Result<()> {
        self.inner.delete_session(epoch, id)
    }

    fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page> {
        let Page { sessions, next } = self.inner.list_sessions(cursor, limit)?;
        let sessions = sessions.into_iter().map(|session| records::open_session(&self.keys, session)).collect::<Result<_>>()?;
        Ok(Page { sessions, next })
    }

    fn append(&mut self, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64> {
        self.append_encrypted(epoch, session, stream, offset, data)
    }

    fn read(&self, session: &str, stream: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        self.read_decrypted(session, stream, offset, max as usize)
    }

    fn replace(&mut self, epoch: Epoch, session: &str, stream: &str, data: Vec<u8>) -> Result<u64> {
        self.replace_encrypted(epoch, session, stream, &data)
    }

    fn save_file(&mut self, epoch: Epoch, session: &str, file: FileInfo, content: Vec<u8>) -> Result<()> {
        let stored = frame::write(&self.keys, &Place::file(session, &file.path), &Tail::default(), &content, true)?;
        drop(content);
        let file = records::seal_file(&self.keys, session, file, &stored)?;
        self.inner.save_file(epoch, session, file, stored)
    }

    fn read_file(&self, session: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        let read = |offset, max| self.inner.read_file(session, path, offset, max);
        let content = Content { keys: &self.keys, place: Place::file(session, path), read: &read, is_file: true };
        // It takes several reads, between which the file may be saved again: only what is wrong twice is.
        let (bytes, _) = match content.read(offset, max as usize, None) {
            Err(Error::Corrupt(_)) => content.read(offset, max as usize, None)?,
            read => read?,
        };
        Ok(bytes)
    }

    fn delete_file(&mut self, epoch: Epoch, session: &str, path: &str) -> Result<()> {
        self.inner.delete_file(epoch, session, path)
    }

    fn list_profiles(&self) -> Result<Vec<ProfileSummary>> {
        self.inner.list_profiles()?.into_iter().map(|profile| records::open_profile(&self.keys, profile)).collect()
    }

    fn load_profile(&self, id: &str) -> Result<Option<String>> {
        let sealed = self.inner.load_profile(id)?;
        sealed.map(|sealed| text::open_json(&self.keys, &records::document(id), &sealed)).transpose()
    }

    fn save_profile(&mut self, profile: ProfileSummary, document: String) -> Result<()> {
        let document = text::seal_json(&self.keys, &records::document(&profile.id), &document)?;
        self.inner.save_profile(records::seal_profile(&self.keys, profile)?, document)
    }

    fn delete_profile(&mut self, id: &str) -> Result<()> {
        self.inner.delete_profile(id)
    }
}

impl<I: Leases> Leases for Encrypting<I> {
    fn acquire_lease(&mut self, session: &str, owner: Owner, ttl: u64) -> Result<Lease> {
        self.inner.acquire_lease(session, owner, ttl)
    }

    fn renew_leases(&mut self, owner: &str, ttl: u64, sessions: Vec<String>) -> Result<Vec<String>> {
        self.inner.renew_leases(owner, ttl, sessions)
    }

    fn release_lease(&mut self, session: &str, owner: &str) -> Result<()> {
        self.inner.release_lease(session, owner)
    }

    fn lease(&self, session: &str) -> Result<Option<Lease>> {
        self.inner.lease(session)
    }
}
