//! Which files of a workspace changed.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `hub` | the one watcher of this machine, which tells each sandbox what is its own, and whether all events before a moment have arrived |
//! | `survey` | looks at them: the files that are known to be there, and what of them changed |

mod hub;
mod survey;

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_host_session::path::RelativePath;
use parking_lot::Mutex;

pub(super) use self::hub::Hub;
use self::survey::Survey;
use super::files::Files;
use crate::changes::Inbox;

/// Watches a workspace until it is dropped. Cheap to clone.
#[derive(Clone)]
pub(super) struct Watch {
    inner: Arc<Inner>,
}

struct Inner {
    hub: Hub,
    id: String,
    inbox: Arc<Inbox>,
    survey: Mutex<Survey>,
    /// What was found to have changed and was not taken yet.
    changed: Mutex<BTreeSet<String>>,
}

impl Watch {
    /// Begins to watch the workspace of the sandbox `id`. Blocks.
    pub(super) fn start(hub: &Hub, id: &str, files: Arc<Files>) -> Self {
        let inbox = hub.register(id);
        let survey = Mutex::new(Survey::new(hub.clone(), id, files));
        let watch = Self { inner: Arc::new(Inner { hub: hub.clone(), id: id.to_owned(), inbox, survey, changed: Mutex::default() }) };
        // The first look begins the watch.
        watch.look_at_everything();
        watch
    }

    /// Looks at everything, at once. Blocks.
    pub(super) fn look_at_everything(&self) {
        self.inner.inbox.look_at_everything();
        self.look();
    }

    /// Waits for changes. Can be dropped at any time without losing one.
    pub(super) async fn changes(&self) -> Vec<RelativePath> {
        loop {
            let changes = self.take();
            if !changes.is_empty() {
                return changes;
            }
            self.inner.inbox.settled().await;
            self.look_elsewhere().await;
        }
    }

    /// Makes sure that [`take`](Self::take) gives all that changed before this call.
    pub(super) async fn synchronize(&self) {
        if !self.inner.hub.barrier().await || self.inner.inbox.is_blind() {
            self.inner.inbox.look_at_everything();
        }
        self.look_elsewhere().await;
    }

    /// What was found to have changed since the last call.
    pub(super) fn take(&self) -> Vec<RelativePath> {
        let changed = std::mem::take(&mut *self.inner.changed.lock());
        changed.into_iter().filter_map(|path| RelativePath::new(path).ok()).collect()
    }

    /// Drops what was found.
    pub(super) fn forget_changes(&self) {
        self.inner.changed.lock().clear();
    }

    /// Files that are there already, so that their end will be told. Blocks.
    pub(super) fn add_known(&self, paths: impl IntoIterator<Item = RelativePath>) {
        self.inner.survey.lock().add_known(paths);
    }

    /// Looks at what events named, on a thread that may wait for the disk.
    async fn look_elsewhere(&self) {
        let watch = self.clone();
        // It goes on when the caller does not wait for it, and what it finds is kept. It fails only when the runtime shuts down.
        let _ = tokio::task::spawn_blocking(move || watch.look()).await;
    }

    fn look(&self) {
        let mut survey = self.inner.survey.lock();
        // Taken under the lock: whoever comes second finds the first one's result.
        let pending = self.inner.inbox.take();
        let mut found = survey.update(pending, &self.inner.inbox);
        self.inner.changed.lock().append(&mut found);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.hub.unregister(&self.id);
    }
}
