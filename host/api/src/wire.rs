//! What clients get as JSON: sessions in lists, and the frames of a WebSocket. Field names are those that clients of the earlier system expect.

use std::borrow::Cow;
use std::sync::Arc;

use agent_host_session::block::{Block, BlockUpdate};
use agent_host_session::event::{Event, Runtime, SubagentStatus};
use agent_host_session::id::{BlockId, ConversationId, ProfileId, Sequence, SessionId};
use agent_host_session::log::Published;
use agent_host_session::manager::Listed;
use agent_host_session::metadata::Metadata;
use agent_host_session::path::RelativePath;
use agent_host_session::record::{FileInfo, Options, SessionRecord};
use agent_host_session::time::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::problem::Problem;

/// A value as JSON text.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| {
        // Only a map with keys that are not text could fail here, and there is none.
        tracing::error!(%error, "failed to write JSON");
        "null".to_owned()
    })
}

/// A frame to a WebSocket client.
#[derive(Serialize)]
struct Frame<'a, T> {
    event: &'a str,
    data: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<Sequence>,
}

/// A frame that is no event of a session.
pub(crate) fn frame(event: &str, data: &impl Serialize) -> String {
    json(&Frame { event, data, seq: None })
}

/// An `error` frame.
pub(crate) fn error_frame(session: Option<&SessionId>, code: &str, message: &str) -> String {
    frame("error", &Failed { session_id: session, code, message })
}

/// An `error` frame about a problem.
pub(crate) fn problem_frame(session: Option<&SessionId>, problem: &Problem) -> String {
    error_frame(session, problem.code().as_str(), problem.detail())
}

/// The frame of a session's event: made once, shared by all who are joined.
pub(crate) fn event_frame(session_id: &SessionId, published: &Published) -> Arc<str> {
    published.rendered(|published| render(session_id, &published.event, published.sequence).into())
}

fn render(session_id: &SessionId, event: &Event, sequence: Sequence) -> String {
    fn sequenced(event: &str, data: &impl Serialize, sequence: Sequence) -> String {
        json(&Frame { event, data, seq: Some(sequence) })
    }
    match event {
        Event::BlockStarted { conversation, block } => {
            sequenced("session:block:start", &BlockStarted { session_id, conversation_id: conversation, block }, sequence)
        }
        Event::BlockDelta { conversation, block_id, delta } => {
            sequenced("session:block:delta", &BlockDelta { session_id, conversation_id: conversation, block_id, delta }, sequence)
        }
        Event::BlockUpdated { conversation, block_id, update } => {
            let data = BlockUpdated { session_id, conversation_id: conversation, block_id, updates: update };
            sequenced("session:block:update", &data, sequence)
        }
        Event::BlockCompleted { conversation, block } => {
            let data = BlockCompleted { session_id, conversation_id: conversation, block_id: block.id(), block };
            sequenced("session:block:complete", &data, sequence)
        }
        Event::BlockRemoved { conversation, block_id } => {
            sequenced("session:block:removed", &BlockRemoved { session_id, conversation_id: conversation, block_id }, sequence)
        }
        Event::SubagentDiscovered { id, name } => {
            let subagent = NewSubagent { id, name: name.as_deref(), blocks: [] };
            sequenced("session:subagent:discovered", &SubagentDiscovered { session_id, subagent }, sequence)
        }
        Event::SubagentCompleted { id, status } => {
            let data = SubagentCompleted { session_id, subagent_id: id, status: *status };
            sequenced("session:subagent:completed", &data, sequence)
        }
        Event::MetadataUpdated { conversation, metadata } => {
            let data = MetadataUpdated { session_id, conversation_id: conversation, metadata };
            sequenced("session:metadata:update", &data, sequence)
        }
        Event::OptionsUpdated { options } => sequenced("session:options:update", &OptionsUpdated { session_id, options }, sequence),
        Event::FileCreated { file, content } => {
            let file = File::new(file, content.as_deref());
            sequenced("session:file:created", &FileChanged { session_id, file }, sequence)
        }
        Event::FileModified { file, content } => {
            let file = File::new(file, content.as_deref());
            sequenced("session:file:modified", &FileChanged { session_id, file }, sequence)
        }
        Event::FileDeleted { path } => sequenced("session:file:deleted", &FileDeleted { session_id, path }, sequence),
        Event::StatusChanged { runtime } => sequenced("session:status", &StatusChanged { session_id, runtime }, sequence),
        Event::Failed { code, message } => sequenced("error", &Failed { session_id: Some(session_id), code, message }, sequence),
        // Never published: the `session:status` after it tells clients what they need to know.
        Event::MessageAccepted { .. } | Event::TurnStarted { .. } | Event::TurnEnded { .. } => {
            sequenced("session:note", &Note { session_id }, sequence)
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
    Failed {
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<&'a SessionId>,
        code: &'a str,
        message: &'a str,
    }
    Note { session_id: &'a SessionId, }
}

/// A workspace file, with its contents if they are at hand.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct File<'a> {
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
    pub(crate) fn new(info: &'a FileInfo, content: Option<&'a [u8]>) -> Self {
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

/// A session as lists show it. Options are not in it, so that a list of 1,000 stays small whatever they hold.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedSession<'a> {
    session_id: &'a SessionId,
    r#type: &'a str,
    agent_profile_reference: &'a ProfileId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    created_at: Timestamp,
    last_activity: Timestamp,
    runtime: &'a Runtime,
}

impl<'a> From<&'a Listed> for ListedSession<'a> {
    fn from(listed: &'a Listed) -> Self {
        let SessionRecord { id, created_at, last_activity, profile, architecture, name, options: _ } = &listed.record;
        Self {
            session_id: id,
            r#type: architecture,
            agent_profile_reference: profile,
            name: name.as_deref(),
            created_at: *created_at,
            last_activity: *last_activity,
            runtime: &listed.runtime,
        }
    }
}

/// A page of the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListPage<'a> {
    pub(crate) sessions: Vec<ListedSession<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<&'a str>,
}

/// What changed in the list.
#[derive(Serialize)]
pub(crate) struct ListChanges<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) changed: Vec<ListedSession<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) deleted: Vec<&'a SessionId>,
}

#[cfg(test)]
mod tests;
