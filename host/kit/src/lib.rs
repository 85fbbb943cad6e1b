//! Whether a persistence adapter keeps the contract (`wit/0.1/persistence`): every promise of it, tried against a component and its store.
//!
//! ```text
//! Subject (component, config, grants) ── run(subject, options) ──> Report ── text, JSON, JUnit
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`subject`] | the adapter that is tried: opened, thrown away, opened again |
//! | `checks` | the promises, and how each is tried |
//! | `model` | the contract as a store in memory, against which random sequences of calls are compared |
//! | [`victim`] | a process that writes until it is killed |
//! | [`report`] | what came of it, for people and for machines |
//! | [`mod@bench`] | calls and bytes in a second, by function |
//!
//! Everything happens in sessions and profiles whose ids begin with `kit-` and a number drawn for the run, and which are deleted again: a store that has others keeps them.
#![forbid(unsafe_code)]

pub mod bench;
mod checks;
mod model;
pub mod report;
mod scratch;
pub mod subject;
pub mod victim;

use std::time::{Duration, Instant};

use self::checks::{Check, Needs};
pub use self::checks::{Listed, list};
pub use self::report::Report;
use self::report::{Outcome, Tried};
use self::scratch::Scratch;
pub use self::subject::Subject;

/// What is tried, and how hard.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only checks whose name contains one of these; all if there is none.
    pub only: Vec<String>,
    /// How long one check may take: an adapter that hangs is told by it.
    pub timeout: Duration,
    /// Random sequences of calls that are compared with the model.
    pub sequences: u32,
    /// What the random sequences are drawn from; drawn itself if `None`. The report names it.
    pub seed: Option<u64>,
    /// Whether everything is to be there when the adapter is opened again. As the adapter says by how it may be run if `None`: one that keeps its state in memory has one instance.
    pub durable: Option<bool>,
}

impl Default for Options {
    fn default() -> Self {
        // A slow adapter over a slow network writes 100 MB in a minute.
        Self { only: Vec::new(), timeout: Duration::from_secs(120), sequences: 64, seed: None, durable: None }
    }
}

/// Tries everything, one check after the other. `progress` is told of each when it has ended.
///
/// # Errors
/// If the adapter cannot be opened at all.
pub async fn run(subject: &Subject, options: &Options, mut progress: impl FnMut(&Tried)) -> Result<Report, subject::Error> {
    let began = Instant::now();
    let persistence = subject.open().await?;
    let mut report = Report::new(subject, &persistence, options.seed.unwrap_or_else(|| fastrand::u64(..)));
    let is_durable = options.durable.unwrap_or_else(|| persistence.info().concurrency == agent_host_wasm::persistence::Concurrency::Pooled);
    persistence.shutdown(Duration::ZERO).await;
    for check in checks::all() {
        if !options.only.is_empty() && !options.only.iter().any(|wanted| check.name.contains(wanted.as_str())) {
            continue;
        }
        let tried = match skipped(&check, subject, is_durable) {
            Some(reason) => Tried::new(&check, Outcome::Skipped(reason), Duration::ZERO),
            None => attempt(&check, subject, options, report.seed).await,
        };
        progress(&tried);
        report.tried.push(tried);
    }
    report.elapsed = began.elapsed();
    Ok(report)
}

fn skipped(check: &Check, subject: &Subject, is_durable: bool) -> Option<&'static str> {
    match check.needs {
        Needs::Leases if !subject.has_leases() => Some("the adapter does not export `leases`, which is optional"),
        Needs::Durability | Needs::Process if !is_durable => {
            Some("the adapter has one instance, as one that keeps its state in memory (--durable if it does not)")
        }
        Needs::Process if subject.victim().is_none() => Some("there is no program that could be started and killed"),
        Needs::Nothing | Needs::Leases | Needs::Durability | Needs::Process => None,
    }
}

async fn attempt(check: &Check, subject: &Subject, options: &Options, seed: u64) -> Tried {
    let began = Instant::now();
    let trying = async {
        let scratch = Scratch::new(subject, check.name, options.sequences, seed).await?;
        let tried = (check.run)(&scratch).await;
        let cleared = scratch.clear().await;
        tried.and(cleared)
    };
    let outcome = match tokio::time::timeout(options.timeout, trying).await {
        Ok(Ok(())) => Outcome::Kept,
        Ok(Err(error)) => Outcome::Broken(format!("{error:#}")),
        Err(_) => Outcome::Broken(format!("it did not end within {:?}: a call hangs, or calls wait for each other", options.timeout)),
    };
    Tried::new(check, outcome, began.elapsed())
}
