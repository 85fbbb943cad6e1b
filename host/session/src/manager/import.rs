//! Storing a session that was made elsewhere.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::event::{Event, RecordLine};
use crate::id::Epoch;
use crate::ports::store::{Error, Store};
use crate::record::{SessionRecord, StreamName};

/// Streams are written in pieces of about this size, as a session's own writer does it.
const PIECE_BYTES: usize = 1024 * 1024;

/// Writes the event record and the transcripts of a session that was just created.
pub(super) async fn store(
    store: &dyn Store,
    session: &SessionRecord,
    events: &[Event],
    transcripts: &BTreeMap<StreamName, Bytes>,
) -> Result<(), Error> {
    for (stream, content) in transcripts {
        append(store, Epoch::FIRST, session, stream, content).await?;
    }
    store_events(store, Epoch::FIRST, session, events).await
}

/// Writes the event record of a session that has none.
pub(super) async fn store_events(store: &dyn Store, epoch: Epoch, session: &SessionRecord, events: &[Event]) -> Result<(), Error> {
    let mut lines = Vec::new();
    for event in events {
        let line = RecordLine { at: session.created_at, epoch, event: event.clone() };
        serde_json::to_writer(&mut lines, &line).map_err(|error| Error::Other(format!("failed to write an event as JSON: {error}")))?;
        lines.push(b'\n');
    }
    append(store, epoch, session, &StreamName::Events, &lines.into()).await
}

async fn append(store: &dyn Store, epoch: Epoch, session: &SessionRecord, stream: &StreamName, content: &Bytes) -> Result<(), Error> {
    let mut offset = 0;
    while offset < content.len() {
        let end = content.len().min(offset + PIECE_BYTES);
        store.append(epoch, &session.id, stream, offset as u64, content.slice(offset..end)).await?;
        offset = end;
    }
    Ok(())
}
