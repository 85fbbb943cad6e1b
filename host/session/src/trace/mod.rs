//! Following one message through the host, by OpenTelemetry's API: it does nothing until the program says where traces are sent to.
//!
//! A trace goes from task to task and outlives the request that began it. So what is kept with a message or a write is a [`Cause`], which is a place in a trace, and
//! what is being done is a [`Span`]. Both are apart from the spans of `tracing`: those belong to the log, and one of them stays open as long as any part of it does.
//!
//! Spans hold ids, names, sizes and outcomes, never what was said.

mod turn;

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::context::{FutureExt as _, WithContext};
use opentelemetry::propagation::Extractor;
use opentelemetry::trace::{Span as _, SpanBuilder, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue, Value, global};

pub(crate) use self::turn::TurnSpan;

/// Names of spans and attributes are of this version of the host.
const SCOPE: &str = "agent-host";

/// What caused something, kept until that is done. Without a trace it is nothing, and costs as much.
#[derive(Clone, Debug, Default)]
pub struct Cause(Context);

impl Cause {
    /// What is being done at the moment: by the future that it was given to by [`carry`](Self::carry).
    pub fn current() -> Self {
        Self(Context::current())
    }

    /// Somebody else, as the headers of a request say (W3C Trace Context).
    pub fn of_headers(headers: &dyn Extractor) -> Self {
        Self(global::get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), headers)))
    }

    /// Whether it belongs to a trace, sent or not.
    pub fn is_traced(&self) -> bool {
        self.0.has_active_span()
    }

    /// Begins something that is a part of this; without a trace, it begins one.
    pub fn begin(&self, span: SpanBuilder) -> Span {
        let span = span.start_with_context(&global::tracer(SCOPE), &self.0);
        if span.span_context().is_valid() { Span(Some(self.0.with_span(span))) } else { Span::none() }
    }

    /// Begins something that is a part of this; without a trace, it is followed no further.
    pub fn child(&self, span: impl FnOnce() -> SpanBuilder) -> Span {
        if self.is_traced() { self.begin(span()) } else { Span::none() }
    }

    /// What the future does is caused by this.
    pub fn carry<F: Future>(self, future: F) -> WithContext<F> {
        future.with_context(self.0)
    }
}

/// Something that is being done, until it is dropped. Nothing if nobody traces.
#[derive(Debug)]
pub struct Span(Option<Context>);

impl Span {
    /// Nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// It, as the cause of something else.
    pub fn cause(&self) -> Cause {
        self.0.clone().map(Cause).unwrap_or_default()
    }

    /// Whether anybody gets to see it.
    pub fn is_recorded(&self) -> bool {
        self.0.as_ref().is_some_and(|context| context.span().is_recording())
    }

    /// Says something about it.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(key, value));
        }
    }

    /// Something happened in it.
    pub fn event(&self, name: &'static str, at: SystemTime, attributes: Vec<KeyValue>) {
        if let Some(context) = &self.0 {
            context.span().add_event_with_timestamp(name, at, attributes);
        }
    }

    /// It failed. `reason` is a word, not a text.
    pub fn failed(&self, reason: impl Into<Cow<'static, str>>) {
        if let Some(context) = &self.0 {
            context.span().set_status(Status::error(reason));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_an_exporter_there_is_nothing() {
        let span = Cause::current().begin(SpanBuilder::from_name("root"));
        assert!(!span.is_recorded() && !span.cause().is_traced());
        let inside = span.cause().carry(async { Cause::current().is_traced() });
        assert!(!inside.await);
        let span = span.cause().child(|| unreachable!("a span is made for nobody"));
        span.set("key", 1);
    }
}
