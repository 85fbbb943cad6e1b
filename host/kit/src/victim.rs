//! A process of its own that writes until it is killed, and says what was acknowledged: what it wrote is looked for afterwards.

use std::process::Stdio;

use agent_host_session::id::SessionId;
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::Store as _;
use agent_host_session::record::StreamName;
use agent_host_wasm::Persistence;
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::scratch::{FIRST, file, noise};
use crate::subject::Subject;

/// The file that it replaces again and again.
const FILE: &str = "state";

/// What it appends, piece by piece: of all sizes up to what an event of an agent may have.
fn piece(number: u64) -> Bytes {
    noise(1 + usize::try_from(number * 7919 % 40_000).unwrap_or_default(), number)
}

/// What the file has after a piece was appended.
fn state(number: u64) -> Bytes {
    noise(1 + usize::try_from(number * 104_729 % 60_000).unwrap_or_default(), !number)
}

/// Starts a process that calls [`write`] for a session, and prints each number that it is given on a line.
pub(crate) type Start = dyn Fn(&SessionId) -> Command + Send + Sync;

/// Writes into a session, for ever. `acknowledged` is told the number of each piece that is in the stream and the file.
///
/// # Errors
/// If the adapter cannot be opened, refuses a write, or the session has something else.
pub async fn write<E>(subject: &Subject, session: &SessionId, acknowledged: impl Fn(u64) -> Result<(), E>) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let store = subject.open().await.context("opening the adapter")?;
    let (mut number, mut length) = (0, 0);
    let found = stored(&store, session).await?;
    while length < found.len() as u64 {
        length += piece(number).len() as u64;
        number += 1;
    }
    loop {
        length = store.append(FIRST, session, &StreamName::Events, length, piece(number)).await.context("appending")?;
        let content = state(number);
        store.save_file(FIRST, session, &file(FILE, &content, 1)?, content).await.context("saving a file")?;
        acknowledged(number)?;
        number += 1;
    }
}

/// Lets a process write until it has acknowledged so many pieces, and kills it. Gives the number of the last one.
pub(crate) async fn kill(start: &Start, session: &SessionId, acknowledged: usize) -> anyhow::Result<u64> {
    let mut command = start(session);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("failed to start a process that is to be killed")?;
    let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else { bail!("a process without outputs") };
    // Read all the while, so that the process never waits for somebody to do so.
    let said = tokio::spawn(async move {
        let mut said = String::new();
        stderr.read_to_string(&mut said).await.map(|_| said)
    });
    let mut lines = BufReader::new(stdout).lines();
    let mut last = None;
    for _ in 0..acknowledged {
        match lines.next_line().await.context("failed to read what the process says")? {
            Some(line) => last = Some(line.trim().parse().with_context(|| format!("the process said {line:?}"))?),
            None => bail!("a process that writes ended by itself: {}", said.await.context("reading broke off")??.trim()),
        }
    }
    child.kill().await.context("failed to kill the process")?;
    // What it said before it was killed counts as well. A line that was cut off is a number of an earlier piece, or none.
    while let Some(line) = lines.next_line().await.context("failed to read what the process said")? {
        last = last.max(line.trim().parse().ok());
    }
    last.context("nothing was acknowledged")
}

/// That everything up to this piece is there, and nothing by halves.
pub(crate) async fn check(store: &Persistence, session: &SessionId, acknowledged: u64) -> anyhow::Result<()> {
    let found = stored(store, session).await?;
    let (mut number, mut rest) = (0, found.as_slice());
    while !rest.is_empty() {
        let piece = piece(number);
        let Some((front, behind)) = rest.split_at_checked(piece.len()) else {
            bail!("the last {} bytes of the stream are a part of an append of {}", rest.len(), piece.len())
        };
        ensure!(front == piece, "the {number}th append has other bytes");
        (number, rest) = (number + 1, behind);
    }
    ensure!(number > acknowledged, "the stream has {number} appends, and {} were acknowledged", acknowledged + 1);
    let path = RelativePath::new(FILE)?;
    let content = agent_host_session::ports::store::read_file(store, session, &path).await.context("reading the file")?;
    let saved = (acknowledged..number).find(|saved| content == state(*saved));
    ensure!(saved.is_some(), "the file has neither what was acknowledged last nor what came after it, but {} other bytes", content.len());
    Ok(())
}

async fn stored(store: &Persistence, session: &SessionId) -> anyhow::Result<Vec<u8>> {
    Ok(agent_host_session::ports::store::read_stream(store, session, &StreamName::Events, 0).await?)
}
