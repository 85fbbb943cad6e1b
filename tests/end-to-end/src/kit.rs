//! The conformance kit, `agent-host adapter test`, and what it says of an adapter.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::Host;

/// The kit, as it is about to be run.
#[derive(Debug)]
pub struct Kit(Command);

/// What it said: names of checks, by how they ended.
#[derive(Debug)]
pub struct Report {
    /// Promises that are kept.
    pub kept: Vec<String>,
    /// Promises that are broken.
    pub broken: Vec<String>,
    /// What was not tried, since the adapter does not promise it.
    pub skipped: Vec<String>,
    /// All of it, as the kit prints it.
    pub document: Value,
}

impl Kit {
    /// To be run on an adapter: the name of one that ships, or a file.
    pub fn new(host: &Host, adapter: impl AsRef<Path>) -> Self {
        let mut command = host.command();
        command.args(["adapter", "test"]).arg(adapter.as_ref()).args(["--json", "--timeout", "300"]);
        Self(command)
    }

    /// With these arguments, too.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.0.args(arguments);
        self
    }

    /// With these grants.
    #[must_use]
    pub fn granted(self, grants: &Value) -> Self {
        self.with(&["--grants", &grants.to_string()])
    }

    /// With this variable in its environment.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it. What prints no report panics.
    pub async fn run(self) -> Report {
        let Self(mut command) = self;
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("a command does not panic");
        Report::read(&output.expect("failed to run the kit"))
    }
}

impl Report {
    fn read(output: &Output) -> Self {
        let said = String::from_utf8_lossy(&output.stderr);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        let ended = |outcome: &str| {
            let checks = document["checks"].as_array().into_iter().flatten().filter(|check| check["outcome"] == outcome);
            checks.filter_map(|check| check["name"].as_str()).map(str::to_owned).collect::<Vec<_>>()
        };
        let (kept, broken, skipped) = (ended("kept"), ended("broken"), ended("skipped"));
        assert_eq!(output.status.success(), broken.is_empty(), "{said}{document:#}");
        Self { kept, broken, skipped, document }
    }

    /// Fails unless every promise of the kit was tried and is kept, but for so many that the adapter does not make.
    pub fn assert_kept_but(&self, skipped: usize) {
        let tried = (self.broken.len(), self.skipped.len(), self.kept.len() + self.skipped.len());
        assert!(tried.2 >= PROMISES && (tried.0, tried.1) == (0, skipped), "{:#}", self.document);
    }
}

/// How many promises the kit tries at least: fewer mean that some were left out.
const PROMISES: usize = 38;
