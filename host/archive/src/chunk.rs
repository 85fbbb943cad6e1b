//! The form of what is written at once: a length, a checksum, and a line for each event.
//!
//! What is read is compared with what was asked for, down to the number of each event: whatever happens to a file, no wrong event comes out of it.

use std::sync::Arc;

use agent_host_session::id::Sequence;
use agent_host_session::log::{InvalidLine, Published};

/// The length of what follows, and its CRC-32, both in little endian.
const HEAD: usize = 8;

/// Why what is in a file is not what was written there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damaged {
    #[error("the file ends too early")]
    Short,
    #[error("the length is another one")]
    Length,
    #[error("the checksum is wrong")]
    Checksum,
    #[error(transparent)]
    Line(#[from] InvalidLine),
    #[error("other events are there")]
    Other,
}

/// Writes events.
pub(crate) fn encode(events: &[Arc<Published>]) -> Option<Vec<u8>> {
    let mut out = vec![0; HEAD];
    for event in events {
        event.write_line(&mut out).ok()?;
        out.push(b'\n');
    }
    let (head, lines) = out.split_at_mut_checked(HEAD)?;
    let length = u32::try_from(lines.len()).ok()?;
    let (length_bytes, checksum) = head.split_at_mut_checked(HEAD / 2)?;
    length_bytes.copy_from_slice(&length.to_le_bytes());
    checksum.copy_from_slice(&crc32fast::hash(lines).to_le_bytes());
    Some(out)
}

/// Reads the events from `first` on, of which there are `count`.
pub(crate) fn decode(bytes: &[u8], first: Sequence, count: usize) -> Result<Vec<Arc<Published>>, Damaged> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(Damaged::Short)?;
    let (checksum, lines) = rest.split_first_chunk::<4>().ok_or(Damaged::Short)?;
    if u32::from_le_bytes(*length) as usize != lines.len() {
        return Err(Damaged::Length);
    }
    if u32::from_le_bytes(*checksum) != crc32fast::hash(lines) {
        return Err(Damaged::Checksum);
    }
    let mut events = Vec::with_capacity(count);
    for (line, number) in lines.split_inclusive(|byte| *byte == b'\n').zip(first.0..) {
        let event = Published::read_line(line)?;
        if event.sequence.0 != number {
            return Err(Damaged::Other);
        }
        events.push(Arc::new(event));
    }
    if events.len() == count { Ok(events) } else { Err(Damaged::Other) }
}
