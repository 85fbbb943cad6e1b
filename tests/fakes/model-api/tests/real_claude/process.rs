//! The real `claude` as a child process, one turn after the other.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fake_model_api::ModelApi;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// More than any turn here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// A running `claude`, killed when dropped.
pub(crate) struct Claude {
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

/// What it printed in a turn.
pub(crate) struct Turn(pub(crate) Vec<Value>);

impl Claude {
    /// Starts it with a home directory and a workspace below `directory`, and `arguments` beside the usual ones.
    pub(crate) fn start(program: &Path, api: &ModelApi, directory: &Path, arguments: &[&str]) -> Self {
        let (home, workspace) = (directory.join("home"), directory.join("workspace"));
        std::fs::create_dir_all(&home).unwrap();
        std::fs::create_dir_all(&workspace).unwrap();
        let mut process = Command::new(program)
            .args(["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose", "--include-partial-messages"])
            .args(["--forward-subagent-text", "--permission-mode", "bypassPermissions", "--model", "claude-sonnet-4-6"])
            .args(arguments)
            .current_dir(workspace)
            .env_clear()
            .env("HOME", home)
            // Otherwise it leaves sockets and links in /tmp.
            .env("CLAUDE_CODE_TMPDIR", directory)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("ANTHROPIC_API_KEY", "fake-key")
            .env("ANTHROPIC_BASE_URL", api.base_url())
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1")
            .env("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS", "1")
            .env("CLAUDE_CODE_MAX_RETRIES", "3")
            .env("IS_SANDBOX", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { stdin: process.stdin.take().unwrap(), stdout, _process: process }
    }

    /// Sends a line.
    pub(crate) async fn write(&mut self, line: &Value) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Sends a prompt, and does not wait.
    pub(crate) async fn say(&mut self, prompt: &str) {
        self.write(&json!({"type": "user", "message": {"role": "user", "content": prompt}})).await;
    }

    /// Its next line.
    pub(crate) async fn line(&mut self) -> Value {
        let line = tokio::time::timeout(DEADLINE, self.stdout.next_line()).await.expect("claude printed nothing more in time");
        serde_json::from_str(&line.unwrap().expect("claude ended")).expect("claude printed a line that is not JSON")
    }

    /// Lines up to the one that says that it is idle.
    pub(crate) async fn finish(&mut self) -> Turn {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            let idle = line["subtype"] == "session_state_changed" && line["state"] == "idle";
            lines.push(line);
            if idle {
                return Turn(lines);
            }
        }
    }

    /// A whole turn.
    pub(crate) async fn turn(&mut self, prompt: &str) -> Turn {
        self.say(prompt).await;
        self.finish().await
    }
}

impl Turn {
    /// The lines of a type.
    pub(crate) fn lines<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |line| line["type"] == kind)
    }

    /// The `result` line.
    pub(crate) fn result(&self) -> &Value {
        self.lines("result").last().expect("the turn has no result")
    }

    /// The text of the result.
    pub(crate) fn answer(&self) -> &str {
        self.result()["result"].as_str().unwrap_or_default()
    }

    /// The deltas of a type, joined: of `text_delta` the member `text`.
    pub(crate) fn streamed(&self, kind: &str, member: &str) -> String {
        let deltas = self.lines("stream_event").map(|line| &line["event"]["delta"]).filter(|delta| delta["type"] == kind);
        deltas.filter_map(|delta| delta[member].as_str()).collect()
    }

    /// The blocks of a type in messages of the assistant, or results of tools in those of the user, of the main conversation.
    pub(crate) fn blocks<'a>(&'a self, line: &'a str, kind: &str) -> Vec<&'a Value> {
        let contents = self.lines(line).filter(|line| line["parent_tool_use_id"].is_null()).map(|line| &line["message"]["content"]);
        contents.filter_map(Value::as_array).flatten().filter(|block| block["type"] == kind).collect()
    }

    /// The lines of a type and subtype.
    pub(crate) fn system(&self, subtype: &str) -> usize {
        self.lines("system").filter(|line| line["subtype"] == subtype).count()
    }
}
