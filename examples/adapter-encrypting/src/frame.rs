//! Frames: pieces of a stream or file, each encrypted by itself.
//!
//! ```text
//! header                                                          not encrypted, sealed
//!   version 1 | flags 1 | length 2 | padding 1 | key 4 | start 8
//! nonce 24                                                        random
//! encrypted                                                       length + padding bytes
//! tag 16                                                          over place, header, the tag of the frame before, and the encrypted bytes
//! ```
//!
//! Numbers are little-endian. `start` is the place of the first byte in what is not encrypted. Frames lie in pages of [`PAGE`] bytes: none crosses the end
//! of one, and each page but the last is full, to which end the last frame of a page may have padding. So a page can be found without knowing what lies
//! before it, and its first frame tells which bytes it has.
//!
//! Since each tag covers the one before it, the frames of a stream are those that were written, in that order, from the first to the last that is there.

use agent_host_adapter::{Error, Result};

use crate::keys::{KeyId, Keyring, NONCE_BYTES, TAG_BYTES, nonce};
use crate::place::Place;

/// Bytes of a page. To find the end of a stream, or a byte in it, takes about one, and a frame that is full has a hundredth of one for itself.
pub(crate) const PAGE: usize = 16 * 1024;

/// Bytes of a header.
pub(crate) const HEADER: usize = 17;

/// What a frame has beside its bytes.
const OVERHEAD: usize = HEADER + NONCE_BYTES + TAG_BYTES;

/// The most bytes of a page.
pub(crate) const CAPACITY: usize = PAGE - OVERHEAD;

const VERSION: u8 = 1;

/// The flag of the last frame of a file, behind which nothing comes.
const LAST: u8 = 1;

/// What proves a frame; before the first one it is zeros.
pub(crate) type Tag = [u8; TAG_BYTES];

/// Where a stream ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Bytes that are stored.
    pub(crate) stored: u64,
    /// Bytes that were given.
    pub(crate) plain: u64,
    /// The last frame's.
    pub(crate) tag: Tag,
}

/// A frame that is stored.
pub(crate) struct Frame<'a> {
    header: [u8; HEADER],
    key: KeyId,
    nonce: [u8; NONCE_BYTES],
    encrypted: &'a [u8],
    length: usize,
    /// The place of its first byte.
    pub(crate) start: u64,
    /// Whether nothing comes behind it.
    pub(crate) is_last: bool,
    pub(crate) tag: Tag,
}

/// What a header says.
struct Header {
    is_last: bool,
    length: u16,
    padding: u8,
    key: KeyId,
    start: u64,
}

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let fields: [&[u8]; 6] = [
            &[VERSION],
            &[if self.is_last { LAST } else { 0 }],
            &self.length.to_le_bytes(),
            &[self.padding],
            &self.key.0,
            &self.start.to_le_bytes(),
        ];
        bytes.iter_mut().zip(fields.iter().copied().flatten()).for_each(|(to, from)| *to = *from);
        bytes
    }

    fn decode(bytes: &[u8; HEADER]) -> Result<Self> {
        let [version, flags, length0, length1, padding, key0, key1, key2, key3, start @ ..] = *bytes;
        if version != VERSION || flags & !LAST != 0 {
            return Err(Error::corrupt("what is stored was not written by this adapter"));
        }
        Ok(Self {
            is_last: flags == LAST,
            length: u16::from_le_bytes([length0, length1]),
            padding,
            key: KeyId([key0, key1, key2, key3]),
            start: u64::from_le_bytes(start),
        })
    }
}

/// The place of the first byte of the frame that begins with `bytes`. It is believed only once the frame is opened.
pub(crate) fn start(bytes: &[u8]) -> Result<u64> {
    let header = bytes.first_chunk().ok_or_else(cut_off)?;
    Ok(Header::decode(header)?.start)
}

fn cut_off() -> Error {
    Error::corrupt("the stored bytes end in the middle of a frame")
}

impl<'a> Frame<'a> {
    /// The frame that `bytes`, the rest of a page, begin with, and what comes behind it.
    pub(crate) fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8])> {
        let (header, rest) = bytes.split_first_chunk().ok_or_else(cut_off)?;
        let Header { is_last, length, padding, key, start } = Header::decode(header)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or_else(cut_off)?;
        let length = usize::from(length);
        let (encrypted, rest) = rest.split_at_checked(length + usize::from(padding)).ok_or_else(cut_off)?;
        let (tag, rest) = rest.split_first_chunk().ok_or_else(cut_off)?;
        Ok((Self { header: *header, key, nonce: *nonce, encrypted, length, start, is_last, tag: *tag }, rest))
    }

    /// The place behind its last byte.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.length as u64)
    }

    /// Its bytes, if they are what was written here behind the frame that had the tag `before`.
    pub(crate) fn open(&self, keys: &Keyring, place: &Place, before: &Tag) -> Result<Vec<u8>> {
        let mut bytes = self.encrypted.to_vec();
        keys.open(self.key, place, &[&self.header[..], before].concat(), &self.nonce, &mut bytes, &self.tag)?;
        bytes.truncate(self.length);
        Ok(bytes)
    }
}

/// Encrypts what comes behind `tail`, and gives what is to be stored there. `is_file` says that it is all of a file.
pub(crate) fn write(keys: &Keyring, place: &Place, tail: &Tail, mut data: &[u8], is_file: bool) -> Result<Vec<u8>> {
    let page = PAGE as u64;
    let mut room = usize::try_from(page - tail.stored % page).unwrap_or(PAGE);
    let Tail { plain: mut start, tag: mut before, .. } = *tail;
    let mut stored = Vec::with_capacity(data.len() + OVERHEAD * (data.len() / CAPACITY + 2));
    // A file without contents has a frame, too, which says that it has none.
    while !data.is_empty() || (is_file && stored.is_empty()) {
        let (piece, rest) = data.split_at(data.len().min(room.saturating_sub(OVERHEAD)));
        let left = room.saturating_sub(OVERHEAD + piece.len());
        // What is left of a page holds a byte at least, or nothing is left.
        let padding = if left <= OVERHEAD { left } else { 0 };
        let header = Header {
            is_last: is_file && rest.is_empty(),
            length: u16::try_from(piece.len()).map_err(|_| Error::other("a frame is larger than a page"))?,
            padding: u8::try_from(padding).map_err(|_| Error::other("a frame has more padding than a frame has room"))?,
            key: keys.id(),
            start,
        }
        .encode();
        let nonce = nonce()?;
        stored.extend_from_slice(&header);
        stored.extend_from_slice(&nonce);
        let at = stored.len();
        stored.extend_from_slice(piece);
        stored.resize(stored.len() + padding, 0);
        let tag = keys.seal(place, &[&header[..], &before].concat(), &nonce, stored.get_mut(at..).unwrap_or_default())?;
        stored.extend_from_slice(&tag);
        before = tag;
        start += piece.len() as u64;
        room = if left == padding { PAGE } else { left };
        data = rest;
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain bytes of all frames, page by page, each opened behind the one before it.
    fn open_all(keys: &Keyring, place: &Place, stored: &[u8]) -> Vec<u8> {
        let (mut plain, mut before) = (Vec::new(), Tag::default());
        for page in stored.chunks(PAGE) {
            let mut rest = page;
            while !rest.is_empty() {
                let (frame, behind) = Frame::split(rest).unwrap();
                assert_eq!(frame.start, plain.len() as u64);
                plain.extend(frame.open(keys, place, &before).unwrap());
                before = frame.tag;
                rest = behind;
            }
        }
        plain
    }

    #[test]
    fn no_frame_crosses_the_end_of_a_page_whatever_lengths_are_appended() {
        let (keys, place) = (Keyring::parse(&"1".repeat(64)).unwrap(), Place::stream("s", "events"));
        // What leaves every number of bytes around the end of a page.
        for first in (CAPACITY - 3 * OVERHEAD..=CAPACITY + 2).chain([0, 1, PAGE, 3 * PAGE + 5, 200_000]) {
            let (mut tail, mut stored, mut plain) = (Tail::default(), Vec::<u8>::new(), Vec::<u8>::new());
            for (length, byte) in [first, 1, 0, 100, OVERHEAD, CAPACITY, 7].into_iter().zip(b'a'..) {
                let data = vec![byte; length];
                let frames = write(&keys, &place, &tail, &data, false).unwrap();
                assert_eq!(frames.is_empty(), length == 0);
                stored.extend(&frames);
                plain.extend(&data);
                let tag = stored.last_chunk().copied().unwrap_or_default();
                tail = Tail { stored: stored.len() as u64, plain: plain.len() as u64, tag };
            }
            assert!(open_all(&keys, &place, &stored) == plain, "after {first} bytes");
        }
    }

    #[test]
    fn a_file_has_one_frame_a_page_and_the_last_says_so() {
        let (keys, place) = (Keyring::parse(&"1".repeat(64)).unwrap(), Place::file("s", "a"));
        for length in [0, 1, CAPACITY - 1, CAPACITY, CAPACITY + 1, 5 * CAPACITY] {
            let stored = write(&keys, &place, &Tail::default(), &vec![7; length], true).unwrap();
            assert_eq!(open_all(&keys, &place, &stored), vec![7; length]);
            let pages: Vec<_> = stored.chunks(PAGE).collect();
            assert_eq!(pages.len(), length.div_ceil(CAPACITY).max(1));
            for (index, page) in pages.iter().enumerate() {
                let (frame, rest) = Frame::split(page).unwrap();
                assert!(rest.is_empty());
                assert_eq!(frame.is_last, index + 1 == pages.len(), "page {index} of {length} bytes");
            }
        }
    }

    #[test]
    fn equal_bytes_are_stored_differently_each_time() {
        let (keys, place) = (Keyring::parse(&"1".repeat(64)).unwrap(), Place::stream("s", "events"));
        let write = || write(&keys, &place, &Tail::default(), b"the same", false).unwrap();
        assert_ne!(write(), write());
    }
}
