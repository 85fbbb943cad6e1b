//! One session's file, and what of it is still to be given to the adapter.
//!
//! The session's recorder writes one thing after the other, so there is one writer; there is one reader, which gives back from the front. Files are only touched by threads
//! that may wait for a disk; what is in memory is locked for moments.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use agent_host_session::id::SessionId;
use agent_host_session::path::RelativePath;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use crate::record::{self, Contents, EncodeError, FILE_HEADER_BYTES, Found, Head, Marker};

/// A session's journal.
pub(crate) struct Lane {
    session: SessionId,
    path: PathBuf,
    marker: Marker,
    /// Whether what is written is brought to the disk at once.
    fsync: bool,
    /// Held by whoever writes the file or takes it away.
    writing: Mutex<()>,
    index: Mutex<Index>,
    /// Cancelled when everything was given back and the file is gone.
    closed: CancellationToken,
}

struct Index {
    waiting: VecDeque<Found>,
    /// Where the next record goes; 0 if there is no file yet.
    end: u64,
    /// By how much the offsets of a stream are smaller in the store than in the journal, which has lost a part of it.
    shifts: HashMap<String, u64>,
    /// Whether a part of the file was damaged.
    has_gap: bool,
}

/// Why a write is not in the journal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutError {
    /// All was given back meanwhile: the store is to be asked again.
    #[error("the journal has given back all it had")]
    Closed,
    /// The format cannot hold it.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The journal holds as much as it may.
    #[error("the journal is full")]
    Full,
    /// The disk does not take it.
    #[error("failed to write the journal: {0}")]
    Write(#[from] io::Error),
}

/// What a journal says of a workspace file.
pub(crate) enum JournaledFile {
    /// Nothing.
    Unknown,
    /// It is there, with these bytes from the offset that was asked for.
    Saved(Bytes),
    /// It is gone.
    Deleted,
}

impl Lane {
    /// A lane without a file.
    pub(crate) fn new(session: SessionId, path: PathBuf, fsync: bool) -> Self {
        let index = Index { waiting: VecDeque::new(), end: 0, shifts: HashMap::new(), has_gap: false };
        Self::with(session, path, fsync, Marker::random(), index)
    }

    /// Opens a file that an earlier process has left; `None` if it is no journal. Cuts off what was not written to its end.
    pub(crate) fn recover(session: SessionId, path: PathBuf, fsync: bool) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let Some(Contents { marker, records, damaged, end }) = record::recover(&mut BufReader::new(&file))? else { return Ok(None) };
        let size = file.metadata()?.len();
        if size > end {
            tracing::warn!(%session, path = %path.display(), at = end, bytes = size - end, "cut off the end of a journal, which was not written completely");
            file.set_len(end)?;
            file.sync_all()?;
        }
        for place in &damaged {
            tracing::error!(
                %session, path = %path.display(), from = place.start, to = place.end,
                "a part of a journal is damaged: what was written there is lost, the rest is given to the store"
            );
        }
        let index = Index { waiting: records.into(), end, shifts: HashMap::new(), has_gap: !damaged.is_empty() };
        Ok(Some(Self::with(session, path, fsync, marker, index)))
    }

    fn with(session: SessionId, path: PathBuf, fsync: bool, marker: Marker, index: Index) -> Self {
        let (writing, index) = (Mutex::new(()), Mutex::new(index));
        Self { session, path, marker, fsync, writing, index, closed: CancellationToken::new() }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock()
    }

    pub(crate) fn session(&self) -> &SessionId {
        &self.session
    }

    /// Bytes of its file.
    pub(crate) fn bytes(&self) -> u64 {
        self.index().end
    }

    /// Records that wait.
    pub(crate) fn records(&self) -> usize {
        self.index().waiting.len()
    }

    /// Waits until everything was given back.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Appends a write; it is durable when this returns. Blocks. `reserve` says whether there is room for so many more bytes.
    pub(crate) fn put(&self, head: Head, body: &[u8], reserve: impl FnOnce(u64) -> bool) -> Result<(), PutError> {
        let bytes = record::encode(self.marker, &head, body)?;
        let _writing = self.writing.lock();
        if self.closed.is_cancelled() {
            return Err(PutError::Closed);
        }
        let end = self.index().end;
        let (at, header) = if end == 0 { (FILE_HEADER_BYTES, self.marker.file_header()) } else { (end, Vec::new()) };
        let added = (header.len() + bytes.len()) as u64;
        if !reserve(added) {
            return Err(PutError::Full);
        }
        // What an attempt that failed has left behind the end is written over, or cut off when the file is read.
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&self.path)?;
        file.write_all_at(&header, 0)?;
        file.write_all_at(&bytes, at)?;
        if self.fsync {
            file.sync_data()?;
            if end == 0 {
                sync_directory(&self.path)?;
            }
        }
        let next = at + bytes.len() as u64;
        let body = next - body.len() as u64..next;
        let mut index = self.index();
        index.end = next;
        index.waiting.push_back(Found { place: at..next, head, body });
        Ok(())
    }

    /// The first record that waits.
    pub(crate) fn first(&self) -> Option<Found> {
        self.index().waiting.front().cloned()
    }

    /// The bytes of a record. Blocks.
    pub(crate) fn body(&self, found: &Found) -> io::Result<Bytes> {
        record::read_again(&mut BufReader::new(File::open(&self.path)?), self.marker, found)
    }

    /// The first record was given back.
    pub(crate) fn given_back(&self) {
        self.index().waiting.pop_front();
    }

    /// The first record cannot be read any more.
    pub(crate) fn lost_first(&self) {
        let mut index = self.index();
        index.waiting.pop_front();
        index.has_gap = true;
    }

    /// Where in the store an append goes that has `offset` in the journal.
    pub(crate) fn offset_in_store(&self, stream: &str, offset: u64) -> u64 {
        offset - self.index().shifts.get(stream).copied().unwrap_or(0).min(offset)
    }

    /// The store's stream is shorter than an append's offset. Whether that is because of a part of the file that is damaged, and the append shall be tried again.
    pub(crate) fn shift(&self, stream: &str, offset: u64, length: u64) -> bool {
        let mut index = self.index();
        // Only once: later appends follow the first one.
        let can_shift = index.has_gap && length < offset && !index.shifts.contains_key(stream);
        if can_shift {
            index.shifts.insert(stream.to_owned(), offset - length);
        }
        can_shift
    }

    /// What the journal has of a workspace file: at most `max` bytes from `offset`. Blocks.
    pub(crate) fn read_file(&self, path: &RelativePath, offset: u64, max: u32) -> io::Result<JournaledFile> {
        // The file must not go while it is read.
        let _writing = self.writing.lock();
        let body = {
            let index = self.index();
            let newest = index.waiting.iter().rev().find_map(|found| match &found.head {
                Head::SaveFile { file, .. } if file.path == *path => Some(Some(found.body.clone())),
                Head::DeleteFile { path: deleted, .. } if deleted == path => Some(None),
                _ => None,
            });
            match newest {
                None => return Ok(JournaledFile::Unknown),
                Some(None) => return Ok(JournaledFile::Deleted),
                Some(Some(body)) => body,
            }
        };
        let start = body.start.saturating_add(offset).min(body.end);
        let range: Range<u64> = start..start.saturating_add(u64::from(max)).min(body.end);
        record::read_range(&mut File::open(&self.path)?, range).map(JournaledFile::Saved)
    }

    /// Takes the file away if everything was given back, and gives the bytes that it had. `None` if there is more. Blocks.
    pub(crate) fn close(&self) -> io::Result<Option<u64>> {
        let _writing = self.writing.lock();
        if !self.index().waiting.is_empty() {
            return Ok(None);
        }
        self.remove(|path| fs::remove_file(path)).map(Some)
    }

    /// Takes the file away with all that is in it, and gives the bytes that it had. Blocks.
    pub(crate) fn discard(&self) -> io::Result<u64> {
        let _writing = self.writing.lock();
        self.index().waiting.clear();
        self.remove(|path| fs::remove_file(path))
    }

    /// Moves the file, with what the store has refused, to where an operator finds it, and gives the bytes that it had. Blocks.
    pub(crate) fn set_aside(&self, to: &Path) -> io::Result<u64> {
        let _writing = self.writing.lock();
        let bytes = self.remove(|path| fs::rename(path, to))?;
        self.index().waiting.clear();
        Ok(bytes)
    }

    fn remove(&self, remove: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<u64> {
        if self.closed.is_cancelled() {
            return Ok(0);
        }
        match remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // A file that came again after a power failure would undo what is written directly from now on.
        sync_directory(&self.path)?;
        self.closed.cancel();
        Ok(std::mem::take(&mut self.index().end))
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
