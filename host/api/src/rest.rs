//! The REST calls.

use std::sync::Arc;

use agent_host_session::event::Runtime;
use agent_host_session::id::{MessageId, ProfileId, SessionId};
use agent_host_session::manager::{self, Create};
use agent_host_session::message::Content;
use agent_host_session::ports::store;
use agent_host_session::profile::{Profile, ProfileSummary};
use agent_host_session::record;
use agent_host_session::time::Timestamp;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::body::{self, Id, Query};
use crate::metrics::CONTENT_TYPE;
use crate::problem::{Code, Problem};
use crate::session::SessionWriter;
use crate::shared::Shared;
use crate::wire::{ListPage, json};

/// Sessions in a page of the list if the client does not say: a screen or two.
const DEFAULT_LIST_LIMIT: u32 = 100;

/// The most that a client may ask for, which is also the store's own limit.
const MAX_LIST_LIMIT: u32 = 1000;

/// Longest name of a session in bytes: it is shown in lists.
const MAX_NAME_BYTES: usize = 256;

/// The calls, without what happens to every request.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/wit", get(contract))
        .route("/sessions", get(list_sessions))
        .route("/sessions/create", post(create_session))
        .route("/sessions/{id}", get(get_session).delete(delete_session))
        .route("/sessions/{id}/message", post(send_message))
        .route("/sessions/{id}/interrupt", post(interrupt))
        .route("/sessions/{id}/unload", post(unload))
        .route("/sessions/{id}/sync", post(sync))
        .route("/sessions/{id}/options", patch(update_options))
        .route("/agent-profiles", get(list_profiles))
        .route("/agent-profiles/{id}", get(get_profile).put(put_profile).delete(delete_profile))
}

type Host = State<Arc<Shared>>;

async fn large_body<T: DeserializeOwned>(shared: &Shared, request: Request) -> Result<T, Problem> {
    body::read(request, shared.options.max_body_bytes, shared.options.body_timeout).await
}

async fn small_body<T: DeserializeOwned>(shared: &Shared, request: Request) -> Result<T, Problem> {
    body::read(request, shared.options.max_small_body_bytes, shared.options.body_timeout).await
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    /// Why it is not `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

async fn health(State(shared): Host) -> Result<Json<Health>, Problem> {
    let reason = shared.health().await?;
    let status = if reason.is_some() { "degraded" } else { "ok" };
    Ok(Json(Health { status, reason }))
}

async fn metrics(State(shared): Host) -> Result<Response, Problem> {
    let text = shared.metrics.text()?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

async fn contract(State(shared): Host) -> Response {
    ([(header::CONTENT_TYPE, "application/x-tar")], shared.options.contract.clone()).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateRequest {
    agent_profile_ref: ProfileId,
    architecture: String,
    session_options: Option<record::Options>,
    session_id: Option<SessionId>,
    name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateResponse {
    session_id: SessionId,
    runtime: Runtime,
    created_at: Timestamp,
    session_options: record::Options,
}

async fn create_session(State(shared): Host, request: Request) -> Result<Response, Problem> {
    let CreateRequest { agent_profile_ref, architecture, session_options, session_id, name } = small_body(&shared, request).await?;
    if name.as_ref().is_some_and(|name| name.len() > MAX_NAME_BYTES) {
        return Err(Problem::new(Code::Unprocessable, format!("name: it is longer than {MAX_NAME_BYTES} bytes")));
    }
    let manager = Arc::clone(&shared.manager);
    let request = Create { id: session_id, profile: agent_profile_ref, architecture, name, options: session_options.unwrap_or_default() };
    let created = shared.write(async move { Ok(manager.create(request).await) }).await?;
    let created = created.map_err(|error| match error {
        // The path exists; what the body names does not.
        manager::Error::ProfileNotFound(_) => Problem::new(Code::UnknownProfile, format!("agentProfileRef: {error}")),
        manager::Error::UnknownArchitecture { .. } => Problem::new(Code::UnknownArchitecture, format!("architecture: {error}")),
        error => error.into(),
    })?;
    let location = format!("/sessions/{}", created.record.id);
    let status = if created.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let response = CreateResponse {
        session_id: created.record.id,
        runtime: created.runtime,
        created_at: created.record.created_at,
        session_options: created.record.options,
    };
    Ok((status, [(header::LOCATION, location)], Json(response)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn list_sessions(State(shared): Host, Query(query): Query<ListQuery>) -> Result<Response, Problem> {
    let limit = query.limit.unwrap_or(DEFAULT_LIST_LIMIT);
    if !(1..=MAX_LIST_LIMIT).contains(&limit) {
        return Err(Problem::new(Code::InvalidRequest, format!("limit: it must be 1 to {MAX_LIST_LIMIT}")));
    }
    let listing = shared.manager.list(query.cursor.as_deref(), limit).await.map_err(|error| match error {
        manager::Error::Store(store::Error::Invalid(_)) if query.cursor.is_some() => {
            Problem::new(Code::InvalidRequest, "cursor: it is not one that this host gave")
        }
        error => error.into(),
    })?;
    let page = ListPage { sessions: listing.sessions.iter().map(Into::into).collect(), next_cursor: listing.next.as_deref() };
    Ok(json_response(Body::from(json(&page))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionQuery {
    include: Option<Include>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Include {
    Files,
}

async fn get_session(State(shared): Host, Id(id): Id<SessionId>, Query(query): Query<SessionQuery>) -> Result<Response, Problem> {
    let (permit, contents) = match query.include {
        Some(Include::Files) => (Some(shared.file_response().await?), Some(Arc::clone(&shared.manager))),
        None => (None, None),
    };
    let view = shared.manager.get(&id).await?;
    let mut writer = match contents {
        Some(manager) => SessionWriter::with_contents(view, manager),
        None => SessionWriter::new(view),
    };
    let first = writer.piece().await?.unwrap_or_default();
    if writer.is_done() {
        return Ok(json_response(Body::from(first)));
    }
    let rest = stream::unfold((writer, permit), async |(mut writer, permit)| {
        let piece = writer.piece().await.map_err(|error| {
            // The status is sent: what is left is to break the response off, so that the client sees that it is not whole.
            tracing::warn!(%error, "failed to read a session to its end");
            error
        });
        Some((piece.transpose()?, (writer, permit)))
    });
    Ok(json_response(Body::from_stream(stream::once(async { Ok::<String, manager::Error>(first) }).chain(rest))))
}

fn json_response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    success: bool,
    session_id: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_options: Option<record::Options>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interrupted: Option<bool>,
}

impl Done {
    fn new(session_id: SessionId) -> Self {
        Self { success: true, session_id, message_id: None, session_options: None, interrupted: None }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MessageRequest {
    content: Content,
    message_id: Option<MessageId>,
}

async fn send_message(State(shared): Host, Id(id): Id<SessionId>, request: Request) -> Result<(StatusCode, Json<Done>), Problem> {
    let MessageRequest { content, message_id } = large_body(&shared, request).await?;
    let (manager, session) = (Arc::clone(&shared.manager), id.clone());
    let message_id = shared.write(async move { manager.send_message(&session, message_id, content).await }).await?;
    Ok((StatusCode::ACCEPTED, Json(Done { message_id: Some(message_id), ..Done::new(id) })))
}

async fn interrupt(State(shared): Host, Id(id): Id<SessionId>) -> Result<Json<Done>, Problem> {
    let (manager, session) = (Arc::clone(&shared.manager), id.clone());
    let interrupted = shared.write(async move { manager.interrupt(&session).await }).await?;
    Ok(Json(Done { interrupted: Some(interrupted), ..Done::new(id) }))
}

async fn unload(State(shared): Host, Id(id): Id<SessionId>) -> Result<Json<Done>, Problem> {
    let (manager, session) = (Arc::clone(&shared.manager), id.clone());
    shared.write(async move { manager.unload(&session).await }).await?;
    Ok(Json(Done::new(id)))
}

async fn sync(State(shared): Host, Id(id): Id<SessionId>) -> Result<Json<Done>, Problem> {
    let (manager, session) = (Arc::clone(&shared.manager), id.clone());
    shared.write(async move { manager.sync(&session).await }).await?;
    Ok(Json(Done::new(id)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OptionsRequest {
    session_options: record::Options,
}

async fn update_options(State(shared): Host, Id(id): Id<SessionId>, request: Request) -> Result<Json<Done>, Problem> {
    let OptionsRequest { session_options } = small_body(&shared, request).await?;
    let (manager, session) = (Arc::clone(&shared.manager), id.clone());
    let options = shared.write(async move { manager.update_options(&session, session_options).await }).await?;
    Ok(Json(Done { session_options: Some(options), ..Done::new(id) }))
}

async fn delete_session(State(shared): Host, Id(id): Id<SessionId>) -> Result<Json<Done>, Problem> {
    let (manager, session) = (Arc::clone(&shared.manager), id.clone());
    shared.write(async move { manager.delete(&session).await }).await?;
    Ok(Json(Done::new(id)))
}

#[derive(Serialize)]
struct Profiles {
    profiles: Vec<ProfileSummary>,
}

async fn list_profiles(State(shared): Host) -> Result<Json<Profiles>, Problem> {
    Ok(Json(Profiles { profiles: shared.manager.list_profiles().await? }))
}

async fn get_profile(State(shared): Host, Id(id): Id<ProfileId>) -> Result<Json<Profile>, Problem> {
    Ok(Json(shared.manager.load_profile(&id).await?))
}

async fn put_profile(State(shared): Host, Id(id): Id<ProfileId>, request: Request) -> Result<Json<Profile>, Problem> {
    let profile: Profile = large_body(&shared, request).await?;
    if profile.id != id {
        return Err(Problem::new(Code::InvalidRequest, format!("id: it is {:?}, and the path says {id:?}", profile.id)));
    }
    let manager = Arc::clone(&shared.manager);
    let profile = shared.write(async move { manager.save_profile(&profile).await.map(|()| profile) }).await?;
    Ok(Json(profile))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProfileDone {
    success: bool,
    profile_id: ProfileId,
}

async fn delete_profile(State(shared): Host, Id(id): Id<ProfileId>) -> Result<Json<ProfileDone>, Problem> {
    let (manager, profile_id) = (Arc::clone(&shared.manager), id.clone());
    shared.write(async move { manager.delete_profile(&profile_id).await }).await?;
    Ok(Json(ProfileDone { success: true, profile_id: id }))
}
