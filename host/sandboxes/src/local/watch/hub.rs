//! The one watcher of this machine.
//!
//! All sandboxes share it, since Linux gives a user no more than 128 (`fs.inotify.max_user_instances`), and editors want some of them too. On Linux each
//! directory is watched by itself: ignored ones (a `node_modules` has thousands) cost nothing, and a new directory is watched *before* its contents are
//! looked at, so that nothing slips between. Elsewhere the system watches trees.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, MetadataKind, ModifyKind};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::super::directory::WORKSPACE;
use super::super::provider::Error;
use crate::changes::{Ignore, Inbox};

/// How long a cookie's event may take. It usually takes less than a millisecond; if it takes longer than this, something is wrong with
/// the watcher, and looking at everything is the way out.
const BARRIER_DEADLINE: Duration = Duration::from_secs(1);

/// Watches directories, and tells each sandbox what is its own. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hub {
    watcher: Arc<Mutex<RecommendedWatcher>>,
    routes: Arc<Routes>,
}

/// Who gets which event.
struct Routes {
    /// Where the sandboxes are.
    root: PathBuf,
    /// Where the cookies are made: files whose events show that all events before them have come.
    cookies: PathBuf,
    ignore: Ignore,
    inboxes: Mutex<HashMap<String, Weak<Inbox>>>,
    /// Who waits for which cookie.
    waiting: Mutex<HashMap<String, oneshot::Sender<()>>>,
}

impl Hub {
    /// Starts the watcher, which ends when all clones are dropped.
    pub(crate) fn new(root: &Path, own: &Path, ignore: Ignore) -> Result<Self, Error> {
        let cookies = own.join("cookies");
        fs::create_dir_all(&cookies).map_err(|source| Error::Io { action: "make the directory", path: cookies.clone(), source })?;
        let routes = Arc::new(Routes {
            root: root.to_owned(),
            cookies: cookies.clone(),
            ignore,
            inboxes: Mutex::default(),
            waiting: Mutex::default(),
        });
        let handler = Arc::clone(&routes);
        // The agent's links are not followed: one to `/` would have everything watched.
        let config = Config::default().with_follow_symlinks(false);
        let mut watcher = RecommendedWatcher::new(move |event| handler.handle(event), config)?;
        watcher.watch(&cookies, RecursiveMode::NonRecursive)?;
        Ok(Self { watcher: Arc::new(Mutex::new(watcher)), routes })
    }

    /// The inbox of a new sandbox.
    pub(super) fn register(&self, id: &str) -> Arc<Inbox> {
        let inbox = Arc::new(Inbox::default());
        self.routes.inboxes.lock().insert(id.to_owned(), Arc::downgrade(&inbox));
        inbox
    }

    /// Ends what [`register`](Self::register) began. Watches end with the directories.
    pub(super) fn unregister(&self, id: &str) {
        self.routes.inboxes.lock().remove(id);
        if cfg!(not(target_os = "linux")) {
            // An error means that the watch never began.
            let _ = self.watcher.lock().unwatch(&self.workspace(id));
        }
    }

    /// Begins to watch a directory of a workspace (its own if `path` is `None`), if that is not done by a directory above it. Blocks.
    pub(super) fn watch(&self, id: &str, path: Option<&str>) -> notify::Result<()> {
        let workspace = self.workspace(id);
        match path {
            _ if cfg!(target_os = "linux") => {
                let directory = path.map_or_else(|| workspace.clone(), |path| workspace.join(path));
                self.watcher.lock().watch(&directory, RecursiveMode::NonRecursive)
            }
            None => self.watcher.lock().watch(&workspace, RecursiveMode::Recursive),
            Some(_) => Ok(()),
        }
    }

    fn workspace(&self, id: &str) -> PathBuf {
        self.routes.root.join(id).join(WORKSPACE)
    }

    /// Whether a directory is ignored.
    pub(super) fn ignores(&self, path: &str, is_directory: bool) -> bool {
        self.routes.ignore.matches(path, is_directory)
    }

    /// Waits until all events of changes before this call have come. `false` if that cannot be told.
    pub(super) async fn barrier(&self) -> bool {
        let (sender, arrived) = oneshot::channel();
        let cookie = Cookie { name: Uuid::new_v4().to_string(), routes: &self.routes };
        self.routes.waiting.lock().insert(cookie.name.clone(), sender);
        let path = self.routes.cookies.join(&cookie.name);
        // Its event comes even if it is gone by then.
        let made = tokio::task::spawn_blocking(move || fs::write(&path, b"").and_then(|()| fs::remove_file(&path))).await;
        match made {
            Ok(Ok(())) => tokio::time::timeout(BARRIER_DEADLINE, arrived).await.is_ok_and(|arrived| arrived.is_ok()),
            Ok(Err(error)) => {
                tracing::warn!(path = %self.routes.cookies.display(), %error, "failed to make a file to synchronize with the file watcher");
                false
            }
            Err(_) => false,
        }
    }
}

/// Somebody waits for an event of this name; not any more when it is dropped.
struct Cookie<'a> {
    name: String,
    routes: &'a Routes,
}

impl Drop for Cookie<'_> {
    fn drop(&mut self) {
        self.routes.waiting.lock().remove(&self.name);
    }
}

impl Routes {
    /// Called on the watcher's own thread.
    fn handle(&self, event: notify::Result<Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.look_at_everything(),
            Ok(event) => {
                if let Some(is_deep) = relevance(event.kind) {
                    event.paths.iter().for_each(|path| self.route(path, is_deep));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the file watcher failed; looking at all workspaces");
                self.look_at_everything();
            }
        }
    }

    fn look_at_everything(&self) {
        let inboxes: Vec<_> = self.inboxes.lock().values().filter_map(Weak::upgrade).collect();
        inboxes.iter().for_each(|inbox| inbox.look_at_everything());
    }

    fn route(&self, path: &Path, is_deep: bool) {
        if let Ok(name) = path.strip_prefix(&self.cookies) {
            let waiting = name.to_str().and_then(|name| self.waiting.lock().remove(name));
            // Whoever waited may have gone.
            waiting.map(|waiting| waiting.send(()));
            return;
        }
        let Ok(path) = path.strip_prefix(&self.root) else { return };
        let mut parts = path.iter();
        let Some(inbox) = parts.next().and_then(|id| self.inboxes.lock().get(id.to_str()?)?.upgrade()) else { return };
        if parts.next().is_none_or(|directory| directory != WORKSPACE) {
            return;
        }
        match parts.as_path().to_str() {
            // The workspace itself: it can only have gone.
            Some("") if is_deep => inbox.look_at_everything(),
            Some("") => {}
            Some(path) if self.ignore.matches(path, false) => {}
            Some(path) => inbox.add(path, is_deep),
            None if inbox.may_complain() => tracing::warn!(?path, "a file name that is not UTF-8 is not reported, nor are others"),
            None => {}
        }
    }
}

/// Whether an event means a change, and if so, whether a directory may have come or gone.
fn relevance(kind: EventKind) -> Option<bool> {
    match kind {
        // Without the second, what is written by memory mapping would not show.
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(false),
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime)) => None,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => Some(false),
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => Some(true),
    }
}
