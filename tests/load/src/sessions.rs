//! Creating, listing and holding many sessions.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use agent_host_tests::{Client, Host};
use futures_util::future::try_join_all;
use serde_json::json;

use crate::report::{Report, latencies, rate, time};
use crate::socket::Socket;
use crate::start::{resident, stop};
use crate::{Scale, setup};

/// Clients at once.
const CONCURRENCY: usize = 16;

pub(crate) async fn measure(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut host = setup()?.start().await;
    let count = scale.sessions;
    let elapsed = create(&host.client(), count / 10, 1, 0).await?;
    report.add("create a session, 1 client", rate(count / 10, elapsed));
    let elapsed = create(&host.client(), count - count / 10, CONCURRENCY, count / 10).await?;
    report.add(format!("create a session, {CONCURRENCY} clients"), rate(count - count / 10, elapsed));

    let mut samples = Vec::new();
    for _ in 0..scale.messages {
        let begin = Instant::now();
        host.client().sessions("?limit=100").await.expect(200);
        samples.push(begin.elapsed());
    }
    report.add(format!("list 100 of {count} sessions"), latencies(samples));
    memory(&host, (count / 2).min(500), report).await?;
    report.add(format!("SIGTERM to the end, {} sessions loaded", (count / 2).min(500)), time(stop(&mut host).await));
    Ok(())
}

async fn create(client: &Client, count: usize, concurrency: usize, from: usize) -> anyhow::Result<std::time::Duration> {
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    let workers = (0..concurrency).map(|_| async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok::<_, anyhow::Error>(());
            }
            let id = format!("s{}", from + number);
            let request = json!({"sessionId": id, "agentProfileRef": "default", "architecture": "claude-agent-sdk"});
            client.create(&request).await.expect(201);
        }
    });
    try_join_all(workers).await?;
    Ok(begin.elapsed())
}

/// Loads sessions by joining them, and looks how much the host has grown. The connections' own memory is in it.
async fn memory(host: &Host, count: usize, report: &mut Report) -> anyhow::Result<()> {
    let before = resident(host)?;
    let mut sockets = Vec::new();
    for number in 0..count {
        sockets.push(Socket::join(host.address(), &format!("s{number}")).await?);
    }
    let grown = resident(host)?.saturating_sub(before);
    report.add(format!("memory for each loaded session with a client ({count} of them)"), format!("{} KB", grown / 1000 / count as u64));
    Ok(())
}
