//! Adapters that are exchanged under load: what it costs, and that nothing is lost or doubled.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use agent_host_tests::{Host, rebuilt_adapter};
use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use rusqlite::Connection;
use serde_json::json;

use crate::report::{Report, latencies, latencies_to_max};
use crate::socket::Socket;
use crate::{Scale, setup};

/// What each turn streams, and adds to the transcript.
const DELTAS: usize = 20;
const TRANSCRIPT_BYTES: usize = 4096;

/// The load as it is without a swap.
const STEADY: Duration = Duration::from_secs(10);

/// Between two turns of a session, and between two creations of a client: the machine is busy, and not so much that everything waits for the disk.
const PAUSE: Duration = Duration::from_secs(2);
const CREATION_PAUSE: Duration = Duration::from_millis(50);

/// A request counts as made during a swap if it ran at any time from its beginning until so long after its end.
const AFTER: Duration = Duration::from_millis(100);

/// A request: when it began, how long it took.
type Sample = (Instant, Duration);

#[derive(Default)]
struct Load {
    stop: AtomicBool,
    messages: Mutex<Vec<Sample>>,
    creations: Mutex<Vec<Sample>>,
    failed: AtomicUsize,
    /// Events that did not come, or came twice.
    gaps: AtomicUsize,
}

impl Load {
    fn add(list: &Mutex<Vec<Sample>>, began: Instant) {
        if let Ok(mut list) = list.lock() {
            list.push((began, began.elapsed()));
        }
    }
}

pub(crate) async fn measure(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let other = std::fs::read(rebuilt_adapter("9.9.1")).context("failed to read the other adapter")?;
    let mut host = setup()?.set("limits.connections", 2000).start().await;
    let load = Load::default();
    let workers = try_join_all((0..scale.busy).map(|number| work(&host, &load, number)));
    let creators = try_join_all((0..2).map(|number| create(&host, &load, number)));
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
        load.stop.store(true, Ordering::Relaxed);
        anyhow::Ok(windows)
    };
    let (turns, _, windows) = tokio::try_join!(workers, creators, swapping)?;
    host.stop().await;
    let turns: BTreeMap<String, usize> = turns.into_iter().collect();
    let lost = lost_bytes(&host.data_directory().join("agent-host.db"), &turns)?;

    report.add(
        format!("swaps under {} busy sessions, from the request to the answer", scale.busy),
        latencies(windows.iter().map(|(_, took)| *took).collect()),
    );
    for (name, list) in [("POST message", &load.messages), ("POST create", &load.creations)] {
        let list = list.lock().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
        let first = windows.first().map(|(began, _)| *began).context("nothing was swapped")?;
        let in_swap =
            |(began, took): &Sample| windows.iter().any(|(from, lasted)| *began + *took >= *from && *began <= *from + *lasted + AFTER);
        let steady = list.iter().filter(|(began, took)| *began + *took < first).map(|(_, took)| *took).collect();
        let during = list.iter().filter(|sample| in_swap(sample)).map(|(_, took)| *took).collect();
        report.add(format!("{name}, {} busy sessions, steady", scale.busy), latencies_to_max(steady));
        report.add(format!("{name}, {} busy sessions, during {} swaps", scale.busy, scale.swaps), latencies_to_max(during));
    }
    let (failed, gaps) = (load.failed.load(Ordering::Relaxed), load.gaps.load(Ordering::Relaxed));
    let turns: usize = turns.values().sum();
    let what = format!("{failed} failed requests, {gaps} lost or doubled events, {lost} lost transcript bytes");
    report.add(format!("in {turns} turns and {} swaps", scale.swaps), what.clone());
    ensure!(failed == 0 && gaps == 0 && lost == 0, "{what}");
    Ok(())
}

/// Runs turn after turn in a session, and looks that its events come each once: their numbers have no gap.
async fn work(host: &Host, load: &Load, number: usize) -> anyhow::Result<(String, usize)> {
    let id = format!("busy{number}");
    let client = host.client();
    let request = json!({"sessionId": id, "agentProfileRef": "default", "architecture": "claude-agent-sdk"});
    client.create(&request).await.expect(201);
    let mut socket = Socket::join(host.address(), &id).await?;
    let mut turns = 0;
    // Not all at once.
    tokio::time::sleep(PAUSE.mul_f64(f64::from(u16::try_from(number % 100).unwrap_or(0)) / 100.0)).await;
    while !load.stop.load(Ordering::Relaxed) {
        let message = uuid::Uuid::new_v4().to_string();
        let began = Instant::now();
        let answer = client.message_with_id(&id, &message, format!("work {DELTAS} {TRANSCRIPT_BYTES}")).await;
        Load::add(&load.messages, began);
        if answer.status != 202 {
            load.failed.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let deltas = socket.turn_end(&message).await?;
        ensure!(deltas == DELTAS, "{deltas} of {DELTAS} deltas came in {id}");
        turns += 1;
        tokio::time::sleep(PAUSE).await;
    }
    load.gaps.fetch_add(socket.gaps, Ordering::Relaxed);
    Ok((id, turns))
}

async fn create(host: &Host, load: &Load, number: usize) -> anyhow::Result<()> {
    let client = host.client();
    let mut count = 0;
    while !load.stop.load(Ordering::Relaxed) {
        let request = json!({"sessionId": format!("new{number}-{count}"), "agentProfileRef": "default", "architecture": "echo"});
        let began = Instant::now();
        let answer = client.create(&request).await;
        Load::add(&load.creations, began);
        if answer.status != 201 {
            load.failed.fetch_add(1, Ordering::Relaxed);
        }
        count += 1;
        tokio::time::sleep(CREATION_PAUSE).await;
    }
    Ok(())
}

/// How many bytes the transcripts in the adapter's database lack, or have too much.
fn lost_bytes(database: &Path, turns: &BTreeMap<String, usize>) -> anyhow::Result<u64> {
    let database = Connection::open(database).context("failed to open the adapter's database")?;
    let mut statement = database.prepare("SELECT length FROM streams WHERE session = ?1 AND name = 'transcript/main'")?;
    let mut lost = 0;
    for (session, turns) in turns {
        let stored: i64 = statement.query_row([session], |row| row.get(0)).with_context(|| format!("{session} has no transcript"))?;
        let line = |turn: &usize| json!({"type": "user", "turn": turn, "text": "x".repeat(TRANSCRIPT_BYTES)}).to_string().len() + 1;
        let expected: usize = (1..=*turns).map(|turn| line(&turn)).sum();
        lost += stored.unsigned_abs().abs_diff(expected as u64);
    }
    Ok(lost)
}
