//! Requests as the beginnings of traces, or as parts of those of their clients.

use agent_host_session::trace::{Cause, Span};
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::trace::{SpanBuilder, SpanKind};
use opentelemetry_http::HeaderExtractor;

/// Paths that are asked for every few seconds by whatever watches the host.
const NOT_FOLLOWED: [&str; 2] = ["/health", "/metrics"];

/// Follows a request that may be carried out. A client that sends a `traceparent` finds it in its own trace.
pub(crate) async fn follow(request: Request, next: Next) -> Response {
    let span = span(&request);
    let response = span.cause().carry(next.run(request)).await;
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.failed(status.as_str().to_owned());
    }
    response
}

fn span(request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
    if NOT_FOLLOWED.contains(&route) {
        return Span::none();
    }
    let method = request.method().as_str();
    let builder = SpanBuilder::from_name(format!("{method} {route}")).with_kind(SpanKind::Server);
    let span = Cause::of_headers(&HeaderExtractor(request.headers())).begin(builder);
    if span.is_recorded() {
        span.set("http.request.method", method.to_owned());
        span.set("http.route", route.to_owned());
    }
    span
}
