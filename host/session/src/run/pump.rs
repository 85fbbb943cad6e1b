//! Moving bytes between the agent's process and its driver until one of them ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::ReadyChunks;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::FramedRead;

use super::asking::Asking;
use super::lines::{Line, LineDecoder, TooLong};
use super::start::Started;
use super::{End, LINE_TOO_LONG, Limits, RunCommand, RunEvent, files, send};
use crate::event::{Event, TurnOutcome};
use crate::path::RelativePath;
use crate::ports::agent::{Driver, Output};
use crate::ports::sandbox::{Exit, Sandbox};

/// Lines that are handled together when they are there together: one message to the session instead of many.
const LINES: usize = 256;

/// How much of the end of the agent's standard error is kept to explain its end.
const STDERR_BYTES: usize = 8 * 1024;

/// How long output may still come after the process has ended: a grandchild may hold the pipe for ever.
const DRAIN: Duration = Duration::from_secs(2);

/// A deadline that is noticed so late was not waited for: the host was stopped, or the machine was. So long it is waited for then. A busy machine is late by much less.
const ASLEEP: Duration = Duration::from_secs(1);

type Lines = ReadyChunks<FramedRead<Box<dyn AsyncRead + Send + Unpin>, LineDecoder>>;

struct Pump<'a> {
    sandbox: Arc<dyn Sandbox>,
    driver: Box<dyn Driver>,
    asking: Asking,
    limits: Limits,
    events: &'a mpsc::Sender<RunEvent>,
    stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Not written yet.
    input: BytesMut,
    stderr_tail: VecDeque<u8>,
    /// When the process is ended by force.
    deadline: Option<Instant>,
    /// Whether the end of the process is wanted.
    stopping: bool,
    /// Why the process was ended by force.
    forced: Option<&'static str>,
    ready: bool,
    turn_running: bool,
    /// Whether the agent still speaks and listens.
    is_open: bool,
}

/// Runs the agent until it has ended.
pub(super) async fn pump(
    started: Started,
    limits: Limits,
    commands: &mut mpsc::Receiver<RunCommand>,
    events: &mpsc::Sender<RunEvent>,
) -> End {
    let Started { sandbox, process, driver, asking, mut asks_tools } = started;
    let mut lines: Lines = FramedRead::new(process.stdout, LineDecoder::new(limits.line_bytes)).ready_chunks(LINES);
    let mut stderr = Some(process.stderr);
    let mut control = process.control;
    let mut stderr_buffer = BytesMut::with_capacity(STDERR_BYTES);
    let mut output_open = true;
    let mut commands_open = true;
    let mut watching = true;
    let mut asks_may_change = true;
    let mut pump = Pump {
        sandbox,
        driver,
        asking,
        limits,
        events,
        stdin: Some(process.stdin),
        input: BytesMut::new(),
        stderr_tail: VecDeque::new(),
        deadline: Some(Instant::now() + limits.start_timeout),
        stopping: false,
        forced: None,
        ready: false,
        turn_running: false,
        is_open: true,
    };
    let mut out = Vec::new();
    pump.driver.start(&mut out);
    pump.carry_out(&mut out).await;

    let exit = loop {
        let sandbox = Arc::clone(&pump.sandbox);
        tokio::select! {
            command = commands.recv(), if commands_open => match command {
                Some(command) => {
                    // A message that comes after a change finds it in force.
                    if asks_tools.has_changed().unwrap_or(false) {
                        pump.driver.ask_tools(*asks_tools.borrow_and_update(), &mut out);
                    }
                    pump.command(command, &mut out).await;
                }
                None => {
                    commands_open = false;
                    pump.stop(Duration::ZERO);
                }
            },
            batch = lines.next(), if output_open => match batch {
                Some(batch) => pump.lines(batch, &mut out).await,
                None => {
                output_open = false;
                pump.broken();
            }
            },
            written = write_some(pump.stdin.as_mut(), &mut pump.input) => {
                if let Err(error) = written {
                    tracing::debug!(%error, "the agent takes no more input");
                    pump.close_input();
                    pump.broken();
                }
            }
            read = read_some(stderr.as_mut(), &mut stderr_buffer) => match read {
                Ok(read) if read > 0 => pump.keep_stderr(stderr_buffer.split()),
                Ok(_) | Err(_) => stderr = None,
            },
            (question, verdict) = pump.asking.decided() => {
                pump.driver.decided(&question, verdict, &mut out);
                pump.carry_out(&mut out).await;
            }
            changed = asks_tools.changed(), if asks_may_change => match changed {
                Ok(()) => {
                    pump.driver.ask_tools(*asks_tools.borrow_and_update(), &mut out);
                    pump.carry_out(&mut out).await;
                }
                Err(_) => asks_may_change = false,
            },
            changes = sandbox.changes(), if watching => match changes {
                Ok(paths) => pump.report_files(paths).await,
                Err(error) => {
                    tracing::warn!(sandbox = pump.sandbox.id(), %error, "workspace files are not watched any more");
                    watching = false;
                }
            },
            () = reached(pump.deadline) => {
                if pump.has_slept() {
                    // What the agent said in time is still to be read.
                    pump.deadline = Some(Instant::now() + ASLEEP);
                } else {
                    pump.deadline = None;
                    pump.give_up();
                    control.kill();
                }
            }
            exit = control.wait() => break exit,
        }
    };

    // Only the reading has a time limit: what was read is handled to its end.
    let until = Instant::now() + DRAIN;
    while output_open {
        match timeout_at(until, lines.next()).await {
            Ok(Some(batch)) => pump.lines(batch, &mut out).await,
            Ok(None) | Err(_) => output_open = false,
        }
    }
    while stderr.is_some() && matches!(timeout_at(until, read_some(stderr.as_mut(), &mut stderr_buffer)).await, Ok(Ok(1..))) {
        pump.keep_stderr(stderr_buffer.split());
    }
    pump.ended(exit, out).await
}

impl Pump<'_> {
    async fn command(&mut self, command: RunCommand, out: &mut Vec<Output>) {
        match command {
            RunCommand::Message { message, cause } => {
                self.turn_running = true;
                self.asking.caused_by(cause);
                self.driver.message(&message, out);
            }
            RunCommand::Interrupt => {
                self.driver.interrupt(out);
                if self.turn_running {
                    self.deadline.get_or_insert(Instant::now() + self.limits.interrupt_grace);
                }
            }
            RunCommand::Options(options) => self.driver.options(&options, out),
            RunCommand::Flush(reply) => {
                self.flush_files().await;
                send(self.events, RunEvent::Flushed(reply)).await;
            }
            RunCommand::Stop { grace } => self.stop(grace),
        }
        self.carry_out(out).await;
    }

    async fn lines(&mut self, batch: Vec<std::io::Result<Line>>, out: &mut Vec<Output>) {
        for line in batch {
            match line {
                Ok(Ok(line)) => self.driver.line(&line, out),
                Ok(Err(TooLong)) => {
                    let limit = self.limits.line_bytes;
                    tracing::warn!(sandbox = self.sandbox.id(), limit, "the agent printed a line that is too long; it was dropped");
                    let message = format!("the agent printed a line of more than {limit} bytes, which is left out");
                    out.push(Output::Event(Event::Failed { code: LINE_TOO_LONG.to_owned(), message }));
                }
                Err(error) => tracing::debug!(%error, "failed to read the agent's output"),
            }
        }
        self.carry_out(out).await;
    }

    /// Does what the driver said, in its order; the end of a turn comes after the files that the turn changed.
    async fn carry_out(&mut self, out: &mut Vec<Output>) {
        let mut outputs = Vec::with_capacity(out.len());
        for output in out.drain(..) {
            match output {
                Output::Stdin(bytes) => self.input.extend_from_slice(&bytes),
                Output::Ready => {
                    self.ready = true;
                    self.clear_deadline();
                    self.pass_on(&mut outputs).await;
                    send(self.events, RunEvent::Ready).await;
                }
                Output::Asked(asked) => {
                    // What is asked about is seen before it is decided.
                    self.pass_on(&mut outputs).await;
                    self.asking.ask(asked);
                }
                Output::Withdrawn(question) => self.asking.withdraw(&question),
                Output::TurnEnded(outcome) => {
                    self.pass_on(&mut outputs).await;
                    self.end_turn(outcome).await;
                }
                Output::Event(_)
                | Output::Spent { .. }
                | Output::Metadata { .. }
                | Output::Transcript { .. }
                | Output::TranscriptReset { .. }
                | Output::Outdated => {
                    outputs.push(output);
                }
            }
        }
        self.pass_on(&mut outputs).await;
    }

    async fn pass_on(&mut self, outputs: &mut Vec<Output>) {
        if !outputs.is_empty() {
            send(self.events, RunEvent::Outputs(std::mem::take(outputs))).await;
        }
    }

    async fn end_turn(&mut self, outcome: TurnOutcome) {
        self.turn_running = false;
        self.asking.withdraw_all();
        self.clear_deadline();
        self.flush_files().await;
        send(self.events, RunEvent::TurnEnded(outcome)).await;
    }

    async fn flush_files(&mut self) {
        match self.sandbox.flush_changes().await {
            Ok(paths) => self.report_files(paths).await,
            Err(error) => tracing::warn!(sandbox = self.sandbox.id(), %error, "failed to look for changed files"),
        }
    }

    async fn report_files(&mut self, paths: Vec<RelativePath>) {
        files::report(self.sandbox.as_ref(), paths, self.limits.file_bytes, self.events).await;
    }

    /// What was waited for has come; only the end of an agent that was told to end is still due.
    fn clear_deadline(&mut self) {
        if !self.stopping && self.is_open {
            self.deadline = None;
        }
    }

    /// An agent that has closed its output or takes no input is of no use any more.
    fn broken(&mut self) {
        self.is_open = false;
        self.deadline.get_or_insert(Instant::now() + DRAIN);
    }

    /// Ends the agent's input, upon which it ends by itself.
    fn stop(&mut self, grace: Duration) {
        self.stopping = true;
        self.close_input();
        self.deadline = Some(Instant::now() + grace);
    }

    fn close_input(&mut self) {
        self.stdin = None;
        self.input.clear();
    }

    /// Whether the deadline is long over.
    fn has_slept(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline.elapsed() > ASLEEP)
    }

    /// Why the agent is now ended by force.
    fn give_up(&mut self) {
        self.forced = if self.stopping {
            tracing::info!(sandbox = self.sandbox.id(), "the agent had not ended by itself when its time was up, and was killed");
            None
        } else if !self.is_open {
            Some("the agent stopped to speak or listen without ending, and was ended")
        } else if self.ready {
            Some("the agent did not end the interrupted turn in time and was ended")
        } else {
            Some("the agent did not become ready in time and was ended")
        };
    }

    fn keep_stderr(&mut self, bytes: BytesMut) {
        tracing::debug!(sandbox = self.sandbox.id(), text = %String::from_utf8_lossy(&bytes).trim_end(), "agent's standard error");
        self.stderr_tail.extend(bytes);
        let excess = self.stderr_tail.len().saturating_sub(STDERR_BYTES);
        self.stderr_tail.drain(..excess);
    }

    async fn ended(mut self, exit: Result<Exit, crate::ports::sandbox::Error>, mut out: Vec<Output>) -> End {
        let stderr = String::from_utf8_lossy(self.stderr_tail.make_contiguous()).trim().to_owned();
        let how = match &exit {
            Ok(exit) => {
                self.driver.exit(exit, &stderr, &mut out);
                exit.to_string()
            }
            Err(error) => {
                self.driver.exit(&Exit { code: None, signal: None }, &stderr, &mut out);
                error.to_string()
            }
        };
        let was_in_turn = self.turn_running;
        if was_in_turn {
            // Before the end of the turn is told, upon which the next one begins.
            send(self.events, RunEvent::Broken).await;
        }
        self.carry_out(&mut out).await;
        if !was_in_turn {
            self.flush_files().await;
        }
        if self.stopping {
            return End::Stopped;
        }
        let mut message = match self.forced {
            Some(reason) => reason.to_owned(),
            None => format!("the agent ended unexpectedly ({how})"),
        };
        if !stderr.is_empty() {
            message = format!("{message}: {stderr}");
        }
        End::Failed { code: "AGENT_EXITED", message }
    }
}

/// Writes what can be written; waits for ever when there is nothing to write. Can be dropped at any time.
async fn write_some(stdin: Option<&mut Box<dyn AsyncWrite + Send + Unpin>>, input: &mut BytesMut) -> std::io::Result<()> {
    match stdin {
        Some(stdin) if input.has_remaining() => {
            stdin.write_buf(input).await?;
            if !input.has_remaining() {
                stdin.flush().await?;
            }
            Ok(())
        }
        _ => std::future::pending().await,
    }
}

/// Reads what is there; waits for ever when the stream has ended. Can be dropped at any time.
async fn read_some(stream: Option<&mut Box<dyn AsyncRead + Send + Unpin>>, buffer: &mut BytesMut) -> std::io::Result<usize> {
    match stream {
        Some(stream) => stream.read_buf(buffer).await,
        None => std::future::pending().await,
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
