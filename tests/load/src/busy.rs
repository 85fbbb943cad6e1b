//! Sessions that work and clients that create others, while something is done to the host: how long they wait, and whether all comes that should.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use agent_host_tests::Host;
use anyhow::ensure;
use serde_json::json;

use crate::report::{Report, latencies_to_max};
use crate::socket::Socket;
use crate::work;

/// What each turn streams, and adds to the transcript.
pub(crate) const DELTAS: usize = 20;
pub(crate) const TRANSCRIPT_BYTES: usize = 4096;

/// The load as it is before anything is done.
pub(crate) const STEADY: Duration = Duration::from_secs(10);

/// Between two turns of a session, and between two creations of a client: the machine is busy, and not so much that everything waits for the disk.
const PAUSE: Duration = Duration::from_secs(2);
const CREATION_PAUSE: Duration = Duration::from_millis(50);

/// A request counts as made while something was done if it ran at any time from the beginning of that until so long after its end.
const AFTER: Duration = Duration::from_millis(100);

/// A request: when it began, how long it took.
type Sample = (Instant, Duration);

/// What the workers have in common.
#[derive(Default)]
pub(crate) struct Load {
    stop: AtomicBool,
    messages: Mutex<Vec<Sample>>,
    creations: Mutex<Vec<Sample>>,
    failed: AtomicUsize,
    /// Events that did not come, or came twice.
    gaps: AtomicUsize,
}

impl Load {
    /// Lets each worker end what it is doing.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether the workers go on.
    pub(crate) fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Counts a request that was not answered as it should be.
    pub(crate) fn count_failure(&self, status: u16, expected: u16) {
        if status != expected {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests that failed.
    pub(crate) fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Events that were lost or doubled.
    pub(crate) fn gaps(&self) -> usize {
        self.gaps.load(Ordering::Relaxed)
    }

    /// Adds how long requests took before the first of the `windows` and during them.
    pub(crate) fn report(&self, report: &mut Report, busy: usize, windows: &[(Instant, Duration)], doing: &str) -> anyhow::Result<()> {
        for (name, list) in [("POST message", &self.messages), ("POST create", &self.creations)] {
            let list = list.lock().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
            let is_before = |(began, took): &Sample| windows.iter().all(|(from, _)| *began + *took < *from);
            let is_during =
                |(began, took): &Sample| windows.iter().any(|(from, lasted)| *began + *took >= *from && *began <= *from + *lasted + AFTER);
            let took = |is: &dyn Fn(&Sample) -> bool| list.iter().filter(|sample| is(sample)).map(|(_, took)| *took).collect();
            report.add(format!("{name}, {busy} busy sessions, steady"), latencies_to_max(took(&is_before)));
            report.add(format!("{name}, {busy} busy sessions, during {doing}"), latencies_to_max(took(&is_during)));
        }
        Ok(())
    }

    fn add(list: &Mutex<Vec<Sample>>, began: Instant) {
        if let Ok(mut list) = list.lock() {
            list.push((began, began.elapsed()));
        }
    }
}

/// What is said in each turn; with `file_bytes` it makes a file of that size.
pub(crate) fn message(file_bytes: Option<usize>) -> String {
    let file = file_bytes.map(|bytes| format!(" {bytes}")).unwrap_or_default();
    format!("work {DELTAS} {TRANSCRIPT_BYTES}{file}")
}

/// What the transcript has of so many turns.
pub(crate) fn transcript(turns: usize) -> String {
    (1..=turns as u64).map(|turn| format!("{}\n", work::transcript_line(turn, TRANSCRIPT_BYTES))).collect()
}

/// Runs turn after turn in a session, looks that its events come each once, since their numbers have no gap, and gives the number of turns.
///
/// `place` is the session's among those that work: they do not begin all at once.
pub(crate) async fn work(host: &Host, load: &Load, id: &str, place: usize, message: &str) -> anyhow::Result<usize> {
    let client = host.client();
    let mut socket = Socket::join(host.address(), id).await?;
    let mut turns = 0;
    tokio::time::sleep(PAUSE.mul_f64(f64::from(u16::try_from(place % 100).unwrap_or(0)) / 100.0)).await;
    while load.goes_on() {
        let id_of_message = uuid::Uuid::new_v4().to_string();
        let began = Instant::now();
        let answer = client.message_with_id(id, &id_of_message, message).await;
        Load::add(&load.messages, began);
        load.count_failure(answer.status, 202);
        if answer.status != 202 {
            continue;
        }
        let deltas = socket.turn_end(&id_of_message).await?;
        ensure!(deltas == DELTAS, "{deltas} of {DELTAS} deltas came in {id}");
        turns += 1;
        tokio::time::sleep(PAUSE).await;
    }
    load.gaps.fetch_add(socket.gaps, Ordering::Relaxed);
    Ok(turns)
}

/// Creates sessions, one after the other, and deletes those again whose number `deletes` accepts. Gives the ids of the others, and of the deleted ones.
pub(crate) async fn create(
    host: &Host,
    load: &Load,
    number: usize,
    deletes: impl Fn(usize) -> bool,
) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let client = host.client();
    let (mut created, mut deleted) = (Vec::new(), Vec::new());
    let mut count = 0;
    while load.goes_on() {
        let id = format!("new{number}-{count}");
        let request = json!({"sessionId": id, "agentProfileRef": "default", "architecture": "echo"});
        let began = Instant::now();
        let answer = client.create(&request).await;
        Load::add(&load.creations, began);
        load.count_failure(answer.status, 201);
        if deletes(count) {
            load.count_failure(client.delete(&id).await.status, 200);
            deleted.push(id);
        } else if answer.status == 201 {
            created.push(id);
        }
        count += 1;
        tokio::time::sleep(CREATION_PAUSE).await;
    }
    Ok((created, deleted))
}
