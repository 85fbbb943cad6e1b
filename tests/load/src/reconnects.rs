//! Clients that come and go all the time, half of them over WebSockets and half by server-sent events: each gets each event exactly once, and in order.
//!
//! The host keeps the whole stream for them, since what is looked at is not how long it keeps it. When they go is drawn from a seed, which is fixed: two runs do the same, but
//! for the time that everything takes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::future::{join, try_join_all};
use serde_json::json;

use crate::events::Events;
use crate::report::{Report, rate, time};
use crate::socket::Socket;
use crate::{Scale, setup, work};

/// Half of them of each kind.
const CLIENTS: usize = 50;

const SEED: u64 = 0x5EED;

const SESSION: &str = "reconnects";

/// For all of it: it takes seconds.
const DEADLINE: Duration = Duration::from_secs(300);

/// What a client counts. All but the first are to stay 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    events: usize,
    reconnects: usize,
    lost: usize,
    doubled: usize,
    /// Deltas that do not say what comes next.
    wrong: usize,
    /// Snapshots besides the first.
    resyncs: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    WebSocket,
    ServerSentEvents,
}

enum Connection {
    WebSocket(Box<Socket>),
    ServerSentEvents(Events),
}

impl Connection {
    async fn next(&mut self) -> anyhow::Result<(String, Option<u64>)> {
        match self {
            Self::WebSocket(socket) => socket.next_of_session().await,
            Self::ServerSentEvents(events) => events.next().await,
        }
    }
}

pub(crate) async fn measure(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    // Each event counts some 300 bytes.
    let host = setup()?.set("limits.log_events", 1_000_000).set("limits.log_bytes", "1 GiB").start().await;
    let request = json!({"sessionId": SESSION, "agentProfileRef": "default", "architecture": "claude-agent-sdk"});
    host.client().create(&request).await.expect(201);
    let message = uuid::Uuid::new_v4().to_string();
    let http = agent_host_test_programs::http().build()?;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let kind = if number % 2 == 0 { Kind::WebSocket } else { Kind::ServerSentEvents };
        clients.push(Client::join(&http, host.address(), kind, &message, scale.stream).await?);
    }
    let began = Instant::now();
    let plan = |number: usize| places(SEED + number as u64, scale.reconnects / CLIENTS, scale.stream);
    let following = try_join_all(clients.into_iter().enumerate().map(|(number, client)| client.follow(plan(number))));
    let content = format!("paced {}", scale.stream);
    let client = host.client();
    let (answer, counts) = join(client.message_with_id(SESSION, &message, content), tokio::time::timeout(DEADLINE, following)).await;
    answer.expect(202);
    let counts = counts.context("the clients did not come to the end of the stream")??;
    let elapsed = began.elapsed();

    let sum = |of: fn(&Counts) -> usize| counts.iter().map(of).sum::<usize>();
    let (events, reconnects) = (sum(|counts| counts.events), sum(|counts| counts.reconnects));
    let (lost, doubled, wrong, resyncs) =
        (sum(|counts| counts.lost), sum(|counts| counts.doubled), sum(|counts| counts.wrong), sum(|counts| counts.resyncs));
    let each = counts.first().map_or(0, |counts| counts.events);
    report.add(
        format!(
            "{reconnects} reconnects of {CLIENTS} clients, half WebSocket and half SSE, in a stream of {} deltas (seed {SEED})",
            scale.stream
        ),
        format!("{events} events received, {each} by each; {lost} lost, {doubled} doubled, {wrong} wrong, {resyncs} resyncs"),
    );
    report.add("these deliveries", format!("{}, in {}", rate(events, elapsed), time(elapsed)));
    ensure!(reconnects == scale.reconnects, "there were {reconnects} reconnects instead of {}", scale.reconnects);
    ensure!((lost, doubled, wrong, resyncs) == (0, 0, 0, 0), "not each client got each event exactly once");
    ensure!(counts.iter().all(|counts| counts.events == each), "not all clients got as many events");
    Ok(())
}

/// After how many deltas a client goes, each time.
fn places(seed: u64, count: usize, deltas: usize) -> Vec<usize> {
    let mut random = seed;
    let mut places: Vec<usize> = (0..count).map(|_| (next_random(&mut random) % deltas as u64) as usize).collect();
    places.sort_unstable();
    places
}

/// SplitMix64, which is enough for places in a stream.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

struct Client<'a> {
    http: &'a reqwest::Client,
    address: &'a str,
    kind: Kind,
    /// What `session:status` says of the message's turn.
    running: String,
    deltas: usize,
    connection: Connection,
    last: u64,
    counts: Counts,
}

impl<'a> Client<'a> {
    async fn join(http: &'a reqwest::Client, address: &'a str, kind: Kind, message: &str, deltas: usize) -> anyhow::Result<Self> {
        let mut connection = connect(http, address, kind, None).await?;
        let (frame, number) = connection.next().await?;
        ensure!(is_snapshot(&frame), "no snapshot came first: {frame}");
        let last = number.context("a snapshot without a number")?;
        let running = format!("\"runningMessageId\":\"{message}\"");
        Ok(Self { http, address, kind, running, deltas, connection, last, counts: Counts::default() })
    }

    /// Reads the turn to its end, and connects again whenever so many deltas have come.
    async fn follow(mut self, places: Vec<usize>) -> anyhow::Result<Counts> {
        let mut places = places.into_iter().peekable();
        let (mut deltas, mut has_begun) = (0, false);
        loop {
            let (frame, number) = self.connection.next().await?;
            if is_snapshot(&frame) {
                self.counts.resyncs += 1;
            }
            let number = number.with_context(|| format!("an event without a number: {frame}"))?;
            match number.checked_sub(self.last + 1) {
                Some(lost) => self.counts.lost += usize::try_from(lost)?,
                None => {
                    self.counts.doubled += 1;
                    continue;
                }
            }
            self.last = number;
            self.counts.events += 1;
            if frame.starts_with(r#"{"event":"session:block:delta""#) {
                self.counts.wrong += usize::from(!frame.contains(&format!("\"delta\":\"{}\"", work::delta(deltas))));
                deltas += 1;
            } else if frame.starts_with(r#"{"event":"session:status""#) {
                let is_running = frame.contains(&self.running);
                if has_begun && !is_running {
                    ensure!(deltas == self.deltas, "{deltas} of {} deltas came", self.deltas);
                    return Ok(self.counts);
                }
                has_begun |= is_running;
            }
            while places.next_if(|place| *place < deltas).is_some() {
                // Whatever is under way on the old connection is lost with it.
                self.connection = connect(self.http, self.address, self.kind, Some(self.last)).await?;
                self.counts.reconnects += 1;
            }
        }
    }
}

async fn connect(http: &reqwest::Client, address: &str, kind: Kind, since: Option<u64>) -> anyhow::Result<Connection> {
    Ok(match kind {
        Kind::WebSocket => Connection::WebSocket(Box::new(Socket::connect(address, SESSION, since).await?)),
        Kind::ServerSentEvents => Connection::ServerSentEvents(Events::open(http, address, SESSION, since).await?),
    })
}

fn is_snapshot(frame: &str) -> bool {
    frame.starts_with(r#"{"event":"session:snapshot""#)
}
