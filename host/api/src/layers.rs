//! What happens to each request before and after its handler: a request id and a log line, access, traces, panics.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument;
use uuid::Uuid;

use crate::access::Sender;
use crate::problem::{Code, Problem};
use crate::shared::Shared;
use crate::{admin, events, rest, session_store, socket, trace};

/// Names a request in the log, on both sides.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken over from a client: a UUID is 36 long, trace ids are 55.
const MAX_REQUEST_ID: usize = 64;

/// How long a browser may remember what it may ask for.
const CORS_MAX_AGE: Duration = Duration::from_secs(600);

/// All calls with all that happens to them. A layer that is added later comes earlier.
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    rest::routes()
        .merge(events::routes())
        .merge(session_store::routes())
        .merge(admin::routes())
        .route("/ws", axum::routing::get(socket::upgrade))
        .fallback(async || Problem::new(Code::NotFound, "there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "the path does not take this method; the Allow header says which it takes")
        })
        .layer(middleware::from_fn(trace::follow))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), check_access))
        .layer(cors(shared))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), observe))
        .with_state(Arc::clone(shared))
}

async fn check_access(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // Load balancers and supervisors have no key.
    if path == "/health" {
        return next.run(request).await;
    }
    if path.starts_with("/admin/") {
        return match shared.access.check_admin(request.uri(), request.headers()) {
            Ok(()) => next.run(request).await,
            Err(problem) => problem.into_response(),
        };
    }
    // Whoever operates the host watches it, too.
    if path == "/metrics" && shared.access.check_admin(request.uri(), request.headers()).is_ok() {
        return next.run(request).await;
    }
    let is_socket = path == "/ws";
    let is_events = request.extensions().get::<MatchedPath>().is_some_and(|route| route.as_str() == events::ROUTE);
    // A browser cannot send a key with the request that opens a WebSocket: it does so in the first frame; nor with its own client of event streams.
    let may_be_unknown = is_socket || (is_events && events::shows_key_later(request.uri().query()));
    match shared.access.check(request.uri(), request.headers(), is_socket || is_events) {
        Ok(sender) if may_be_unknown || sender == Sender::Known => {
            request.extensions_mut().insert(sender);
            next.run(request).await
        }
        Ok(_) => Problem::new(Code::AuthRequired, "an API key is required; send it as: Authorization: Bearer KEY").into_response(),
        Err(problem) => problem.into_response(),
    }
}

fn cors(shared: &Arc<Shared>) -> CorsLayer {
    let shared = Arc::clone(shared);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| shared.access.allows_origin(origin)))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, events::LAST_EVENT_ID, REQUEST_ID])
        .expose_headers([header::LOCATION, header::RETRY_AFTER, REQUEST_ID])
        .max_age(CORS_MAX_AGE)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is that of tower-http")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    Problem::internal("answer the request", &text).into_response()
}

/// One line for each request: what was asked for by its template, never its query, body or headers, which may hold secrets.
async fn observe(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = tracing::info_span!("request", id = %id.to_str().unwrap_or_default());
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, latency) = (response.status().as_u16(), started.elapsed());
    let latency_ms = latency.as_secs_f64() * 1000.0;
    span.in_scope(|| match (status, route) {
        (500.., _) => tracing::warn!(%method, route, status, latency_ms, "request failed"),
        // Asked every few seconds by whatever watches the host.
        (_, "/health" | "/metrics") => tracing::debug!(%method, route, status, latency_ms, "request"),
        _ => tracing::info!(%method, route, status, latency_ms, "request"),
    });
    if let Some(code) = response.extensions().get::<Code>() {
        shared.metrics.answered(*code);
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn request_id(request: &Request) -> HeaderValue {
    let is_plain = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    match request.headers().get(REQUEST_ID).filter(is_plain) {
        Some(id) => id.clone(),
        None => HeaderValue::try_from(Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static("none")),
    }
}
