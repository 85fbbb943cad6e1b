//! A session's directory, and the journal of what is in it.
//!
//! A line of the journal is what makes a write take effect: the bytes of streams and files that it speaks of are durable before it. Where a file takes the
//! place of another one, it is beside it until then, the line names it, and putting it in its place is done again by whoever finds that it was not: so a
//! file and what is known of it change together, whenever the process is killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_host_adapter::{Epoch, Error, FileInfo, Result, Timestamp, log};
use serde::{Deserialize, Serialize};

use crate::disk::{self, Scratch, Stamp};
use crate::files;
use crate::journal::{self, Fold, Journal};
use crate::streams;
use crate::verbatim::Verbatim;

/// The journal's name in a session's directory.
pub(crate) const JOURNAL: &str = "index.jsonl";

/// What the names of files begin with that are to take the place of others.
const NEW: &str = ".new-";

/// A line of the journal: a write.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Line {
    /// When it was written.
    at: Timestamp,
    /// The write's epoch.
    epoch: Epoch,
    /// What is new besides the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change: Option<Change>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Change {
    /// A stream has so many bytes; what its file has beyond them does not count.
    Stream {
        name: String,
        length: u64,
        /// The file in the session's directory that takes the place of the stream's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// A workspace file is there.
    File(FileLine),
    /// A workspace file is gone.
    Removed { path: String },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FileLine {
    path: String,
    size: u64,
    sha256: String,
    created_at: Timestamp,
    modified_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extra: Option<Verbatim>,
    /// Where it is in the workspace, if it is not where its path says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored_as: Option<String>,
    /// The file in the session's directory that takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

impl FileLine {
    pub(crate) fn new(file: &File, from: Option<String>) -> Self {
        let FileInfo { path, size, sha256, created_at, modified_at, extra } = file.info.clone();
        Self { path, size, sha256, created_at, modified_at, extra: extra.map(Verbatim), stored_as: file.stored_as.clone(), from }
    }
}

/// A workspace file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) info: FileInfo,
    /// Where it is in the workspace, if it is not where its path says.
    pub(crate) stored_as: Option<String>,
}

/// What is still to be done after a line, relative to the session's directory.
#[derive(Debug)]
enum Pending {
    Put { from: String, to: PathBuf },
    Remove(PathBuf),
}

impl Pending {
    fn carry_out(&self, session: &Path) -> Result<()> {
        match self {
            // If it is not there any more, it is in its place.
            Self::Put { from, to } => disk::put(&session.join(from), &session.join(to)).map(drop),
            Self::Remove(path) => {
                let path = session.join(path);
                disk::remove_file(&path)?;
                files::remove_empty_directories(&path, session);
                Ok(())
            }
        }
    }
}

/// What a session's journal adds up to.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The highest epoch that a write carried.
    pub(crate) epoch: Epoch,
    /// Lengths.
    pub(crate) streams: BTreeMap<String, u64>,
    pub(crate) files: BTreeMap<String, File>,
    pending: Option<Pending>,
}

impl State {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self { epoch, ..Self::default() }
    }
}

impl Fold for State {
    type Line = Line;

    fn fold(&mut self, Line { epoch, change, .. }: Line) {
        // What a write under a higher epoch came before has no effect.
        if epoch < self.epoch {
            return;
        }
        self.epoch = epoch;
        self.pending = None;
        match change {
            Some(Change::Stream { name, length, from }) => {
                self.pending = from.map(|from| Pending::Put { from, to: streams::location(&name) });
                self.streams.insert(name, length);
            }
            Some(Change::File(FileLine { path, size, sha256, created_at, modified_at, extra, stored_as, from })) => {
                let info = FileInfo { path: path.clone(), size, sha256, created_at, modified_at, extra: extra.map(|extra| extra.0) };
                let file = File { info, stored_as };
                self.pending = from.map(|from| Pending::Put { from, to: files::location(&file) });
                self.files.insert(path, file);
            }
            Some(Change::Removed { path }) => {
                self.pending = self.files.remove(&path).map(|file| Pending::Remove(files::location(&file)));
            }
            None => {}
        }
    }

    fn lines(&self, at: Timestamp) -> impl Iterator<Item = Line> {
        let streams = self.streams.iter().map(|(name, length)| Change::Stream { name: name.clone(), length: *length, from: None });
        let files = self.files.values().map(|file| Change::File(FileLine::new(file, None)));
        let changes = streams.chain(files).map(Some);
        std::iter::once(None).chain(changes).map(move |change| Line { at, epoch: self.epoch, change })
    }

    fn size(&self) -> usize {
        1 + self.streams.len() + self.files.len()
    }
}

/// A session that exists.
pub(crate) struct Session {
    directory: PathBuf,
    journal: Journal<State>,
}

impl Session {
    /// In this directory. Nothing is read yet.
    pub(crate) fn new(directory: PathBuf) -> Self {
        let journal = Journal::new(directory.join(JOURNAL));
        Self { directory, journal }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn state(&self) -> &State {
        self.journal.state()
    }

    /// How much memory it takes, in lines of its journal.
    pub(crate) fn weight(&self) -> usize {
        self.state().size()
    }

    /// Reads what others have written, and does what they have left to be done. False if there is no such session.
    pub(crate) fn refresh(&mut self) -> Result<bool> {
        if !self.journal.refresh()? {
            return Ok(false);
        }
        if self.journal.lines() == 0 {
            return Err(Error::corrupt(format!("{} has no line", self.directory.join(JOURNAL).display())));
        }
        self.settle()?;
        Ok(true)
    }

    /// Refuses an epoch that is lower than one that a write carried.
    pub(crate) fn check(&self, epoch: Epoch) -> Result<()> {
        let highest = self.state().epoch;
        if epoch < highest { Err(Error::StaleEpoch(highest)) } else { Ok(()) }
    }

    /// Takes the session for a write that changes nothing else, since it was made before.
    pub(crate) fn claim(&mut self, epoch: Epoch, scratch: &Scratch) -> Result<()> {
        self.check(epoch)?;
        if epoch == self.state().epoch { self.make_durable() } else { self.write(epoch, None, scratch) }
    }

    /// Makes a change take effect.
    pub(crate) fn commit(&mut self, epoch: Epoch, change: Change, scratch: &Scratch) -> Result<()> {
        self.write(epoch, Some(change), scratch)
    }

    /// Makes durable what an instance has written that was perhaps ended before it could do that: the session itself, and the lines of its journal. What
    /// they speak of was durable before.
    fn make_durable(&mut self) -> Result<()> {
        if self.journal.is_durable() {
            return Ok(());
        }
        disk::sync_parent(&self.directory)?;
        disk::sync_directory(&self.directory)?;
        self.journal.make_durable()
    }

    fn write(&mut self, epoch: Epoch, change: Option<Change>, scratch: &Scratch) -> Result<()> {
        self.make_durable()?;
        self.journal.append([Line { at: journal::now(), epoch, change }])?;
        // Somebody may have been faster.
        self.check(epoch)?;
        self.settle()?;
        if self.journal.is_long() {
            // What was asked for is done.
            self.shorten(scratch).unwrap_or_else(|error| log::warn!("the index of {} stays long: {error:?}", self.directory.display()));
        }
        Ok(())
    }

    /// A file for what is to take the place of another one, by the name that the change must have.
    pub(crate) fn prepare(&self, bytes: &[u8]) -> Result<String> {
        let name = disk::unique(NEW);
        disk::create(&self.directory.join(&name), bytes)?;
        // It must be there as long as the line that speaks of it.
        disk::sync_directory(&self.directory)?;
        Ok(name)
    }

    /// Does what the last line has left to be done. What all lines before it have left was done before it was written.
    fn settle(&mut self) -> Result<()> {
        if self.state().pending.is_none() {
            return Ok(());
        }
        // Not before the line itself is there for good.
        self.make_durable()?;
        if let Some(pending) = &self.state().pending {
            pending.carry_out(&self.directory)?;
        }
        self.journal.state_mut().pending = None;
        Ok(())
    }

    fn shorten(&mut self, scratch: &Scratch) -> Result<()> {
        // Of writes that were broken off before they took effect. Another instance may be about one at this moment.
        for name in disk::names(&self.directory)?.iter().filter(|name| name.starts_with(NEW)) {
            let path = self.directory.join(name);
            if disk::stamp(&path)?.is_some_and(Stamp::is_left_behind) {
                disk::remove_file(&path)?;
            }
        }
        self.journal.shorten(scratch)
    }
}
