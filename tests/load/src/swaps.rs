//! Adapters that are exchanged under load: what it costs, and that nothing is lost or doubled.

use std::path::Path;
use std::time::Instant;

use agent_host_tests::rebuilt_adapter;
use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use rusqlite::Connection;
use serde_json::json;

use crate::busy::{self, Load, STEADY};
use crate::report::{Report, latencies};
use crate::{Scale, setup};

pub(crate) async fn measure(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let other = std::fs::read(rebuilt_adapter("9.9.1")).context("failed to read the other adapter")?;
    let mut host = setup()?.set("limits.connections", 2000).start().await;
    let load = Load::default();
    let message = busy::message(None);
    let working = try_join_all((0..scale.busy).map(async |place| {
        let id = format!("busy{place}");
        let request = json!({"sessionId": id, "agentProfileRef": "default", "architecture": "claude-agent-sdk"});
        host.client().create(&request).await.expect(201);
        let turns = busy::work(&host, &load, &id, place, &message).await?;
        anyhow::Ok((id, turns))
    }));
    let creating = try_join_all((0..2).map(|number| busy::create(&host, &load, number, |_| false)));
    let swapping = async {
        tokio::time::sleep(STEADY).await;
        let mut windows = Vec::new();
        for number in 0..scale.swaps {
            let began = Instant::now();
            let operator = host.operator();
            let answer = if number % 2 == 0 { operator.swap(other.clone(), "").await } else { operator.rollback("").await };
            answer.expect(200);
            windows.push((began, began.elapsed()));
        }
        load.stop();
        anyhow::Ok(windows)
    };
    let (turns, _, windows) = tokio::try_join!(working, creating, swapping)?;
    host.stop().await;
    let lost = lost_bytes(&host.data_directory().join("agent-host.db"), &turns)?;

    report.add(
        format!("swaps under {} busy sessions, from the request to the answer", scale.busy),
        latencies(windows.iter().map(|(_, took)| *took).collect()),
    );
    load.report(report, scale.busy, &windows, &format!("{} swaps", scale.swaps))?;
    let (failed, gaps) = (load.failed(), load.gaps());
    let turns: usize = turns.iter().map(|(_, turns)| turns).sum();
    let what = format!("{failed} failed requests, {gaps} lost or doubled events, {lost} lost transcript bytes");
    report.add(format!("in {turns} turns and {} swaps", scale.swaps), what.clone());
    ensure!(failed == 0 && gaps == 0 && lost == 0, "{what}");
    Ok(())
}

/// How many bytes the transcripts in the adapter's database lack, or have too much.
fn lost_bytes(database: &Path, turns: &[(String, usize)]) -> anyhow::Result<u64> {
    let database = Connection::open(database).context("failed to open the adapter's database")?;
    let mut statement = database.prepare("SELECT length FROM streams WHERE session = ?1 AND name = 'transcript/main'")?;
    let mut lost = 0;
    for (session, turns) in turns {
        let stored: i64 = statement.query_row([session], |row| row.get(0)).with_context(|| format!("{session} has no transcript"))?;
        lost += stored.unsigned_abs().abs_diff(busy::transcript(*turns).len() as u64);
    }
    Ok(lost)
}
