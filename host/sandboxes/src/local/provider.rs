//! The local provider: prepares the machine once, then makes sandboxes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::SessionId;
use agent_host_session::ports::sandbox::{self, Provided};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::bubblewrap::{self, Bubblewrap};
use super::directory::{self, Directory, Tag};
use super::install;
use super::options::{Isolation, Options};
use super::sandbox::LocalSandbox;
use super::spawner::Spawner;
use super::tree;
use super::watch::Hub;
use crate::changes::Ignore;
use crate::projects::Projects;

/// What belongs to the provider itself, in the root beside the sandboxes, which have UUIDs as names.
const OWN_DIRECTORY: &str = ".host";

/// How long the directories of an earlier process of the host are kept for their sessions.
const ORPHAN_GRACE: Duration = Duration::from_secs(10 * 60);

/// Why there can be no local sandboxes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("failed to {action} {path}: {source}", path = path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// An option is wrong.
    #[error("invalid sandbox.local.{key} {value:?}: {reason}")]
    Option {
        /// Which.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Isolation is required and cannot be had.
    #[error(
        "sandbox.local.isolation is \"required\", but bubblewrap does not work here: {0}; \
         install it (the package is called bubblewrap), allow user namespaces, or set sandbox.local.isolation to \"auto\""
    )]
    Isolation(String),
    /// Files cannot be watched.
    #[error("failed to watch files: {0}")]
    Watch(#[from] notify::Error),
    /// The thread that starts processes could not be started.
    #[error("failed to start the thread that starts processes: {0}")]
    Spawner(io::Error),
}

/// What all sandboxes of this machine share.
pub(super) struct Machine {
    /// Where the sandboxes are: absolute, without links, text.
    pub(super) root: PathBuf,
    /// If agents are isolated.
    pub(super) bubblewrap: Option<Bubblewrap>,
    /// Where programs are looked for.
    pub(super) path: OsString,
    /// Starts processes.
    pub(super) spawner: Spawner,
    /// Tells what changes.
    pub(super) hub: Hub,
}

/// Makes sandboxes on this machine.
pub struct Local {
    machine: Arc<Machine>,
    projects: Projects,
    left: Arc<Mutex<Left>>,
}

/// What an earlier process of the host has left, by session.
type Left = BTreeMap<SessionId, Vec<(Tag, Directory)>>;

impl Local {
    /// Prepares the root directory, ends the processes that an earlier host left, and finds out whether bubblewrap works, by running it. Directories that were left are
    /// kept for a while, for their sessions to take them up.
    ///
    /// Blocks for some tens of milliseconds, longer if much is to be removed. The caller must hold the lock of the data directory that the root is in.
    ///
    /// # Errors
    /// If the root cannot be made or cleared, an option is wrong, files cannot be watched, or isolation is required and does not work.
    pub fn new(options: Options) -> Result<Self, Error> {
        let root = prepare_root(&options.root)?;
        let readable = check_readable(&options.readable, &root)?;
        let ignore = Ignore::new(&options.ignore).map_err(|(pattern, error)| Error::Option {
            key: "ignore",
            value: pattern,
            reason: error.to_string(),
        })?;
        let found = directory::end_processes(&root).map_err(|source| Error::Io { action: "clear", path: root.clone(), source })?;
        let own = root.join(OWN_DIRECTORY);
        make_private(&own)?;
        let bubblewrap = isolate(&options, &own, readable)?;
        let hub = Hub::new(&root, &own, ignore)?;
        let spawner = Spawner::start().map_err(Error::Spawner)?;
        let projects = Projects::new(options.projects.as_ref());
        let left = Arc::<Mutex<Left>>::default();
        for (tag, directory) in found {
            left.lock().entry(tag.session.clone()).or_default().push((tag, directory));
        }
        if let Ok(runtime) = Handle::try_current() {
            let left = Arc::downgrade(&left);
            runtime.spawn(async move {
                tokio::time::sleep(ORPHAN_GRACE).await;
                // Dropped, they are removed.
                drop(left.upgrade().map(|left| std::mem::take(&mut *left.lock())));
            });
        }
        Ok(Self { projects, left, machine: Arc::new(Machine { root, bubblewrap, path: options.path, spawner, hub }) })
    }

    /// Whether agents are kept from the rest of the machine.
    pub fn is_isolated(&self) -> bool {
        self.machine.bubblewrap.is_some()
    }
}

#[async_trait]
impl sandbox::Provider for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn start(&self, spec: sandbox::Spec, progress: &(dyn for<'a> Fn(&'a str) + Send + Sync)) -> Result<Provided, sandbox::Error> {
        if let Some(sandbox) = self.adopt(&spec).await? {
            return Ok(Provided { sandbox: Box::new(sandbox), is_adopted: true });
        }
        progress("making directories");
        let packages: Vec<&String> = spec.needs.npm_packages.iter().chain(&spec.needs.pip_packages).collect();
        if !packages.is_empty() {
            tracing::warn!(session = %spec.session, ?packages, "local sandboxes install no packages: the agent has those of this machine");
        }
        let machine = Arc::clone(&self.machine);
        let projects = spec.needs.projects.clone();
        let sandbox = tokio::task::spawn_blocking(move || LocalSandbox::make(machine, &spec))
            .await
            .map_err(|error| sandbox::Error::Failed(format!("failed to make a sandbox: {error}")))??;
        for project in &projects {
            progress(&format!("installing the MCP server {}", project.name));
            install::install(&sandbox, project, &self.projects).await?;
        }
        sandbox.give();
        Ok(Provided::new(sandbox))
    }

    async fn find(&self, spec: sandbox::Spec) -> Result<Option<Box<dyn sandbox::Sandbox>>, sandbox::Error> {
        Ok(self.adopt(&spec).await?.map(|sandbox| Box::new(sandbox) as _))
    }

    async fn close(&self) {
        let root = self.machine.root.clone();
        // There are no sandboxes any more: whatever still runs was missed, and nobody will look for it as long as no host starts here again.
        drop(tokio::task::spawn_blocking(move || tree::kill_marked(&root)).await);
    }

    fn has_left(&self, session: &SessionId) -> bool {
        self.left.lock().contains_key(session)
    }

    fn left(&self) -> Vec<SessionId> {
        self.left.lock().keys().cloned().collect()
    }

    fn discard(&self, session: &SessionId) {
        // Dropped, they are removed.
        drop(self.left.lock().remove(session));
    }
}

impl Local {
    /// The sandbox that an earlier process of the host has left for the session, if nothing was written for it since. All others of the session are removed.
    async fn adopt(&self, spec: &sandbox::Spec) -> Result<Option<LocalSandbox>, sandbox::Error> {
        let Some(left) = self.left.lock().remove(&spec.session) else { return Ok(None) };
        let isolated = self.machine.bubblewrap.is_some();
        let latest = left.into_iter().filter(|(tag, _)| tag.is_latest_of(spec, isolated));
        // Of one epoch there is more than one if the host was killed when it had given up one and made another.
        let latest = latest.max_by(|(tag, directory), (other_tag, other)| (tag.epoch, &directory.id).cmp(&(other_tag.epoch, &other.id)));
        let Some((_, directory)) = latest else { return Ok(None) };
        let (machine, spec) = (Arc::clone(&self.machine), spec.clone());
        tracing::info!(session = %spec.session, sandbox = directory.id, "a sandbox that an earlier process left is taken up");
        tokio::task::spawn_blocking(move || LocalSandbox::adopt(machine, directory, &spec).map(Some))
            .await
            .map_err(|error| sandbox::Error::Failed(format!("failed to take up a sandbox: {error}")))?
    }
}

fn prepare_root(root: &Path) -> Result<PathBuf, Error> {
    make_private(root)?;
    let root = root.canonicalize().map_err(|source| Error::Io { action: "resolve", path: root.to_owned(), source })?;
    if root.to_str().is_none() {
        let value = root.to_string_lossy().into_owned();
        return Err(Error::Option { key: "root", value, reason: "it is not UTF-8, which the agents' environment needs".to_owned() });
    }
    Ok(root)
}

/// Makes a directory that only this user can enter.
fn make_private(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        // One that was there may have been open to others.
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .map_err(|source| Error::Io { action: "make the directory", path: path.to_owned(), source })
}

fn check_readable(readable: &[PathBuf], root: &Path) -> Result<Vec<PathBuf>, Error> {
    let check = |path: &PathBuf| {
        let real = path.canonicalize().map_err(|error| error.to_string())?;
        if !path.is_absolute() {
            return Err("it is not absolute".to_owned());
        }
        if root.starts_with(&real) || real.starts_with(root) {
            return Err("agents could read each other's sandboxes".to_owned());
        }
        let own = [bubblewrap::HOME, bubblewrap::WORKSPACE, bubblewrap::TEMPORARY];
        if let Some(hidden) = own.into_iter().find(|own| Path::new(own).starts_with(path)) {
            return Err(format!("it would take the place of {hidden}, which is each sandbox's own"));
        }
        Ok(path.clone())
    };
    readable
        .iter()
        .map(|path| check(path).map_err(|reason| Error::Option { key: "readable", value: path.to_string_lossy().into_owned(), reason }))
        .collect()
}

/// Finds out what isolation there is, and says so.
fn isolate(options: &Options, own: &Path, readable: Vec<PathBuf>) -> Result<Option<Bubblewrap>, Error> {
    if options.isolation == Isolation::None {
        tracing::warn!("agents are not isolated, as configured: they can do whatever this user can");
        return Ok(None);
    }
    match Bubblewrap::find(&options.bubblewrap, &options.path, own, readable) {
        Ok(bubblewrap) => {
            tracing::info!(program = %bubblewrap.program().display(), "agents are isolated by bubblewrap");
            Ok(Some(bubblewrap))
        }
        Err(reason) if options.isolation == Isolation::Required => Err(Error::Isolation(reason)),
        Err(reason) => {
            tracing::warn!(
                %reason,
                "agents are NOT isolated, since bubblewrap does not work here: they can do whatever this user can; \
                 set sandbox.local.isolation to \"required\" to refuse this"
            );
            Ok(None)
        }
    }
}
