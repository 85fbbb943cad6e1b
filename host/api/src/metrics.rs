//! What is counted of the host, for Prometheus: what this crate counts itself, and the answer to whoever asks for all of it.

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::problem::{Code, Problem};

/// The form in which metrics are told: the one that every scraper of the last ten years reads.
pub(crate) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// How a client was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slowness {
    /// What came next for it was not there any more.
    Lagged,
    /// It took nothing at all.
    Stalled,
}

/// All that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    slow_subscribers: Family<[(&'static str, &'static str); 1], Counter>,
    problems: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Metrics {
    /// What is in the registry, and what is counted here.
    pub(crate) fn new(mut registry: Registry) -> Self {
        let slow_subscribers = Family::default();
        registry.register(
            "subscribers_dropped",
            "Clients that were dropped because they read too slowly: events that they had not read were not there any more, or they took nothing at all",
            slow_subscribers.clone(),
        );
        let problems = Family::default();
        registry.register("errors", "Errors that clients were answered with, by their code; over all transports", problems.clone());
        Self { registry, slow_subscribers, problems }
    }

    /// A subscriber did not keep up.
    pub(crate) fn subscriber_dropped(&self, slowness: Slowness) {
        let reason = match slowness {
            Slowness::Lagged => "lagged",
            Slowness::Stalled => "stalled",
        };
        self.slow_subscribers.get_or_create_owned(&[("reason", reason)]).inc();
    }

    /// A client was answered with an error.
    pub(crate) fn answered(&self, code: Code) {
        self.problems.get_or_create_owned(&[("code", code.as_str())]).inc();
    }

    /// Everything as text.
    ///
    /// # Errors
    /// The answer to give if something that is counted cannot be written.
    pub(crate) fn text(&self) -> Result<String, Problem> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry).map_err(|error| Problem::internal("write the metrics", &error))?;
        Ok(text)
    }
}
