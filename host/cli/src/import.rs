//! `agent-host import`: makes a session out of a transcript that Claude Code left somewhere else.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use agent_host_session::manager::Create;
use agent_host_session::record::StreamName;
use anyhow::Context as _;
use bytes::Bytes;

use crate::app::Host;
use crate::config::schema::Config;

/// Reads `transcript` and what lies beside it, stores the session, and gives its id.
pub async fn import(config: &Config, transcript: &Path, request: Create) -> anyhow::Result<String> {
    let transcripts = read(transcript)?;
    let host = Host::build(config).await?;
    let imported = host.manager.import(request, &transcripts).await;
    host.manager.shutdown().await;
    host.close().await;
    Ok(imported?.id.to_string())
}

/// The transcript, and those of its subagents: Claude Code keeps `SESSION.jsonl` and `SESSION/subagents/agent-ID.jsonl`.
fn read(transcript: &Path) -> anyhow::Result<BTreeMap<StreamName, Bytes>> {
    let content = |path: &Path| fs::read(path).map(Bytes::from).with_context(|| format!("failed to read {}", path.display()));
    let mut transcripts = BTreeMap::from([(StreamName::TranscriptMain, content(transcript)?)]);
    let subagents = transcript.with_extension("").join("subagents");
    if !subagents.is_dir() {
        return Ok(transcripts);
    }
    for entry in fs::read_dir(&subagents).with_context(|| format!("failed to list {}", subagents.display()))? {
        let path = entry.with_context(|| format!("failed to list {}", subagents.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(id) = name.strip_prefix("agent-").and_then(|name| name.strip_suffix(".jsonl")) {
            transcripts.insert(StreamName::TranscriptSubagent(id.to_owned()), content(&path)?);
        }
    }
    Ok(transcripts)
}
