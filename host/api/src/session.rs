//! A whole session as JSON, made piece by piece: neither the reply to a GET nor a snapshot frame keeps a thread busy for long, whatever its size.

use std::sync::Arc;

use agent_host_session::event::{Runtime, SubagentStatus};
use agent_host_session::frame::File;
use agent_host_session::id::{ConversationId, ProfileId, SessionId};
use agent_host_session::manager::{self, Manager};
use agent_host_session::metadata::Metadata;
use agent_host_session::origin::Origin;
use agent_host_session::record::Options;
use agent_host_session::state::View;
use agent_host_session::time::Timestamp;
use serde::Serialize;

use crate::wire::json;

/// A piece is sent when it has this many bytes: large enough that the network's costs per piece vanish, small enough to be made in a fraction of a millisecond.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// Contents of files above this are made JSON by a thread that may be busy: 10 MiB take tens of milliseconds.
const LARGE_FILE_BYTES: usize = 256 * 1024;

/// Writes a session.
pub(crate) struct SessionWriter {
    view: View,
    /// Where the contents of files come from, if they are wanted.
    contents: Option<Arc<Manager>>,
    next: Part,
}

/// What is to be written next.
#[derive(Clone, Copy)]
enum Part {
    Head,
    Block(usize),
    File(usize),
    Subagent(usize),
    SubagentBlock(usize, usize),
    Tail,
    Nothing,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    session_id: &'a SessionId,
    r#type: &'a str,
    agent_profile_reference: &'a ProfileId,
    session_options: &'a Options,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    created_at: Timestamp,
    last_activity: Timestamp,
    metadata: &'a Metadata,
    runtime: &'a Runtime,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a Origin>,
}

#[derive(Serialize)]
struct SubagentHead<'a> {
    id: &'a ConversationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<SubagentStatus>,
    metadata: &'a Metadata,
}

impl SessionWriter {
    pub(crate) fn new(view: View) -> Self {
        Self { view, contents: None, next: Part::Head }
    }

    /// With the contents of the files, which are read one at a time.
    pub(crate) fn with_contents(view: View, manager: Arc<Manager>) -> Self {
        Self { view, contents: Some(manager), next: Part::Head }
    }

    /// Whether everything is written.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.next, Part::Nothing)
    }

    /// The next piece of the JSON text; `None` at its end.
    ///
    /// # Errors
    /// If the contents of a file cannot be read.
    pub(crate) async fn piece(&mut self) -> Result<Option<String>, manager::Error> {
        let mut out = String::new();
        while out.len() < PIECE_BYTES && !self.is_done() {
            self.next = self.write(&mut out).await?;
        }
        Ok((!out.is_empty()).then_some(out))
    }

    async fn write(&self, out: &mut String) -> Result<Part, manager::Error> {
        let view = &self.view;
        Ok(match self.next {
            Part::Head => {
                out.push_str(&open(&self.head()));
                out.push_str(",\"blocks\":[");
                Part::Block(0)
            }
            Part::Block(index) => match view.blocks.get(index) {
                Some(block) => {
                    item(out, index, &json(block));
                    Part::Block(index + 1)
                }
                None => {
                    out.push_str("],\"workspaceFiles\":[");
                    Part::File(0)
                }
            },
            Part::File(index) => match view.files.get(index) {
                Some(_) => {
                    item(out, index, &self.file(index).await?);
                    Part::File(index + 1)
                }
                None => {
                    out.push_str("],\"subagents\":[");
                    Part::Subagent(0)
                }
            },
            Part::Subagent(index) => match view.subagents.get(index) {
                Some(subagent) => {
                    let head = SubagentHead {
                        id: &subagent.id,
                        name: subagent.name.as_deref(),
                        status: subagent.status,
                        metadata: &subagent.metadata,
                    };
                    item(out, index, &open(&head));
                    out.push_str(",\"blocks\":[");
                    Part::SubagentBlock(index, 0)
                }
                None => Part::Tail,
            },
            Part::SubagentBlock(subagent, index) => match view.subagents.get(subagent).and_then(|subagent| subagent.blocks.get(index)) {
                Some(block) => {
                    item(out, index, &json(block));
                    Part::SubagentBlock(subagent, index + 1)
                }
                None => {
                    out.push_str("]}");
                    Part::Subagent(subagent + 1)
                }
            },
            Part::Tail => {
                out.push_str(&format!("],\"seq\":{}}}", view.sequence));
                Part::Nothing
            }
            Part::Nothing => Part::Nothing,
        })
    }

    fn head(&self) -> Head<'_> {
        let record = &self.view.record;
        Head {
            session_id: &record.id,
            r#type: &record.architecture,
            agent_profile_reference: &record.profile,
            session_options: &record.options,
            name: record.name.as_deref(),
            created_at: record.created_at,
            last_activity: record.last_activity,
            metadata: &self.view.metadata,
            runtime: &self.view.runtime,
            origin: self.view.record.origin.as_ref(),
        }
    }

    async fn file(&self, index: usize) -> Result<String, manager::Error> {
        let Some(info) = self.view.files.get(index) else { return Ok(String::new()) };
        let content = match &self.contents {
            // A file above the size limit is known by name only.
            Some(manager) if info.sha256.is_some() => match manager.read_file(&self.view.record.id, &info.path).await {
                Ok(content) => Some(content),
                // Deleted since the view was taken: the reader will be told by an event.
                Err(manager::Error::FileNotFound(_)) => None,
                Err(error) => return Err(error),
            },
            Some(_) | None => None,
        };
        if content.as_ref().is_none_or(|content| content.len() < LARGE_FILE_BYTES) {
            return Ok(json(&File::new(info, content.as_deref())));
        }
        let info = info.clone();
        let written = tokio::task::spawn_blocking(move || json(&File::new(&info, content.as_deref()))).await;
        written.map_err(|error| manager::Error::Store(agent_host_session::ports::store::Error::Other(error.to_string())))
    }
}

/// A JSON object without its closing brace, so that more can follow.
fn open(value: &impl Serialize) -> String {
    let mut text = json(value);
    text.pop();
    text
}

fn item(out: &mut String, index: usize, text: &str) {
    if index > 0 {
        out.push(',');
    }
    out.push_str(text);
}
