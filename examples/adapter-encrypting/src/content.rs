//! Reading frames: where a stream ends, and bytes by range. Nothing is kept from one call to the next but guesses of where to look, and what is found there
//! is proved: so it does not matter which instance wrote it, or when.

use agent_host_adapter::{Error, MAX_READ_BYTES, Result};

use crate::frame::{CAPACITY, Frame, HEADER, PAGE, Tag, Tail, start};
use crate::keys::{Keyring, TAG_BYTES};
use crate::place::Place;

/// Pages that are read at once: what one read of the inner adapter may ask for, with the tag before them and the header behind them.
const PAGES_AT_ONCE: u64 = (MAX_READ_BYTES as u64 - 1024) / PAGE as u64;

/// Guesses by how dense the pages are, before the middle is taken.
const GUESSES: u32 = 6;

/// The last page that a store can have: its numbers are below 2^53.
const LAST_PAGE: u64 = (1 << 53) / PAGE as u64 - 1;

fn bytes_are_missing() -> Error {
    Error::corrupt("bytes are missing")
}

fn end_is_missing() -> Error {
    Error::corrupt("the end of the file is missing")
}

/// A stream or file of the inner adapter.
pub(crate) struct Content<'a> {
    pub(crate) keys: &'a Keyring,
    pub(crate) place: Place,
    /// Reads stored bytes: so many from there, or as many as there are.
    pub(crate) read: &'a dyn Fn(u64, u32) -> Result<Vec<u8>>,
    /// Whether it must end with a frame that says so.
    pub(crate) is_file: bool,
}

/// Stored bytes from the beginning of a page on.
struct Pages {
    /// The tag of the frame before them.
    before: Tag,
    bytes: Vec<u8>,
    /// Whether the store has no more behind them.
    are_the_end: bool,
}

impl Content<'_> {
    /// `count` pages from this one on, and `more` bytes behind them.
    fn pages(&self, page: u64, count: u64, more: usize) -> Result<Pages> {
        let from = page * PAGE as u64;
        let lead = if page == 0 { 0 } else { TAG_BYTES };
        let wanted = u32::try_from(lead as u64 + count * PAGE as u64 + more as u64).unwrap_or(MAX_READ_BYTES);
        let mut bytes = (self.read)(from - lead as u64, wanted)?;
        let are_the_end = bytes.len() < wanted as usize;
        let bytes_of_pages = bytes.split_off(lead.min(bytes.len()));
        let before = if lead == 0 { Tag::default() } else { bytes.try_into().unwrap_or_default() };
        Ok(Pages { before, bytes: bytes_of_pages, are_the_end })
    }

    /// Where it ends, if it has so many stored bytes.
    pub(crate) fn tail_at(&self, stored: u64) -> Result<Tail> {
        let Some(last) = stored.checked_sub(1) else { return Ok(Tail::default()) };
        let page = last / PAGE as u64;
        let Pages { before, mut bytes, .. } = self.pages(page, 1, 0)?;
        let length = usize::try_from(stored - page * PAGE as u64).unwrap_or(PAGE);
        if bytes.len() < length {
            return Err(Error::corrupt(format!("the stream has {stored} stored bytes, and not all of them can be read")));
        }
        bytes.truncate(length);
        self.tail_of(page, before, &bytes)
    }

    /// Where it ends, if that is in this page.
    pub(crate) fn tail_in(&self, page: u64) -> Result<Option<Tail>> {
        // A byte more tells whether there is one.
        let Pages { before, bytes, are_the_end } = self.pages(page, 1, 1)?;
        match (page, bytes.as_slice()) {
            (0, []) => Ok(Some(Tail::default())),
            (_, []) => Ok(None),
            (_, bytes) if are_the_end => self.tail_of(page, before, bytes).map(Some),
            _ => Ok(None),
        }
    }

    /// Opens the last frame of the last page, since what a header says is believed only then.
    fn tail_of(&self, page: u64, mut before: Tag, bytes: &[u8]) -> Result<Tail> {
        let stored = page * PAGE as u64 + bytes.len() as u64;
        let mut rest = bytes;
        loop {
            let (frame, behind) = Frame::split(rest)?;
            if behind.is_empty() {
                frame.open(self.keys, &self.place, &before)?;
                return Ok(Tail { stored, plain: frame.end(), tag: frame.tag });
            }
            before = frame.tag;
            rest = behind;
        }
    }

    /// The bytes from `offset`, at most `max`, and the page in which they end. `guess` is the page in which they may begin.
    pub(crate) fn read(&self, offset: u64, max: usize, guess: Option<u64>) -> Result<(Vec<u8>, u64)> {
        let Some((mut page, mut pages)) = self.find(offset, guess)? else { return Ok((Vec::new(), 0)) };
        let mut reading = Reading { content: self, offset, max, plain: Vec::new(), next: None, before: pages.before, is_over: false };
        loop {
            let count = (pages.bytes.len() as u64).div_ceil(PAGE as u64).max(1);
            pages.bytes.chunks(PAGE).try_for_each(|bytes| reading.take(bytes))?;
            if reading.plain.len() >= max || pages.are_the_end {
                if pages.are_the_end && self.is_file && !reading.is_over && reading.plain.len() < max {
                    return Err(end_is_missing());
                }
                return Ok((reading.plain, page + count - 1));
            }
            page += count;
            let left = (max - reading.plain.len()) as u64;
            pages = self.pages(page, left.div_ceil(CAPACITY as u64).clamp(1, PAGES_AT_ONCE), 0)?;
        }
    }

    /// The page with the byte at `offset`; the last one if it is beyond the end, or none.
    fn find(&self, offset: u64, guess: Option<u64>) -> Result<Option<(u64, Pages)>> {
        // A page never has more than this.
        let mut lowest = (offset / CAPACITY as u64).min(LAST_PAGE);
        let mut beyond: Option<u64> = None;
        let mut page = guess.unwrap_or(lowest).max(lowest);
        for tries in 0_u32.. {
            let mut pages = self.pages(page, 1, HEADER)?;
            if pages.bytes.is_empty() || start(&pages.bytes)? > offset {
                match page {
                    _ if page > lowest => {
                        beyond = Some(page);
                        page = lowest + (page - lowest) / 2;
                    }
                    _ if !pages.bytes.is_empty() => return Err(bytes_are_missing()),
                    // All that there is has less than `offset` bytes. Of a file that is proved by the frame before.
                    0 if self.is_file => return Err(end_is_missing()),
                    _ if self.is_file && tries == 0 => {
                        lowest = page - 1;
                        page = lowest;
                    }
                    _ => return Ok(None),
                }
                continue;
            }
            let first = start(&pages.bytes)?;
            // The header of the next page, if it has one, is read along.
            let next = pages.bytes.get(PAGE..).filter(|next| !next.is_empty()).map(start).transpose()?;
            let Some(next) = next.filter(|next| *next <= offset) else {
                pages.bytes.truncate(PAGE);
                return Ok(Some((page, pages)));
            };
            lowest = page + 1;
            let dense = page.saturating_add((offset - first) / next.saturating_sub(first).max(1));
            page = match beyond {
                Some(beyond) if beyond <= lowest => return Err(bytes_are_missing()),
                Some(beyond) if tries < GUESSES => dense.clamp(lowest, beyond - 1),
                Some(beyond) => lowest + (beyond - lowest) / 2,
                None if tries < GUESSES => dense.clamp(lowest, LAST_PAGE.max(lowest)),
                None => lowest.saturating_add(1 << tries.min(40)).min(LAST_PAGE.max(lowest)),
            };
        }
        Ok(None)
    }
}

/// A range that is being read.
struct Reading<'a> {
    content: &'a Content<'a>,
    offset: u64,
    max: usize,
    plain: Vec<u8>,
    /// Where the next frame must begin.
    next: Option<u64>,
    before: Tag,
    /// Whether the frame came behind which there is nothing.
    is_over: bool,
}

impl Reading<'_> {
    /// Takes what is wanted of the frames of a page. Those before the range are not opened: the tag of the last of them is sealed in the one behind it.
    fn take(&mut self, page: &[u8]) -> Result<()> {
        let mut rest = page;
        while !rest.is_empty() && self.plain.len() < self.max {
            let (frame, behind) = Frame::split(rest)?;
            if self.is_over || self.next.is_some_and(|next| next != frame.start) {
                return Err(Error::corrupt("the frames do not follow each other"));
            }
            if frame.end() > self.offset {
                let bytes = frame.open(self.content.keys, &self.content.place, &self.before)?;
                let skip = usize::try_from(self.offset.saturating_sub(frame.start)).unwrap_or(usize::MAX);
                let wanted = bytes.get(skip..).unwrap_or_default();
                self.plain.extend_from_slice(wanted.get(..self.max - self.plain.len()).unwrap_or(wanted));
            }
            self.is_over = frame.is_last;
            self.next = Some(frame.end());
            self.before = frame.tag;
            rest = behind;
        }
        Ok(())
    }
}
