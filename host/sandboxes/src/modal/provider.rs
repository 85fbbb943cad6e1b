//! How sandboxes come to be at Modal.

use std::sync::Arc;
use std::time::Duration;

use agent_host_modal::{App, Command, Error as ModalError, ImageId, Sandbox, SandboxFilter, SandboxOptions};
use agent_host_session::ports::sandbox;
use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use tokio::sync::{OnceCell, mpsc};
use uuid::Uuid;

use super::image::Recipe;
use super::process::failed;
use super::sandbox::{ModalSandbox, terminate_later};
use super::watch::Watch;
use super::{HOME, Options, WORKSPACE};
use crate::changes::Ignore;

/// Tags of a sandbox: of which host it is, of which process of it, and for which session.
const HOST_TAG: &str = "agent-host";
const PROCESS_TAG: &str = "agent-host-process";
const SESSION_TAG: &str = "agent-host-session";

/// Until what was left is looked for again, first and at most.
const CLEAR_PAUSE: Duration = Duration::from_secs(1);
const MAX_CLEAR_PAUSE: Duration = Duration::from_secs(60);

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

struct Inner {
    options: Options,
    ignore: Ignore,
    app: OnceCell<App>,
    /// Tells the sandboxes of this process from what an earlier one left.
    process: String,
}

impl Modal {
    /// Begins to terminate, in the background, what an earlier process of this host has left. Nothing else is asked of Modal before the first sandbox.
    ///
    /// # Errors
    /// If a pattern is wrong.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(options: Options) -> Result<Self, Error> {
        let ignore = Ignore::new(&options.ignore).map_err(|(pattern, error)| Error::Ignore { pattern, reason: error.to_string() })?;
        let inner = Arc::new(Inner { options, ignore, app: OnceCell::new(), process: Uuid::new_v4().to_string() });
        let clearing = Arc::downgrade(&inner);
        tokio::spawn(async move {
            let mut pause = CLEAR_PAUSE;
            while let Some(inner) = clearing.upgrade() {
                match inner.clear().await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::warn!(%error, "sandboxes that an earlier process left at Modal could not be terminated, which is tried again")
                    }
                }
                drop(inner);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_CLEAR_PAUSE);
            }
        });
        Ok(Self(inner))
    }
}

#[async_trait]
impl sandbox::Provider for Modal {
    fn name(&self) -> &'static str {
        "modal"
    }

    async fn start(
        &self,
        spec: sandbox::Spec,
        progress: &(dyn for<'a> Fn(&'a str) + Send + Sync),
    ) -> Result<Box<dyn sandbox::Sandbox>, sandbox::Error> {
        let (sender, mut said) = mpsc::channel(16);
        let provider = Arc::clone(&self.0);
        // It goes on if the caller does not wait any more: what comes of it then is dropped, and so terminated.
        let mut making = tokio::spawn(async move { provider.make(&spec, &sender).await });
        loop {
            tokio::select! {
                Some(text) = said.recv() => progress(&text),
                made = &mut making => {
                    let made = made.map_err(|error| sandbox::Error::Failed(format!("failed to make a sandbox: {error}")))?;
                    return Ok(Box::new(made.map_err(failed)?));
                }
            }
        }
    }
}

/// Tells people what is being done. What they do not take in is left out.
fn say(progress: &mpsc::Sender<String>, text: impl Into<String>) {
    let _ = progress.try_send(text.into());
}

impl Inner {
    async fn app(&self) -> Result<&App, ModalError> {
        self.app.get_or_try_init(|| self.options.client.app(self.options.app.as_str()).create_if_missing()).await
    }

    /// Terminates what an earlier process of this host has left.
    async fn clear(&self) -> Result<(), ModalError> {
        let filter = SandboxFilter::new().tag(HOST_TAG, self.options.host.as_str());
        let mut sandboxes = Sandbox::list(self.app().await?, &filter);
        while let Some(listed) = sandboxes.try_next().await? {
            if listed.tags.get(PROCESS_TAG) != Some(&self.process) {
                tracing::info!(
                    sandbox = listed.sandbox.id(),
                    session = listed.tags.get(SESSION_TAG),
                    "a sandbox that an earlier process left is terminated"
                );
                listed.sandbox.terminate().await?;
            }
        }
        Ok(())
    }

    async fn make(&self, spec: &sandbox::Spec, progress: &mpsc::Sender<String>) -> Result<ModalSandbox, ModalError> {
        let app = self.app().await?;
        let image = self.image(app, spec, progress).await?;
        say(progress, "creating a sandbox");
        let sandbox = self.create(app, &image, spec).await?;
        let prepared = async {
            say(progress, "waiting for the sandbox");
            let made = sandbox.exec(&Command::new("mkdir").args(["-p", HOME, WORKSPACE])).await?.finish().await?;
            if !made.exit.is_success() {
                let said = String::from_utf8_lossy(&made.stderr).into_owned();
                return Err(ModalError::Unavailable { doing: "making the directories of a sandbox", reason: said });
            }
            Watch::start(&sandbox, self.ignore.clone()).await
        };
        match prepared.await {
            Ok(watch) => Ok(ModalSandbox::new(sandbox, watch)),
            Err(error) => {
                terminate_later(sandbox);
                Err(error)
            }
        }
    }

    async fn image(&self, app: &App, spec: &sandbox::Spec, progress: &mpsc::Sender<String>) -> Result<ImageId, ModalError> {
        let Options { image, agents, .. } = &self.options;
        if image.starts_with("im-") {
            if !spec.npm_packages.is_empty() || !spec.pip_packages.is_empty() {
                tracing::warn!(session = %spec.session, image, "packages are not installed into an image that is there already");
            }
            return ImageId::look_up(app, image.as_str()).await;
        }
        let recipe = Recipe { base: image.clone(), agents: agents.clone(), npm: spec.npm_packages.clone(), pip: spec.pip_packages.clone() };
        let mut build = recipe.image().build(app);
        while let Some(log) = build.next_log().await? {
            if let Some(line) = log.lines().rfind(|line| !line.trim().is_empty()) {
                say(progress, format!("building the image: {}", line.trim().chars().take(200).collect::<String>()));
            }
        }
        build.finish().await
    }

    async fn create(&self, app: &App, image: &ImageId, spec: &sandbox::Spec) -> Result<Sandbox, ModalError> {
        let Options { host, lifetime, idle_timeout, milli_cpu, memory_mib, network, .. } = &self.options;
        let creation = Uuid::new_v4().to_string();
        let options = SandboxOptions::new()
            .cpu(f64::from(*milli_cpu) / 1000.0)
            .memory_mib(*memory_mib)
            .lifetime(*lifetime)
            .idle_timeout(*idle_timeout)
            .network(network.clone())
            .tag(HOST_TAG, host.as_str())
            .tag(PROCESS_TAG, self.process.as_str())
            .tag(SESSION_TAG, spec.session.as_str())
            .tag("agent-host-epoch", spec.epoch.0.to_string())
            .tag("agent-host-creation", creation.as_str());
        let created = Sandbox::create(app, image, &options).await;
        if let Err(ModalError::Unavailable { .. } | ModalError::TimedOut { .. }) = &created {
            // It may be there although the answer was lost.
            let filter = SandboxFilter::new().tag("agent-host-creation", creation.as_str());
            let left: Result<Vec<_>, _> = Sandbox::list(app, &filter).try_collect().await;
            left.into_iter().flatten().for_each(|listed| terminate_later(listed.sandbox));
        }
        created
    }
}
