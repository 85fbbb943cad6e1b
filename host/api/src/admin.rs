//! The admin calls: which components serve, and their exchange. They have keys of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::body::{self, Id, Named, Query};
use crate::problem::{Code, Problem};
use crate::shared::Shared;

/// The media type of a component.
const WASM: &str = "application/wasm";

/// What the admin calls do. Answers are JSON as clients get it.
#[async_trait]
pub trait Admin: Send + Sync + 'static {
    /// What serves, what is being prepared, and what happened.
    async fn components(&self) -> Value;

    /// Lets another persistence adapter take over, and says what serves then.
    async fn swap_persistence(&self, replacement: Replacement) -> Result<Value, AdminError>;

    /// Lets the adapter before the present one serve again. With `migrate`, everything is copied back to its store.
    async fn roll_back_persistence(&self, migrate: bool) -> Result<Value, AdminError>;

    /// Adds a hook, or gives one that is there another component, and says what it is then.
    async fn put_hook(&self, name: &str, replacement: HookReplacement) -> Result<Value, AdminError>;

    /// Removes a hook, and the events that wait for it.
    async fn remove_hook(&self, name: &str) -> Result<(), AdminError>;

    /// Enables or disables a hook.
    async fn enable_hook(&self, name: &str, enabled: bool) -> Result<(), AdminError>;
}

/// A component that is to take over.
#[derive(Clone, Debug, PartialEq)]
pub struct Replacement {
    /// Which one.
    pub component: Component,
    /// What it is told when it is opened; what the present one was told if `None`.
    pub config: Option<BTreeMap<String, String>>,
    /// What it may use, as in the configuration; what the present one may use if `None`.
    pub grants: Option<Value>,
    /// Whether it keeps its data elsewhere, so that everything has to be copied there.
    pub migrate: bool,
}

/// A component that is to be a hook.
#[derive(Clone, Debug, PartialEq)]
pub struct HookReplacement {
    /// Which one.
    pub component: Component,
    /// What it is told when it is opened; what the present one was told, or what is configured, if `None`.
    pub config: Option<BTreeMap<String, String>>,
    /// What it may use, as in the configuration; what the present one may use, or what is configured, if `None`.
    pub grants: Option<Value>,
    /// Whether a hook that was not there before begins with the oldest event that is kept; what is configured, or with the next event, if `None`.
    pub from_start: Option<bool>,
}

/// Where a component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// Here.
    Bytes(Bytes),
    /// In a file on the host's machine.
    Path(PathBuf),
    /// Among those that served before, by the SHA-256 of its bytes in hexadecimal.
    Digest(String),
    /// Among those that ship with the host, by its name.
    Builtin(String),
    /// In an OCI registry, by a reference with a digest.
    Registry(String),
    /// In the configuration.
    Configured,
}

/// Why an admin call was not carried out. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// Another exchange is under way.
    #[error("{0}")]
    Busy(String),
    /// There is no earlier generation.
    #[error("{0}")]
    NothingEarlier(String),
    /// There is no such hook.
    #[error("{0}")]
    UnknownHook(String),
    /// The host is about to end.
    #[error("{0}")]
    ShuttingDown(String),
    /// The host failed, a full disk for instance.
    #[error("{0}")]
    Failed(String),
    /// What was asked for cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The component was looked at and refused.
    #[error("{reason}")]
    Refused {
        /// In which phase.
        phase: String,
        /// Why.
        reason: String,
    },
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Busy(reason) => Self::new(Code::SwapUnderWay, reason),
            AdminError::NothingEarlier(reason) => Self::new(Code::NothingEarlier, reason),
            AdminError::ShuttingDown(reason) => Self::new(Code::ShuttingDown, reason),
            AdminError::Failed(reason) => Self::new(Code::Internal, reason),
            AdminError::UnknownHook(reason) => Self::new(Code::HookNotFound, reason),
            AdminError::Invalid(reason) => Self::new(Code::InvalidRequest, reason),
            AdminError::Refused { phase, reason } => Self::new(Code::ComponentRefused, reason).in_phase(phase),
        }
    }
}

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/admin/components", get(components))
        .route("/admin/persistence", put(put_persistence))
        .route("/admin/persistence/rollback", post(roll_back_persistence))
        .route("/admin/hooks/{name}", put(put_hook).delete(remove_hook))
        .route("/admin/hooks/{name}/enabled", put(enable_hook))
}

type Host = State<Arc<Shared>>;

async fn components(State(shared): Host) -> Json<Value> {
    Json(shared.admin.components().await)
}

/// Beside the component's bytes: `config` and `grants` are JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SwapQuery {
    #[serde(default)]
    migrate: bool,
    config: Option<String>,
    grants: Option<String>,
}

/// The same for a hook.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HookQuery {
    from: Option<Begin>,
    config: Option<String>,
    grants: Option<String>,
}

/// With which event a hook begins that was not there before.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Begin {
    Start,
    End,
}

/// A hook's name in a path. Whether it can be one is for those to say who make hooks.
struct HookName(String);

impl From<String> for HookName {
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl Named for HookName {
    const NOT_FOUND: Code = Code::HookNotFound;
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SwapRequest {
    path: Option<PathBuf>,
    digest: Option<String>,
    builtin: Option<String>,
    reference: Option<String>,
    #[serde(default)]
    configured: bool,
    config: Option<BTreeMap<String, String>>,
    grants: Option<Value>,
}

impl SwapRequest {
    fn component(&mut self) -> Result<Component, Problem> {
        let named = [
            self.path.take().map(Component::Path),
            self.digest.take().map(Component::Digest),
            self.builtin.take().map(Component::Builtin),
            self.reference.take().map(Component::Registry),
            self.configured.then_some(Component::Configured),
        ];
        let mut named = named.into_iter().flatten();
        match (named.next(), named.next()) {
            (Some(Component::Path(path)), None) if !path.is_absolute() => {
                Err(Problem::new(Code::InvalidRequest, format!("path: {} is not an absolute path", path.display())))
            }
            (Some(component), None) => Ok(component),
            _ => {
                let detail =
                    format!("one of path, digest, builtin, reference and configured is needed; or send the component itself as {WASM}");
                Err(Problem::new(Code::InvalidRequest, detail))
            }
        }
    }
}

/// A component with what is said of it, in the body or beside it.
struct Sent {
    component: Component,
    config: Option<BTreeMap<String, String>>,
    grants: Option<Value>,
}

impl Sent {
    async fn read(shared: &Shared, request: Request, config: Option<&str>, grants: Option<&str>) -> Result<Self, Problem> {
        let is_wasm = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == WASM.as_bytes());
        let (config, grants) = (parameter("config", config)?, parameter("grants", grants)?);
        let options = &shared.options;
        if is_wasm {
            let bytes = body::bytes(request, options.max_component_bytes, options.upload_timeout).await?;
            return Ok(Self { component: Component::Bytes(bytes), config, grants });
        }
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: usize| length > options.max_small_body_bytes) {
            let detail = format!("a component is sent with content-type: {WASM}; the JSON that names one is smaller");
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
        let mut request: SwapRequest = body::read(request, options.max_small_body_bytes, options.body_timeout).await?;
        let component = request.component()?;
        Ok(Self { component, config: request.config.or(config), grants: request.grants.or(grants) })
    }
}

async fn put_persistence(State(shared): Host, Query(query): Query<SwapQuery>, request: Request) -> Result<Json<Value>, Problem> {
    let Sent { component, config, grants } = Sent::read(&shared, request, query.config.as_deref(), query.grants.as_deref()).await?;
    let replacement = Replacement { component, config, grants, migrate: query.migrate };
    let admin = Arc::clone(&shared.admin);
    shared.carry_out(async move { admin.swap_persistence(replacement).await }).await.map(Json)
}

async fn put_hook(
    State(shared): Host,
    Id(HookName(name)): Id<HookName>,
    Query(query): Query<HookQuery>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let Sent { component, config, grants } = Sent::read(&shared, request, query.config.as_deref(), query.grants.as_deref()).await?;
    let from_start = query.from.map(|from| matches!(from, Begin::Start));
    let replacement = HookReplacement { component, config, grants, from_start };
    let admin = Arc::clone(&shared.admin);
    shared.carry_out(async move { admin.put_hook(&name, replacement).await }).await.map(Json)
}

async fn remove_hook(State(shared): Host, Id(HookName(name)): Id<HookName>) -> Result<StatusCode, Problem> {
    let admin = Arc::clone(&shared.admin);
    shared.carry_out(async move { admin.remove_hook(&name).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnabledRequest {
    enabled: bool,
}

async fn enable_hook(State(shared): Host, Id(HookName(name)): Id<HookName>, request: Request) -> Result<StatusCode, Problem> {
    let options = &shared.options;
    let EnabledRequest { enabled } = body::read(request, options.max_small_body_bytes, options.body_timeout).await?;
    let admin = Arc::clone(&shared.admin);
    shared.carry_out(async move { admin.enable_hook(&name, enabled).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn parameter<T: DeserializeOwned>(name: &str, text: Option<&str>) -> Result<Option<T>, Problem> {
    let value = text.map(serde_json::from_str).transpose();
    value.map_err(|error| Problem::new(Code::InvalidRequest, format!("{name}: {error}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackQuery {
    #[serde(default)]
    migrate: bool,
}

async fn roll_back_persistence(State(shared): Host, Query(query): Query<RollbackQuery>) -> Result<Json<Value>, Problem> {
    let admin = Arc::clone(&shared.admin);
    shared.carry_out(async move { admin.roll_back_persistence(query.migrate).await }).await.map(Json)
}
