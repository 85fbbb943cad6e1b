//! Shell scripts that speak as `claude` does, for what the real one cannot be made to do: an end without a result, a line of 16 MB, a cut character.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// An executable script, removed when dropped.
#[derive(Debug)]
pub struct StandIn {
    path: PathBuf,
    _directory: TempDir,
}

/// Answers the control requests, and carries out `TURN` for each message.
const AGENT: &str = r#"#!/bin/sh
session=00000000-0000-4000-8000-000000000000
line() { printf '%s\n' "$1"; }
event() { line "{\"type\":\"stream_event\",\"session_id\":\"$session\",\"parent_tool_use_id\":null,\"event\":$1}"; }
assistant() {
    line "{\"type\":\"assistant\",\"session_id\":\"$session\",\"parent_tool_use_id\":null,\"message\":{\"id\":\"msg_$turn\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"stand-in\",\"content\":[{\"type\":\"text\",\"text\":\"$1\"}],\"stop_reason\":null}}"
}
begin() {
    line "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"$session\",\"cwd\":\"$PWD\",\"tools\":[],\"model\":\"stand-in\"}"
    line "{\"type\":\"system\",\"subtype\":\"session_state_changed\",\"state\":\"running\",\"session_id\":\"$session\"}"
    event "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_$turn\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"stand-in\",\"content\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}"
}
open_text() { event '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'; }
delta() { event "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"$1\"}}"; }
close_text() {
    event '{"type":"content_block_stop","index":0}'
    event '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":1,"output_tokens":1}}'
    event '{"type":"message_stop"}'
}
finish() {
    line "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"terminal_reason\":\"completed\",\"num_turns\":1,\"result\":\"\",\"total_cost_usd\":0,\"usage\":{\"input_tokens\":1,\"output_tokens\":1},\"modelUsage\":{},\"session_id\":\"$session\"}"
    line "{\"type\":\"system\",\"subtype\":\"session_state_changed\",\"state\":\"idle\",\"session_id\":\"$session\"}"
}
say() { open_text; delta "$1"; assistant "$1"; close_text; }
turn=0
while IFS= read -r input; do
    case $input in
    *'"control_request"'*)
        id=$(printf '%s' "$input" | sed 's/.*"request_id" *: *"\([^"]*\)".*/\1/')
        line "{\"type\":\"control_response\",\"response\":{\"subtype\":\"success\",\"request_id\":\"$id\",\"response\":{}}}"
        ;;
    *'"type":"user"'*)
        turn=$((turn + 1))
        TURN
        ;;
    esac
done
"#;

impl StandIn {
    /// An agent that does this, in shell, for each message. Besides all of POSIX it has `begin`, `say TEXT` (or `open_text`, `delta TEXT`,
    /// `assistant TEXT` and `close_text`), `finish`, and `line JSON`; `$turn` counts from 1. Texts go into JSON as they are.
    pub fn agent(turn: &str) -> Self {
        Self::script(&AGENT.replace("TURN", turn))
    }

    /// A script of which nothing is given but its first line, `#!/bin/sh`, if it begins with none.
    pub fn script(text: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("agent-host-agent-").tempdir().expect("failed to make a directory for a script");
        let path = directory.path().join("agent");
        let text = if text.starts_with("#!") { text.to_owned() } else { format!("#!/bin/sh\n{text}\n") };
        fs::write(&path, text).expect("failed to write a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("failed to make a script executable");
        Self { path, _directory: directory }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use serde_json::Value;

    use super::*;

    #[test]
    fn it_answers_requests_and_messages_with_json_lines() {
        let agent = StandIn::agent("begin; say \"hello $turn\"; finish");
        let mut child = Command::new(agent.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, r#"{{"type":"control_request","request_id":"r 1","request":{{"subtype":"initialize"}}}}"#).unwrap();
        writeln!(stdin, r#"{{"type":"user","message":{{"role":"user","content":"x"}}}}"#).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let lines: Vec<Value> = String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["response"]["request_id"], "r 1");
        assert_eq!(lines.last().unwrap()["state"], "idle");
        assert!(lines.iter().any(|line| line["event"]["delta"]["text"] == "hello 1"));
    }
}
