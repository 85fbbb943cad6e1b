//! An event as an archive keeps it: a line of JSON, from which it can be made again with all that belongs to it.
//!
//! It is not the event record's line, which leaves out the contents of files, and not the frame that clients get, from which no event can be made.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Published;
use crate::event::Event;
use crate::id::Sequence;

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(rename = "seq")]
    sequence: Sequence,
    event: Cow<'a, Event>,
    /// A file's contents, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

/// Why a line is none.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLine {
    /// It is no JSON, or of no event.
    #[error("failed to read an event: {0}")]
    Json(#[from] serde_json::Error),
    /// The contents of a file are not in base64.
    #[error("failed to read the contents of a file in an event: {0}")]
    Content(#[from] base64::DecodeError),
}

impl Published {
    /// Writes it as one line of JSON, without the end of the line.
    ///
    /// # Errors
    /// None that are known of: only maps with keys that are not text cannot be written, and there is none.
    pub fn write_line(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let content = match &self.event {
            Event::FileCreated { content, .. } | Event::FileModified { content, .. } => content.as_ref(),
            _ => None,
        };
        let content = content.map(|content| STANDARD.encode(content));
        serde_json::to_writer(out, &Line { sequence: self.sequence, event: Cow::Borrowed(&self.event), content })
    }

    /// Makes it again from its line.
    ///
    /// # Errors
    /// If it is no such line.
    pub fn read_line(line: &[u8]) -> Result<Self, InvalidLine> {
        let Line { sequence, event, content: kept } = serde_json::from_slice(line)?;
        let mut event = event.into_owned();
        if let (Event::FileCreated { content, .. } | Event::FileModified { content, .. }, Some(kept)) = (&mut event, kept) {
            *content = Some(Bytes::from(STANDARD.decode(kept)?));
        }
        Ok(Self::new(sequence, event))
    }
}
