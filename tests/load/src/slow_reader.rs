//! Clients that do not read: what they cost the host's memory and the other clients, and whether they are told and dropped.
//!
//! A session streams all the time. Another one is asked and answers, once without and once with clients at the first that do not read, in turns. Half of these read again when
//! the stream has left them behind, and must be told so; the others never do, so that nothing can be told to them, and must be cut off. In each round it is another session that
//! streams: what a picture of a long history costs is bounded for all clients together, by the host's options.

use std::cell::Cell;
use std::time::Duration;

use agent_host_tests::{Host, eventually};
use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::report::{Report, latencies_to_max};
use crate::socket::Socket;
use crate::start::{megabytes, resident};
use crate::streams::{session, to_first_delta, turn};
use crate::{Scale, setup};

/// Clients that do not read, half of them of each kind.
const LAZY: usize = 16;

/// What the system takes for a client that does not read, in bytes.
const RECEIVE_BUFFER: u32 = 64 * 1024;

/// The most that they may cost, which is promised.
const MEMORY: u64 = 64 * 1024 * 1024;

/// Behind by so many events, a client has lost some: it is twice what the host keeps by default.
const BEHIND: f64 = 20_000.0;

/// For whoever reads again: it is told at once.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the host counts of clients that it dropped.
const DROPPED: &str = "agent_host_subscribers_dropped_total";

/// A client that has asked for everything and reads nothing.
enum Lazy {
    WebSocket(Box<WebSocketStream<TcpStream>>),
    ServerSentEvents(TcpStream),
}

impl Lazy {
    async fn follow(address: &str, session: &str, is_socket: bool) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // A size that is set is kept: left to itself, the system may take tens of megabytes for a program that does not read.
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let mut stream = socket.connect(address.parse()?).await?;
        if is_socket {
            let (mut socket, _) = client_async(format!("ws://{address}/ws"), stream).await?;
            let join = serde_json::json!({"type": "session:join", "id": "1", "sessionId": session});
            socket.send(Message::text(join.to_string())).await?;
            return Ok(Self::WebSocket(Box::new(socket)));
        }
        let request = format!("GET /sessions/{session}/events HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        Ok(Self::ServerSentEvents(stream))
    }

    /// Reads all that there is, and gives whether the last of it says that it read too slowly.
    async fn finds_out(self) -> anyhow::Result<bool> {
        let reading = async {
            let mut last = String::new();
            match self {
                Self::WebSocket(mut socket) => {
                    while let Some(Ok(message)) = socket.next().await {
                        if let Message::Text(text) = message {
                            last = text.as_str().to_owned();
                        }
                    }
                }
                Self::ServerSentEvents(mut stream) => {
                    let mut all = Vec::new();
                    // A reset is an end, too.
                    drop(stream.read_to_end(&mut all).await);
                    let tail = all.len().saturating_sub(1000);
                    last = String::from_utf8_lossy(all.get(tail..).unwrap_or_default()).into_owned();
                }
            }
            last.contains("\"SLOW_CONSUMER\"")
        };
        tokio::time::timeout(DEADLINE, reading).await.context("the stream of a client that was too slow did not end")
    }
}

pub(crate) async fn measure(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let host = setup()?.start().await;
    let mut noisy = session(&host, "noisy").await?;
    let mut quiet = session(&host, "quiet").await?;
    // So that nothing is done for the first time when memory is looked at.
    meanwhile(&host, scale, "noisy", &mut noisy, &mut quiet).await?;
    let before = resident(&host)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let (mut peak_without, mut peak_with, mut told, mut cut) = (before, before, 0, 0);
    for round in 0..scale.rounds {
        let name = &format!("noisy{round}");
        let mut noisy = session(&host, name).await?;
        let (samples, peak) = meanwhile(&host, scale, name, &mut noisy, &mut quiet).await?;
        without.extend(samples);
        peak_without = peak_without.max(peak);

        let dropped = host.metrics().await.sum(DROPPED, &[]);
        let (mut sleepers, mut dead) = (Vec::new(), Vec::new());
        for number in 0..LAZY {
            let lazy = Lazy::follow(host.address(), name, number % 2 == 0).await?;
            if number < LAZY / 2 { sleepers.push(lazy) } else { dead.push(lazy) }
        }
        let all_follow = async || host.metrics().await.sum("agent_host_subscribers", &[]) >= (LAZY + 2) as f64;
        eventually("all clients follow the session", all_follow).await;
        let waking = async {
            let are_behind = async || host.metrics().await.sum("agent_host_subscriber_lag_events", &[]) >= BEHIND;
            eventually("the stream leaves those behind that do not read", are_behind).await;
            try_join_all(sleepers.into_iter().map(Lazy::finds_out)).await
        };
        let ((samples, peak), answers) = tokio::try_join!(meanwhile(&host, scale, name, &mut noisy, &mut quiet), waking)?;
        ensure!(answers.iter().all(|is_told| *is_told), "not all clients that were too slow were told: {answers:?}");
        told += answers.len();
        with.extend(samples);
        peak_with = peak_with.max(peak);
        let all_dropped = async || host.metrics().await.sum(DROPPED, &[]) >= dropped + LAZY as f64;
        eventually("all clients that do not read are dropped", all_dropped).await;
        cut += dead.len();
        peak_with = peak_with.max(resident(&host)?);
    }
    let after = resident(&host)?;
    let metrics = host.metrics().await;
    let count = |reason| metrics.sum(DROPPED, &[("reason", reason)]);
    report.add("message to first delta, another session streams", latencies_to_max(without));
    report.add(format!("message to first delta, and {LAZY} clients of that do not read"), latencies_to_max(with));
    report.add(
        format!("memory (RSS) before, at most without and with {LAZY} clients that do not read, after"),
        format!("{}, {}, {}, {}", megabytes(before), megabytes(peak_without), megabytes(peak_with), megabytes(after)),
    );
    report.add(
        "clients that did not read, half WebSocket and half SSE",
        format!(
            "{told} read again and were told, {cut} never did and were cut off (counted: {} lagged, {} stalled)",
            count("lagged"),
            count("stalled")
        ),
    );
    let cost = peak_with.saturating_sub(peak_without);
    ensure!(cost < MEMORY, "the memory has grown by {}", megabytes(cost));
    Ok(())
}

/// Lets a session of this name stream, asks another one all the time, and gives how long that took each time, and the host's memory at most.
async fn meanwhile(host: &Host, scale: Scale, name: &str, noisy: &mut Socket, quiet: &mut Socket) -> anyhow::Result<(Vec<Duration>, u64)> {
    let is_over = Cell::new(false);
    let streaming = async {
        let (_, deltas) = turn(host, name, &format!("paced {}", scale.noise), noisy).await?;
        is_over.set(true);
        ensure!(deltas == scale.noise, "{deltas} of {} deltas came", scale.noise);
        Ok(())
    };
    let asking = async {
        let (mut samples, mut peak) = (Vec::new(), 0);
        while !is_over.get() {
            samples.push(to_first_delta(host, "quiet", quiet).await?);
            peak = resident(host)?.max(peak);
        }
        anyhow::Ok((samples, peak))
    };
    let ((), measured) = tokio::try_join!(streaming, asking)?;
    Ok(measured)
}
