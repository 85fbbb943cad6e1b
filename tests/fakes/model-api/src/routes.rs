//! What each address answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::message::{error, input_tokens, whole};
use crate::reply::{Answer, Ending, Refusal, Reply};
use crate::request::Request;
use crate::server::Shared;
use crate::stream::{Step, steps};

/// The real API takes 32 MB: what is larger is a test's own mistake.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// A client that learns of the cut together with the last bytes may drop both: on a busy machine it needs so long to take the bytes.
const BEFORE_CUT: Duration = Duration::from_millis(500);

/// Names that clients may look for.
const MODELS: [&str; 3] = ["claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5"];

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(StatusCode::OK))
        .route("/v1/models", get(models))
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(shared)
}

pub(crate) async fn serve(listener: std::net::TcpListener, router: Router) -> io::Result<()> {
    axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await
}

async fn models() -> Json<Value> {
    let model = |id: &&str| json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z"});
    let data: Vec<Value> = MODELS.iter().map(model).collect();
    Json(json!({"data": data, "has_more": false, "first_id": MODELS.first(), "last_id": MODELS.last()}))
}

async fn count_tokens(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    match read(&uri, &headers, &body) {
        Ok(request) => {
            let (request, _) = shared.decide(request);
            Json(json!({"input_tokens": input_tokens(&request)})).into_response()
        }
        Err(refusal) => refuse(&refusal),
    }
}

async fn messages(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let request = match read(&uri, &headers, &body) {
        Ok(request) => request,
        Err(refusal) => return refuse(&refusal),
    };
    match shared.decide(request) {
        (_, Reply::Refusal(refusal)) => refuse(&refusal),
        (request, Reply::Answer(answer)) if request.is_streaming() => streamed(shared, &request, &answer),
        (request, Reply::Answer(answer)) => at_once(shared, &request, &answer),
    }
}

async fn unknown(uri: Uri) -> Response {
    refuse(&Refusal::new(404, "not_found_error", format!("no such address: {}", uri.path())))
}

fn read(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<Request, Refusal> {
    let invalid = |text: String| Refusal::new(400, "invalid_request_error", text);
    let body: Value = serde_json::from_slice(body).map_err(|error| invalid(format!("the body is not JSON: {error}")))?;
    if !body.get("messages").is_some_and(Value::is_array) {
        return Err(invalid("messages: field required".into()));
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let api_key = text("x-api-key").or(bearer).map(str::to_owned);
    Ok(Request { path: uri.path().to_owned(), api_key, body, attempt: 0 })
}

fn refuse(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(error(refusal))).into_response()
}

fn streamed(shared: Arc<Shared>, request: &Request, answer: &Answer) -> Response {
    let steps = steps(request, answer, &shared.ids);
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")], play(shared, steps)).into_response()
}

/// The same answer as one document, with its pauses and holds before it.
fn at_once(shared: Arc<Shared>, request: &Request, answer: &Answer) -> Response {
    if let Ending::Error(refusal) = &answer.ending {
        return refuse(refusal);
    }
    let waits = steps(request, answer, &shared.ids).into_iter().filter(|step| !matches!(step, Step::Send(_)));
    let document = Step::Send(Bytes::from(whole(request, answer, &shared.ids).to_string()));
    let body = play(shared, waits.chain([document]).collect());
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A body that carries the steps out, one after the other, as fast as it is read.
fn play(shared: Arc<Shared>, steps: Vec<Step>) -> Body {
    let pieces = stream::iter(steps).filter_map(move |step| {
        let shared = Arc::clone(&shared);
        async move {
            match step {
                Step::Send(bytes) => Some(Ok(bytes)),
                Step::Cut => {
                    tokio::time::sleep(BEFORE_CUT).await;
                    // An error in the body makes the server break the connection off.
                    Some(Err(io::Error::other("cut by the script")))
                }
                Step::Pause(duration) => {
                    tokio::time::sleep(duration).await;
                    None
                }
                Step::Hold => {
                    // The semaphore is never closed, so that there is always a permit to wait for.
                    if let Ok(permit) = shared.holds.acquire().await {
                        permit.forget();
                    }
                    None
                }
            }
        }
    });
    Body::from_stream(pieces)
}
