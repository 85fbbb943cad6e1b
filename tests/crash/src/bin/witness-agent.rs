//! An agent that does what it is told, and tells a witness of it: which messages it read, and what it wrote to its transcript and its workspace. The witness is neither
//! the host nor killed with it, so that what the host loses can be seen.
//!
//! It speaks as `claude` does, and is as stubborn as an agent can be: it goes on to the end of its turn when nobody reads what it says any more.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _, stdin, stdout};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use agent_host_crash::words::{self, Evidence, Work};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let (sender, input) = channel();
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if let Ok(line) = serde_json::from_str::<Value>(&line)
                && sender.send(line).is_err()
            {
                return;
            }
        }
    });
    let mut agent = Agent::start(input)?;
    while let Ok(request) = agent.input.recv() {
        agent.request(&request)?;
    }
    Ok(())
}

/// The witness, who confirms each piece of evidence.
struct Witness {
    stream: BufReader<TcpStream>,
}

impl Witness {
    fn connect() -> Result<Self, Failure> {
        let stream = TcpStream::connect(std::env::var(words::WITNESS)?)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    fn tell(&mut self, evidence: &Evidence) -> Result<(), Failure> {
        let mut line = serde_json::to_string(evidence)?;
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes())?;
        let mut confirmed = String::new();
        match self.stream.read_line(&mut confirmed)? {
            // Without a witness there is nothing to prove.
            0 => Err("the witness is gone".into()),
            _ => Ok(()),
        }
    }
}

struct Agent {
    input: Receiver<Value>,
    witness: Witness,
    /// Names this process.
    process: String,
    /// As the host calls the agent's own session.
    session: String,
    /// Where the transcript is.
    path: String,
    /// The transcript, once something was written to it.
    transcript: Option<File>,
    lines: usize,
}

impl Agent {
    fn start(input: Receiver<Value>) -> Result<Self, Failure> {
        let arguments: Vec<String> = std::env::args().collect();
        let session = arguments.iter().skip_while(|word| !matches!(word.as_str(), "--session-id" | "--resume")).nth(1);
        let session = session.ok_or("neither --session-id nor --resume is given")?.clone();
        let workspace = std::env::current_dir()?.to_string_lossy().into_owned();
        let project: String = workspace.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(200).collect();
        let path = format!("{}/.claude/projects/{project}/{session}.jsonl", std::env::var("HOME")?);
        let process = uuid::Uuid::new_v4().to_string();
        let mut witness = Witness::connect()?;
        witness.tell(&Evidence::Began { process: process.clone() })?;
        Ok(Self { input, witness, process, session, path, transcript: None, lines: 0 })
    }

    fn request(&mut self, request: &Value) -> Result<(), Failure> {
        match request.get("type").and_then(Value::as_str) {
            Some("control_request") => {
                let id = request.get("request_id").cloned().unwrap_or_default();
                print(&json!({"type": "control_response", "response": {"subtype": "success", "request_id": id, "response": {}}}));
                Ok(())
            }
            Some("user") => match request.pointer("/message/content").and_then(text_of).map(|text| serde_json::from_str::<Work>(&text)) {
                Some(Ok(work)) => self.turn(&work),
                _ => Err(format!("a message that says nothing: {request}").into()),
            },
            _ => Ok(()),
        }
    }

    fn turn(&mut self, work: &Work) -> Result<(), Failure> {
        self.witness.tell(&Evidence::Asked(work.clone()))?;
        if work.daemon {
            // Out of the agent's own group, as a server is that an agent starts.
            Command::new("sleep").arg("3600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn()?;
        }
        let session = self.session.clone();
        let id = format!("msg_{}_{}", work.message, self.process);
        let event =
            |event: Value| print(&json!({"type": "stream_event", "session_id": session, "parent_tool_use_id": null, "event": event}));
        let usage = json!({"input_tokens": 1, "output_tokens": work.deltas});
        print(&json!({"type": "system", "subtype": "init", "session_id": session, "cwd": "/", "tools": [], "model": "witness"}));
        let start = json!({"id": id, "type": "message", "role": "assistant", "model": "witness", "content": [], "usage": usage});
        event(json!({"type": "message_start", "message": start}));
        event(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}));
        let (mut said, mut written) = (0, 0);
        let interrupted = loop {
            while written * work.deltas.max(1) < work.lines * (said + 1) && written < work.lines {
                self.line(work)?;
                written += 1;
            }
            if said == work.deltas {
                break false;
            }
            event(json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": work.delta(said)}}));
            said += 1;
            if said == work.deltas.div_ceil(2)
                && let Some(path) = &work.file
            {
                self.file(work, path)?;
            }
            if self.pause(Duration::from_millis(work.pause))? {
                break true;
            }
        };
        let text = json!([{"type": "text", "text": work.answer(said)}]);
        let message = json!({"id": id, "type": "message", "role": "assistant", "model": "witness", "content": text, "stop_reason": null});
        print(&json!({"type": "assistant", "session_id": session, "parent_tool_use_id": null, "message": message}));
        event(json!({"type": "content_block_stop", "index": 0}));
        event(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}));
        event(json!({"type": "message_stop"}));
        self.witness.tell(&Evidence::Finished { message: work.message.clone(), interrupted })?;
        let (subtype, reason) = if interrupted { ("error_during_execution", "aborted_streaming") } else { ("success", "completed") };
        print(&json!({
            "type": "result", "subtype": subtype, "is_error": interrupted, "terminal_reason": reason, "num_turns": 1, "result": "",
            "total_cost_usd": 0.0, "usage": usage, "modelUsage": {}, "session_id": session,
        }));
        print(&json!({"type": "system", "subtype": "session_state_changed", "state": "idle", "session_id": session}));
        (0..work.afterwards).try_for_each(|_| self.line(work))
    }

    /// Adds a line to the transcript, and says so to the host as well.
    fn line(&mut self, work: &Work) -> Result<(), Failure> {
        self.lines += 1;
        let text = "x".repeat(work.bytes);
        let line = json!({"type": "user", "process": self.process, "line": self.lines, "message": work.message, "text": text}).to_string();
        let session = &work.session;
        self.witness.tell(&Evidence::Writing { session: session.clone(), line: line.clone() })?;
        let file = match &mut self.transcript {
            Some(file) => file,
            none => {
                if let Some((directory, _)) = self.path.rsplit_once('/') {
                    fs::create_dir_all(directory)?;
                }
                none.insert(File::options().create(true).append(true).open(&self.path)?)
            }
        };
        file.write_all(format!("{line}\n").as_bytes())?;
        self.witness.tell(&Evidence::Wrote { session: session.clone(), line: line.clone() })?;
        // As it is: what the host stores is this very text.
        print_text(&format!("{{\"type\":\"transcript_mirror\",\"filePath\":{},\"entries\":[{line}]}}", json!(self.path)));
        Ok(())
    }

    fn file(&mut self, work: &Work, path: &str) -> Result<(), Failure> {
        let content = work.file_content(&self.process);
        let (session, path) = (work.session.clone(), path.to_owned());
        self.witness.tell(&Evidence::WritingFile { session: session.clone(), path: path.clone(), content: content.clone() })?;
        fs::write(&path, &content)?;
        self.witness.tell(&Evidence::WroteFile { session, path, content })
    }

    /// Rests for a while; `true` if it is told to break off meanwhile.
    fn pause(&mut self, pause: Duration) -> Result<bool, Failure> {
        let until = Instant::now() + pause;
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            match self.input.recv_timeout(rest) {
                Ok(request) => {
                    let is_interrupt = request.pointer("/request/subtype").is_some_and(|subtype| subtype == "interrupt");
                    if request.get("type").is_some_and(|kind| kind == "user") {
                        return Err("a message came in the middle of a turn".into());
                    }
                    self.request(&request)?;
                    if is_interrupt {
                        return Ok(true);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => {
                    // Nobody will say anything more, which is no reason to hurry.
                    std::thread::sleep(rest);
                    return Ok(false);
                }
            }
        }
    }
}

fn text_of(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts.iter().find_map(|part| part.get("text")?.as_str()).map(str::to_owned),
        _ => None,
    }
}

fn print(line: &Value) {
    print_text(&line.to_string());
}

/// Whether anybody reads it is of no interest to a stubborn agent.
fn print_text(line: &str) {
    let mut out = stdout().lock();
    drop(out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()));
}
