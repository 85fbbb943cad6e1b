//! Watch mode: a component's file that changes is swapped in.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use notify_debouncer_mini::notify::{self, RecommendedWatcher, RecursiveMode};
use notify_debouncer_mini::{DebounceEventResult, Debouncer, new_debouncer};
use tokio::sync::mpsc;

use super::{Error, Phase};
use crate::cache::Sha256Digest;

/// For so long nothing may happen in the file's directory before the file is looked at: a compiler that writes it has finished by then. One that has not is noticed as
/// well, since half a component does not compile, and is looked at again when the rest is there.
const QUIET: Duration = Duration::from_millis(500);

/// Until the next try, first and at most, when another exchange is under way, or something is not well.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It serves, or cannot: until the file is something else, there is nothing more to be done.
    Settled,
    /// It could not be tried, which may pass.
    Later,
    /// There is nothing any more that it could be for.
    Gone,
}

impl Change {
    /// What came of an exchange.
    pub(crate) fn of<T>(result: &Result<T, Error>) -> Self {
        match result {
            Err(Error::Busy | Error::NotKept(_)) => Self::Later,
            // The store or the disk may be well again.
            Err(Error::Refused { phase: Phase::Health | Phase::Remember, .. }) => Self::Later,
            _ => Self::Settled,
        }
    }
}

/// Calls `changed` with the digest of the file whenever its content has become another. `in_force` is the digest of the content that serves, if it
/// came from this file; otherwise what the file has now is nothing new.
///
/// # Errors
/// If the file's directory cannot be watched.
pub(crate) fn watch<F>(file: &Path, in_force: Option<String>, changed: impl Fn(String) -> F + Send + 'static) -> Result<Watch, WatchError>
where
    F: Future<Output = Change> + Send + 'static,
{
    let failed = |source| WatchError { path: file.to_owned(), source };
    let (sender, receiver) = mpsc::channel(1);
    // It may have changed since it was read.
    let _ = sender.try_send(());
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
    tokio::spawn(follow(file.to_owned(), receiver, in_force, changed));
    Ok(Watch(debouncer))
}

/// What tells one content of a file from another without reading it: that would be an event itself.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    async fn of(file: &Path) -> Option<Self> {
        let metadata = tokio::fs::metadata(file).await.ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

async fn follow<F: Future<Output = Change>>(
    file: PathBuf,
    mut noticed: mpsc::Receiver<()>,
    in_force: Option<String>,
    changed: impl Fn(String) -> F,
) {
    let (mut stamp, mut known) = (None, in_force);
    if known.is_none() {
        known = digest(&file).await;
    }
    while noticed.recv().await.is_some() {
        let mut pauses = ExponentialBuilder::new().with_min_delay(PAUSES.0).with_max_delay(PAUSES.1).without_max_times().build();
        loop {
            // Absent in the middle of being replaced. Most of what happens in the directory is about other files.
            let Some(now) = Stamp::of(&file).await.filter(|now| stamp.as_ref() != Some(now)) else { break };
            let Some(digest) = digest(&file).await else { break };
            let change = if known.as_ref() == Some(&digest) { Change::Settled } else { changed(digest.clone()).await };
            match change {
                Change::Settled => {
                    (stamp, known) = (Some(now), Some(digest));
                    break;
                }
                Change::Later => tokio::time::sleep(pauses.next().unwrap_or(PAUSES.1)).await,
                Change::Gone => return,
            }
        }
    }
}

async fn digest(file: &Path) -> Option<String> {
    let file = file.to_owned();
    let digest = move || Some(Sha256Digest::of(&std::fs::read(file).ok()?).to_string());
    tokio::task::spawn_blocking(digest).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Watched {
        directory: tempfile::TempDir,
        file: PathBuf,
        told: mpsc::UnboundedReceiver<String>,
        _watch: Watch,
    }

    /// Watches a file with `content`, and answers that it has to be tried again so many times.
    fn watched(content: &str, in_force: Option<String>, later: usize) -> Watched {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("adapter.wasm");
        fs::write(&file, content).unwrap();
        let (sender, told) = mpsc::unbounded_channel();
        let later = AtomicUsize::new(later);
        let changed = move |digest: String| {
            sender.send(digest).unwrap();
            let is_later = later.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            std::future::ready(if is_later { Change::Later } else { Change::Settled })
        };
        let watch = watch(&file, in_force, changed).unwrap();
        Watched { directory, file, told, _watch: watch }
    }

    fn digest_of(content: &str) -> String {
        Sha256Digest::of(content.as_bytes()).to_string()
    }

    #[tokio::test]
    async fn only_another_content_is_a_change() {
        let mut watched = watched("first", None, 0);
        for other in 0..3 {
            fs::write(watched.directory.path().join(format!("other-{other}")), "x").unwrap();
            fs::write(&watched.file, "first").unwrap();
            tokio::time::sleep(QUIET / 2).await;
        }
        let next = watched.directory.path().join("next");
        for content in ["second", "third"] {
            fs::write(&next, content).unwrap();
            fs::rename(&next, &watched.file).unwrap();
            assert_eq!(watched.told.recv().await.unwrap(), digest_of(content));
        }
    }

    #[tokio::test]
    async fn what_has_changed_since_it_was_read_is_a_change_and_is_tried_until_it_is_settled() {
        let mut watched = watched("second", Some(digest_of("first")), 1);
        assert_eq!(watched.told.recv().await.unwrap(), digest_of("second"));
        assert_eq!(watched.told.recv().await.unwrap(), digest_of("second"));
        fs::write(&watched.file, "third").unwrap();
        assert_eq!(watched.told.recv().await.unwrap(), digest_of("third"));
    }
}
