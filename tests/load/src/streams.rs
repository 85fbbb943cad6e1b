//! Turns and deltas.

use std::time::{Duration, Instant};

use agent_host_tests::Host;
use futures_util::future::try_join_all;
use serde_json::json;

use crate::report::{Report, latencies, rate};
use crate::socket::Socket;
use crate::{Scale, setup};

/// Subscribers of one session.
const CLIENTS: usize = 100;

/// The transcript that a long session has.
const LONG: usize = 10 * 1024 * 1024;

pub(crate) async fn measure(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let host = setup()?.start().await;
    first_delta(&host, scale, report).await?;
    deltas(&host, scale, report).await?;
    deliveries(&host, scale, report).await?;
    turns(&host, scale, report).await
}

/// A new session with a client, in whose sandbox an agent runs: it has had one turn of one delta.
pub(crate) async fn session(host: &Host, id: &str) -> anyhow::Result<Socket> {
    let request = json!({"sessionId": id, "agentProfileRef": "default", "architecture": "claude-agent-sdk"});
    host.client().create(&request).await.expect(201);
    let mut socket = Socket::join(host.address(), id).await?;
    turn(host, id, "warm up", &mut socket).await?;
    Ok(socket)
}

/// How long a turn takes, from the message to its end at the client, and how many deltas come.
pub(crate) async fn turn(host: &Host, id: &str, content: &str, socket: &mut Socket) -> anyhow::Result<(Duration, usize)> {
    let message = uuid::Uuid::new_v4().to_string();
    let begin = Instant::now();
    host.client().message_with_id(id, &message, content).await.expect(202);
    let deltas = socket.turn_end(&message).await?;
    Ok((begin.elapsed(), deltas))
}

/// How long the first delta of a turn takes to the client.
pub(crate) async fn to_first_delta(host: &Host, id: &str, socket: &mut Socket) -> anyhow::Result<Duration> {
    let message = uuid::Uuid::new_v4().to_string();
    let client = host.client();
    let begin = Instant::now();
    let posted = client.message_with_id(id, &message, "hello");
    let seen = async {
        socket.until(|frame| frame.contains("\"session:block:delta\"")).await?;
        anyhow::Ok(begin.elapsed())
    };
    let (answer, elapsed) = tokio::join!(posted, seen);
    answer.expect(202);
    socket.until(|frame| frame.contains("\"session:status\"") && !frame.contains("runningMessageId")).await?;
    elapsed
}

async fn first_delta(host: &Host, scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut socket = session(host, "first-delta").await?;
    let mut samples = Vec::new();
    for _ in 0..scale.messages {
        samples.push(to_first_delta(host, "first-delta", &mut socket).await?);
    }
    report.add("message to first delta, sandbox ready", latencies(samples));
    Ok(())
}

async fn deltas(host: &Host, scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut socket = session(host, "deltas").await?;
    let (elapsed, deltas) = turn(host, "deltas", &format!("deltas {}", scale.deltas), &mut socket).await?;
    anyhow::ensure!(deltas == scale.deltas, "{deltas} of {} deltas came", scale.deltas);
    report.add("deltas through the whole path, 1 session, 1 client", rate(scale.deltas, elapsed));
    Ok(())
}

async fn deliveries(host: &Host, scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut first = session(host, "many").await?;
    let mut sockets = Vec::new();
    for _ in 1..CLIENTS {
        sockets.push(Socket::join(host.address(), "many").await?);
    }
    let message = uuid::Uuid::new_v4().to_string();
    let begin = Instant::now();
    host.client().message_with_id("many", &message, format!("deltas {}", scale.deliveries)).await.expect(202);
    let counts = try_join_all(sockets.iter_mut().chain([&mut first]).map(|socket| socket.turn_end(&message))).await?;
    let elapsed = begin.elapsed();
    anyhow::ensure!(counts.iter().all(|count| *count == scale.deliveries), "not every client got {} deltas: {counts:?}", scale.deliveries);
    report.add(format!("deliveries, 1 session, {CLIENTS} clients"), rate(scale.deliveries * CLIENTS, elapsed));
    Ok(())
}

/// What a turn costs must not depend on what came before it.
async fn turns(host: &Host, scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut socket = session(host, "turns").await?;
    for (transcript, name) in [(0, "an empty transcript"), (LONG, "10 MB of transcript")] {
        if transcript > 0 {
            turn(host, "turns", &format!("transcript {transcript}"), &mut socket).await?;
        }
        let mut samples = Vec::new();
        for _ in 0..scale.turns {
            samples.push(turn(host, "turns", "hello", &mut socket).await?.0);
        }
        report.add(format!("a whole turn with {name}"), latencies(samples));
    }
    Ok(())
}
