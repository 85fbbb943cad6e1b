//! Measures the host with an agent that takes no time, and prints a table.
//!
//! ```text
//! cargo build --release -p agent-host -p agent-host-load -p fake-modal --bins && target/release/agent-host-load
//! ```
//!
//! Everything runs in one go on loopback, so that the figures of one table can be compared with each other; those of two runs cannot.
#![forbid(unsafe_code)]

mod adapter;
mod busy;
mod events;
mod hooks;
mod migration;
mod modal;
mod outage;
mod reconnects;
mod report;
mod sessions;
mod slow_reader;
mod socket;
mod start;
mod streams;
mod swaps;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use agent_host_tests::Setup;
use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use crate::report::Report;

/// Measures the host with an agent that takes no time, and prints a table in Markdown.
#[derive(Debug, Parser)]
struct Arguments {
    /// Does everything once or a few times only: shows that it works, and measures nothing.
    #[arg(long)]
    quick: bool,
    /// Measures one part only.
    #[arg(long, value_enum)]
    only: Option<Part>,
}

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Start,
    Sessions,
    Streams,
    Reconnects,
    SlowReader,
    Outage,
    Hooks,
    Swaps,
    Migration,
    MigrationPostgresql,
    Adapter,
    Modal,
}

/// How much is done for each figure.
#[derive(Clone, Copy, Debug)]
struct Scale {
    starts: usize,
    sessions: usize,
    messages: usize,
    deltas: usize,
    deliveries: usize,
    turns: usize,
    /// Deltas of the stream to which clients connect again and again, and how often all of them together do.
    stream: usize,
    reconnects: usize,
    /// Deltas that stream while others do not read, or are measured: more than the systems of both ends take for a client.
    noise: usize,
    calls: usize,
    /// Sessions that work while adapters are exchanged.
    busy: usize,
    swaps: usize,
    /// How often what is compared takes turns.
    rounds: usize,
    /// How long an adapter fails now and then, and then all the time.
    flaky: Duration,
    down: Duration,
    /// Sessions that are migrated; the bytes of each one's transcript, and its files of 64 KiB.
    stored: usize,
    transcript: usize,
    files: usize,
    /// Sessions that work while that is done.
    working: usize,
}

impl Scale {
    const FULL: Self = Self {
        starts: 7,
        sessions: 2000,
        messages: 300,
        deltas: 200_000,
        deliveries: 10_000,
        turns: 30,
        stream: 100_000,
        reconnects: 1000,
        noise: 80_000,
        calls: 3000,
        busy: 200,
        swaps: 20,
        rounds: 3,
        flaky: Duration::from_secs(60),
        down: Duration::from_secs(60),
        stored: 1000,
        transcript: 640 * 1024,
        files: 6,
        working: 60,
    };
    const QUICK: Self = Self {
        starts: 1,
        sessions: 20,
        messages: 3,
        deltas: 1000,
        deliveries: 100,
        turns: 2,
        stream: 20_000,
        reconnects: 200,
        noise: 80_000,
        calls: 20,
        busy: 5,
        swaps: 2,
        rounds: 1,
        flaky: Duration::from_secs(6),
        down: Duration::from_secs(4),
        stored: 20,
        transcript: 128 * 1024,
        files: 2,
        working: 5,
    };
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let scale = if arguments.quick { Scale::QUICK } else { Scale::FULL };
    let is_wanted = |part| arguments.only.is_none_or(|only| only == part);
    let mut report = Report::default();
    if is_wanted(Part::Start) {
        start::measure(scale, &mut report).await?;
    }
    if is_wanted(Part::Sessions) {
        sessions::measure(scale, &mut report).await?;
    }
    if is_wanted(Part::Streams) {
        streams::measure(scale, &mut report).await?;
    }
    if is_wanted(Part::Reconnects) {
        reconnects::measure(scale, &mut report).await?;
    }
    if is_wanted(Part::SlowReader) {
        slow_reader::measure(scale, &mut report).await?;
    }
    if is_wanted(Part::Outage) {
        outage::measure(scale, &mut report).await?;
    }
    if is_wanted(Part::Hooks) {
        hooks::measure(scale, &mut report).await?;
    }
    if is_wanted(Part::Swaps) {
        swaps::measure(scale, &mut report).await?;
    }
    if is_wanted(Part::Migration) {
        migration::measure(scale, &mut report).await?;
    }
    if is_wanted(Part::MigrationPostgresql) {
        migration::measure_postgresql(scale, &mut report).await?;
    }
    if is_wanted(Part::Adapter) {
        adapter::measure(scale, &mut report).await?;
    }
    if is_wanted(Part::Modal) {
        modal::measure(scale, &mut report).await?;
    }
    println!("{}", report.markdown());
    Ok(())
}

/// A host whose `claude-agent-sdk` is the instant agent, without isolation: bubblewrap's start is not the host's.
fn setup() -> anyhow::Result<Setup> {
    Ok(Setup::new().with_agent(&instant_agent()?).set("sandbox.local.isolation", "none").set("limits.sessions", 100_000))
}

fn instant_agent() -> anyhow::Result<PathBuf> {
    let agent = std::env::current_exe().context("failed to find this program")?.with_file_name("instant-agent");
    anyhow::ensure!(agent.exists(), "{} is missing: cargo build --release -p agent-host-load --bins", agent.display());
    Ok(agent)
}
