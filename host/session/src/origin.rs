//! Sessions of programs outside of the host that keep their agents' transcripts in the host's store, as the Claude Agent SDK does through a `SessionStore`: how their names become those of the store.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::id::{ConversationId, RESERVED_PREFIX, SessionId};
use crate::record::StreamName;

/// What the ids of such sessions begin with, after [`RESERVED_PREFIX`]; a digest of the program's names follows, so that they can be as long as they are and of any characters.
const SDK: &str = "sdk.";

/// Longest name of a project in bytes: the SDK makes it from the path of a directory, and cuts it at 200 characters.
const MAX_PROJECT_BYTES: usize = 512;

/// Longest name of a session in bytes: the SDK's are UUIDs.
const MAX_SESSION_BYTES: usize = 256;

/// Longest name of a transcript as the store has it, in bytes: stores take streams' names of 256.
const MAX_ESCAPED_BYTES: usize = 240;

/// Where the SDK has a subagent's transcript, beside the session's own.
const SUBAGENT: &str = "subagents/agent-";

/// Why a name cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct InvalidName {
    what: &'static str,
    reason: String,
}

/// Whose a session is that a program outside of the host keeps in the store, by the program's own names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// What the session belongs to there: the SDK's name of the directory in which it runs.
    pub project_key: String,
    /// Its name there.
    pub session_id: String,
    /// Whether the host has taken it over: then it is a session like any other, and the program writes nothing more.
    #[serde(default)]
    pub adopted: bool,
}

impl Origin {
    /// A session that a program keeps, by its names.
    ///
    /// # Errors
    /// If a name is empty or too long, or has characters that not every store keeps.
    pub fn new(project_key: impl Into<String>, session_id: impl Into<String>) -> Result<Self, InvalidName> {
        let (project_key, session_id) = (project_key.into(), session_id.into());
        check("projectKey", &project_key, MAX_PROJECT_BYTES)?;
        check("sessionId", &session_id, MAX_SESSION_BYTES)?;
        Ok(Self { project_key, session_id, adopted: false })
    }

    /// The session's id in the host, the same each time.
    ///
    /// # Errors
    /// Never, as ids are today.
    pub fn host_id(&self) -> Result<SessionId, InvalidName> {
        // With its length before it, no two pairs of names are the same text.
        let names = format!("{}/{}{}", self.project_key.len(), self.project_key, self.session_id);
        let id = SessionId::new(format!("{RESERVED_PREFIX}{SDK}{}", hex::encode(&Sha256::digest(names))));
        id.map_err(|error| InvalidName { what: "sessionId", reason: error.to_string() })
    }
}

/// Checks the name of a project.
///
/// # Errors
/// If it is one that [`Origin::new`] refuses.
pub fn check_project(project_key: &str) -> Result<(), InvalidName> {
    check("projectKey", project_key, MAX_PROJECT_BYTES)
}

/// Whether only a session that comes from outside can have this id.
pub(crate) fn is_outside(id: &SessionId) -> bool {
    id.as_str().strip_prefix(RESERVED_PREFIX).is_some_and(|rest| rest.starts_with(SDK))
}

fn check(what: &'static str, name: &str, limit: usize) -> Result<(), InvalidName> {
    let refused = |reason: String| Err(InvalidName { what, reason });
    if name.is_empty() {
        refused("it is empty".to_owned())
    } else if name.len() > limit {
        refused(format!("it is longer than {limit} bytes"))
    } else if name.contains(|character: char| character.is_control() || character == char::REPLACEMENT_CHARACTER) {
        // The latter stands for whatever was no text: two such names could be different ones.
        refused("control characters and U+FFFD are not allowed".to_owned())
    } else {
        Ok(())
    }
}

/// The stream of a transcript: the main one, or the one with this name beside it.
///
/// # Errors
/// If no stream can have that name.
pub fn stream(subpath: Option<&str>) -> Result<StreamName, InvalidName> {
    let Some(subpath) = subpath else { return Ok(StreamName::TranscriptMain) };
    check("subpath", subpath, MAX_ESCAPED_BYTES)?;
    // A subagent's is what the host's own agents write, too.
    if let Some(id) = subpath.strip_prefix(SUBAGENT).and_then(|id| ConversationId::new(id).ok()).filter(|id| !id.is_main()) {
        return Ok(StreamName::TranscriptSubagent(id.to_string()));
    }
    let escaped = escape(subpath);
    if escaped.len() > MAX_ESCAPED_BYTES {
        return Err(InvalidName {
            what: "subpath",
            reason: format!("it is longer than {MAX_ESCAPED_BYTES} bytes, escaped as {escaped:?}"),
        });
    }
    Ok(StreamName::TranscriptSubagent(escaped))
}

/// The name of a transcript beside the main one, for the program; `None` for what is no such transcript.
pub fn subpath(stream: &StreamName) -> Option<String> {
    match stream {
        StreamName::Events | StreamName::TranscriptMain => None,
        StreamName::TranscriptSubagent(name) => match name.strip_prefix('.') {
            Some(escaped) => unescape(escaped),
            None => Some(format!("{SUBAGENT}{name}")),
        },
    }
}

/// Any name as one of letters, digits, `-`, `_` and `%`, behind a dot, with which no subagent's id begins.
fn escape(name: &str) -> String {
    let mut escaped = ".".to_owned();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push_str(&hex::encode(&[byte]));
        }
    }
    escaped
}

fn unescape(escaped: &str) -> Option<String> {
    let mut name = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, encoded)) = rest.split_once('%') {
        name.extend_from_slice(plain.as_bytes());
        let (digits, behind) = encoded.split_at_checked(2)?;
        name.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    name.extend_from_slice(rest.as_bytes());
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_sessions_have_the_same_id() {
        let names = ["a", "b", "ab", "1/a", "a/", "/", "..", "ü💡", "-root-work", &"x".repeat(256)];
        let ids: HashSet<SessionId> = names
            .iter()
            .flat_map(|project| names.iter().map(|session| Origin::new(*project, *session).unwrap().host_id().unwrap()))
            .collect();
        assert_eq!(ids.len(), names.len() * names.len());
        assert!(ids.iter().all(is_outside));
        assert!(!is_outside(&SessionId::new("sdk.a").unwrap()) && !is_outside(&SessionId::new("agent-host.scratch.a").unwrap()));
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for name in ["", "a\0b", "a\nb", "\u{fffd}", &"x".repeat(1000)] {
            assert!(Origin::new(name, "s").is_err() && Origin::new("p", name).is_err() && stream(Some(name)).is_err(), "{name:?}");
            assert!(check_project(name).is_err(), "{name:?}");
        }
        // Within the limit, and beyond it when it is escaped.
        assert!(stream(Some(&"/".repeat(MAX_ESCAPED_BYTES))).is_err());
    }

    #[test]
    fn each_transcript_has_a_stream_of_its_own_and_its_name_back() {
        let names = [
            "subagents/agent-a82cafbfbcb955df5",
            "subagents/agent-main",
            "subagents/agent-",
            "subagents/agent-.a",
            "subagents/agent-a/b",
            "main",
            "a82cafbfbcb955df5",
            "subagents/workflows/run-1/agent-a",
            ".",
            "..",
            "%",
            "%2e",
            "ü💡",
            "a b",
            "x?y&z=1",
        ];
        let streams: HashSet<StreamName> = names.iter().map(|name| stream(Some(name)).unwrap()).collect();
        assert_eq!(streams.len(), names.len());
        for name in names {
            let stream = stream(Some(name)).unwrap();
            assert_eq!(subpath(&stream).as_deref(), Some(name));
            assert_eq!(StreamName::parse(&stream.to_text()), Some(stream));
        }
        assert_eq!(stream(Some("subagents/agent-a1")).unwrap().to_text(), "transcript/a1");
        assert_eq!(stream(None).unwrap(), StreamName::TranscriptMain);
        assert_eq!(subpath(&StreamName::TranscriptMain), None);
    }
}
