//! The admin calls: which components serve, and their exchange. They have keys of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{Request, State};
use axum::http::header;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::body::{self, Query};
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
    /// In the configuration.
    Configured,
}

/// Why an admin call was not carried out. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// Another exchange is under way.
    #[error("{0}")]
    Busy(String),
    /// There is nothing that it could be done to.
    #[error("{0}")]
    NotFound(String),
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
            AdminError::NotFound(reason) => Self::new(Code::NothingEarlier, reason),
            AdminError::Refused { phase, reason } => Self::new(Code::ComponentRefused, reason).in_phase(phase),
        }
    }
}

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/admin/components", get(components))
        .route("/admin/persistence", put(put_persistence))
        .route("/admin/persistence/rollback", post(roll_back_persistence))
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SwapRequest {
    path: Option<PathBuf>,
    digest: Option<String>,
    builtin: Option<String>,
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
            self.configured.then_some(Component::Configured),
        ];
        let mut named = named.into_iter().flatten();
        match (named.next(), named.next()) {
            (Some(Component::Path(path)), None) if !path.is_absolute() => {
                Err(Problem::new(Code::InvalidRequest, format!("path: {} is not an absolute path", path.display())))
            }
            (Some(component), None) => Ok(component),
            _ => {
                let detail = format!("one of path, digest, builtin and configured is needed; or send the component itself as {WASM}");
                Err(Problem::new(Code::InvalidRequest, detail))
            }
        }
    }
}

async fn put_persistence(State(shared): Host, Query(query): Query<SwapQuery>, request: Request) -> Result<Json<Value>, Problem> {
    let is_wasm = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == WASM.as_bytes());
    let (mut config, mut grants) = (parameter("config", query.config.as_deref())?, parameter("grants", query.grants.as_deref())?);
    let options = &shared.options;
    let component = if is_wasm {
        Component::Bytes(body::bytes(request, options.max_component_bytes, options.upload_timeout).await?)
    } else {
        let mut request: SwapRequest = body::read(request, options.max_small_body_bytes, options.body_timeout).await?;
        config = request.config.take().or(config);
        grants = request.grants.take().or(grants);
        request.component()?
    };
    let replacement = Replacement { component, config, grants, migrate: query.migrate };
    let admin = Arc::clone(&shared.admin);
    shared.carry_out(async move { admin.swap_persistence(replacement).await }).await.map(Json)
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
