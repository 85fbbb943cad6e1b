//! Where `claude` keeps its transcripts, and how they are laid down for it to resume.
//!
//! A stored transcript is what the command mirrored, line for line. In a subagent's, lines of the type `agent_metadata` stand for a small file
//! of their own beside the transcript, which the command rewrites; the last one is what that file holds.

use std::collections::BTreeMap;

use agent_host_session::id::ConversationId;
use agent_host_session::origin;
use agent_host_session::path::RelativePath;
use agent_host_session::ports::agent::Invalid;
use agent_host_session::ports::sandbox::{File, Layout};
use agent_host_session::record::StreamName;
use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};

use super::wire;
use crate::place;

/// The type of the lines that stand for `agent-<id>.meta.json`.
pub(super) const METADATA: &str = "agent_metadata";

/// The command cuts longer names of project directories and adds a hash. It finds a transcript in any of them, so that a cut is enough.
const MAX_PROJECT_BYTES: usize = 200;

/// The name of the project directory of a workspace: what is no ASCII letter or digit becomes `-`, a character outside the basic plane two of them.
fn project(workspace: &str) -> String {
    workspace
        .encode_utf16()
        .map(|unit| u8::try_from(unit).ok().filter(u8::is_ascii_alphanumeric).map_or('-', char::from))
        .take(MAX_PROJECT_BYTES)
        .collect()
}

/// Whether the command can resume from a main transcript: without a message of the user it says that there is no such conversation.
pub(super) fn is_resumable(main: &[u8]) -> bool {
    lines(main).any(|line| wire::kind(line).is_ok_and(|kind| matches!(&*kind, "user" | "assistant")))
}

/// The files that make `session` resumable.
pub(super) fn restore(session: &str, transcripts: &BTreeMap<StreamName, Bytes>, layout: &Layout) -> Result<Vec<File>, Invalid> {
    let directory = directory(layout);
    let mut files = Vec::new();
    for (stream, content) in transcripts {
        match stream {
            StreamName::Events => {}
            StreamName::TranscriptMain => files.push(place::home(&format!("{directory}/{session}.jsonl"), content.clone())?),
            StreamName::TranscriptSubagent(_) => {
                let path = origin::subpath(stream).map(|subpath| format!("{directory}/{session}/{subpath}"));
                // A name from outside need not be one of a file. The command would not look for such a one.
                let Some(path) = path.filter(|path| RelativePath::new(path.as_str()).is_ok()) else { continue };
                let (transcript, metadata) = split_metadata(content);
                files.push(place::home(&format!("{path}.jsonl"), transcript)?);
                if let Some(metadata) = metadata {
                    files.push(place::home(&format!("{path}.meta.json"), metadata)?);
                }
            }
        }
    }
    Ok(files)
}

/// A subagent's transcript without its metadata, and the last metadata as the command keeps it.
fn split_metadata(content: &Bytes) -> (Bytes, Option<Bytes>) {
    let mut transcript = Vec::with_capacity(content.len());
    let mut metadata = None;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let text = std::str::from_utf8(line).unwrap_or_default();
        if wire::kind(text).is_ok_and(|kind| kind == METADATA) {
            metadata = serde_json::from_str::<Map<String, Value>>(text).ok();
        } else {
            transcript.extend_from_slice(line);
        }
    }
    let metadata = metadata.map(|mut metadata| {
        metadata.remove("type");
        Bytes::from(Value::Object(metadata).to_string())
    });
    (Bytes::from(transcript), metadata)
}

/// Where the command keeps all transcripts of sessions in a workspace, below the home directory.
pub(super) fn directory(layout: &Layout) -> String {
    format!(".claude/projects/{}", project(&layout.workspace))
}

/// What the files of a session have beyond what is stored of them, in whole lines. A file that has not grown from what is stored is left alone: it is another one.
pub(super) fn recover(session: &str, stored: &BTreeMap<StreamName, Bytes>, files: &[(RelativePath, Bytes)]) -> BTreeMap<StreamName, Bytes> {
    let mut added = BTreeMap::new();
    for (path, content) in files {
        let (stream, is_of) = match locate(path.as_str()) {
            Some(Kept::Main { session }) => (StreamName::TranscriptMain, session),
            Some(Kept::Subagent { session, id }) => (StreamName::TranscriptSubagent(id.to_owned()), session),
            None => continue,
        };
        if is_of != session {
            continue;
        }
        let known = stored.get(&stream).cloned().unwrap_or_default();
        let (transcript, metadata) = split_metadata(&known);
        let Some(tail) = after(&transcript, content) else { continue };
        let mut tail = BytesMut::from(tail);
        if metadata.is_none() {
            tail.extend_from_slice(&kept_metadata(path, files));
        }
        if !tail.is_empty() {
            added.insert(stream, tail.freeze());
        }
    }
    added
}

/// The whole lines of a file behind all those that are stored; `None` if they are not in it in this order. The command mirrors most of its lines, and not those about requests.
fn after<'a>(stored: &[u8], file: &'a [u8]) -> Option<&'a [u8]> {
    let end = file.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let (file, _) = file.split_at(end);
    let mut known = stored.split_inclusive(|byte| *byte == b'\n').peekable();
    let mut seen = 0;
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        if known.peek().is_none() {
            break;
        }
        known.next_if_eq(&line);
        seen += line.len();
    }
    known.peek().is_none().then(|| file.split_at(seen).1)
}

/// The line that stands for the small file beside a subagent's transcript, if there is one.
fn kept_metadata(path: &RelativePath, files: &[(RelativePath, Bytes)]) -> Vec<u8> {
    let beside = path.as_str().strip_suffix(".jsonl").map(|path| format!("{path}.meta.json"));
    let kept = files.iter().find(|(path, _)| Some(path.as_str()) == beside.as_deref());
    let Some(mut metadata) = kept.and_then(|(_, content)| serde_json::from_slice::<Map<String, Value>>(content).ok()) else {
        return Vec::new();
    };
    metadata.insert("type".to_owned(), METADATA.into());
    format!("{}\n", Value::Object(metadata)).into_bytes()
}

/// A transcript's lines that are text.
pub(super) fn lines(transcript: &[u8]) -> impl Iterator<Item = &str> {
    transcript.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()).filter(|line| !line.trim().is_empty())
}

/// Which transcript a file of the command is.
#[derive(Debug, PartialEq)]
pub(super) enum Kept<'a> {
    /// The main one of a session.
    Main { session: &'a str },
    /// A subagent's.
    Subagent { session: &'a str, id: &'a str },
}

/// Reads a path such as `…/projects/<project>/<session>.jsonl` or `…/<session>/subagents/agent-<id>.jsonl`; `None` for any other.
pub(super) fn locate(path: &str) -> Option<Kept<'_>> {
    let (directory, name) = path.strip_suffix(".jsonl")?.rsplit_once('/')?;
    if let Some(session) = directory.strip_suffix("/subagents") {
        let id = name.strip_prefix("agent-")?;
        // The id becomes part of a stream's name and, when it is laid down again, of a path. The main transcript has its own.
        ConversationId::new(id).ok().filter(|id| !id.is_main())?;
        return Some(Kept::Subagent { session: session.rsplit('/').next()?, id });
    }
    let (parent, _project) = directory.rsplit_once('/')?;
    parent.ends_with("/projects").then_some(Kept::Main { session: name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_directory_is_named_as_the_command_names_it() {
        for (workspace, name) in [("/workspace", "-workspace"), ("/a b/w.x_y", "-a-b-w-x-y"), ("/ü/💡", "-----")] {
            assert_eq!(project(workspace), name, "{workspace}");
        }
        assert_eq!(project(&format!("/{}", "x".repeat(500))).len(), MAX_PROJECT_BYTES);
    }

    #[test]
    fn files_are_told_apart_by_their_path() {
        let session = "8ae21b76-6657-40d0-b4d7-7e0c9e5ec35f";
        let project = "/home/agent/.claude/projects/-workspace";
        assert_eq!(locate(&format!("{project}/{session}.jsonl")), Some(Kept::Main { session }));
        let subagent = Kept::Subagent { session, id: "a82cafbfbcb955df5" };
        assert_eq!(locate(&format!("{project}/{session}/subagents/agent-a82cafbfbcb955df5.jsonl")), Some(subagent));
        for other in [
            format!("{project}/{session}/subagents/agent-a.meta.json"),
            format!("{project}/{session}/subagents/agent-..jsonl"),
            format!("{project}/{session}/subagents/agent-main.jsonl"),
            format!("{project}/{session}/subagents/other.jsonl"),
            format!("{project}/memory/deep/notes.jsonl"),
            "x.jsonl".to_owned(),
            String::new(),
        ] {
            assert_eq!(locate(&other), None, "{other}");
        }
    }

    #[test]
    fn what_was_written_when_nobody_listened_is_found_in_whole_lines() {
        let path = |name: &str| RelativePath::new(format!(".claude/projects/-workspace/{name}")).unwrap();
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let main = |text: &str| vec![(path("s.jsonl"), bytes(text))];
        let stored = |text: &str| BTreeMap::from([(StreamName::TranscriptMain, bytes(text))]);
        let added = |stored: &BTreeMap<StreamName, Bytes>, files: &[(RelativePath, Bytes)]| {
            recover("s", stored, files)
                .into_iter()
                .map(|(stream, tail)| (stream, String::from_utf8_lossy(&tail).into_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(added(&stored("1\n"), &main("1\n2\n3\n")), [(StreamName::TranscriptMain, "2\n3\n".to_owned())]);
        // What the command does not mirror is no other file.
        assert_eq!(added(&stored("1\n3\n"), &main("1\n2\n3\n4\n")), [(StreamName::TranscriptMain, "4\n".to_owned())]);
        // The last line was being written.
        assert_eq!(added(&stored("1\n"), &main("1\n2\n{\"ty")), [(StreamName::TranscriptMain, "2\n".to_owned())]);
        for (stored_text, file) in [("1\n", "1\n"), ("1\n2\n", "1\n"), ("1\n", "x\n2\n"), ("", "{\"ty")] {
            assert_eq!(added(&stored(stored_text), &main(file)), [], "{stored_text:?} {file:?}");
        }
        assert_eq!(added(&stored("1\n"), &[(path("other.jsonl"), bytes("1\n2\n"))]), []);

        let subagent = StreamName::TranscriptSubagent("a1".to_owned());
        let files =
            [(path("s/subagents/agent-a1.jsonl"), bytes("1\n")), (path("s/subagents/agent-a1.meta.json"), bytes("{\"agentType\":\"x\"}"))];
        let line = "{\"agentType\":\"x\",\"type\":\"agent_metadata\"}\n";
        assert_eq!(added(&BTreeMap::new(), &files), [(subagent.clone(), format!("1\n{line}"))]);
        let known = BTreeMap::from([(subagent.clone(), bytes(&format!("{line}1\n")))]);
        assert_eq!(added(&known, &[(path("s/subagents/agent-a1.jsonl"), bytes("1\n2\n"))]), [(subagent, "2\n".to_owned())]);
    }

    #[test]
    fn a_transcript_without_a_message_cannot_be_resumed() {
        let queued = r#"{"type":"queue-operation","operation":"enqueue","content":"hi"}"#;
        assert!(!is_resumable(b""));
        assert!(!is_resumable(format!("{queued}\n{queued}\n").as_bytes()));
        assert!(is_resumable(format!("{queued}\n{{\"parentUuid\":null,\"type\":\"user\"}}\n").as_bytes()));
    }

    #[test]
    fn the_last_metadata_of_a_subagent_becomes_a_file_of_its_own() {
        let line = r#"{"isSidechain":true, "type":"user","uuid":"1"}"#;
        let content = format!(
            "{{\"type\":\"agent_metadata\",\"agentType\":\"x\"}}\n{line}\n{{\"type\":\"agent_metadata\",\"agentType\":\"x\",\"finished\":true}}\n"
        );
        let transcripts = BTreeMap::from([
            (StreamName::TranscriptMain, Bytes::from_static(b"main\n")),
            (StreamName::TranscriptSubagent("a1".into()), Bytes::from(content)),
            (origin::stream(Some("subagents/workflows/w-1/agent-a2")).unwrap(), Bytes::from_static(b"deep\n")),
            (origin::stream(Some("../../../agent-a3")).unwrap(), Bytes::from_static(b"no file\n")),
        ]);
        let layout = Layout { home: "/home/agent".into(), workspace: "/workspace".into(), projects: "/projects".into() };
        let files: BTreeMap<String, Bytes> =
            restore("s-1", &transcripts, &layout).unwrap().into_iter().map(|file| (file.path.to_string(), file.content)).collect();
        let directory = ".claude/projects/-workspace";
        assert_eq!(files.len(), 4);
        assert_eq!(files[&format!("{directory}/s-1/subagents/workflows/w-1/agent-a2.jsonl")], "deep\n");
        assert_eq!(files[&format!("{directory}/s-1.jsonl")], "main\n");
        assert_eq!(files[&format!("{directory}/s-1/subagents/agent-a1.jsonl")], format!("{line}\n"));
        let metadata: Value = serde_json::from_slice(&files[&format!("{directory}/s-1/subagents/agent-a1.meta.json")]).unwrap();
        assert_eq!(metadata, serde_json::json!({"agentType": "x", "finished": true}));
    }
}
