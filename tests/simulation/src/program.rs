//! The agent's program, which does what the message tells it to do. A message is its own id, and then:
//!
//! | message | what the program does |
//! | --- | --- |
//! | `say WORD…` | says the words, one by one |
//! | `hang` | says `waiting` and then nothing, until it is interrupted |
//! | `deaf` | the same, whoever interrupts it |
//! | `die` | says `dying` and exits with status 3 |
//! | `write PATH TEXT` | writes a workspace file |
//! | `remove PATH` | removes it |
//!
//! It keeps its own transcript in a file, as agents do, and prints what it adds to it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::MessageId;
use agent_host_session::path::RelativePath;
use agent_host_session::ports::sandbox::Exit;
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::sync::watch;

use crate::sandbox::{Cloud, Fate, SandboxState};
use crate::world::{Promise, Written, note};

/// Where the program keeps its transcript, below its home directory.
const TRANSCRIPT: &str = "transcripts/main";

/// Something to do.
enum Step {
    Print(String),
    Transcript(String),
    Write(RelativePath, String),
    Remove(RelativePath),
    Exit,
}

struct Program {
    cloud: Arc<Cloud>,
    sandbox: Arc<SandboxState>,
    steps: VecDeque<Step>,
    is_deaf: bool,
    in_turn: bool,
}

/// Runs the program to its end.
pub(crate) async fn run(
    cloud: Arc<Cloud>,
    sandbox: Arc<SandboxState>,
    stdin: DuplexStream,
    stdout: DuplexStream,
    mut fate: watch::Receiver<Fate>,
) -> Exit {
    let mut program = Program { cloud, sandbox, steps: VecDeque::new(), is_deaf: false, in_turn: false };
    let killed = Exit { code: None, signal: Some(9) };
    let ended = tokio::select! {
        code = program.live(stdin, stdout) => return Exit { code: Some(code), signal: None },
        fate = fate.wait_for(|fate| *fate != Fate::Lives) => fate.map_or(Fate::Killed, |fate| *fate),
    };
    if ended == Fate::Orphaned && program.cloud.world.chance(60) {
        // Nobody listens any more. It does what it was told to do, and ends then.
        tokio::select! {
            () = program.finish() => return Exit { code: Some(0), signal: None },
            _ = fate.wait_for(|fate| *fate == Fate::Killed) => {}
        }
    }
    killed
}

impl Program {
    async fn live(&mut self, stdin: DuplexStream, mut stdout: DuplexStream) -> i32 {
        let mut lines = BufReader::new(stdin).lines();
        loop {
            let pause = self.pause();
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => self.told(&line),
                    Ok(None) | Err(_) => return 0,
                },
                () = tokio::time::sleep(pause), if !self.steps.is_empty() => {
                    let Some(step) = self.steps.pop_front() else { continue };
                    let Some(printed) = self.step(step) else { return 3 };
                    if stdout.write_all(printed.as_bytes()).await.is_err() {
                        return 1;
                    }
                }
            }
        }
    }

    /// Does what is left, without a word.
    async fn finish(&mut self) {
        while let Some(step) = self.steps.pop_front() {
            tokio::time::sleep(self.pause()).await;
            if self.step(step).is_none() {
                return;
            }
        }
    }

    fn pause(&self) -> Duration {
        let world = &self.cloud.world;
        if world.chance(60) { Duration::ZERO } else { world.millis(if world.chance(80) { 20 } else { 3_000 }) }
    }

    fn told(&mut self, line: &str) {
        let (word, text) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "hello" => self.print([format!("session agent-of-{}", self.sandbox.session), "ready".to_owned()]),
            "model" => self.print([format!("model {text}")]),
            "interrupt" if self.in_turn && !self.is_deaf => {
                self.steps.clear();
                self.print(["end".to_owned()]);
            }
            "message" => self.message(text),
            _ => {}
        }
    }

    fn print(&mut self, lines: impl IntoIterator<Item = String>) {
        self.steps.extend(lines.into_iter().map(Step::Print));
    }

    fn message(&mut self, text: &str) {
        let world = &Arc::clone(&self.cloud.world);
        let (id, what) = text.split_once(' ').unwrap_or((text, ""));
        note!(world, "the agent in {} of {} gets {text}", self.sandbox.id, self.sandbox.session);
        if std::mem::replace(&mut self.in_turn, true) {
            world.violated(Promise::OneWriter, format!("the agent in {} gets {text} in the middle of another turn", self.sandbox.id));
        }
        if let Ok(id) = MessageId::new(id) {
            world.known(&self.sandbox.session, |known| known.messages.entry(id).or_default().runs += 1);
        }
        self.is_deaf = what == "deaf";
        // Each line is told apart from all others, also from that of the same message in another turn.
        self.steps.push_back(Step::Transcript(format!("{id}-{:08x}", world.bits() as u32)));
        let words: Vec<&str> = what.split(' ').collect();
        match words.as_slice() {
            ["hang" | "deaf"] => return self.print(["delta waiting".to_owned()]),
            ["die"] => {
                self.print(["delta dying".to_owned()]);
                return self.steps.push_back(Step::Exit);
            }
            ["write", path, content @ ..] => {
                self.steps.extend(RelativePath::new(*path).ok().map(|path| Step::Write(path, content.join(" "))));
            }
            ["remove", path] => self.steps.extend(RelativePath::new(*path).ok().map(Step::Remove)),
            ["say", words @ ..] => self.print(words.iter().map(|word| format!("delta {word}")).collect::<Vec<_>>()),
            _ => {}
        }
        self.steps.push_back(Step::Transcript(format!("{id}-{:08x}", world.bits() as u32)));
        self.print(["end".to_owned()]);
    }

    /// Does something and says what is to be printed; `None` to exit.
    fn step(&mut self, step: Step) -> Option<String> {
        let sandbox = &self.sandbox;
        Some(match step {
            Step::Print(line) => {
                self.in_turn &= line != "end";
                format!("{line}\n")
            }
            Step::Transcript(line) => {
                sandbox.home.lock().entry(TRANSCRIPT.to_owned()).or_default().extend_from_slice(format!("{line}\n").as_bytes());
                let written = Written { line: line.clone(), sandbox: sandbox.id.clone(), is_owed: !*sandbox.is_forgiven.lock() };
                self.cloud.world.known(&sandbox.session, |known| known.transcript.push(written));
                format!("transcript {line}\n")
            }
            Step::Write(path, content) => {
                sandbox.workspace.lock().insert(path.clone(), Bytes::from(content));
                sandbox.change(path);
                String::new()
            }
            Step::Remove(path) => {
                sandbox.workspace.lock().remove(&path);
                sandbox.change(path);
                String::new()
            }
            Step::Exit => return None,
        })
    }
}
