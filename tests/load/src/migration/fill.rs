//! Sessions with transcripts and files, made as agents make them: by a turn of each, through the whole host.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_host_tests::Host;
use anyhow::ensure;
use futures_util::future::try_join_all;
use serde_json::json;

use super::stored::Stored;
use crate::Scale;
use crate::socket::Socket;
use crate::streams::turn;

/// The size of each file in bytes, as a source file or a picture has it.
const FILE_BYTES: usize = 64 * 1024;

/// Sessions that are made at once: enough to keep the machine busy.
const CONCURRENCY: usize = 8;

/// Agent profiles besides the built-in one.
const PROFILES: usize = 20;

/// What was made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filled {
    /// Bytes of streams and files.
    pub(super) bytes: u64,
}

/// The id of a session that is made.
pub(super) fn id(number: usize) -> String {
    format!("filled{number}")
}

/// Makes the sessions and the profiles.
pub(super) async fn fill(host: &Host, scale: Scale) -> anyhow::Result<()> {
    let message = format!("fill {} {} {FILE_BYTES}", scale.transcript, scale.files);
    let next = AtomicUsize::new(0);
    let workers = (0..CONCURRENCY).map(|_| async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= scale.stored {
                return anyhow::Ok(());
            }
            session(host, &id(number), &message).await?;
        }
    });
    try_join_all(workers).await?;
    for number in 0..PROFILES {
        let id = format!("filled{number}");
        let profile = json!({"id": id, "name": id, "systemPrompt": format!("You are number {number}.").repeat(1000)});
        ensure!(host.client().put_profile(&id, &profile).await.status < 300, "failed to add the agent profile {id}");
    }
    Ok(())
}

async fn session(host: &Host, id: &str, message: &str) -> anyhow::Result<()> {
    let client = host.client();
    let request = json!({"sessionId": id, "agentProfileRef": "default", "architecture": "claude-agent-sdk"});
    client.create(&request).await.expect(201);
    let mut socket = Socket::join(host.address(), id).await?;
    turn(host, id, message, &mut socket).await?;
    // The files are stored then.
    client.unload(id).await.expect(200);
    Ok(())
}

/// Looks that all of it is in the database of a host that has stopped.
pub(super) fn check(database: &Path, scale: Scale) -> anyhow::Result<Filled> {
    let stored = Stored::open(database)?;
    let sessions = stored.sessions()?;
    ensure!(sessions == (0..scale.stored).map(id).collect(), "{} sessions were stored instead of {}", sessions.len(), scale.stored);
    let mut filled = Filled::default();
    for session in &sessions {
        let (streams, files) = (stored.streams(session)?, stored.files(session)?);
        let transcript = streams.get("transcript/main").copied().unwrap_or(0);
        ensure!(transcript >= scale.transcript as u64, "the transcript of {session} has {transcript} bytes");
        ensure!(files.len() == scale.files, "{session} has {} files", files.len());
        filled.bytes += streams.values().sum::<u64>() + files.values().map(|file| file.size).sum::<u64>();
    }
    let profiles = stored.profiles()?.len();
    ensure!(profiles >= PROFILES, "{profiles} agent profiles were stored instead of {PROFILES}");
    Ok(filled)
}
