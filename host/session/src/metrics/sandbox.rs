//! What is counted of a sandbox.

use std::sync::Arc;

use tokio::time::Instant;

use super::Metrics;

/// Accompanies a sandbox from the decision to start it to its end.
pub(crate) struct SandboxWatch {
    metrics: Arc<Metrics>,
    provider: &'static str,
    began: Instant,
    has_started: bool,
    end: &'static str,
}

impl SandboxWatch {
    pub(super) fn new(metrics: Arc<Metrics>, provider: &'static str) -> Self {
        // What it is unless it comes to an end of its own: its session does not wait for that any more.
        let end = "abandoned";
        Self { metrics, provider, began: Instant::now(), has_started: false, end }
    }

    /// The agent's process runs.
    pub(crate) fn started(&mut self) {
        self.has_started = true;
        self.count_start("started");
        let provider = ("provider", self.provider);
        self.metrics.sandbox_start_duration.get_or_create_owned(&[provider]).observe(self.began.elapsed().as_secs_f64());
    }

    /// It has ended, or never came up.
    pub(crate) fn ends(mut self, reason: &'static str) {
        self.end = reason;
    }

    fn count_start(&self, outcome: &'static str) {
        self.metrics.sandbox_starts.get_or_create_owned(&[("provider", self.provider), ("outcome", outcome)]).inc();
    }
}

impl Drop for SandboxWatch {
    fn drop(&mut self) {
        if self.has_started {
            self.metrics.sandbox_ends.get_or_create_owned(&[("provider", self.provider), ("reason", self.end)]).inc();
        } else {
            self.count_start(self.end);
        }
    }
}
