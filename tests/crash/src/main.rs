//! Ends the host in every way while it works, and prints what was counted. It fails if anything was lost.
//!
//! ```text
//! tests/crash/run --seed 7
//! ```

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agent_host_crash::report::{Counts, table};
use agent_host_crash::scenario::{Mode, Size, run};
use clap::{Parser, ValueEnum};

/// Ends the host in every way while it works, and prints what was counted.
#[derive(Debug, Parser)]
struct Arguments {
    /// Decides what is drawn. It is printed; two runs with the same one differ as far as the time differs that things take.
    #[arg(long)]
    seed: Option<u64>,
    /// How often the host is killed, all ways of running it together.
    #[arg(long, default_value_t = 300)]
    kills: usize,
    /// How often it is told to end.
    #[arg(long, default_value_t = 40)]
    terminations: usize,
    /// How often it is stopped and woken.
    #[arg(long, default_value_t = 20)]
    stops: usize,
    /// How often another host takes over.
    #[arg(long, default_value_t = 40)]
    takeovers: usize,
    /// Does one of these only.
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Clients at once.
    #[arg(long, default_value_t = 14)]
    workers: usize,
    /// How long the host works at most before it is done again, in milliseconds.
    #[arg(long, default_value_t = 3000)]
    work: u64,
    /// How long a host is stopped at most, in milliseconds.
    #[arg(long, default_value_t = 30_000)]
    stop: u64,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    Kill,
    Resume,
    Isolated,
    Terminate,
    Stop,
    TakeOver,
    Leases,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = arguments.seed.unwrap_or_else(|| u64::from(now.subsec_nanos()));
    // Half of the kills where nothing but the kill is special.
    let (resumed, isolated) = (arguments.kills / 4, arguments.kills / 4);
    let leased = arguments.takeovers / 2;
    let parts = [
        (Only::Kill, Mode::Kill, "kill -9", arguments.kills - resumed - isolated),
        (Only::Resume, Mode::KillAndResume, "kill -9, resume", resumed),
        (Only::Isolated, Mode::KillIsolated, "kill -9, isolated", isolated),
        (Only::Terminate, Mode::Terminate, "SIGTERM", arguments.terminations),
        (Only::Stop, Mode::Stop, "SIGSTOP", arguments.stops),
        (Only::TakeOver, Mode::TakeOver, "two hosts", arguments.takeovers - leased),
        (Only::Leases, Mode::TakeOverByLease, "two hosts, leases", leased),
    ];
    let mut columns: Vec<(String, Counts)> = Vec::new();
    let mut wrong = String::new();
    for (only, mode, name, rounds) in parts {
        if rounds == 0 || arguments.only.is_some_and(|wanted| wanted != only) {
            continue;
        }
        eprintln!("{name}: seed {seed}");
        let began = Instant::now();
        let size = Size {
            seed,
            rounds,
            workers: arguments.workers,
            messages: 30,
            work: Duration::from_millis(arguments.work),
            stop: Duration::from_millis(arguments.stop),
        };
        let (mut counts, findings) = run(mode, size).await?;
        counts.add("seconds", usize::try_from(began.elapsed().as_secs())?);
        if !findings.is_empty() {
            wrong.push_str(&format!("{name}, seed {seed}:\n{}", findings.text()));
        }
        columns.push((name.to_owned(), counts));
    }
    println!("{}\nseed {seed}", table(&columns));
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("promises were broken\n{wrong}");
    Ok(ExitCode::FAILURE)
}
