//! What it costs that sandboxes are at Modal, beside the same on this machine: the fake Modal is a process tree away, so that the host and the protocol are measured, and
//! not the cloud.

use std::time::{Duration, Instant};

use agent_host_tests::Host;
use anyhow::ensure;
use serde_json::json;

use crate::report::{Report, latencies, percentile, rate, time};
use crate::socket::Socket;
use crate::streams::{session, to_first_delta, turn};
use crate::{Scale, setup};

/// The files of a workspace that is restored: 50 MB.
const FILES: usize = 1000;
const FILE_BYTES: usize = 50_000;

/// How often what takes a sandbox each time is done.
const STARTS: usize = 10;

/// When a session that gets a sandbox was how far.
struct Phases {
    /// Until the image is there.
    image: Duration,
    /// Until the sandbox is.
    create: Duration,
    /// Until the files are in it and the agent answers.
    files: Duration,
    /// Until the first delta.
    first_delta: Duration,
}

pub(crate) async fn measure(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let local = setup()?.start().await;
    let modal = setup()?.at_modal().start().await;
    for (name, host) in [("local", &local), ("Modal", &modal)] {
        report.add(format!("{name}: message to first delta, sandbox ready"), latencies(ready(host, scale.messages).await?));
        let (elapsed, deltas) = turn_of_deltas(host, scale.deltas).await?;
        ensure!(deltas == scale.deltas, "{deltas} of {} deltas came", scale.deltas);
        report.add(format!("{name}: deltas through the whole path, 1 session, 1 client"), rate(deltas, elapsed));
    }
    let starts = scale.turns.min(STARTS);
    starts_of("local", &local, starts, report).await?;
    starts_of("Modal", &modal, starts, report).await?;
    for (name, host) in [("local", &local), ("Modal", &modal)] {
        restore(name, host, report).await?;
    }
    drop(modal);
    let warm = setup()?.at_modal().set("sandbox.modal.warm", 2).start().await;
    let is_warm = async || warm.log().matches("a sandbox is ready for whoever comes").count() >= 2;
    agent_host_tests::eventually("sandboxes that are ready", is_warm).await;
    let mut samples = Vec::new();
    for number in 0..2 {
        let id = format!("warm{number}");
        let mut socket = created(&warm, &id).await?;
        samples.push(to_first_delta(&warm, &id, &mut socket).await?);
    }
    report.add("Modal, a sandbox kept ready: message to first delta, no sandbox yet", time(percentile(&mut samples, 0.5)));
    Ok(())
}

async fn ready(host: &Host, messages: usize) -> anyhow::Result<Vec<Duration>> {
    let mut socket = session(host, "ready").await?;
    let mut samples = Vec::new();
    for _ in 0..messages {
        samples.push(to_first_delta(host, "ready", &mut socket).await?);
    }
    Ok(samples)
}

async fn turn_of_deltas(host: &Host, deltas: usize) -> anyhow::Result<(Duration, usize)> {
    let mut socket = session(host, "deltas").await?;
    turn(host, "deltas", &format!("deltas {deltas}"), &mut socket).await
}

/// Sessions that get a sandbox each.
async fn starts_of(name: &str, host: &Host, count: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut phases = Vec::new();
    for number in 0..count {
        phases.push(start(host, &format!("start{number}")).await?);
    }
    let median = |of: fn(&Phases) -> Duration| time(percentile(&mut phases.iter().map(of).collect::<Vec<_>>(), 0.5));
    report.add(format!("{name}: message to first delta, no sandbox yet"), median(|phases| phases.first_delta));
    report.add(
        format!("{name}: of it image, creation, files and agent's start"),
        format!("{}, {}, {}", median(|phases| phases.image), median(|phases| phases.create), median(|phases| phases.files)),
    );
    Ok(())
}

/// A new session, which has no sandbox.
async fn created(host: &Host, id: &str) -> anyhow::Result<Socket> {
    let request = json!({"sessionId": id, "agentProfileRef": "default", "architecture": "claude-agent-sdk"});
    host.client().create(&request).await.expect(201);
    Socket::join(host.address(), id).await
}

/// A new session's first message.
async fn start(host: &Host, id: &str) -> anyhow::Result<Phases> {
    let mut socket = created(host, id).await?;
    let phases = phases(host, id, &mut socket).await?;
    host.client().unload(id).await.expect(200);
    Ok(phases)
}

/// Says something to a session without a sandbox, and sees how far it is when.
async fn phases(host: &Host, id: &str, socket: &mut Socket) -> anyhow::Result<Phases> {
    let begin = Instant::now();
    let message = uuid::Uuid::new_v4().to_string();
    host.client().message_with_id(id, &message, "hello").await.expect(202);
    let is_there = |frame: &str| frame.contains("\"session:status\"") && frame.contains("\"sandboxId\":\"");
    let making = |frame: &str| frame.contains("creating a sandbox") || frame.contains("making directories");
    socket.until(making).await?;
    let image = begin.elapsed();
    socket.until(is_there).await?;
    let created = begin.elapsed();
    socket.until(|frame| frame.contains("\"session:status\"") && frame.contains("\"status\":\"ready\"")).await?;
    let ready = begin.elapsed();
    socket.until(|frame| frame.contains("\"session:block:delta\"")).await?;
    let first_delta = begin.elapsed();
    socket.until(|frame| frame.contains("\"session:status\"") && !frame.contains("runningMessageId")).await?;
    Ok(Phases { image, create: created.saturating_sub(image), files: ready.saturating_sub(created), first_delta })
}

/// A workspace that comes into a new sandbox.
async fn restore(name: &str, host: &Host, report: &mut Report) -> anyhow::Result<()> {
    // Without a client: those who do not take in 50 MB at once are dropped.
    drop(session(host, "restore").await?);
    let client = host.client();
    client.say("restore", format!("fill 1000 {FILES} {FILE_BYTES}")).await;
    let are_there = async || {
        let shown = client.session("restore").await.expect(200);
        shown.get("workspaceFiles").and_then(serde_json::Value::as_array).is_some_and(|files| files.len() == FILES)
    };
    agent_host_tests::eventually("the files", are_there).await;
    client.unload("restore").await.expect(200);
    let mut socket = Socket::join(host.address(), "restore").await?;
    let phases = phases(host, "restore", &mut socket).await?;
    let megabytes = FILES * FILE_BYTES / 1_000_000;
    report.add(format!("{name}: {FILES} workspace files, {megabytes} MB, from the store into a new sandbox"), time(phases.files));
    Ok(())
}
