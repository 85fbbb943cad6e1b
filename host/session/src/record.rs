//! A session's own row in the store, and what goes with it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{Epoch, ProfileId, SessionId};
use crate::origin::Origin;
use crate::path::RelativePath;
use crate::time::Timestamp;

/// A session's options: a JSON object whose keys the architecture knows.
pub type Options = Map<String, Value>;

/// A session's own row. Blocks are not in it: they are folded from the event record.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRecord {
    /// Names the session.
    pub id: SessionId,
    /// When it was created.
    pub created_at: Timestamp,
    /// When a turn last began or ended.
    pub last_activity: Timestamp,
    /// Its agent profile.
    pub profile: ProfileId,
    /// Its architecture's name.
    pub architecture: String,
    /// A name for people.
    pub name: Option<String>,
    /// Its options.
    pub options: Options,
    /// Whose it is, if a program outside of the host has made it.
    pub origin: Option<Origin>,
}

impl SessionRecord {
    /// Whether the session's agent runs outside of the host, which then only keeps what it is given.
    pub fn runs_outside(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| !origin.adopted)
    }
}

/// What to change in a record; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordChanges {
    /// When a turn last began or ended.
    pub last_activity: Option<Timestamp>,
    /// A name for people.
    pub name: Option<String>,
    /// All options.
    pub options: Option<Options>,
    /// Whose it is.
    pub origin: Option<Origin>,
}

/// A workspace file, without its contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileInfo {
    /// Below the workspace.
    pub path: RelativePath,
    /// Bytes.
    pub size: u64,
    /// Of the contents: 64 lower-case hexadecimal digits. `None` for a file above the size limit, whose contents are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it was last seen changed.
    pub modified_at: Timestamp,
}

/// A named append-only sequence of bytes in a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamName {
    /// The host's event record.
    Events,
    /// The agent's transcript of the main conversation.
    TranscriptMain,
    /// The agent's transcript of a subagent, by the agent's own id of it.
    TranscriptSubagent(String),
}

impl StreamName {
    /// The name in the store.
    pub fn to_text(&self) -> String {
        match self {
            Self::Events => "events".to_owned(),
            Self::TranscriptMain => "transcript/main".to_owned(),
            Self::TranscriptSubagent(id) => format!("transcript/{id}"),
        }
    }

    /// From the name in the store; `None` for a name that this version does not know.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "events" => Some(Self::Events),
            "transcript/main" => Some(Self::TranscriptMain),
            _ => text.strip_prefix("transcript/").map(|id| Self::TranscriptSubagent(id.to_owned())),
        }
    }

    /// Whether it is one of the agent's own.
    pub fn is_transcript(&self) -> bool {
        !matches!(self, Self::Events)
    }
}

/// Everything that is stored about a session but the contents of its streams and files.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The highest epoch that a write carried.
    pub epoch: Epoch,
    /// The row.
    pub record: SessionRecord,
    /// Streams with their lengths in bytes.
    pub streams: Vec<(StreamName, u64)>,
    /// Workspace files.
    pub files: Vec<FileInfo>,
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Newest first.
    pub sessions: Vec<SessionRecord>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}
