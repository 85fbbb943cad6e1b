//! Streams: a file each, with the stream's bytes and nothing else. How many of them count is in the journal.

use std::path::PathBuf;

use agent_host_adapter::{Append, Epoch, Error, MAX_READ_BYTES, Result, StreamInfo, plan_append};

use crate::disk::{self, Scratch};
use crate::names;
use crate::session::{Change, Session};

/// Where a stream is in its session's directory.
pub(crate) fn location(stream: &str) -> PathBuf {
    match (stream, stream.strip_prefix("transcript/")) {
        ("events", _) => "events.jsonl".into(),
        (_, Some(name)) => format!("transcripts/{}.jsonl", names::of_id(name)).into(),
        // Those of a later version of the host.
        _ => format!("streams/{}.jsonl", names::of_id(stream)).into(),
    }
}

pub(crate) fn list(session: &Session) -> Vec<StreamInfo> {
    session.state().streams.iter().map(|(name, length)| StreamInfo { name: name.clone(), length: *length }).collect()
}

fn length(session: &Session, stream: &str) -> u64 {
    session.state().streams.get(stream).copied().unwrap_or_default()
}

pub(crate) fn append(session: &mut Session, epoch: Epoch, stream: &str, offset: u64, data: &[u8], scratch: &Scratch) -> Result<u64> {
    session.check(epoch)?;
    let path = path(session, stream)?;
    let length = length(session, stream);
    let Append { expected, new } = plan_append(length, offset, data)?;
    let mut at = offset;
    for expected in expected.chunks(MAX_READ_BYTES as usize) {
        if disk::read_range(&path, at, expected.len())? != expected {
            return Err(Error::OffsetMismatch(length));
        }
        at += expected.len() as u64;
    }
    if new.is_empty() {
        session.claim(epoch, scratch)?;
        return Ok(length);
    }
    disk::append_at(&path, length, new)?;
    let end = length + new.len() as u64;
    session.commit(epoch, Change::Stream { name: stream.to_owned(), length: end, from: None }, scratch)?;
    Ok(end)
}

pub(crate) fn read(session: &Session, stream: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
    let rest = length(session, stream).saturating_sub(offset);
    let wanted = usize::try_from(rest.min(max.into())).unwrap_or(usize::MAX);
    if wanted == 0 { Ok(Vec::new()) } else { disk::read_range(&path(session, stream)?, offset, wanted) }
}

pub(crate) fn replace(session: &mut Session, epoch: Epoch, stream: &str, data: &[u8], scratch: &Scratch) -> Result<u64> {
    session.check(epoch)?;
    path(session, stream)?;
    let from = Some(session.prepare(data)?);
    let length = data.len() as u64;
    session.commit(epoch, Change::Stream { name: stream.to_owned(), length, from }, scratch)?;
    Ok(length)
}

fn path(session: &Session, stream: &str) -> Result<PathBuf> {
    let location = location(stream);
    disk::check_length(&location.to_string_lossy())?;
    Ok(session.directory().join(location))
}
