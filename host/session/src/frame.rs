//! An event as clients and hooks get it: `{"event": NAME, "data": {…}, "seq": NUMBER}`. Field names are those that clients of the earlier system expect.
//!
//! It is written once, for whoever asks first. Hooks get the data alone, which is a part of the same text.

use std::borrow::Cow;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use crate::block::{Block, BlockUpdate};
use crate::event::{Event, Runtime, SubagentStatus};
use crate::id::{BlockId, ConversationId, Sequence, SessionId};
use crate::log::Published;
use crate::metadata::Metadata;
use crate::path::RelativePath;
use crate::record::{FileInfo, Options};
use crate::time::Timestamp;

/// About what a delta takes, which most events are.
const USUAL_BYTES: usize = 256;

/// An event as JSON text. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Frame {
    text: Arc<str>,
    data: Range<usize>,
}

impl Frame {
    pub(crate) fn of(session: &SessionId, published: &Published) -> Self {
        match write(session, &published.event, published.sequence) {
            Ok(frame) => frame,
            Err(error) => {
                // Only a map with keys that are not text could fail here, and there is none.
                tracing::error!(%session, event = published.event.name(), %error, "failed to write an event as JSON");
                let text = format!("{{\"event\":\"error\",\"data\":null,\"seq\":{}}}", published.sequence);
                let start = text.find("null").unwrap_or(0);
                Self { text: text.into(), data: start..start + "null".len() }
            }
        }
    }

    /// The whole frame.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The value of `data` in it.
    pub fn data(&self) -> &str {
        self.text.get(self.data.clone()).unwrap_or_default()
    }
}

fn write(session_id: &SessionId, event: &Event, sequence: Sequence) -> std::io::Result<Frame> {
    let mut out = Vec::with_capacity(USUAL_BYTES);
    out.extend_from_slice(b"{\"event\":");
    serde_json::to_writer(&mut out, event.name())?;
    out.extend_from_slice(b",\"data\":");
    let start = out.len();
    write_data(session_id, event, &mut out)?;
    let data = start..out.len();
    write!(out, ",\"seq\":{sequence}}}")?;
    let text = String::from_utf8(out).map_err(std::io::Error::other)?;
    Ok(Frame { text: text.into(), data })
}

fn write_data(session_id: &SessionId, event: &Event, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let mut put = serde_json::Serializer::new(out);
    match event {
        Event::BlockStarted { conversation, block } => {
            BlockStarted { session_id, conversation_id: conversation, block }.serialize(&mut put)
        }
        Event::BlockDelta { conversation, block_id, delta } => {
            BlockDelta { session_id, conversation_id: conversation, block_id, delta }.serialize(&mut put)
        }
        Event::BlockUpdated { conversation, block_id, update } => {
            BlockUpdated { session_id, conversation_id: conversation, block_id, updates: update }.serialize(&mut put)
        }
        Event::BlockCompleted { conversation, block } => {
            BlockCompleted { session_id, conversation_id: conversation, block_id: block.id(), block }.serialize(&mut put)
        }
        Event::BlockRemoved { conversation, block_id } => {
            BlockRemoved { session_id, conversation_id: conversation, block_id }.serialize(&mut put)
        }
        Event::SubagentDiscovered { id, name } => {
            SubagentDiscovered { session_id, subagent: NewSubagent { id, name: name.as_deref(), blocks: [] } }.serialize(&mut put)
        }
        Event::SubagentCompleted { id, status } => SubagentCompleted { session_id, subagent_id: id, status: *status }.serialize(&mut put),
        Event::MetadataUpdated { conversation, metadata } => {
            MetadataUpdated { session_id, conversation_id: conversation, metadata }.serialize(&mut put)
        }
        Event::OptionsUpdated { options } => OptionsUpdated { session_id, options }.serialize(&mut put),
        Event::FileCreated { file, content } | Event::FileModified { file, content } => {
            FileChanged { session_id, file: File::new(file, content.as_deref()) }.serialize(&mut put)
        }
        Event::FileDeleted { path } => FileDeleted { session_id, path }.serialize(&mut put),
        Event::StatusChanged { runtime } => StatusChanged { session_id, runtime }.serialize(&mut put),
        Event::Emitted { name: _, data } => Emitted { session_id, data }.serialize(&mut put),
        Event::Failed { code, message } => Failed { session_id, code, message }.serialize(&mut put),
        Event::SandboxTaken | Event::MessageAccepted { .. } | Event::TurnStarted { .. } | Event::TurnEnded { .. } => {
            Note { session_id }.serialize(&mut put)
        }
    }
}

macro_rules! data {
    ($($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            #[derive(Serialize)]
            #[serde(rename_all = "camelCase")]
            struct $name<'a> { $($(#[$attribute])* $field: $type,)* }
        )*
    };
}

data! {
    BlockStarted { session_id: &'a SessionId, conversation_id: &'a ConversationId, block: &'a Block, }
    BlockDelta { session_id: &'a SessionId, conversation_id: &'a ConversationId, block_id: &'a BlockId, delta: &'a str, }
    BlockUpdated { session_id: &'a SessionId, conversation_id: &'a ConversationId, block_id: &'a BlockId, updates: &'a BlockUpdate, }
    BlockCompleted { session_id: &'a SessionId, conversation_id: &'a ConversationId, block_id: &'a BlockId, block: &'a Block, }
    BlockRemoved { session_id: &'a SessionId, conversation_id: &'a ConversationId, block_id: &'a BlockId, }
    SubagentDiscovered { session_id: &'a SessionId, subagent: NewSubagent<'a>, }
    NewSubagent {
        id: &'a ConversationId,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        blocks: [&'a Block; 0],
    }
    SubagentCompleted { session_id: &'a SessionId, subagent_id: &'a ConversationId, status: SubagentStatus, }
    MetadataUpdated { session_id: &'a SessionId, conversation_id: &'a ConversationId, metadata: &'a Metadata, }
    OptionsUpdated { session_id: &'a SessionId, options: &'a Options, }
    FileChanged { session_id: &'a SessionId, file: File<'a>, }
    FileDeleted { session_id: &'a SessionId, path: &'a RelativePath, }
    StatusChanged { session_id: &'a SessionId, runtime: &'a Runtime, }
    Emitted { session_id: &'a SessionId, data: &'a Value, }
    Failed { session_id: &'a SessionId, code: &'a str, message: &'a str, }
    Note { session_id: &'a SessionId, }
}

/// A workspace file as clients get it, with its contents if they are at hand.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct File<'a> {
    path: &'a RelativePath,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
    created_at: Timestamp,
    modified_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
}

impl<'a> File<'a> {
    /// Contents that are not UTF-8 are written in base64.
    pub fn new(info: &'a FileInfo, content: Option<&'a [u8]>) -> Self {
        let (content, encoding) = match content.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
            None => (None, None),
            Some((Ok(text), _)) => (Some(Cow::Borrowed(text)), Some("utf-8")),
            Some((Err(_), bytes)) => (Some(Cow::Owned(STANDARD.encode(bytes))), Some("base64")),
        };
        Self {
            path: &info.path,
            size: info.size,
            sha256: info.sha256.as_deref(),
            created_at: info.created_at,
            modified_at: info.modified_at,
            content,
            encoding,
        }
    }
}

#[cfg(test)]
mod tests;
