//! Traces for OpenTelemetry: sent by OTLP over HTTP to the receiver that the operator names, in batches and by a thread of their own, so that one that is away costs
//! nothing but the traces.

mod client;

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::runtime::Handle;

use self::client::Client;
use crate::config::schema;

/// How long the end of the host waits for the last traces to be sent: they are a few kilobytes, and whoever stops the host waits for its end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Traces that are exported.
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Begins to export, if the configuration says where to. What is sent is sent on `runtime`.
    ///
    /// # Errors
    /// If the exporter cannot be made: this machine has no root certificates, or one of the standard `OTEL_…` variables has a value that cannot be used.
    pub fn start(config: &schema::Telemetry, runtime: &Handle) -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(endpoint, runtime.clone())?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.traces())
            .build()
            .context("failed to set up the export of traces")?;
        let resource = Resource::builder()
            .with_service_name(config.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            // Whoever sends a request as a part of a trace has decided on it already.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio.get()))))
            .with_resource(resource.build())
            .build();
        global::set_text_map_propagator(TraceContextPropagator::new());
        global::set_tracer_provider(provider.clone());
        Ok(Some(Self { provider }))
    }

    /// Sends what has not been sent yet. Blocks while it does, and not for long.
    pub fn shut_down(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT) {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}
