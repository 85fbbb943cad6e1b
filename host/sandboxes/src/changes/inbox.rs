//! The paths in one workspace that events named and nobody has looked at yet.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Changes that follow each other within this come together: an editor's or compiler's writes to one file do.
const QUIET: Duration = Duration::from_millis(100);

/// And this is the longest that the first of them waits: changes are to be seen within a second.
const LATEST: Duration = Duration::from_millis(500);

/// Above this many paths it is cheaper, and bounded in memory, to look at everything.
const MAX_PATHS: usize = 65_536;

/// Collects paths until somebody looks at them.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pending: Mutex<Pending>,
    arrived: Notify,
    /// Some directory is not watched.
    blind: AtomicBool,
    /// Something that cannot be reported was said once.
    complained: AtomicBool,
}

/// What there is to look at.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Paths, and whether the contents of a directory there may be others than before.
    pub(crate) paths: BTreeMap<String, bool>,
    /// Events were lost.
    pub(crate) everything: bool,
    /// When the first and the last event came.
    since: Option<(Instant, Instant)>,
}

impl Inbox {
    /// Something happened to `path`. `is_deep` if a directory may have come or gone there.
    pub(crate) fn add(&self, path: &str, is_deep: bool) {
        let mut pending = self.pending.lock();
        if pending.everything || pending.paths.len() >= MAX_PATHS {
            pending.paths.clear();
            pending.everything = true;
        } else if let Some(known) = pending.paths.get_mut(path) {
            *known |= is_deep;
        } else {
            pending.paths.insert(path.to_owned(), is_deep);
        }
        self.touch(&mut pending);
    }

    /// Anything may have happened.
    pub(crate) fn look_at_everything(&self) {
        let mut pending = self.pending.lock();
        pending.paths.clear();
        pending.everything = true;
        self.touch(&mut pending);
    }

    fn touch(&self, pending: &mut Pending) {
        let now = Instant::now();
        let first = pending.since.map_or(now, |(first, _)| first);
        pending.since = Some((first, now));
        self.arrived.notify_one();
    }

    /// Waits until there is something to look at and it has settled.
    pub(crate) async fn settled(&self) {
        loop {
            // In a statement of its own, so that the lock is not held while waiting.
            let since = self.pending.lock().since;
            match since {
                None => self.arrived.notified().await,
                Some((first, last)) => {
                    let due = (last + QUIET).min(first + LATEST);
                    if Instant::now() >= due {
                        return;
                    }
                    tokio::time::sleep_until(due.into()).await;
                }
            }
        }
    }

    /// Takes all there is.
    pub(crate) fn take(&self) -> Pending {
        std::mem::take(&mut *self.pending.lock())
    }

    /// Some directory cannot be watched: from now on, only looking at everything tells what changed.
    pub(crate) fn set_blind(&self) {
        self.blind.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_blind(&self) -> bool {
        self.blind.load(Ordering::Relaxed)
    }

    /// Whether this is the first complaint about the workspace; an agent could make endless ones.
    pub(crate) fn may_complain(&self) -> bool {
        !self.complained.swap(true, Ordering::Relaxed)
    }
}
