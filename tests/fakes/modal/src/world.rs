//! What there is at the fake Modal.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::image::Image;
use crate::mount::Mounts;
use crate::proto::client::SandboxCreateV2Response;
use crate::proto::client::generic_result::GenericStatus;
use crate::sandbox::Sandbox;

/// How a build ends that does not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildEnd {
    /// A command fails.
    Failed,
    /// It is told to end.
    Terminated,
    /// It takes too long.
    TimedOut,
}

/// How the fake behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who may call.
    pub token_id: String,
    /// Who may call.
    pub token_secret: String,
    /// How long after its creation a sandbox's router answers.
    pub accepts_in: Duration,
    /// How long a build takes, for each of its commands.
    pub build_step: Duration,
    /// Directories of this machine that are in every sandbox, and where.
    pub mounts: Vec<(PathBuf, String)>,
    /// The program that does the work on files in sandboxes.
    pub fs_tools: PathBuf,
}

#[derive(Default)]
pub(crate) struct State {
    /// By environment and name.
    pub(crate) apps: BTreeMap<(String, String), String>,
    pub(crate) images: BTreeMap<String, Image>,
    pub(crate) mounts: Mounts,
    pub(crate) secrets: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) sandboxes: Vec<Arc<Sandbox>>,
    /// What was answered to a creation of this key.
    pub(crate) created: BTreeMap<String, SandboxCreateV2Response>,
}

/// What there is.
pub struct World {
    pub(crate) options: Options,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) url: String,
    pub(crate) state: Mutex<State>,
    /// Images with such a command cannot be built, and how that ends.
    pub(crate) unbuildable: Mutex<Option<(String, BuildEnd)>>,
    /// What was issued before this number is not accepted any more.
    accepted_from: AtomicU64,
    issued: AtomicU64,
    serial: AtomicU64,
}

impl World {
    pub(crate) fn new(options: Options, url: String) -> std::io::Result<Self> {
        Ok(Self {
            options,
            directory: tempfile::Builder::new().prefix("fake-modal-").tempdir()?,
            url,
            state: Mutex::default(),
            unbuildable: Mutex::default(),
            accepted_from: AtomicU64::new(0),
            issued: AtomicU64::new(0),
            serial: AtomicU64::new(0),
        })
    }

    /// Another number each time.
    pub(crate) fn next(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// A JWT for somebody. It is good for an hour.
    pub(crate) fn issue(&self, subject: &str) -> String {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let exp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() + 3600;
        let claims = serde_json::json!({"sub": subject, "exp": exp, "number": number}).to_string();
        format!("{}.{}.fake", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims))
    }

    /// All that was issued is not accepted any more.
    pub fn expire_tokens(&self) {
        self.accepted_from.store(self.issued.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether a JWT was issued for this and has not expired.
    fn accepts(&self, jwt: &str, subject: &str) -> bool {
        let claims = || {
            let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
            let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
            let number = claims.get("number")?.as_u64()?;
            Some(claims.get("sub")? == subject && number >= self.accepted_from.load(Ordering::Relaxed))
        };
        claims().unwrap_or(false)
    }

    /// Whether a call comes from somebody who may make it.
    pub(crate) fn check(&self, metadata: &MetadataMap, needs_auth_token: bool) -> Result<(), Status> {
        let value = |key: &str| metadata.get(key).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if value("x-modal-client-version").is_empty() || value("x-modal-client-type").is_empty() {
            return Err(Status::failed_precondition("the client does not say what it is"));
        }
        if value("x-modal-token-id") != self.options.token_id || value("x-modal-token-secret") != self.options.token_secret {
            return Err(Status::unauthenticated("Token ID or secret is invalid"));
        }
        if needs_auth_token && !self.accepts(value("x-modal-auth-token"), "auth") {
            return Err(Status::unauthenticated("the auth token is missing or has expired"));
        }
        Ok(())
    }

    /// The sandbox of a task that whoever calls may use.
    pub(crate) fn task(&self, metadata: &MetadataMap, task_id: &str) -> Result<Arc<Sandbox>, Status> {
        let bearer = metadata.get("authorization").and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
        if !bearer.is_some_and(|jwt| self.accepts(jwt, task_id)) {
            return Err(Status::unauthenticated("the token is missing or has expired"));
        }
        let sandbox = self.find(|sandbox| sandbox.task_id == task_id).ok_or_else(|| Status::not_found("there is no such task"))?;
        if sandbox.accepts_at > tokio::time::Instant::now() {
            return Err(Status::unavailable("the container is not running yet"));
        }
        if sandbox.result().is_some() {
            return Err(Status::not_found("the task has ended"));
        }
        Ok(sandbox)
    }

    pub(crate) fn find(&self, is_it: impl Fn(&Sandbox) -> bool) -> Option<Arc<Sandbox>> {
        self.state.lock().sandboxes.iter().find(|sandbox| is_it(sandbox)).cloned()
    }

    /// The sandbox of an id.
    pub(crate) fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>, Status> {
        self.find(|sandbox| sandbox.id == id).ok_or_else(|| Status::not_found(format!("Sandbox {id} not found")))
    }

    /// All sandboxes that were ever created.
    pub fn sandboxes(&self) -> Vec<Arc<Sandbox>> {
        self.state.lock().sandboxes.clone()
    }

    /// Those that run.
    pub fn running(&self) -> Vec<Arc<Sandbox>> {
        self.sandboxes().into_iter().filter(|sandbox| sandbox.result().is_none()).collect()
    }

    /// Images with a command that contains this cannot be built.
    pub fn fail_builds_with(&self, command: &str) {
        self.end_builds_with(command, BuildEnd::Failed);
    }

    /// So end the builds of images with a command that contains this.
    pub fn end_builds_with(&self, command: &str, end: BuildEnd) {
        *self.unbuildable.lock() = Some((command.to_owned(), end));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for sandbox in &self.state.get_mut().sandboxes {
            sandbox.end(GenericStatus::Terminated, "");
        }
    }
}
