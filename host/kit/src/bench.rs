//! How fast an adapter is: calls in a second, and bytes where there are any, by function.

use std::fmt;
use std::time::{Duration, Instant};

use agent_host_session::ports::store::{self, Store as _};
use agent_host_session::record::{RecordChanges, StreamName};
use agent_host_session::time::Timestamp;
use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use crate::scratch::{FIRST, Scratch, file, noise};
use crate::subject::Subject;

/// What a function did.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// The function, and with how much.
    pub function: &'static str,
    /// Calls at once.
    pub at_once: usize,
    /// Calls in a second.
    pub calls_per_second: f64,
    /// Bytes in a second, of those that were written or read.
    pub bytes_per_second: Option<f64>,
    /// Half of the calls took no longer, in microseconds.
    pub p50_us: u128,
    /// Of a hundred calls, one took longer.
    pub p99_us: u128,
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, at_once, calls_per_second, bytes_per_second, p50_us, p99_us } = self;
        write!(formatter, "{function:<28} {at_once:>2} at once {calls_per_second:>10.0} calls/s")?;
        match bytes_per_second {
            Some(bytes) => write!(formatter, " {:>8.1} MB/s", bytes / 1e6)?,
            None => write!(formatter, "              ")?,
        }
        write!(formatter, "   p50 {p50_us:>7} µs   p99 {p99_us:>7} µs")
    }
}

/// Measures each function for about so long, one call after the other and several at once. `progress` is told of each figure.
///
/// # Errors
/// If the adapter cannot be opened, or a call fails.
pub async fn run(subject: &Subject, time: Duration, mut progress: impl FnMut(&Figure)) -> anyhow::Result<Vec<Figure>> {
    let scratch = Scratch::new(subject, "bench", 0, 0).await?;
    let mut figures = Vec::new();
    for at_once in [1, 8] {
        let bench = Bench { scratch: &scratch, time, at_once };
        for figure in bench.all().await? {
            progress(&figure);
            figures.push(figure);
        }
    }
    scratch.clear().await?;
    Ok(figures)
}

struct Bench<'a> {
    scratch: &'a Scratch<'a>,
    time: Duration,
    at_once: usize,
}

/// Sizes of what is appended and read.
const SMALL: usize = 4 * 1024;
const LARGE: usize = 1024 * 1024;

/// The most that a function writes: adapters that keep everything in memory have a few hundred megabytes.
const BYTES: usize = 32 * 1024 * 1024;

impl Bench<'_> {
    async fn all(&self) -> anyhow::Result<Vec<Figure>> {
        let store = &self.scratch.store;
        let mut sessions = Vec::new();
        for number in 0..self.at_once {
            sessions.push(self.scratch.session(&format!("b{}-{number}", self.at_once)).await?);
        }
        let (events, transcript, info) = (StreamName::Events, StreamName::TranscriptMain, file("f", &noise(SMALL, 1), 1)?);
        let (small, large) = (noise(SMALL, 1), noise(LARGE, 2));
        let session = |lane: usize| sessions.get(lane).context("a session of the bench");
        let mut figures = Vec::new();
        figures.push(
            self.measure("append 4 KiB", SMALL, async |lane, call| {
                store.append(FIRST, session(lane)?, &events, (call * SMALL) as u64, small.clone()).await.map(drop).context("append")
            })
            .await?,
        );
        figures.push(
            self.measure("append 1 MiB", LARGE, async |lane, call| {
                store.append(FIRST, session(lane)?, &transcript, (call * LARGE) as u64, large.clone()).await.map(drop).context("append")
            })
            .await?,
        );
        figures.push(
            self.measure("read 1 MiB", LARGE, async |lane, _| {
                store.read(session(lane)?, &transcript, 0, store::MAX_READ_BYTES).await.map(drop).context("read")
            })
            .await?,
        );
        figures.push(
            self.measure("save-file 4 KiB", SMALL, async |lane, _| {
                store.save_file(FIRST, session(lane)?, &info, small.clone()).await.context("save-file")
            })
            .await?,
        );
        figures.push(
            self.measure("read-file 4 KiB", SMALL, async |lane, _| {
                store.read_file(session(lane)?, &info.path, 0, store::MAX_READ_BYTES).await.map(drop).context("read-file")
            })
            .await?,
        );
        figures.push(
            self.measure("update-session", 0, async |lane, call| {
                let at = Timestamp::from_millis(i64::try_from(call).unwrap_or(0));
                let changes = RecordChanges { last_activity: Some(at), ..RecordChanges::default() };
                store.update_session(FIRST, session(lane)?, &changes).await.context("update-session")
            })
            .await?,
        );
        figures.push(
            self.measure("load-session", 0, async |lane, _| store.load_session(session(lane)?).await.map(drop).context("load-session"))
                .await?,
        );
        figures.push(
            self.measure("list-sessions, 100", 0, async |_, _| store.list_sessions(None, 100).await.map(drop).context("list-sessions"))
                .await?,
        );
        figures.push(
            self.measure("create-session and delete", 0, async |lane, call| {
                let record = self.scratch.record(&format!("c{}-{lane}-{call}", self.at_once), 1)?;
                store.create_session(FIRST, &record).await.context("create-session")?;
                store.delete_session(FIRST, &record.id).await.context("delete-session")
            })
            .await?,
        );
        Ok(figures)
    }

    /// Makes calls in so many lanes as are at once; each is told its lane and its number in it.
    async fn measure(
        &self,
        function: &'static str,
        bytes: usize,
        call: impl AsyncFn(usize, usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<Figure> {
        let most = BYTES.checked_div(bytes).map_or(usize::MAX, |calls| calls / self.at_once);
        let began = Instant::now();
        let call = &call;
        let lanes = (0..self.at_once).map(|lane| async move {
            let mut times = Vec::new();
            while times.is_empty() || (began.elapsed() < self.time && times.len() < most) {
                let called = Instant::now();
                call(lane, times.len()).await?;
                times.push(called.elapsed());
            }
            anyhow::Ok(times)
        });
        let mut times: Vec<Duration> = stream::iter(lanes).buffer_unordered(self.at_once).try_concat().await?;
        let elapsed = began.elapsed().as_secs_f64();
        times.sort_unstable();
        let calls = times.len() as f64 / elapsed;
        let percentile = |percent: usize| times.get(times.len() * percent / 100).or(times.last()).map_or(0, Duration::as_micros);
        Ok(Figure {
            function,
            at_once: self.at_once,
            calls_per_second: calls,
            bytes_per_second: (bytes > 0).then_some(calls * bytes as f64),
            p50_us: percentile(50),
            p99_us: percentile(99),
        })
    }
}
