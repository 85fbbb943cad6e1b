//! What is counted of a call, and its place in a trace.

use std::sync::Arc;
use std::time::Instant;

use agent_host_session::trace::{Cause, Span};
use opentelemetry::trace::SpanBuilder;

use super::{CallLabels, FailureLabels, Metrics, Role};
use crate::call::Error;
use crate::stats::Failure;

/// Accompanies a call, which counts when this is dropped.
pub(crate) struct CallWatch {
    metrics: Arc<Metrics>,
    component: Role,
    function: &'static str,
    began: Instant,
    failure: Option<&'static str>,
    span: Span,
}

impl CallWatch {
    pub(super) fn new(metrics: Arc<Metrics>, component: Role, function: &'static str) -> Self {
        // What it is unless it comes to its end: whoever asked went away.
        let failure = Some("abandoned");
        // A call that nobody asked for, such as one that tells a hook of many sessions' events, is in no trace.
        let span = Cause::current().child(|| SpanBuilder::from_name(format!("{component} {function}")));
        if span.is_recorded() {
            span.set("component", component.to_string());
            span.set("function", function);
        }
        Self { metrics, component, function, began: Instant::now(), failure, span }
    }

    /// The call has ended.
    pub(crate) fn ended(mut self, error: Option<&Error>) {
        self.failure = error.and_then(Failure::of).map(Failure::as_str);
    }
}

impl Drop for CallWatch {
    fn drop(&mut self) {
        let (component, function) = (self.component.clone(), self.function);
        self.span.set("outcome", self.failure.unwrap_or("ended"));
        if let Some(kind) = self.failure {
            self.span.failed(kind);
            let labels = FailureLabels { component: component.clone(), function, kind };
            self.metrics.failures.get_or_create_owned(&labels).inc();
        }
        self.metrics.calls.get_or_create_owned(&CallLabels { component, function }).observe(self.began.elapsed().as_secs_f64());
    }
}
