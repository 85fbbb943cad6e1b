//! A receiver of traces: OTLP over HTTP, as far as the host speaks it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A span as it was exported.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Of the service.
    pub service: String,
    /// In hexadecimal.
    pub trace: String,
    /// In hexadecimal.
    pub id: String,
    /// In hexadecimal; empty for a root.
    pub parent: String,
    /// What was done.
    pub name: String,
    /// When it began, in nanoseconds since 1970.
    pub began: u64,
    /// When it ended.
    pub ended: u64,
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// Its events: name and time.
    pub events: Vec<(String, u64)>,
}

/// Takes traces for as long as it lives.
#[derive(Debug)]
pub struct Collector {
    url: String,
    spans: Spans,
    task: JoinHandle<()>,
}

type Spans = Arc<Mutex<Vec<Span>>>;

impl Collector {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("failed to listen for traces");
        let url = format!("http://{}", listener.local_addr().expect("the collector has no address"));
        let spans = Spans::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the collector failed: {error}");
            }
        });
        Self { url, spans, task }
    }

    /// What `telemetry.otlp_endpoint` is to be.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(spans): State<Spans>, body: Bytes) -> (StatusCode, [(header::HeaderName, &'static str); 1]) {
    let answer = [(header::CONTENT_TYPE, "application/x-protobuf")];
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return (StatusCode::BAD_REQUEST, answer) };
    let mut taken = Vec::new();
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        let service = resource.get("service.name").cloned().unwrap_or_default();
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            taken.push(Span {
                service: service.clone(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                began: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
                attributes: attributes(span.attributes),
                events: span.events.into_iter().map(|event| (event.name, event.time_unix_nano)).collect(),
            });
        }
    }
    spans.lock().extend(taken);
    // An empty message says that all was taken.
    (StatusCode::OK, answer)
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|KeyValue { key, value, .. }| (key, value.map(text).unwrap_or_default())).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
