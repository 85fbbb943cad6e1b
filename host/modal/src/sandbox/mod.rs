//! Sandboxes: containers that live until their program ends, they are told to end, or their time is over.

mod handle;
mod list;
mod options;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use uuid::Uuid;

pub(crate) use self::handle::Handle;
use self::handle::{GRACE, end};
pub use self::list::{Listed, SandboxFilter};
pub use self::options::{Network, Port, SandboxOptions};
pub(crate) use self::options::{check_environment, secret_sources, whole_seconds};
use crate::client::{CallOptions, rpc};
use crate::config::Backend;
use crate::proto::client::generic_result::GenericStatus;
use crate::proto::client::{
    CommandRouterAccess, ObjectCreationType, SandboxCreateRequest, SandboxCreateV2Request, SandboxGetFromNameRequest,
    SandboxGetTaskIdRequest, SandboxGetTunnelsRequest, SandboxTagsGetRequest, SandboxTagsSetRequest, SecretGetOrCreateRequest, TunnelData,
};
use crate::router::Router;
use crate::{App, Client, Command, End, Error, Exec, Fs, ImageId, Process};

/// How long one call that waits for a sandbox's end lasts.
const WAIT: Duration = Duration::from_secs(10);

/// How long an older sandbox may wait to be scheduled, and how often that is asked for.
const SCHEDULING: Duration = Duration::from_secs(21 * 60);
const SCHEDULING_PAUSE: Duration = Duration::from_millis(500);

/// A sandbox. Clones are the same one. Dropping the last one ends nothing: that is what [`terminate`](Self::terminate) is for.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    handle: Arc<Handle>,
    router: tokio::sync::OnceCell<Arc<Router>>,
    /// What the answer to the creation said.
    created: Option<Created>,
}

/// Where a new sandbox's commands go.
struct Created {
    task_id: String,
    access: Option<CommandRouterAccess>,
}

/// A way to a port of a sandbox from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// In the sandbox.
    pub container_port: u16,
    /// Where it is reached over TLS.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// Where it is reached without, if it is.
    pub unencrypted: Option<(String, u16)>,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sandbox").field("id", &self.0.handle.id).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Creates a sandbox. This returns when Modal has taken it on; that it runs shows in the first command.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it cannot be like this, [`Error::AlreadyExists`] if one of its name runs, and those of every call. If the answer was lost, or this is dropped before it returns,
    /// the sandbox may be there all the same: list by a tag of your own to find it.
    pub async fn create(app: &App, image: &ImageId, options: &SandboxOptions) -> Result<Self, Error> {
        const DOING: &str = "creating a sandbox";
        let client = app.client().clone();
        let mut definition = options.definition(DOING, image)?;
        if client.config().backend == Backend::V1 {
            if !options.environment().is_empty() {
                definition.secret_ids.push(ephemeral_secret(app, options.environment()).await?);
            }
            let request = SandboxCreateRequest {
                app_id: app.id().to_owned(),
                definition: Some(definition),
                environment_name: String::new(),
                tags: options.tags(),
            };
            let id = client.call(DOING, CallOptions::default(), request, rpc!(sandbox_create)).await?.sandbox_id;
            return Ok(Self::of(client, id, None, None));
        }
        let request = SandboxCreateV2Request {
            app_id: app.id().to_owned(),
            definition: Some(definition),
            tags: options.tags(),
            secret_sources: options.secret_sources(),
        };
        let answer = client.call(DOING, CallOptions::default(), request, rpc!(sandbox_create_v2)).await?;
        let token = (!answer.sandbox_token.is_empty()).then(|| answer.sandbox_token.into());
        let access = answer.command_router_access.filter(|access| !access.jwt.is_empty() && !access.url.is_empty());
        Ok(Self::of(client, answer.sandbox_id, token, Some(Created { task_id: answer.task_id, access })))
    }

    /// The sandbox of an id that is known, ended or not.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, and those of every call.
    pub async fn from_id(client: &Client, id: impl Into<String>) -> Result<Self, Error> {
        let sandbox = Self::of(client.clone(), id.into(), None, None);
        sandbox.poll().await?;
        Ok(sandbox)
    }

    /// The sandbox of this name that runs in an app.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, and those of every call.
    pub async fn from_name(app: &App, name: impl Into<String>) -> Result<Self, Error> {
        const DOING: &str = "looking up a sandbox";
        let client = app.client();
        let request = SandboxGetFromNameRequest {
            sandbox_name: name.into(),
            environment_name: client.config().environment.clone(),
            app_name: app.name().to_owned(),
            include_terminated: false,
        };
        let found = match client.call(DOING, CallOptions::default(), request.clone(), rpc!(sandbox_get_from_name_v2)).await {
            Err(Error::NotFound { .. }) => client.call(DOING, CallOptions::default(), request, rpc!(sandbox_get_from_name)).await?,
            found => found?,
        };
        Ok(Self::of(client.clone(), found.sandbox_id, None, None))
    }

    fn of(client: Client, id: String, token: Option<SecretString>, created: Option<Created>) -> Self {
        Self(Arc::new(Inner { handle: Arc::new(Handle { client, id, token }), router: tokio::sync::OnceCell::new(), created }))
    }

    /// Its id: `sb-…`.
    pub fn id(&self) -> &str {
        &self.0.handle.id
    }

    /// Which kind it is, as its id shows.
    pub fn backend(&self) -> Backend {
        self.0.handle.backend()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn poll(&self) -> Result<Option<End>, Error> {
        self.0.handle.poll().await
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn wait(&self) -> Result<End, Error> {
        loop {
            if let Some(end) = self.0.handle.wait_for(WAIT).await? {
                return Ok(end);
            }
        }
    }

    /// Has it ended, with all programs in it. That takes a moment after this has returned, see [`wait`](Self::wait). Doing so twice is harmless.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn terminate(&self) -> Result<(), Error> {
        self.0.handle.terminate().await
    }

    /// Its tags.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn tags(&self) -> Result<BTreeMap<String, String>, Error> {
        const DOING: &str = "reading a sandbox's tags";
        let request = SandboxTagsGetRequest { sandbox_id: self.0.handle.id.clone() };
        let answer = match self.backend() {
            Backend::V2 => self.0.handle.client.call(DOING, self.0.handle.call_options(), request, rpc!(sandbox_tags_get_v2)).await?,
            Backend::V1 => self.0.handle.client.call(DOING, self.0.handle.call_options(), request, rpc!(sandbox_tags_get)).await?,
        };
        Ok(answer.tags.into_iter().map(|tag| (tag.tag_name, tag.tag_value)).collect())
    }

    /// Gives it tags in the place of all that it has.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn set_tags(&self, tags: &BTreeMap<String, String>) -> Result<(), Error> {
        const DOING: &str = "setting a sandbox's tags";
        let is_older = self.backend() == Backend::V1;
        let request = SandboxTagsSetRequest {
            environment_name: if is_older { self.0.handle.client.config().environment.clone() } else { String::new() },
            sandbox_id: self.0.handle.id.clone(),
            tags: options::tags(tags),
        };
        match self.backend() {
            Backend::V2 => self.0.handle.client.call(DOING, self.0.handle.call_options(), request, rpc!(sandbox_tags_set_v2)).await,
            Backend::V1 => self.0.handle.client.call(DOING, self.0.handle.call_options(), request, rpc!(sandbox_tags_set)).await,
        }
    }

    /// The ways to its ports from outside, as soon as they are there.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if they are not there after `timeout`, and those of every call.
    pub async fn tunnels(&self, timeout: Duration) -> Result<Vec<Tunnel>, Error> {
        const DOING: &str = "waiting for a sandbox's tunnels";
        let request = SandboxGetTunnelsRequest { sandbox_id: self.0.handle.id.clone(), timeout: timeout.as_secs_f32() };
        let options = CallOptions { timeout: Some(timeout.saturating_add(GRACE)), ..self.0.handle.call_options() };
        let answer = match self.backend() {
            Backend::V2 => self.0.handle.client.call(DOING, options, request, rpc!(sandbox_get_tunnels_v2)).await?,
            Backend::V1 => self.0.handle.client.call(DOING, options, request, rpc!(sandbox_get_tunnels)).await?,
        };
        if answer.result.is_some_and(|result| result.status() == GenericStatus::Timeout) {
            return Err(Error::TimedOut { doing: DOING, limit: timeout });
        }
        let port = |port: u32| u16::try_from(port).map_err(|_| Error::protocol(DOING, format!("{port} is no port")));
        let tunnel = |tunnel: TunnelData| {
            Ok(Tunnel {
                container_port: port(tunnel.container_port)?,
                host: tunnel.host,
                port: port(tunnel.port)?,
                unencrypted: match tunnel.unencrypted_host.zip(tunnel.unencrypted_port) {
                    Some((host, number)) if !host.is_empty() => Some((host, port(number)?)),
                    _ => None,
                },
            })
        };
        answer.tunnels.into_iter().map(tunnel).collect()
    }

    /// Runs a program in it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the command cannot be, [`Error::Ended`] if the sandbox has ended, [`Error::TimedOut`] if it does not accept commands in time
    /// ([`Config::start_timeout`](crate::Config::start_timeout)), and those of every call.
    pub async fn exec(&self, command: &Command) -> Result<Process, Error> {
        Process::start(self.router().await?, command).await
    }

    /// A program that was started in it, here or elsewhere, by its [id](Exec::id): to be waited for, and its output to be read from any byte on.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, and as [`exec`](Self::exec).
    pub async fn exec_from_id(&self, id: impl Into<String>) -> Result<Exec, Error> {
        Exec::find(self.router().await?, id.into()).await
    }

    /// Its files.
    pub fn fs(&self) -> Fs {
        Fs::of(self.clone())
    }

    /// An image of its files as they are now, which is kept for `keep`, or for ever.
    ///
    /// # Errors
    /// As [`exec`](Self::exec).
    pub async fn snapshot_filesystem(&self, keep: Option<Duration>) -> Result<ImageId, Error> {
        let id = self.router().await?.snapshot_filesystem(keep, Uuid::new_v4()).await?;
        Ok(ImageId::new(id))
    }

    /// The way to the machine on which it is. Whoever asks first finds it for all.
    pub(crate) async fn router(&self) -> Result<Arc<Router>, Error> {
        let connect = || async {
            let task_id = match &self.0.created {
                Some(created) => created.task_id.clone(),
                None => self.task_id().await?,
            };
            let access = match self.0.created.as_ref().and_then(|created| created.access.clone()) {
                Some(access) => access,
                None => match self.0.handle.router_access(&task_id).await {
                    Ok(access) => access,
                    // One that has ended has no machine.
                    Err(error) => match self.poll().await {
                        Ok(Some(end)) => return Err(self.0.handle.ended(end)),
                        _ => return Err(error),
                    },
                },
            };
            Router::new(Arc::clone(&self.0.handle), task_id, &access).map(Arc::new)
        };
        self.0.router.get_or_try_init(connect).await.cloned()
    }

    async fn task_id(&self) -> Result<String, Error> {
        const DOING: &str = "waiting until a sandbox is scheduled";
        let request = SandboxGetTaskIdRequest { sandbox_id: self.0.handle.id.clone(), timeout: None, wait_until_ready: false };
        let scheduled = async {
            loop {
                let answer = match self.backend() {
                    Backend::V2 => {
                        self.0.handle.client.call(DOING, self.0.handle.call_options(), request.clone(), rpc!(sandbox_get_task_id_v2)).await
                    }
                    Backend::V1 => {
                        self.0.handle.client.call(DOING, self.0.handle.call_options(), request.clone(), rpc!(sandbox_get_task_id)).await
                    }
                };
                match answer {
                    Ok(answer) => match (answer.task_id, answer.task_result.as_ref().and_then(end)) {
                        (Some(id), _) if !id.is_empty() => return Ok(id),
                        (_, Some(end)) => return Err(self.0.handle.ended(end)),
                        _ => {}
                    },
                    // It is scheduled whether this is told or not.
                    Err(error @ (Error::Unavailable { .. } | Error::TimedOut { .. })) => {
                        tracing::debug!(%error, "a sandbox's task is not known yet")
                    }
                    Err(error) => return Err(error),
                }
                tokio::time::sleep(SCHEDULING_PAUSE).await;
            }
        };
        match tokio::time::timeout(SCHEDULING, scheduled).await {
            Ok(scheduled) => scheduled,
            Err(_) => {
                // It must not begin when nobody waits for it any more.
                self.terminate().await?;
                Err(Error::TimedOut { doing: DOING, limit: SCHEDULING })
            }
        }
    }
}

/// Variables as a secret that goes with the app: older sandboxes are not given any otherwise.
async fn ephemeral_secret(app: &App, env: &BTreeMap<String, String>) -> Result<String, Error> {
    const DOING: &str = "storing the environment of a sandbox";
    let request = SecretGetOrCreateRequest {
        deployment_name: String::new(),
        environment_name: app.client().config().environment.clone(),
        object_creation_type: ObjectCreationType::AnonymousOwnedByApp.into(),
        env_dict: env.clone().into_iter().collect(),
        app_id: app.id().to_owned(),
        required_keys: Vec::new(),
    };
    Ok(app.client().call(DOING, CallOptions::default(), request, rpc!(secret_get_or_create)).await?.secret_id)
}
