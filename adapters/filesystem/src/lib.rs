//! The persistence adapter that keeps everything as plain, readable files in a directory that the host grants.
//!
//! ```text
//! sessions/<id>/session.json                 the record
//! sessions/<id>/index.jsonl                  what counts of all else: epoch, lengths of streams, workspace files; a line for each write
//! sessions/<id>/events.jsonl                 a stream's bytes
//! sessions/<id>/transcripts/<name>.jsonl
//! sessions/<id>/workspace/<path>             a workspace file
//! profiles/<id>.json
//! .agent-host/                               the order of sessions, which is derived, and what is not finished
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | `root` | the granted directory: what is where, and how it comes to be |
//! | `names` | names and paths as names in the directory |
//! | `disk` | steps on files and directories, and what makes them durable |
//! | `journal` | a file of lines that is only added to, and what they add up to |
//! | `session`, `cache` | a session's journal, and those that were used last |
//! | `record`, `verbatim` | a session's record as a file |
//! | `listing` | the order of sessions |
//! | `sessions`, `streams`, `files`, `profiles` | the contract |
#![forbid(unsafe_code)]

mod cache;
mod disk;
mod files;
mod journal;
mod listing;
mod names;
mod profiles;
mod record;
mod root;
mod session;
mod sessions;
mod streams;
#[cfg(test)]
mod tests;
mod verbatim;

use std::cell::RefCell;
use std::path::Path;

use agent_host_adapter::{
    Adapter, AdapterInfo, Concurrency, Config, Epoch, Error, FileInfo, Page, ProfileSummary, Result, SessionChanges, SessionRecord,
    Snapshot, export_adapter,
};

use crate::cache::Cache;
use crate::disk::Scratch;
use crate::listing::Listing;
use crate::root::Root;
use crate::session::Session;
use crate::sessions::Directories;

/// The configuration key that names the granted directory, as the component sees it.
const DIRECTORY_KEY: &str = "directory";

/// The granted directory, if the configuration names none.
const DEFAULT_DIRECTORY: &str = "/data";

/// The adapter. What it holds in memory is what it has read last, and is compared with the files before it is used.
pub struct FileSystem {
    root: Root,
    directories: Directories,
    scratch: Scratch,
    listing: RefCell<Listing>,
    cache: RefCell<Cache>,
}

export_adapter!(FileSystem);

impl FileSystem {
    fn open_at(path: &Path) -> Result<Self> {
        let root = Root::open(path)?;
        let listing = RefCell::new(Listing::open(root.listing(), root.sessions(), root.scratch())?);
        Ok(Self { directories: root.sessions(), scratch: root.scratch(), root, listing, cache: RefCell::default() })
    }

    /// Does something with a session as it is now; `None` if there is none.
    fn with_session<T>(&self, id: &str, call: impl FnOnce(&mut Session) -> Result<T>) -> Result<Option<T>> {
        let known = self.cache.borrow_mut().take(id);
        let mut session = known.unwrap_or_else(|| Session::new(self.directories.of(id)));
        if !session.refresh()? {
            return Ok(None);
        }
        let result = call(&mut session);
        self.cache.borrow_mut().put(id, session);
        result.map(Some)
    }

    /// Does something with a session that must be there.
    fn in_session<T>(&self, id: &str, call: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        self.with_session(id, call)?.ok_or_else(|| Error::no_such_session(id))
    }
}

impl Adapter for FileSystem {
    fn open(config: &Config) -> Result<Self> {
        config.only(&[DIRECTORY_KEY])?;
        Self::open_at(Path::new(config.get(DIRECTORY_KEY).unwrap_or(DEFAULT_DIRECTORY)))
    }

    fn info(&self) -> AdapterInfo {
        AdapterInfo {
            name: "filesystem".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // There are no locks in WASI, and a lock that is a file outlasts an instance that is ended.
            concurrency: Concurrency::Single,
            extra: None,
        }
    }

    fn health(&self) -> Result<()> {
        self.root.check()?;
        self.scratch.empty_bin();
        Ok(())
    }

    fn create_session(&mut self, epoch: Epoch, session: SessionRecord) -> Result<()> {
        sessions::create(&self.directories, self.listing.get_mut(), epoch, session, &self.scratch)
    }

    fn load_session(&self, id: &str) -> Result<Option<Snapshot>> {
        self.with_session(id, |session| sessions::load(session))
    }

    fn update_session(&mut self, epoch: Epoch, id: &str, changes: SessionChanges) -> Result<()> {
        self.in_session(id, |session| sessions::update(session, epoch, changes, &self.scratch))
    }

    fn delete_session(&mut self, epoch: Epoch, id: &str) -> Result<()> {
        let deleted = self.with_session(id, |session| sessions::delete(session, &mut self.listing.borrow_mut(), epoch, &self.scratch))?;
        match deleted {
            Some(()) => drop(self.cache.get_mut().take(id)),
            // That it is gone was perhaps not made durable.
            None => disk::sync_directory(self.directories.path())?,
        }
        Ok(())
    }

    fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page> {
        sessions::list(&self.directories, &mut self.listing.borrow_mut(), cursor, limit)
    }

    fn append(&mut self, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64> {
        self.in_session(session, |session| streams::append(session, epoch, stream, offset, data, &self.scratch))
    }

    fn read(&self, session: &str, stream: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        self.in_session(session, |session| streams::read(session, stream, offset, max))
    }

    fn replace(&mut self, epoch: Epoch, session: &str, stream: &str, data: Vec<u8>) -> Result<u64> {
        self.in_session(session, |session| streams::replace(session, epoch, stream, &data, &self.scratch))
    }

    fn save_file(&mut self, epoch: Epoch, session: &str, file: FileInfo, content: Vec<u8>) -> Result<()> {
        self.in_session(session, |session| files::save(session, epoch, file, &content, &self.scratch))
    }

    fn read_file(&self, session: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        self.in_session(session, |there| files::read(there, session, path, offset, max))
    }

    fn delete_file(&mut self, epoch: Epoch, session: &str, path: &str) -> Result<()> {
        self.in_session(session, |session| files::delete(session, epoch, path, &self.scratch))
    }

    fn list_profiles(&self) -> Result<Vec<ProfileSummary>> {
        profiles::list(&self.root.profiles())
    }

    fn load_profile(&self, id: &str) -> Result<Option<String>> {
        profiles::load(&self.root.profiles(), id)
    }

    fn save_profile(&mut self, profile: ProfileSummary, document: String) -> Result<()> {
        profiles::save(&self.root.profiles(), profile, document, &self.scratch)
    }

    fn delete_profile(&mut self, id: &str) -> Result<()> {
        profiles::delete(&self.root.profiles(), id)
    }
}
