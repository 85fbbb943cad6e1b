//! Short programs of the host's own in a sandbox. An agent is root there and can put anything in their place: none of them is waited for, or listened to, without a limit.

use std::time::Duration;

use agent_host_modal::{Command, Error, Finished, Sandbox};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How long one may take: looking at a large workspace takes some seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// What the client may need besides.
const GRACE: Duration = Duration::from_secs(5);

/// How much of its complaints is kept.
const COMPLAINT_BYTES: u64 = 2000;

/// Runs a program with this input.
///
/// # Errors
/// [`Error::TimedOut`] if it does not end in time, [`Error::Unavailable`] if it prints more than `limit` bytes, and those of every call.
pub(super) async fn ask(sandbox: &Sandbox, doing: &'static str, command: Command, input: Vec<u8>, limit: u64) -> Result<Finished, Error> {
    let asked = async {
        let process = sandbox.exec(&command.timeout(LIMIT)).await?;
        let fed = async {
            match process.stdin.send_all(input).await {
                // It says itself why it did not read on.
                Err(Error::InputClosed) => Ok(()),
                fed => fed,
            }
        };
        let ((), stdout, mut stderr) =
            tokio::try_join!(fed, read(process.stdout, doing, limit.saturating_add(1)), read(process.stderr, doing, COMPLAINT_BYTES))?;
        if stdout.len() as u64 > limit {
            return Err(Error::Unavailable { doing, reason: format!("it prints more than {limit} bytes") });
        }
        stderr.truncate(COMPLAINT_BYTES as usize);
        Ok(Finished { exit: process.exec.wait().await?, stdout, stderr })
    };
    let within = LIMIT + GRACE;
    tokio::time::timeout(within, asked).await.unwrap_or(Err(Error::TimedOut { doing, limit: within }))
}

/// Like [`ask`], of a program that prints nothing worth reading and has to succeed.
pub(super) async fn run(sandbox: &Sandbox, doing: &'static str, command: Command, input: Vec<u8>) -> Result<(), Error> {
    check(doing, ask(sandbox, doing, command, input, COMPLAINT_BYTES).await?).map(drop)
}

/// What a program has printed that has succeeded.
pub(super) fn check(doing: &'static str, finished: Finished) -> Result<Vec<u8>, Error> {
    if finished.exit.is_success() {
        return Ok(finished.stdout);
    }
    let said = String::from_utf8_lossy(&finished.stderr);
    Err(Error::Unavailable { doing, reason: format!("{}: {}", finished.exit, said.trim()) })
}

/// Reads so many bytes at most.
async fn read(mut output: impl AsyncRead + Unpin, doing: &'static str, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = (&mut output).take(limit).read_to_end(&mut bytes).await;
    read.map_err(|error| error.downcast::<Error>().unwrap_or_else(|error| Error::Unavailable { doing, reason: error.to_string() }))?;
    Ok(bytes)
}
