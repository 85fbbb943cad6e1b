//! An adapter on a bad day, under load: it fails 30 % of its calls and hangs in 5 %, is swapped in the middle of that, and then answers nothing at all for a while.
//! Afterwards everything is there, the journal is empty, and clients have seen no answer but those that the README tells them to try again.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use agent_host_test_programs::faulty_adapter;
use agent_host_tests::Host;
use anyhow::{Context as _, bail, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::busy::{self, DELTAS, STEADY};
use crate::report::{Report, latencies_to_max, time};
use crate::socket::Socket;
use crate::{Scale, setup};

/// Sessions that work.
const SESSIONS: usize = 20;

/// Between two turns of one.
const PAUSE: Duration = Duration::from_millis(250);

/// Between two tries of a request that was answered with "try again".
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How long a message may have to be tried again: longer than the store is away.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long the journal may take to give everything back.
const REPLAY: Duration = Duration::from_secs(120);

/// The swap is tried in a store that fails; each try has half a chance.
const SWAP_TRIES: usize = 100;

const FLAKY: &str = "unavailable 20 lost 10 hang 5";
const DOWN: &str = "unavailable 100";

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    tries_again: AtomicUsize,
}

/// What a session has said, and been answered.
struct Work {
    session: String,
    messages: Vec<String>,
    gaps: usize,
    waits: Vec<(Instant, Duration)>,
}

pub(crate) async fn measure(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let component = faulty_adapter();
    let faults = tempfile::tempdir().context("failed to make a directory for the faults")?;
    let database = faults.path().join("main.db");
    let directory = json!({"host": faults.path(), "guest": "/faults"});
    let host = setup()?
        .set("persistence.component", component.to_string_lossy().into_owned())
        .set("persistence.grants.databases.main", format!("sqlite:{}", database.display()))
        .set("persistence.grants.dirs", vec![toml::Value::try_from(directory)?])
        .set("persistence.limits.call_timeout", "1s")
        .start()
        .await;
    let counts = Counts::default();
    let working = try_join_all((0..SESSIONS).map(|number| work(&host, &counts, format!("outage{number}"))));
    let (worked, phases) = tokio::try_join!(working, trouble(&host, &counts, &component, faults.path(), scale))?;

    let begin = Instant::now();
    let mut most = 0;
    while let waiting @ 1.. = waiting(&host).await? {
        most = most.max(waiting);
        ensure!(begin.elapsed() < REPLAY, "{waiting} writes still wait in the journal");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let replayed = begin.elapsed();
    let turns = check(&host, &database, &worked).await?;

    let gaps: usize = worked.iter().map(|work| work.gaps).sum();
    report.add(
        format!("{SESSIONS} sessions on an adapter that fails 30 % and hangs 5 % of its calls for {}, is swapped, and is away for {}", time(scale.flaky), time(scale.down)),
        format!(
            "{turns} turns, {gaps} lost or doubled events, 0 lost messages, 0 lost transcript bytes; {} answers \"try again\", none undocumented",
            counts.tries_again.load(Ordering::Relaxed)
        ),
    );
    for (name, from, to) in phases {
        let waits = worked.iter().flat_map(|work| &work.waits).filter(|(began, _)| (from..to).contains(began)).map(|(_, took)| *took);
        report.add(format!("a message from its first POST to the end of its turn, {name}"), latencies_to_max(waits.collect()));
    }
    report.add("when the adapter was back, until the journal was empty", format!("{} ({most} writes waited)", time(replayed)));
    ensure!(gaps == 0, "{gaps} events were lost or doubled");
    Ok(())
}

/// What happens to the adapter, and when.
async fn trouble(
    host: &Host,
    counts: &Counts,
    component: &Path,
    faults: &Path,
    scale: Scale,
) -> anyhow::Result<Vec<(&'static str, Instant, Instant)>> {
    let file = faults.join("faults");
    let bytes = fs::read(component)?;
    let steady = Instant::now();
    tokio::time::sleep(STEADY.min(scale.flaky)).await;
    let flaky = Instant::now();
    fs::write(&file, FLAKY)?;
    tokio::time::sleep(scale.flaky / 2).await;
    let mut tries = 0;
    loop {
        let answer = host.operator().swap(bytes.clone(), "").await;
        if answer.status == 200 {
            break;
        }
        tries += 1;
        ensure!(tries < SWAP_TRIES, "the adapter could not be swapped: {answer:?}");
    }
    tokio::time::sleep(scale.flaky / 2).await;
    let down = Instant::now();
    fs::write(&file, DOWN)?;
    tokio::time::sleep(scale.down).await;
    let health = host.client().health().await.expect(200);
    ensure!(health.get("status").is_some_and(|status| status == "degraded"), "the host says of itself {health} while its adapter is away");
    fs::remove_file(&file)?;
    counts.stop.store(true, Ordering::Relaxed);
    let end = Instant::now();
    Ok(vec![("well", steady, flaky), ("failing", flaky, down), ("away", down, end)])
}

/// Runs turn after turn.
async fn work(host: &Host, counts: &Counts, session: String) -> anyhow::Result<Work> {
    let client = host.client();
    client.create(&json!({"sessionId": session, "agentProfileRef": "default", "architecture": "claude-agent-sdk"})).await.expect(201);
    let mut socket = Socket::join(host.address(), &session).await?;
    let (mut messages, mut waits) = (Vec::new(), Vec::new());
    while !counts.stop.load(Ordering::Relaxed) {
        let id = uuid::Uuid::new_v4().to_string();
        let began = Instant::now();
        // It may be accepted, begin and end before the answer comes, or after an answer that was lost.
        let (accepted, deltas) = tokio::join!(say(host, counts, &session, &id), socket.turn_end(&id));
        accepted?;
        ensure!(deltas? == DELTAS, "not all deltas came in {session}");
        waits.push((began, began.elapsed()));
        messages.push(id);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Work { session, messages, gaps: socket.gaps, waits })
}

/// Sends a message until it is accepted, as a client should.
async fn say(host: &Host, counts: &Counts, session: &str, id: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let answer = host.client().message_with_id(session, id, busy::message(None)).await;
        match answer.status {
            202 => return Ok(()),
            // As the README says, with Retry-After.
            503 if answer.body.get("code").is_some_and(|code| code == "STORE_UNAVAILABLE") => {}
            _ => bail!("a message to {session} was answered with {answer:?}"),
        }
        counts.tries_again.fetch_add(1, Ordering::Relaxed);
        ensure!(began.elapsed() < PATIENCE, "a message to {session} was not accepted");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Writes that wait in the journal.
async fn waiting(host: &Host) -> anyhow::Result<u64> {
    const NAME: &str = "agent_host_journal_waiting";
    let metrics = host.metrics().await;
    ensure!(metrics.types().contains_key(NAME), "there is no metric of the journal");
    Ok(metrics.sum(NAME, &[]) as u64)
}

/// Looks that all is stored, in a host that has read it anew. Gives the number of turns.
async fn check(host: &Host, database: &Path, worked: &[Work]) -> anyhow::Result<usize> {
    let answer = crate::work::answer(DELTAS);
    let has = |block: &Value, key: &str, text: &str| block.get(key).is_some_and(|value| value == text);
    for Work { session, messages, .. } in worked {
        host.client().unload(session).await.expect(200);
        let stored = host.client().session(session).await.expect(200);
        let blocks = stored.get("blocks").and_then(Value::as_array).context("no blocks")?;
        let said: Vec<&str> = blocks
            .iter()
            .filter(|block| has(block, "type", "user_message"))
            .filter_map(|block| block.get("id").and_then(Value::as_str))
            .collect();
        ensure!(said.iter().eq(messages), "{session} has other messages than were accepted");
        let answers = blocks.iter().filter(|block| has(block, "type", "assistant_text") && has(block, "content", &answer)).count();
        ensure!(answers == messages.len(), "{session} has {answers} answers to {} messages", messages.len());
    }
    let database = rusqlite::Connection::open(database).context("failed to open the adapter's database")?;
    let mut statement = database.prepare("SELECT length FROM streams WHERE session = ?1 AND name = 'transcript/main'")?;
    for Work { session, messages, .. } in worked {
        let stored: i64 = statement.query_row([session], |row| row.get(0)).with_context(|| format!("{session} has no transcript"))?;
        let expected = busy::transcript(messages.len()).len();
        ensure!(stored.unsigned_abs() == expected as u64, "the transcript of {session} has {stored} instead of {expected} bytes");
    }
    Ok(worked.iter().map(|work| work.messages.len()).sum())
}
