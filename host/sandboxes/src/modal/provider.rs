//! How sandboxes come to be at Modal.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use agent_host_modal::{App, Command, Error as ModalError, ImageId, Sandbox, SandboxFilter, SandboxOptions};
use agent_host_session::id::SessionId;
use agent_host_session::ports::sandbox::{self, Needs, Provided, Spec};
use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use tokio::sync::{OnceCell, mpsc, oneshot};
use uuid::Uuid;

use super::helper;
use super::image::Recipe;
use super::keeper::Keeper;
use super::left::Left;
use super::process::failed;
use super::sandbox::ModalSandbox;
use super::tags::{self, Shape};
use super::warm::Warm;
use super::watch::Watch;
use super::{HOME, Options, WORKSPACE};
use crate::changes::Ignore;
use crate::projects::Projects;

/// How often it is looked whether there are sandboxes that nobody uses.
const LOOK: Duration = Duration::from_secs(60);

/// How long an image's build may take.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);

/// How often an image's build is told of that says nothing by itself.
const BUILD_SIGN: Duration = Duration::from_secs(10);

/// Until that is tried again if it failed, at first.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why there can be no sandboxes at Modal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A pattern of files to be ignored is wrong.
    #[error("invalid sandbox.modal.ignore {pattern:?}: {reason}")]
    Ignore {
        /// Which.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Makes sandboxes at Modal.
pub struct Modal(Arc<Inner>);

/// What the provider and its background tasks share.
pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) ignore: Ignore,
    projects: Projects,
    pub(super) begun: Instant,
    pub(super) keeper: Arc<Keeper>,
    pub(super) left: Left,
    pub(super) warm: Warm,
    app: OnceCell<App>,
}

impl Modal {
    /// Begins, in the background, to look for what an earlier process of this host has left, and to make ready what is to be.
    ///
    /// # Errors
    /// If a pattern is wrong.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(options: Options) -> Result<Self, Error> {
        let ignore = Ignore::new(&options.ignore).map_err(|(pattern, error)| Error::Ignore { pattern, reason: error.to_string() })?;
        let projects = Projects::new(options.projects.as_ref());
        let (keeper, left, warm, app) = (Arc::default(), Left::default(), Warm::default(), OnceCell::new());
        let inner = Arc::new(Inner { options, ignore, projects, begun: Instant::now(), keeper, left, warm, app });
        tokio::spawn(look_after(Arc::downgrade(&inner)));
        Ok(Self(inner))
    }
}

/// Looks after what is at Modal, until the provider is dropped.
async fn look_after(inner: Weak<Inner>) {
    let mut pause = LOOK_AGAIN;
    let mut is_ready = false;
    while let Some(inner) = inner.upgrade() {
        let looked = Instant::now();
        match inner.look_for_left().await {
            Ok(running) => {
                pause = LOOK.min(inner.options.orphan_grace.max(LOOK_AGAIN));
                inner.renew_ready(&running, looked);
            }
            Err(error) => {
                tracing::warn!(%error, "it could not be seen which sandboxes are at Modal, which is tried again");
                pause = (pause * 2).min(LOOK);
            }
        }
        if !is_ready && inner.options.warm > 0 {
            match inner.make_plain_ready().await {
                Ok(()) => is_ready = true,
                Err(error) => tracing::warn!(%error, "no sandboxes could be made ready, which is tried again"),
            }
        }
        drop(inner);
        tokio::time::sleep(pause).await;
    }
}

#[async_trait]
impl sandbox::Provider for Modal {
    fn name(&self) -> &'static str {
        "modal"
    }

    async fn start(&self, spec: Spec, progress: &(dyn for<'a> Fn(&'a str) + Send + Sync)) -> Result<Provided, sandbox::Error> {
        let (sender, mut said) = mpsc::channel(16);
        let provider = Arc::clone(&self.0);
        // It goes on if the caller does not wait any more: what comes of it then is terminated.
        let (give, mut given) = oneshot::channel();
        self.0.keeper.tasks.spawn(async move {
            if let Err(Ok(unwanted)) = give.send(provider.provide(&spec, &sender).await) {
                drop(unwanted.sandbox.terminate().await);
            }
        });
        loop {
            tokio::select! {
                Some(text) = said.recv() => progress(&text),
                provided = &mut given => {
                    let provided = provided.map_err(|_| sandbox::Error::Failed("failed to make a sandbox: the task broke off".to_owned()))?;
                    return provided.map_err(failed);
                }
            }
        }
    }

    async fn find(&self, spec: Spec) -> Result<Option<Box<dyn sandbox::Sandbox>>, sandbox::Error> {
        let found = self.0.find(&spec).await.map_err(failed)?;
        Ok(found.map(|found| Box::new(found) as _))
    }

    fn has_left(&self, session: &SessionId) -> bool {
        self.0.is_known_to_have_left(session)
    }

    async fn close(&self) {
        let ready = self.0.warm.close();
        futures_util::future::join_all(ready.iter().map(sandbox::Sandbox::terminate)).await;
        self.0.keeper.close().await;
    }
}

/// Tells people what is being done. What they do not take in is left out.
fn say(progress: &mpsc::Sender<String>, text: impl Into<String>) {
    let _ = progress.try_send(text.into());
}

impl Inner {
    pub(super) async fn app(&self) -> Result<&App, ModalError> {
        self.app.get_or_try_init(|| self.options.client.app(self.options.app.as_str()).create_if_missing()).await
    }

    /// The sandbox that the session has already, one that is ready, or a new one.
    async fn provide(self: &Arc<Self>, spec: &Spec, progress: &mpsc::Sender<String>) -> Result<Provided, ModalError> {
        let image = self.image(&spec.needs, progress).await?;
        let shape = Shape::new(&image, &self.options);
        if let Some(adopted) = self.adopt(spec, &shape).await {
            return Ok(Provided { sandbox: Box::new(adopted), is_adopted: true });
        }
        let claimed = self.claim(spec, &shape).await;
        self.keep_ready(&shape, &image, false);
        let sandbox = match claimed {
            Some(sandbox) => sandbox,
            None => {
                say(progress, "creating a sandbox");
                self.prepared(&image, &shape, Some(spec)).await?
            }
        };
        Ok(Provided::new(sandbox))
    }

    /// The sandbox that the session has already. Its image is not built for that: without one there is none.
    async fn find(&self, spec: &Spec) -> Result<Option<ModalSandbox>, ModalError> {
        if !self.has_left(&spec.session).await {
            return Ok(None);
        }
        let (unheard, _) = mpsc::channel(1);
        let image = self.image(&spec.needs, &unheard).await?;
        Ok(self.adopt(spec, &Shape::new(&image, &self.options)).await)
    }

    /// Keeps sandboxes without packages ready.
    async fn make_plain_ready(self: &Arc<Self>) -> Result<(), ModalError> {
        let (unheard, _) = mpsc::channel(1);
        let image = self.image(&Needs::default(), &unheard).await?;
        self.keep_ready(&Shape::new(&image, &self.options), &image, true);
        Ok(())
    }

    /// A new sandbox with empty directories, for a session or for whoever comes.
    pub(super) async fn prepared(&self, image: &ImageId, shape: &Shape, spec: Option<&Spec>) -> Result<ModalSandbox, ModalError> {
        let sandbox = self.create(image, shape, spec).await?;
        let hold = self.keeper.hold(&sandbox);
        let prepared = async {
            let make = Command::new("mkdir").args(["-p", HOME, WORKSPACE]);
            helper::run(&sandbox, "making the directories of a sandbox", make, Vec::new()).await?;
            Watch::start(&sandbox, self.ignore.clone()).await
        };
        match prepared.await {
            Ok(watch) => Ok(ModalSandbox::new(sandbox, watch, hold)),
            Err(error) => {
                self.keeper.terminate_later(sandbox);
                Err(error)
            }
        }
    }

    async fn image(&self, needs: &Needs, progress: &mpsc::Sender<String>) -> Result<ImageId, ModalError> {
        let app = self.app().await?;
        let Options { image, agents, .. } = &self.options;
        if image.starts_with("im-") {
            if *needs != Needs::default() {
                tracing::warn!(image, "packages and MCP servers are not installed into an image that is there already");
            }
            return ImageId::look_up(app, image.as_str()).await;
        }
        let mut projects = Vec::new();
        for project in &needs.projects {
            let files = self
                .projects
                .read(project)
                .await
                .map_err(|error| ModalError::Invalid { doing: "making an image", reason: error.to_string() })?;
            projects.push(files.into_iter().map(|file| (file.path.as_str().to_owned(), file.content, file.executable)).collect());
        }
        let recipe = Recipe { base: image.clone(), agents: agents.clone(), needs: needs.clone(), projects };
        let mut build = recipe.image().build(app);
        let (begun, mut shown) = (Instant::now(), String::new());
        loop {
            let log = {
                let mut next = pin!(build.next_log());
                loop {
                    tokio::select! {
                        log = &mut next => break log?,
                        () = tokio::time::sleep_until((begun + BUILD_LIMIT).into()) => {
                            return Err(ModalError::TimedOut { doing: "building an image", limit: BUILD_LIMIT });
                        }
                        // Whoever waits for it sees that it goes on.
                        () = tokio::time::sleep(BUILD_SIGN) => say(progress, format!("building the image for {} s: {shown}", begun.elapsed().as_secs())),
                    }
                }
            };
            let Some(log) = log else { break };
            if let Some(line) = log.lines().rfind(|line| !line.trim().is_empty()) {
                shown = line.trim().chars().take(200).collect();
                say(progress, format!("building the image: {shown}"));
            }
        }
        build.finish().await
    }

    async fn create(&self, image: &ImageId, shape: &Shape, spec: Option<&Spec>) -> Result<Sandbox, ModalError> {
        let app = self.app().await?;
        let Options { lifetime, idle_timeout, milli_cpu, memory_mib, network, .. } = &self.options;
        let creation = Uuid::new_v4().to_string();
        let options = SandboxOptions::new()
            .cpu(f64::from(*milli_cpu) / 1000.0)
            .memory_mib(*memory_mib)
            .lifetime(*lifetime)
            .idle_timeout(*idle_timeout)
            .network(network.clone())
            .tag(tags::CREATION, creation.as_str());
        let created = Sandbox::create(app, image, &tags::tagged(options, tags::tags(&self.options, shape, spec))).await;
        if let Err(ModalError::Unavailable { .. } | ModalError::TimedOut { .. }) = &created {
            // It may be there although the answer was lost.
            let filter = SandboxFilter::new().tag(tags::CREATION, creation.as_str());
            let left: Result<Vec<_>, _> = Sandbox::list(app, &filter).try_collect().await;
            left.into_iter().flatten().for_each(|listed| self.keeper.terminate_later(listed.sandbox));
        }
        created
    }
}
