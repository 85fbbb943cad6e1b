//! Connections that go only where a check lets them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::resolve::CheckedResolver;
use crate::grants::HttpRule;
use crate::limits::HttpLimits;
use crate::net::Resolver;

/// Idle connections that are kept for each server: an instance fetches one thing at a time, and a pool has some instances.
const MAX_IDLE: usize = 8;

/// How long an idle connection is kept: servers close theirs after a minute or so.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The least that hyper reads into.
const MIN_BUFFER_BYTES: usize = 8192;

/// Connections of one component. There are no proxies: one of the host's environment would be asked to go where the host may, not where the component may.
pub(super) type Connections = Client<HttpsConnector<HttpConnector<CheckedResolver>>, Full<Bytes>>;

/// # Errors
/// If a rule is for HTTPS, and this machine has no root certificates.
pub(super) fn connections(rules: &Arc<[HttpRule]>, limits: &HttpLimits, resolver: &Arc<dyn Resolver>) -> wasmtime::Result<Connections> {
    let mut roots = RootCertStore::empty();
    if rules.iter().any(HttpRule::is_https) {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(wasmtime::format_err!("HTTPS is granted, and this machine has no root certificates{why}"));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wasmtime::format_err!("failed to set up TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut http = HttpConnector::new_with_resolver(CheckedResolver::new(rules, resolver));
    http.enforce_http(false);
    http.set_nodelay(true);
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE)
        .http1_max_headers(limits.headers)
        // A response's headers must fit into it.
        .http1_max_buf_size(limits.header_bytes.max(MIN_BUFFER_BYTES))
        .build(https);
    Ok(client)
}
