//! What came of it: for people (`Display`), for programs (JSON), for continuous integration (JUnit).

mod junit;

use std::fmt;
use std::time::Duration;

use agent_host_wasm::Persistence;
use agent_host_wasm::persistence::Concurrency;
use serde::{Serialize, Serializer};

use crate::checks::Check;
use crate::subject::Subject;

/// What came of all checks.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The component: its file, or what ships with the host.
    pub component: String,
    /// Its SHA-256, in hexadecimal.
    pub digest: String,
    /// The adapter's own name.
    pub name: String,
    /// The adapter's own version.
    pub version: String,
    /// How it may be run.
    pub concurrency: Concurrency,
    /// The version of the contract that it exports.
    pub wit_version: String,
    /// Whether it keeps leases.
    pub has_leases: bool,
    /// What the random sequences were drawn from.
    pub seed: u64,
    /// How long it took, in milliseconds.
    #[serde(rename = "elapsedMs", serialize_with = "millis")]
    pub elapsed: Duration,
    /// Each check.
    #[serde(rename = "checks")]
    pub tried: Vec<Tried>,
}

/// What came of one check.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// The check's group and its own name.
    pub name: &'static str,
    /// What the contract says.
    pub promise: &'static str,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it took, in milliseconds.
    #[serde(rename = "elapsedMs", serialize_with = "millis")]
    pub elapsed: Duration,
}

/// Whether a promise is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "kebab-case")]
pub enum Outcome {
    /// It is, as far as was tried.
    Kept,
    /// It is not, and how that was seen.
    Broken(String),
    /// It was not tried, and why.
    Skipped(&'static str),
}

impl Tried {
    pub(crate) fn new(check: &Check, outcome: Outcome, elapsed: Duration) -> Self {
        Self { name: check.name, promise: check.promise, outcome, elapsed }
    }
}

impl fmt::Display for Tried {
    /// A line, and what is broken below it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.outcome {
            Outcome::Kept => "kept",
            Outcome::Broken(_) => "BROKEN",
            Outcome::Skipped(_) => "skipped",
        };
        write!(formatter, "{word:>7} {:>8.3} s  {}", self.elapsed.as_secs_f64(), self.name)?;
        match &self.outcome {
            Outcome::Kept => Ok(()),
            Outcome::Skipped(reason) => write!(formatter, ": {reason}"),
            Outcome::Broken(reason) => {
                write!(
                    formatter,
                    "\n{MARGIN}the promise: {}\n{MARGIN}what was seen: {}",
                    self.promise,
                    reason.replace('\n', &format!("\n{MARGIN}"))
                )
            }
        }
    }
}

const MARGIN: &str = "                    ";

impl Report {
    pub(crate) fn new(subject: &Subject, persistence: &Persistence, seed: u64) -> Self {
        let info = persistence.info();
        Self {
            component: subject.name().to_owned(),
            digest: subject.digest(),
            name: info.name.clone(),
            version: info.version.clone(),
            concurrency: info.concurrency,
            wit_version: persistence.wit_version(),
            has_leases: subject.has_leases(),
            seed,
            elapsed: Duration::ZERO,
            tried: Vec::new(),
        }
    }

    /// Whether no promise was seen to be broken, and one at least was tried.
    pub fn is_conformant(&self) -> bool {
        self.count(|outcome| matches!(outcome, Outcome::Broken(_))) == 0 && self.count(|outcome| *outcome == Outcome::Kept) > 0
    }

    fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.tried.iter().filter(|tried| is(&tried.outcome)).count()
    }

    /// As JSON.
    ///
    /// # Errors
    /// None that are known of: only maps with keys that are not text cannot be written, and there is none.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// As JUnit's XML, which continuous integration knows how to show.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn to_junit(&self) -> Result<String, quick_junit::SerializeError> {
        junit::report(self).to_string()
    }
}

impl fmt::Display for Report {
    /// The sum of it, in a few lines.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, component, wit_version, .. } = self;
        let (kept, skipped) =
            (self.count(|outcome| *outcome == Outcome::Kept), self.count(|outcome| matches!(outcome, Outcome::Skipped(_))));
        let broken = self.count(|outcome| matches!(outcome, Outcome::Broken(_)));
        let verdict = match (broken, kept) {
            (0, 0) => "nothing was tried of".to_owned(),
            (0, _) => "keeps".to_owned(),
            _ => format!("breaks {broken} of the promises of"),
        };
        write!(formatter, "{name} {version} ({component}) {verdict} agent-host:persistence@{wit_version}: ")?;
        write!(formatter, "{kept} kept, {broken} broken, {skipped} skipped, in {:.1} s", self.elapsed.as_secs_f64())
    }
}

fn millis<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
