//! Watch mode: a component's file that changes is swapped in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify_debouncer_mini::notify::{self, RecommendedWatcher, RecursiveMode};
use notify_debouncer_mini::{DebounceEventResult, Debouncer, new_debouncer};
use tokio::sync::mpsc;

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

/// What became of a file's new content.
pub(crate) enum Change {
    /// It serves, or did already.
    Done,
    /// It is no component that could serve: it is not tried again until it is something else.
    Refused,
    /// Another exchange is under way.
    Busy,
    /// There is nothing any more that it could be for.
    Gone,
}

/// Calls `changed` with the digest of the file whenever its content has become another.
///
/// # Errors
/// If the file's directory cannot be watched.
pub(crate) fn watch<F>(file: &Path, changed: impl Fn(String) -> F + Send + 'static) -> Result<Watch, WatchError>
where
    F: Future<Output = Change> + Send + 'static,
{
    let failed = |source| WatchError { path: file.to_owned(), source };
    let (sender, receiver) = mpsc::channel(1);
    let noticed = move |result: DebounceEventResult| {
        if let Err(error) = result {
            tracing::warn!(%error, "failed to watch a component's file");
        }
        // One look at the file is enough for all changes before it.
        let _ = sender.try_send(());
    };
    let mut debouncer = new_debouncer(QUIET, noticed).map_err(failed)?;
    // The directory, since the file may be replaced by another one of its name, or be a link that is.
    let directory = file.parent().unwrap_or(Path::new("/"));
    debouncer.watcher().watch(directory, RecursiveMode::NonRecursive).map_err(failed)?;
    tokio::spawn(follow(file.to_owned(), receiver, changed));
    Ok(Watch(debouncer))
}

async fn follow<F: Future<Output = Change>>(file: PathBuf, mut noticed: mpsc::Receiver<()>, changed: impl Fn(String) -> F) {
    let mut refused = None;
    while noticed.recv().await.is_some() {
        // Absent in the middle of being replaced.
        let Ok(bytes) = tokio::fs::read(&file).await else { continue };
        let digest = Sha256Digest::of(&bytes).to_string();
        drop(bytes);
        if refused.as_ref() == Some(&digest) {
            continue;
        }
        loop {
            match changed(digest.clone()).await {
                Change::Busy => tokio::time::sleep(BUSY_PAUSE).await,
                Change::Refused => {
                    refused = Some(digest);
                    break;
                }
                Change::Done => {
                    refused = None;
                    break;
                }
                Change::Gone => return,
            }
        }
    }
}
