//! The events of one session as server-sent events: what a WebSocket that has joined it gets, over plain HTTP.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `client` | the one task that serves an open stream |
//! | `outgoing` | the stream's form, and sending with a deadline |
//! | `admission` | streams that wait for their key |
//!
//! axum's own `Sse` is not used: it makes a piece of the response of each event, which at a hundred thousand deltas a second is most of the work, and it cannot tell
//! that a client takes nothing.

mod admission;
mod client;
mod outgoing;

use std::sync::Arc;

use agent_host_session::id::{Sequence, SessionId};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router, routing};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use self::admission::Admissions;
use self::client::{Client, Start};
use self::outgoing::channel;
use crate::access::Sender;
use crate::body::{Id, Query};
use crate::problem::{Code, Problem};
use crate::server::ConnectionPlace;
use crate::shared::Shared;

/// Where the events are.
pub(crate) const ROUTE: &str = "/sessions/{id}/events";

/// What a client that comes back sends: the `id` of the last event that it saw. Browsers do it by themselves.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Asks nginx, which collects responses unless it is told otherwise, to pass each event on at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The calls, without what happens to every request.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route(ROUTE, routing::get(open)).route("/sessions/{id}/events/{stream}", routing::post(admit))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    since: Option<Sequence>,
    #[expect(dead_code, reason = "`shows_key_later` has looked at it before; here it is known as a field, and checked")]
    auth: Option<Auth>,
}

/// How a client that cannot send headers shows its key: with another request, when it knows the stream's id.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Auth {
    Later,
}

/// Whether a request for events says that its key comes later.
pub(crate) fn shows_key_later(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|field| field == "auth=later"))
}

/// What a client that comes back saw last.
struct LastEventId(Option<Sequence>);

impl<S: Send + Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        last_event_id(&parts.headers).map(Self)
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Sequence>, Problem> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    let Some(value) = values.next() else { return Ok(None) };
    // A client that has seen no event may send an empty one.
    if value.is_empty() && values.next().is_none() {
        return Ok(None);
    }
    let number = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|_| values.next().is_none());
    number.map(|number| Some(Sequence(number))).ok_or_else(|| {
        Problem::new(Code::InvalidRequest, "Last-Event-ID: it must be the id of an event, which is a number, and be there once")
    })
}

/// Opens a stream. What is wrong with the request is answered by a status, while there is one to give.
async fn open(
    State(shared): State<Arc<Shared>>,
    Extension(sender): Extension<Sender>,
    Extension(place): ConnectionPlace,
    Id(session): Id<SessionId>,
    LastEventId(last): LastEventId,
    Query(EventsQuery { since, .. }): Query<EventsQuery>,
) -> Result<Response, Problem> {
    // A browser that connects again repeats the query of the first time; what it saw since then is in the header.
    let since = last.or(since);
    let (outgoing, body) = channel(&shared.options);
    let mut client = Client::new(Arc::clone(&shared), session, since, outgoing);
    let start = match sender {
        Sender::Known => Start::Followed(tokio::select! {
            snapshot = client.begin() => snapshot?,
            () = shared.shutdown.cancelled() => return Err(client::going_away()),
        }),
        // It learns nothing before it has shown a key.
        Sender::Unknown => Start::Unknown,
    };
    let abort = shared.abort.clone();
    shared.connections.spawn(async move { abort.run_until_cancelled(client.run(start, place)).await });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((headers, body).into_response())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Admitted {
    success: bool,
    session_id: SessionId,
}

/// Lets a stream begin that waits for its key, which this request has.
async fn admit(
    State(shared): State<Arc<Shared>>,
    Path((session, stream)): Path<(String, String)>,
) -> Result<axum::Json<Admitted>, Problem> {
    let none = || Problem::new(Code::NotFound, "no stream of this session and id waits for a key");
    let session = SessionId::new(session).map_err(|_| none())?;
    let stream = Uuid::parse_str(&stream).map_err(|_| none())?;
    if !shared.admissions.admit(&session, stream) {
        return Err(none());
    }
    Ok(axum::Json(Admitted { success: true, session_id: session }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(values: &[&str]) -> Result<Option<Sequence>, Code> {
        let headers = values.iter().map(|value| (LAST_EVENT_ID, HeaderValue::try_from(*value).unwrap())).collect();
        last_event_id(&headers).map_err(|problem| problem.code())
    }

    #[test]
    fn the_last_event_id_is_a_number_or_nothing() {
        assert_eq!((last(&[]), last(&[""])), (Ok(None), Ok(None)));
        assert_eq!(last(&["8589934592"]), Ok(Some(Sequence(8_589_934_592))));
        for wrong in [["x"].as_slice(), &["-1"], &["1.5"], &["1 2"], &["18446744073709551616"], &["1", "1"], &["", "1"]] {
            assert_eq!(last(wrong), Err(Code::InvalidRequest), "{wrong:?}");
        }
    }

    #[test]
    fn only_a_request_that_says_so_shows_its_key_later() {
        for (query, expected) in [
            ("auth=later", true),
            ("since=1&auth=later", true),
            ("auth=now", false),
            ("xauth=later", false),
            ("auth=later2", false),
            ("", false),
        ] {
            assert_eq!(shows_key_later(Some(query)), expected, "{query}");
        }
        assert!(!shows_key_later(None));
    }
}
