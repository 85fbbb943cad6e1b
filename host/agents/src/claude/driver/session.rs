//! The session as `claude` itself names it, and its transcripts as they are mirrored.

use std::collections::HashSet;

use agent_host_session::ports::agent::Output;
use agent_host_session::record::StreamName;
use bytes::{BufMut, Bytes, BytesMut};

use super::super::transcript::{self, Kept};
use super::super::wire::Mirror;

/// The session that the command works on. `/clear` replaces it by a new one, in a new file.
pub(in crate::claude) struct Session {
    id: String,
    fresh: bool,
    /// What is stored under this session belongs to one that is given up.
    replaces: bool,
    /// Sessions that were given up. The command still adds lines to their files, which are of no use.
    retired: HashSet<String>,
    reset_announced: bool,
}

impl Session {
    /// A session that begins with this process. With `replaces`, what is stored is not part of it.
    pub(in crate::claude) fn fresh(id: String, replaces: bool) -> Self {
        Self { id, fresh: true, replaces, retired: HashSet::new(), reset_announced: false }
    }

    /// A session that goes on.
    pub(in crate::claude) fn resumed(id: String) -> Self {
        Self { id, fresh: false, replaces: false, retired: HashSet::new(), reset_announced: false }
    }

    pub(in crate::claude) fn id(&self) -> &str {
        &self.id
    }

    pub(in crate::claude) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Begins anew what is stored, if need be.
    pub(super) fn start(&self, out: &mut Vec<Output>) {
        if self.replaces {
            out.push(Output::TranscriptReset { stream: StreamName::TranscriptMain });
        }
    }

    /// The conversation was cleared. The new session's id is not known yet: the one that the command names here is another.
    pub(super) fn announce_reset(&mut self) {
        self.reset_announced = true;
    }

    /// The command says on which session it works. Gives whether that is another one than before.
    pub(super) fn is_now(&mut self, id: &str, out: &mut Vec<Output>) -> bool {
        if id == self.id || self.retired.contains(id) {
            return false;
        }
        self.retired.insert(std::mem::replace(&mut self.id, id.to_owned()));
        self.reset_announced = false;
        out.push(Output::TranscriptReset { stream: StreamName::TranscriptMain });
        true
    }

    /// Takes over mirrored lines. Gives whether they belong to another session than before.
    pub(super) fn mirror(&mut self, mirror: &Mirror<'_>, out: &mut Vec<Output>) -> bool {
        let mut switched = false;
        let stream = match transcript::locate(&mirror.file_path) {
            Some(Kept::Main { session }) => {
                // The first lines of the new file come before anything else names it.
                if self.reset_announced {
                    switched = self.is_now(session, out);
                }
                (session == self.id).then_some(StreamName::TranscriptMain)
            }
            Some(Kept::Subagent { session, id }) => (session == self.id).then(|| StreamName::TranscriptSubagent(id.to_owned())),
            None => None,
        };
        let Some(stream) = stream else {
            tracing::debug!(path = %mirror.file_path, "ignored mirrored lines of a file that is no transcript of this session");
            return switched;
        };
        let mut data = BytesMut::with_capacity(mirror.entries.iter().map(|entry| entry.get().len() + 1).sum());
        for entry in &mirror.entries {
            data.put_slice(entry.get().as_bytes());
            data.put_u8(b'\n');
        }
        if !data.is_empty() {
            out.push(Output::Transcript { stream, data: Bytes::from(data) });
        }
        switched
    }
}
