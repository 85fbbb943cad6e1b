//! Watch mode: a component's file that changes is swapped in.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use notify_debouncer_mini::notify::{self, RecommendedWatcher, RecursiveMode};
use notify_debouncer_mini::{DebounceEventResult, Debouncer, new_debouncer};
use tokio::sync::mpsc;

use super::{Candidate, Components, Request, SwapError};
use crate::cache::Sha256Digest;

/// For so long nothing may happen in the file's directory before the file is looked at: a compiler that writes it has finished by then. One that has not is noticed as
/// well, since half a component does not compile, and is looked at again when the rest is there.
const QUIET: Duration = Duration::from_millis(500);

/// Until the next try when another exchange is under way.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Why a file cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("failed to watch the component {path}: {source}", path = path.display())]
pub struct WatchError {
    path: PathBuf,
    source: notify::Error,
}

/// Watches a file until it is dropped.
pub struct Watch(#[expect(dead_code, reason = "it watches as long as it lives")] Debouncer<RecommendedWatcher>);

impl Components {
    /// Swaps the configured component in whenever its file changes. A change that is refused leaves the present one serving, and the log says why.
    ///
    /// # Errors
    /// If the file's directory cannot be watched.
    pub fn watch(self: &Arc<Self>, file: &Path) -> Result<Watch, WatchError> {
        let failed = |source| WatchError { path: file.to_owned(), source };
        let (sender, receiver) = mpsc::channel(1);
        let changed = move |result: DebounceEventResult| {
            if let Err(error) = result {
                tracing::warn!(%error, "failed to watch a component's file");
            }
            // One look at the file is enough for all changes before it.
            let _ = sender.try_send(());
        };
        let mut debouncer = new_debouncer(QUIET, changed).map_err(failed)?;
        // The directory, since the file may be replaced by another one of its name, or be a link that is.
        let directory = file.parent().unwrap_or(Path::new("/"));
        debouncer.watcher().watch(directory, RecursiveMode::NonRecursive).map_err(failed)?;
        tokio::spawn(follow(Arc::downgrade(self), file.to_owned(), receiver));
        Ok(Watch(debouncer))
    }
}

async fn follow(components: Weak<Components>, file: PathBuf, mut changed: mpsc::Receiver<()>) {
    // What was refused is not tried again until it is something else.
    let mut refused = None;
    while changed.recv().await.is_some() {
        let Some(components) = components.upgrade() else { return };
        // Absent in the middle of being replaced.
        let Ok(bytes) = tokio::fs::read(&file).await else { continue };
        let digest = Sha256Digest::of(&bytes).to_string();
        if digest == components.switch.current().record.digest || refused.as_ref() == Some(&digest) {
            continue;
        }
        tracing::info!(file = %file.display(), %digest, "a component's file has changed");
        loop {
            let request = Request { candidate: Candidate::Configured, config: None, grants: None, migrate: false };
            match components.swap(request).await {
                Err(SwapError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
                Err(_) => {
                    refused = Some(digest);
                    break;
                }
                Ok(_) => {
                    refused = None;
                    break;
                }
            }
        }
    }
}
