//! Sessions: a directory each, which comes and goes as a whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use agent_host_adapter::{Cursor, Epoch, Error, Page, Result, SessionChanges, SessionRecord, Snapshot, Timestamp, log};

use crate::disk::{self, Kind, Scratch};
use crate::listing::Listing;
use crate::session::{JOURNAL, Session, State};
use crate::{files, journal, names, record, streams};

/// The record's name in a session's directory.
const RECORD: &str = "session.json";

/// The bytes of names, options and extras after which a page ends, however short it is: what a component's memory can easily hold.
const LIST_BYTES: usize = 4 * 1024 * 1024;

/// Where sessions are.
pub(crate) struct Directories(PathBuf);

impl Directories {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where a session is, or would be.
    pub(crate) fn of(&self, id: &str) -> PathBuf {
        self.0.join(names::of_id(id))
    }

    /// The ids of all sessions that there are.
    pub(crate) fn ids(&self) -> Result<BTreeSet<String>> {
        names::ids(&self.0, "")
    }

    /// When a session's directory came or went last, in nanoseconds.
    pub(crate) fn changed(&self) -> Result<u64> {
        let stamp = disk::stamp(&self.0)?.ok_or_else(|| Error::unavailable(format!("{} is gone", self.0.display())))?;
        Ok(stamp.nanoseconds())
    }

    /// When a session was created; `None` if it cannot be read, which is told in the log.
    pub(crate) fn created_at(&self, id: &str) -> Option<Timestamp> {
        self.record(id).map(|record| record.created_at)
    }

    /// The record of a session that is to be listed; `None` if there is none. One that cannot be read must not hide all others: the log has it.
    fn record(&self, id: &str) -> Option<SessionRecord> {
        match read(&self.of(id)) {
            Ok(Some((_, record))) if record.id == id => return Some(record),
            Ok(Some((_, record))) => log::error!("the session {id} is not listed: its record is that of {:?}", record.id),
            // It was deleted meanwhile.
            Ok(None) => {}
            Err(error) => log::error!("the session {id} is not listed: {error:?}"),
        }
        None
    }
}

/// The record in a session's directory, and its text; `None` if there is none.
fn read(directory: &Path) -> Result<Option<(Vec<u8>, SessionRecord)>> {
    let path = directory.join(RECORD);
    let text = disk::read_from(&path, 0)?;
    text.map(|text| record::from_text(&text, &path).map(|record| (text, record))).transpose()
}

pub(crate) fn create(
    directories: &Directories,
    listing: &mut Listing,
    epoch: Epoch,
    session: SessionRecord,
    scratch: &Scratch,
) -> Result<()> {
    let place = Cursor::from(&session);
    let directory = directories.of(&place.id);
    // A directory in which there is nothing is no session's.
    if disk::kind(&directory)? != Kind::Nothing && !disk::remove_empty(&directory) {
        return Err(Error::session_exists(&place.id));
    }
    let known = listing.known()?;
    let new = scratch.path();
    disk::ensure_directory(&new)?;
    disk::create(&new.join(RECORD), record::to_text(session)?.as_bytes())?;
    journal::create(&new.join(JOURNAL), &State::new(epoch))?;
    disk::sync_directory(&new)?;
    match disk::put(&new, &directory) {
        Ok(true) => {}
        Ok(false) => return Err(Error::unavailable("its directory was removed before it was in its place")),
        // Another instance was faster, if there is one now.
        Err(error) => {
            scratch.discard(&new);
            return Err(if disk::kind(&directory)? == Kind::Nothing { error } else { Error::session_exists(&place.id) });
        }
    }
    listing.add(place, known);
    Ok(())
}

pub(crate) fn load(session: &Session) -> Result<Snapshot> {
    let missing = || Error::corrupt(format!("{} is not there", session.directory().join(RECORD).display()));
    let (_, record) = read(session.directory())?.ok_or_else(missing)?;
    Ok(Snapshot { epoch: session.state().epoch, session: record, streams: streams::list(session), files: files::list(session) })
}

pub(crate) fn update(session: &mut Session, epoch: Epoch, changes: SessionChanges, scratch: &Scratch) -> Result<()> {
    session.claim(epoch, scratch)?;
    let path = session.directory().join(RECORD);
    let (before, found) = read(session.directory())?.ok_or_else(|| Error::corrupt(format!("{} is not there", path.display())))?;
    let after = record::to_text(record::changed(found, changes))?;
    // That it is so already was perhaps not made durable.
    if after.as_bytes() == before { disk::sync_parent(&path) } else { scratch.replace(&path, after.as_bytes()) }
}

pub(crate) fn delete(session: &Session, listing: &mut Listing, epoch: Epoch, scratch: &Scratch) -> Result<()> {
    session.check(epoch)?;
    let found = read(session.directory());
    let known = listing.known()?;
    let bin = scratch.bin();
    // From here on there is no such session.
    disk::put(session.directory(), &bin)?;
    disk::sync_parent(session.directory())?;
    if let Ok(Some((_, record))) = &found {
        listing.remove(Cursor::from(record), known);
    }
    scratch.empty_bin();
    Ok(())
}

pub(crate) fn list(directories: &Directories, listing: &mut Listing, cursor: Option<&str>, limit: u32) -> Result<Page> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let after: Option<Cursor> = cursor.map(str::parse).transpose()?;
    let mut sessions: Vec<SessionRecord> = Vec::new();
    let mut bytes = 0;
    for place in listing.after(after.as_ref())? {
        if sessions.len() == limit || bytes >= LIST_BYTES {
            let next = sessions.last().map(|last| Cursor::from(last).to_string());
            return Ok(Page { sessions, next });
        }
        // One that was deleted and created again is at its new place.
        let Some(record) = directories.record(&place.id).filter(|record| record.created_at == place.created_at) else { continue };
        bytes += [&record.name, &record.options, &record.extra].into_iter().flatten().map(String::len).sum::<usize>();
        sessions.push(record);
    }
    Ok(Page { sessions, next: None })
}
