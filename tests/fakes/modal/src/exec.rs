//! A program that runs in a sandbox: what it prints is kept, and read from any byte on.

use std::process::Stdio;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, Command};
use tokio::sync::watch;
use tonic::Status;

/// The longest chunk of output that is sent.
const CHUNK_BYTES: usize = 64 * 1024;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// What a program printed so far, and whether it prints no more.
#[derive(Debug, Default)]
struct Printed {
    bytes: BytesMut,
    has_ended: bool,
}

/// A stream of output.
#[derive(Clone, Debug)]
pub struct Pipe {
    printed: Arc<Mutex<Printed>>,
    /// Told whenever there is more.
    more: watch::Sender<()>,
}

impl Pipe {
    fn of(mut source: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let pipe = Self { printed: Arc::default(), more: watch::Sender::default() };
        let kept = pipe.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; CHUNK_BYTES];
            loop {
                let read = source.read(&mut buffer).await.unwrap_or(0);
                {
                    let mut printed = kept.printed.lock();
                    printed.bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
                    printed.has_ended = read == 0;
                }
                kept.more.send_replace(());
                if read == 0 {
                    return;
                }
            }
        });
        pipe
    }

    /// What is printed from the byte `offset` on, to its end.
    pub fn read(&self, offset: u64) -> impl Stream<Item = Bytes> + Send + 'static {
        let pipe = self.clone();
        futures_util::stream::unfold((pipe, usize::try_from(offset).unwrap_or(usize::MAX)), |(pipe, offset)| async move {
            let mut more = pipe.more.subscribe();
            loop {
                more.mark_unchanged();
                {
                    let printed = pipe.printed.lock();
                    let rest = printed.bytes.get(offset..).unwrap_or_default();
                    if let Some(chunk) = rest.chunks(CHUNK_BYTES).next() {
                        let chunk = Bytes::copy_from_slice(chunk);
                        let next = offset + chunk.len();
                        drop(printed);
                        return Some((chunk, (pipe, next)));
                    }
                    if printed.has_ended {
                        return None;
                    }
                }
                more.changed().await.ok()?;
            }
        })
    }
}

/// The input of a program.
struct Input {
    /// `None` when it has ended.
    pipe: Option<ChildStdin>,
    written: u64,
}

/// A program that runs, or ran.
pub struct Exec {
    /// What it prints.
    pub stdout: Pipe,
    /// What it prints for people.
    pub stderr: Pipe,
    input: tokio::sync::Mutex<Input>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Exec {
    /// Starts a program. `ended` is called when it has ended.
    pub fn start(
        mut command: Command,
        timeout: Option<std::time::Duration>,
        ended: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Arc<Self>> {
        use std::os::unix::process::ExitStatusExt as _;

        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let missing = || std::io::Error::other("a pipe is missing");
        let stdout = Pipe::of(child.stdout.take().ok_or_else(missing)?);
        let stderr = Pipe::of(child.stderr.take().ok_or_else(missing)?);
        let input = tokio::sync::Mutex::new(Input { pipe: child.stdin.take(), written: 0 });
        let (sender, exit) = watch::channel(None);
        tokio::spawn(async move {
            let limit = timeout.unwrap_or(std::time::Duration::MAX);
            if tokio::time::timeout(limit, child.wait()).await.is_err() {
                // It is dead when it is waited for.
                let _ = child.start_kill();
            }
            let status = child.wait().await;
            sender.send_replace(Some(match status {
                Ok(status) => status.signal().map_or_else(|| Exit::Code(status.code().unwrap_or(-1)), Exit::Signal),
                Err(_) => Exit::Code(-1),
            }));
            ended();
        });
        Ok(Arc::new(Self { stdout, stderr, input, exit }))
    }

    /// Writes to its input. What was written before is not written again.
    pub async fn write(&self, offset: u64, data: &[u8], eof: bool) -> Result<(), Status> {
        let mut input = self.input.lock().await;
        if offset > input.written {
            return Err(Status::out_of_range(format!("{} bytes were written, and not {offset}", input.written)));
        }
        let known = usize::try_from(input.written - offset).unwrap_or(usize::MAX).min(data.len());
        let new = data.get(known..).unwrap_or_default();
        if !new.is_empty() {
            let Input { pipe, written } = &mut *input;
            let Some(stdin) = pipe else { return Err(Status::failed_precondition("the input has ended")) };
            // Each part is counted by itself: the call may be broken off between two.
            let mut rest = new;
            while !rest.is_empty() {
                let Ok(taken) = stdin.write(rest).await else {
                    *pipe = None;
                    return Err(Status::failed_precondition("the program does not read its input"));
                };
                *written += taken as u64;
                rest = rest.get(taken..).unwrap_or_default();
            }
        }
        if eof {
            input.pipe = None;
        }
        Ok(())
    }

    /// How much was written, and whether the input has ended.
    pub async fn input_status(&self) -> (u64, bool) {
        let input = self.input.lock().await;
        (input.written, input.pipe.is_none())
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Option<Exit> {
        let mut exit = self.exit.clone();
        exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit)
    }
}
