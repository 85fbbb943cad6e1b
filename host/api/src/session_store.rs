//! The calls by which programs outside of the host keep their agents' sessions in the host's store: what a `SessionStore` of the Claude Agent SDK needs.
//!
//! A session has the program's own names, which come in the query: they are free texts, and a path would have to be escaped by rules that clients and proxies do not share.

use std::sync::Arc;

use agent_host_session::id::{ProfileId, SessionId};
use agent_host_session::manager::{self, Kept, Transcript};
use agent_host_session::origin::{self, InvalidName, Origin};
use agent_host_session::ports::store;
use agent_host_session::record::StreamName;
use agent_host_session::time::Timestamp;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::body::{self, Id, Query, short};
use crate::problem::{Code, Problem};
use crate::shared::Shared;

/// The agent of these sessions: the SDK's. The host goes on with it if it adopts one.
const ARCHITECTURE: &str = "claude-agent-sdk";

/// The profile of a session for which its program names none: the one that each host has.
const PROFILE: &str = "default";

/// More than a stream can have, in bytes, with room for an append: the contract's numbers stay below 2^53.
const STREAM_BYTES: u64 = 1 << 52;

/// JSON, a line for each entry.
const JSON_LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// The calls, without what happens to every request.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/session-store/sessions", get(list_sessions))
        .route("/session-store/transcripts", get(list_transcripts))
        .route("/session-store/transcript", get(read).post(append).delete(delete))
        .route("/sessions/{id}/adopt", post(adopt))
}

type Host = State<Arc<Shared>>;

impl From<InvalidName> for Problem {
    fn from(error: InvalidName) -> Self {
        Self::new(Code::InvalidRequest, short(error.to_string()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProjectQuery {
    project_key: String,
    cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SessionQuery {
    project_key: String,
    session_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteQuery {
    project_key: String,
    session_id: String,
    subpath: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReadQuery {
    project_key: String,
    session_id: String,
    subpath: Option<String>,
    offset: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AppendQuery {
    project_key: String,
    session_id: String,
    subpath: Option<String>,
    offset: u64,
    agent_profile_ref: Option<ProfileId>,
}

/// A session as the program that keeps it sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeptSession {
    session_id: String,
    host_session_id: SessionId,
    created_at: Timestamp,
    modified_at: Timestamp,
    adopted: bool,
}

impl From<Kept> for KeptSession {
    fn from(kept: Kept) -> Self {
        let Kept { id, origin: Origin { session_id, adopted, .. }, created_at, modified_at } = kept;
        Self { session_id, host_session_id: id, created_at, modified_at, adopted }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sessions {
    sessions: Vec<KeptSession>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

async fn list_sessions(State(shared): Host, Query(query): Query<ProjectQuery>) -> Result<Json<Sessions>, Problem> {
    origin::check_project(&query.project_key)?;
    let has_cursor = query.cursor.is_some();
    let listing = shared.manager.list_outside(&query.project_key, query.cursor).await.map_err(|error| match error {
        manager::Error::Store(store::Error::Invalid(_)) if has_cursor => {
            Problem::new(Code::InvalidRequest, "cursor: it is not one that this host gave")
        }
        error => error.into(),
    })?;
    Ok(Json(Sessions { sessions: listing.sessions.into_iter().map(Into::into).collect(), next_cursor: listing.next }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Transcripts {
    session: KeptSession,
    transcripts: Vec<TranscriptInfo>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TranscriptInfo {
    /// None for the main one.
    #[serde(skip_serializing_if = "Option::is_none")]
    subpath: Option<String>,
    length: u64,
}

async fn list_transcripts(State(shared): Host, Query(query): Query<SessionQuery>) -> Result<Json<Transcripts>, Problem> {
    let origin = Origin::new(query.project_key, query.session_id)?;
    let (session, streams) = shared.manager.outside(&origin).await?;
    let of = |(stream, length): (StreamName, u64)| TranscriptInfo { subpath: origin::subpath(&stream), length };
    Ok(Json(Transcripts { session: session.into(), transcripts: streams.into_iter().map(of).collect() }))
}

/// What is added after this was asked for is not part of the answer, whose length is told at its beginning.
async fn read(State(shared): Host, Query(query): Query<ReadQuery>) -> Result<Response, Problem> {
    let (origin, name) = (Origin::new(query.project_key, query.session_id)?, origin::stream(query.subpath.as_deref())?);
    let offset = query.offset.unwrap_or(0);
    let transcript = shared.manager.transcript(&origin, &name).await?;
    let length = transcript.length.checked_sub(offset).ok_or(manager::Error::OffsetMismatch(transcript.length))?;
    let pieces = stream::try_unfold((shared, transcript, offset), async |(shared, transcript, offset): (Arc<Shared>, Transcript, u64)| {
        let piece = shared.manager.read_transcript(&transcript, offset).await.map_err(|error| {
            // The status is sent: what is left is to break the response off, so that the client sees that it is not whole.
            tracing::warn!(session = %transcript.session, %error, "failed to read a transcript to its end");
            error
        })?;
        let next = offset + piece.len() as u64;
        Ok::<_, manager::Error>((!piece.is_empty()).then_some((piece, (shared, transcript, next))))
    });
    let headers = [(header::CONTENT_TYPE, JSON_LINES), (header::CONTENT_LENGTH, HeaderValue::from(length))];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

#[derive(Serialize)]
struct Appended {
    length: u64,
}

async fn append(State(shared): Host, Query(query): Query<AppendQuery>, request: Request) -> Result<Json<Appended>, Problem> {
    let (origin, name) = (Origin::new(query.project_key, query.session_id)?, origin::stream(query.subpath.as_deref())?);
    let profile = match query.agent_profile_ref {
        Some(profile) => profile,
        None => ProfileId::new(PROFILE).map_err(|error| Problem::internal("name the default profile", &error))?,
    };
    if query.offset >= STREAM_BYTES {
        return Err(Problem::new(Code::InvalidRequest, format!("offset: {} is beyond what any transcript can have", query.offset)));
    }
    let data = body::bytes(request, shared.options.max_body_bytes, shared.options.body_timeout).await?;
    check_lines(&data)?;
    let manager = Arc::clone(&shared.manager);
    let agent = (profile, ARCHITECTURE.to_owned());
    let appended = shared.write(async move { Ok(manager.append_outside(&origin, &name, query.offset, data, agent).await) }).await?;
    let length = appended.map_err(|error| match error {
        // The path exists; what the query names does not.
        manager::Error::ProfileNotFound(_) => Problem::new(Code::UnknownProfile, format!("agentProfileRef: {error}")),
        error => error.into(),
    })?;
    Ok(Json(Appended { length }))
}

/// Whole lines, a JSON object each: whoever reads a transcript reads it by lines, and one that is broken would break those of everybody.
fn check_lines(data: &[u8]) -> Result<(), Problem> {
    let invalid = |detail: String| Err(Problem::new(Code::InvalidRequest, short(detail)));
    let text = match std::str::from_utf8(data) {
        Ok(text) => text,
        Err(error) => return invalid(format!("the body is not UTF-8: {error}")),
    };
    let Some(lines) = text.strip_suffix('\n') else { return invalid("the body must be lines of JSON, each with its end".to_owned()) };
    for (index, line) in lines.split('\n').enumerate() {
        let number = index + 1;
        if !line.starts_with('{') {
            return invalid(format!("line {number} is not a JSON object"));
        }
        if let Err(error) = serde_json::from_str::<IgnoredAny>(line) {
            return invalid(format!("line {number} is not JSON: {error}"));
        }
    }
    Ok(())
}

async fn delete(State(shared): Host, Query(query): Query<DeleteQuery>) -> Result<StatusCode, Problem> {
    let origin = Origin::new(query.project_key, query.session_id)?;
    let manager = Arc::clone(&shared.manager);
    match query.subpath {
        Some(subpath) => {
            let name = origin::stream(Some(&subpath))?;
            shared.write(async move { manager.delete_transcript(&origin, &name).await }).await?;
        }
        None => shared.write(async move { manager.delete_outside(&origin).await }).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Adopted {
    success: bool,
    session_id: SessionId,
}

async fn adopt(State(shared): Host, Id(id): Id<SessionId>) -> Result<Json<Adopted>, Problem> {
    let manager = Arc::clone(&shared.manager);
    let record = shared.write(async move { manager.adopt(&id).await }).await?;
    Ok(Json(Adopted { success: true, session_id: record.id }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_of_json_are_taken() {
        for good in ["{}\n", "{\"a\":1}\n{\"b\":\"\\ud83d \u{2028}\"}\n", "{\"a\":{}} \r\n"] {
            assert!(check_lines(good.as_bytes()).is_ok(), "{good:?}");
        }
        for (bad, says) in [
            (&b""[..], "each with its end"),
            (b"{}", "each with its end"),
            (b"{}\n{}", "each with its end"),
            (b"\n", "line 1 is not a JSON object"),
            (b"{}\n\n{}\n", "line 2 is not a JSON object"),
            (b"[]\n", "line 1 is not a JSON object"),
            (b"{}\n{\"a\n", "line 2 is not JSON"),
            (b"{} {}\n", "line 1 is not JSON"),
            (b"{\"a\":NaN}\n", "line 1 is not JSON"),
            (b"{\"a\":\"\xff\"}\n", "not UTF-8"),
        ] {
            let problem = check_lines(bad).unwrap_err();
            assert_eq!(problem.code(), Code::InvalidRequest);
            assert!(problem.detail().contains(says), "{}", problem.detail());
        }
    }
}
