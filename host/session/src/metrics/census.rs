//! What the loaded sessions do at one moment.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::show_gauges;
use crate::event::{Runtime, SandboxStatus};

/// What the loaded sessions do at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) loading: u64,
    idle: u64,
    waiting: u64,
    running: u64,
    sandboxes_starting: u64,
    sandboxes_ready: u64,
    sandboxes_unhealthy: u64,
    queued_messages: u64,
    subscribers: u64,
    furthest_behind: u64,
}

impl Census {
    /// Adds a session with its subscribers: how many events each is behind.
    pub(crate) fn add(&mut self, runtime: &Runtime, behind: &[u64]) {
        let state = match (&runtime.running_message_id, runtime.queued_messages) {
            (Some(_), _) => &mut self.running,
            (None, 1..) => &mut self.waiting,
            (None, 0) => &mut self.idle,
        };
        *state += 1;
        match runtime.sandbox.as_ref().map(|sandbox| sandbox.status) {
            Some(SandboxStatus::Starting) => self.sandboxes_starting += 1,
            Some(SandboxStatus::Ready) => self.sandboxes_ready += 1,
            Some(SandboxStatus::Unhealthy) => self.sandboxes_unhealthy += 1,
            Some(SandboxStatus::Terminated) | None => {}
        }
        self.queued_messages += runtime.queued_messages as u64;
        self.subscribers += behind.len() as u64;
        self.furthest_behind = behind.iter().copied().fold(self.furthest_behind, u64::max);
    }

    /// Shows it. `provider` is who made the sandboxes.
    pub(crate) fn show(&self, provider: &'static str, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let states = [("loading", self.loading), ("idle", self.idle), ("waiting", self.waiting), ("running", self.running)];
        let help = "Sessions in memory: being loaded, with nothing to do, with messages of which none runs, with a turn that runs.";
        show_gauges(encoder, "sessions", help, None, states.map(|(state, count)| ([("state", state)], count)))?;
        let sandboxes = [("starting", self.sandboxes_starting), ("ready", self.sandboxes_ready), ("unhealthy", self.sandboxes_unhealthy)];
        let sandboxes = sandboxes.map(|(state, count)| ([("provider", provider), ("state", state)], count));
        show_gauges(encoder, "sandboxes", "Sandboxes that there are, by how they are.", None, sandboxes)?;
        let one = |value: u64| [(NONE, value)];
        show_gauges(encoder, "queued_messages", "Messages that wait for their turn.", None, one(self.queued_messages))?;
        show_gauges(encoder, "subscribers", "Sessions that are followed, each time by one client.", None, one(self.subscribers))?;
        let help = "Events that the slowest subscriber has still to read out of its session's log.";
        show_gauges(encoder, "subscriber_lag_events", help, None, one(self.furthest_behind))
    }
}

/// No labels.
const NONE: [(&str, &str); 0] = [];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SandboxState;
    use crate::id::MessageId;

    #[test]
    fn sessions_are_counted_by_what_they_do() {
        let sandbox =
            |status| Some(SandboxState { sandbox_id: None, status, status_message: None, restart_count: 0, last_health_check: None });
        let running = Runtime {
            is_loaded: true,
            sandbox: sandbox(SandboxStatus::Ready),
            running_message_id: Some(MessageId::new("m").unwrap()),
            queued_messages: 2,
        };
        let waiting = Runtime { running_message_id: None, sandbox: sandbox(SandboxStatus::Terminated), ..running.clone() };
        let mut census = Census::default();
        census.add(&running, &[3, 40, 0]);
        census.add(&waiting, &[7]);
        census.add(&Runtime::default(), &[]);
        let expected = Census {
            idle: 1,
            waiting: 1,
            running: 1,
            sandboxes_ready: 1,
            queued_messages: 4,
            subscribers: 4,
            furthest_behind: 40,
            ..Census::default()
        };
        assert_eq!(census, expected);
    }
}
