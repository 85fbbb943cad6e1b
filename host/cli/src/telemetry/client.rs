//! The HTTP client that sends traces: the host's own HTTP and TLS, on the host's own threads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_http::{HttpClient, HttpError};
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;

use crate::config::telemetry::Endpoint;

/// How long a receiver may take to answer. Meanwhile new traces wait, of which the newest are dropped when they are too many.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Largest answer that is read: it says how many spans were refused, and why.
const ANSWER_BYTES: usize = 64 * 1024;

/// How often it is said that traces cannot be sent: often enough to be seen, and few enough lines to see anything else.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

type Connections = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Sends traces to one receiver.
#[derive(Debug)]
pub(super) struct Client {
    runtime: Handle,
    connections: Connections,
    failures: Mutex<Failures>,
}

/// Failures that were not told of yet, and when the last was.
#[derive(Debug, Default)]
struct Failures {
    count: u64,
    told_at: Option<Instant>,
}

impl Client {
    /// # Errors
    /// If the receiver is asked by HTTPS, and this machine has no root certificates.
    pub(super) fn new(endpoint: &Endpoint, runtime: Handle) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        if endpoint.is_https() {
            let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            anyhow::ensure!(added > 0, "telemetry.otlp_endpoint is an https URL, and this machine has no root certificates");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("failed to set up TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let connections = legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(Self { runtime, connections, failures: Mutex::default() })
    }

    fn failed(&self, reason: &str) {
        // Each change is a single assignment.
        let mut failures = self.failures.lock();
        failures.count += 1;
        if failures.told_at.is_none_or(|at| at.elapsed() >= WARNING_PAUSE) {
            let Failures { count, .. } = std::mem::replace(&mut *failures, Failures { count: 0, told_at: Some(Instant::now()) });
            drop(failures);
            tracing::warn!(reason, failures = count, "traces cannot be sent; some may be lost");
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let connections = self.connections.clone();
        let sending = async move {
            let response = connections.request(request.map(Full::new)).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        // Whoever asks has a thread that knows nothing of the host's reactor.
        let sent = self.runtime.spawn(async move { tokio::time::timeout(TIMEOUT, sending).await });
        let result = match sent.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(format!("the receiver did not answer within {TIMEOUT:?}").into()),
            Err(error) => Err(error.into()),
        };
        match &result {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => self.failed(&format!("the receiver answered {}", response.status())),
            Err(error) => self.failed(&causes(error.as_ref())),
        }
        result
    }
}

/// An error with what it comes from.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
