//! What a journal's file looks like.
//!
//! ```text
//! file    = "agent-host journal 1\n" marker record*
//! marker  = 16 random bytes, the file's own
//! record  = marker length checksum payload
//! payload = head-length head body
//! ```
//!
//! Lengths are unsigned 32-bit numbers and the checksum is a CRC-32 of all of the record that is not marker or checksum, all little-endian; `length` counts the payload. The head is a [`Head`] in JSON, the body
//! the bytes of a stream or file.
//!
//! A record that is damaged is passed over by looking for the next marker. That is why the marker is random: a workspace file that is stored in a journal can hold
//! anything, also what looks like a record, but it cannot know the marker.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use agent_host_session::id::Epoch;
use agent_host_session::origin::Origin;
use agent_host_session::path::RelativePath;
use agent_host_session::record::{FileInfo, Options, RecordChanges, StreamName};
use agent_host_session::time::Timestamp;
use bytes::Bytes;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const TITLE: &[u8] = b"agent-host journal 1\n";

const MARKER_BYTES: usize = 16;

/// What stands before the first record.
pub const FILE_HEADER_BYTES: u64 = (TITLE.len() + MARKER_BYTES) as u64;

/// What stands before a record's payload: marker, length and checksum.
pub const RECORD_HEADER_BYTES: u64 = MARKER_BYTES as u64 + 8;

/// A head is a path, options (which have a limit of their own) or less.
const MAX_HEAD_BYTES: u32 = 16 * 1024 * 1024;

/// How much of a file is held in memory while it is looked through.
const PIECE: usize = 64 * 1024;

/// Tells the records of one file from everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker([u8; MARKER_BYTES]);

impl Marker {
    /// One that nobody can guess.
    pub fn random() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }

    /// How the file begins.
    pub fn file_header(&self) -> Vec<u8> {
        [TITLE, &self.0].concat()
    }
}

/// A write, without the bytes that are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "write", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Head {
    /// The body goes to the end of a stream.
    Append {
        /// Under which epoch.
        epoch: Epoch,
        /// The stream's name in the store.
        stream: String,
        /// How long the stream was before.
        offset: u64,
    },
    /// The body is put in the place of all that a stream had.
    Replace {
        /// Under which epoch.
        epoch: Epoch,
        /// The stream's name in the store.
        stream: String,
    },
    /// A workspace file with the body as its contents.
    SaveFile {
        /// Under which epoch.
        epoch: Epoch,
        /// The file.
        file: FileInfo,
    },
    /// A workspace file is gone.
    DeleteFile {
        /// Under which epoch.
        epoch: Epoch,
        /// The file.
        path: RelativePath,
    },
    /// The session's row is changed.
    Update {
        /// Under which epoch.
        epoch: Epoch,
        /// How.
        changes: Changes,
    },
}

/// [`RecordChanges`] as the journal has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Changes {
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activity: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Options>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
}

impl From<&RecordChanges> for Changes {
    fn from(changes: &RecordChanges) -> Self {
        let RecordChanges { last_activity, name, options, origin } = changes.clone();
        Self { last_activity, name, options, origin }
    }
}

impl From<Changes> for RecordChanges {
    fn from(changes: Changes) -> Self {
        let Changes { last_activity, name, options, origin } = changes;
        Self { last_activity, name, options, origin }
    }
}

impl Head {
    /// An append to the end of `stream`.
    pub fn append(epoch: Epoch, stream: &StreamName, offset: u64) -> Self {
        Self::Append { epoch, stream: stream.to_text(), offset }
    }

    /// Another beginning of `stream`.
    pub fn replace(epoch: Epoch, stream: &StreamName) -> Self {
        Self::Replace { epoch, stream: stream.to_text() }
    }
}

/// Why a write cannot be a record.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It is too large for the format.
    #[error("a write of {0} bytes is larger than a record of the journal can be")]
    TooLarge(usize),
    /// Its head cannot be written as JSON.
    #[error("failed to write a record's head as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// A write as the bytes of a record.
///
/// # Errors
/// If the format cannot hold it.
pub fn encode(marker: Marker, head: &Head, body: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let json = serde_json::to_vec(head)?;
    let too_large = || EncodeError::TooLarge(json.len().saturating_add(body.len()));
    let head_length = u32::try_from(json.len()).ok().filter(|length| *length <= MAX_HEAD_BYTES).ok_or_else(too_large)?;
    let length = (4 + json.len()).checked_add(body.len()).and_then(|length| u32::try_from(length).ok()).ok_or_else(too_large)?;
    let mut checksum = Checksum::new(length);
    for part in [&head_length.to_le_bytes(), json.as_slice(), body] {
        checksum.update(part);
    }
    Ok([&marker.0, length.to_le_bytes().as_slice(), &checksum.finish(), &head_length.to_le_bytes(), &json, body].concat())
}

/// The checksum of a record.
struct Checksum(crc32fast::Hasher);

impl Checksum {
    fn new(length: u32) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&length.to_le_bytes());
        Self(hasher)
    }

    fn update(&mut self, payload: &[u8]) {
        self.0.update(payload);
    }

    fn finish(self) -> [u8; 4] {
        self.0.finalize().to_le_bytes()
    }
}

/// A record and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its bytes in the file.
    pub place: Range<u64>,
    /// What is written.
    pub head: Head,
    /// The bytes of its body in the file.
    pub body: Range<u64>,
}

/// What a file holds.
#[derive(Debug, PartialEq)]
pub struct Contents {
    /// The file's own marker.
    pub marker: Marker,
    /// Its records that are whole.
    pub records: Vec<Found>,
    /// Bytes between records that are none.
    pub damaged: Vec<Range<u64>>,
    /// Where the next record goes. What the file has beyond it is the beginning of one that was not written to its end, and of which nobody was told that it is kept.
    pub end: u64,
}

/// Looks through a file; `None` if it is no journal. It takes little memory, however large the records are.
///
/// # Errors
/// Those of the reader. What is damaged is not one.
pub fn recover(file: &mut (impl Read + Seek)) -> io::Result<Option<Contents>> {
    let size = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut title = [0; TITLE.len()];
    let mut marker = [0; MARKER_BYTES];
    if size < FILE_HEADER_BYTES {
        return Ok(None);
    }
    file.read_exact(&mut title)?;
    file.read_exact(&mut marker)?;
    if title != TITLE {
        return Ok(None);
    }
    let marker = Marker(marker);
    let mut contents = Contents { marker, records: Vec::new(), damaged: Vec::new(), end: FILE_HEADER_BYTES };
    let mut at = FILE_HEADER_BYTES;
    while at < size {
        match read_record(file, marker, at, size)? {
            Some(found) => {
                if at > contents.end {
                    contents.damaged.push(contents.end..at);
                }
                at = found.place.end;
                contents.end = at;
                contents.records.push(found);
            }
            None => match find(file, marker, at + 1)? {
                Some(next) => at = next,
                None => break,
            },
        }
    }
    Ok(Some(contents))
}

/// The record at `at`, if there is a whole one.
fn read_record(file: &mut (impl Read + Seek), marker: Marker, at: u64, size: u64) -> io::Result<Option<Found>> {
    let rest = size - at;
    if rest < RECORD_HEADER_BYTES + 4 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    let mut found_marker = [0; MARKER_BYTES];
    file.read_exact(&mut found_marker)?;
    let (length, checksum, head_length) = (read_u32(file)?, read_u32(file)?, read_u32(file)?);
    let head_fits = head_length <= MAX_HEAD_BYTES && length.checked_sub(4).is_some_and(|room| head_length <= room);
    if found_marker != marker.0 || u64::from(length) > rest - RECORD_HEADER_BYTES || !head_fits {
        return Ok(None);
    }
    let mut sum = Checksum::new(length);
    sum.update(&head_length.to_le_bytes());
    // Not more than the file has, whatever it says.
    let mut head = vec![0; head_length as usize];
    file.read_exact(&mut head)?;
    sum.update(&head);
    let mut left = u64::from(length) - 4 - u64::from(head_length);
    let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let Some(piece) = piece.get_mut(..count) else { break };
        file.read_exact(piece)?;
        sum.update(piece);
        left -= count as u64;
    }
    if u32::from_le_bytes(sum.finish()) != checksum {
        return Ok(None);
    }
    // What has the right checksum and cannot be read is of another version.
    let Ok(head) = serde_json::from_slice(&head) else { return Ok(None) };
    let payload = at + RECORD_HEADER_BYTES;
    let end = payload + u64::from(length);
    Ok(Some(Found { place: at..end, head, body: payload + 4 + u64::from(head_length)..end }))
}

fn read_u32(file: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Where the marker stands next, at `from` or behind it.
fn find(file: &mut (impl Read + Seek), marker: Marker, from: u64) -> io::Result<Option<u64>> {
    file.seek(SeekFrom::Start(from))?;
    let finder = memmem::Finder::new(&marker.0);
    let mut window = Vec::with_capacity(PIECE + MARKER_BYTES);
    let mut window_at = from;
    loop {
        // `by_ref` keeps what is behind the piece for the next one.
        let read = file.by_ref().take(PIECE as u64).read_to_end(&mut window)?;
        if let Some(position) = finder.find(&window) {
            return Ok(Some(window_at + position as u64));
        }
        if read == 0 {
            return Ok(None);
        }
        // The marker may begin at the end of this piece.
        let passed = window.len().saturating_sub(MARKER_BYTES - 1);
        window.drain(..passed);
        window_at += passed as u64;
    }
}

/// A record as it was found before: its body.
///
/// # Errors
/// Those of the reader; `InvalidData` if the record is damaged by now.
pub fn read_again(file: &mut (impl Read + Seek), marker: Marker, found: &Found) -> io::Result<Bytes> {
    let again = read_record(file, marker, found.place.start, found.place.end)?;
    if again.as_ref() != Some(found) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the record is damaged"));
    }
    read_range(file, found.body.clone())
}

/// Bytes of a file.
///
/// # Errors
/// Those of the reader.
pub fn read_range(file: &mut (impl Read + Seek), range: Range<u64>) -> io::Result<Bytes> {
    file.seek(SeekFrom::Start(range.start))?;
    let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
    file.read_exact(&mut bytes)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests;
