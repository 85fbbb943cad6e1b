//! Streams: what is appended is encrypted as frames behind those that are there.

use agent_host_adapter::{Adapter, Append, Epoch, Error, MAX_READ_BYTES, Result, plan_append};

use crate::Encrypting;
use crate::content::Content;
use crate::frame::{self, CAPACITY, PAGE, Tail};
use crate::place::Place;

/// An append there, of a byte, is behind the end of any stream: it changes nothing, and says how long the stream is, or that the epoch is too low.
const BEYOND: u64 = (1 << 53) - 2;

/// How often a call begins anew because another one was faster. Each time, somebody else has got on.
const TRIES: u32 = 32;

impl<I: Adapter> Encrypting<I> {
    /// Calls `with` with a stream as it is stored.
    fn stream<T>(&self, session: &str, stream: &str, with: impl FnOnce(&Content<'_>) -> Result<T>) -> Result<T> {
        let read = |offset, max| self.inner.read(session, stream, offset, max);
        with(&Content { keys: &self.keys, place: Place::stream(session, stream), read: &read, is_file: false })
    }

    /// Where a stream ends, of which it is known how many stored bytes it has.
    pub(crate) fn tail_at(&self, session: &str, stream: &str, stored: u64) -> Result<Tail> {
        self.stream(session, stream, |content| content.tail_at(stored))
    }

    /// The stored bytes of a stream, as far as a write of this epoch may know.
    fn stored(&mut self, epoch: Epoch, session: &str, stream: &str) -> Result<u64> {
        match self.inner.append(epoch, session, stream, BEYOND, &[0]) {
            Err(Error::OffsetMismatch(stored)) => Ok(stored),
            Err(error) => Err(error),
            Ok(_) => Err(Error::other("the inner adapter accepts what is appended behind a gap")),
        }
    }

    /// Where a stream ends, by a single read if it is where this instance left it.
    fn tail(&mut self, epoch: Epoch, session: &str, stream: &str, offset: u64) -> Result<Tail> {
        let guess = self.hints.end(session, stream).unwrap_or(offset / CAPACITY as u64);
        // A guess that is wrong, or a stream that changes meanwhile, is no reason to give up.
        if let Ok(Some(tail)) = self.stream(session, stream, |content| content.tail_in(guess)) {
            return Ok(tail);
        }
        let mut stored = self.stored(epoch, session, stream)?;
        for _ in 0..TRIES {
            let found = self.tail_at(session, stream, stored);
            let Err(Error::Corrupt(_)) = found else { return found };
            let now = self.stored(epoch, session, stream)?;
            if now == stored {
                return found;
            }
            stored = now;
        }
        Err(busy())
    }

    pub(crate) fn append_encrypted(&mut self, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64> {
        for _ in 0..TRIES {
            let tail = self.tail(epoch, session, stream, offset)?;
            let new = match plan_append(tail.plain, offset, data) {
                Ok(Append { expected, new }) if self.has(session, stream, offset, expected)? => new,
                _ if self.stored(epoch, session, stream)? == tail.stored => return Err(Error::OffsetMismatch(tail.plain)),
                _ => continue,
            };
            let frames = frame::write(&self.keys, &Place::stream(session, stream), &tail, new, false)?;
            // Exactly at the end that was seen. Where nothing is new it still takes the session over for the epoch.
            match self.inner.append(epoch, session, stream, tail.stored, &frames) {
                Ok(stored) => {
                    self.hints.set_end(session, stream, stored.saturating_sub(1) / PAGE as u64);
                    return Ok(tail.plain + new.len() as u64);
                }
                Err(Error::OffsetMismatch(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(busy())
    }

    /// Whether the stream has these bytes at that place.
    fn has(&self, session: &str, stream: &str, mut offset: u64, expected: &[u8]) -> Result<bool> {
        for expected in expected.chunks(MAX_READ_BYTES as usize) {
            if self.read_decrypted(session, stream, offset, expected.len())? != expected {
                return Ok(false);
            }
            offset += expected.len() as u64;
        }
        Ok(true)
    }

    pub(crate) fn read_decrypted(&self, session: &str, stream: &str, offset: u64, max: usize) -> Result<Vec<u8>> {
        let guess = self.hints.read(session, stream);
        let read = |guess| self.stream(session, stream, |content| content.read(offset, max, guess));
        // It takes several reads, between which the stream may be replaced: only what is wrong twice is.
        let (bytes, page) = match read(guess) {
            Err(Error::Corrupt(_)) => read(None)?,
            read => read?,
        };
        self.hints.set_read(session, stream, page);
        Ok(bytes)
    }

    pub(crate) fn replace_encrypted(&mut self, epoch: Epoch, session: &str, stream: &str, data: &[u8]) -> Result<u64> {
        let frames = frame::write(&self.keys, &Place::stream(session, stream), &Tail::default(), data, false)?;
        let stored = self.inner.replace(epoch, session, stream, frames)?;
        self.hints.set_end(session, stream, stored.saturating_sub(1) / PAGE as u64);
        Ok(data.len() as u64)
    }
}

fn busy() -> Error {
    Error::unavailable("others were writing the stream all the time")
}
