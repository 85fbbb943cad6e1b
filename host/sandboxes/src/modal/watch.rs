//! Which files of a workspace have changed: one watch tells where something happened, and one short program looks at what is there now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agent_host_modal::{Command, Error, FileEventKind, Sandbox};
use agent_host_session::path::RelativePath;
use agent_host_session::record::FileInfo;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::{WORKSPACE, helper};
use crate::changes::{Ignore, Inbox};

const DOING: &str = "looking at a workspace";

/// A file that is made and removed to see that all that happened before it was told. Its beginning.
const COOKIE: &str = ".agent-host-sync-";

/// How long its event may take. If it takes longer, everything is looked at.
const COOKIE_DEADLINE: Duration = Duration::from_secs(5);

/// How often it is made until the watch has begun.
const BEGIN_TRIES: u32 = 20;
const BEGIN_PAUSE: Duration = Duration::from_millis(250);

/// For each path of its input, the regular files that are there or below it, with their sizes. Directories of the names that follow are left out.
const LOOK: &str = r#"
cd "$1" && shift || exit 1
leave_out=
for name in "$@"; do leave_out="$leave_out -name $name -prune -o"; done
export leave_out
xargs -0 -r sh -c 'find "$@" $leave_out -type f -printf "%s %p\0" 2>/dev/null; true' sh
"#;

/// What is printed of all files at most: hundreds of thousands of them.
const MAX_LISTING: u64 = 32 * 1024 * 1024;

/// Until it is looked again, if that has failed, first and at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// For each path of its input, its digest and itself.
const DIGEST: &str = r#"cd "$1" && xargs -0 -r sh -c 'sha256sum -z -- "$@" 2>/dev/null; true' sh"#;

/// Watches a workspace until it is dropped.
#[derive(Clone)]
pub(super) struct Watch(Arc<Inner>);

struct Inner {
    sandbox: Sandbox,
    ignore: Ignore,
    inbox: Arc<Inbox>,
    /// The last cookie whose event came.
    cookie: watch::Receiver<String>,
    /// Files that are known to be there.
    known: tokio::sync::Mutex<BTreeSet<String>>,
    /// What was found to have changed and was not taken yet.
    changed: Mutex<BTreeSet<String>>,
    failures: Mutex<Failures>,
    _ended: DropGuard,
}

/// What has failed is not tried again at once.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    not_before: Option<Instant>,
}

impl Failures {
    fn again(&mut self) -> Duration {
        let pause = LOOK_AGAIN.saturating_mul(1 << self.count.min(6)).min(LOOK_AGAIN_AT_MOST);
        self.count += 1;
        self.not_before = Some(Instant::now() + pause);
        pause
    }
}

impl Watch {
    /// Begins to watch, and returns when nothing is missed any more.
    pub(super) async fn start(sandbox: &Sandbox, ignore: Ignore) -> Result<Self, Error> {
        let events = sandbox.fs().watch(WORKSPACE, true).await?;
        let (inbox, ended) = (Arc::new(Inbox::default()), CancellationToken::new());
        let (seen, cookie) = watch::channel(String::new());
        tokio::spawn(follow(events, sandbox.clone(), ignore.clone(), Arc::clone(&inbox), seen, ended.clone()));
        let (known, changed, failures) = (tokio::sync::Mutex::default(), Mutex::default(), Mutex::default());
        let watch =
            Self(Arc::new(Inner { sandbox: sandbox.clone(), ignore, inbox, cookie, known, changed, failures, _ended: ended.drop_guard() }));
        for _ in 0..BEGIN_TRIES {
            if watch.barrier(BEGIN_PAUSE).await? {
                return Ok(watch);
            }
        }
        Err(Error::TimedOut { doing: "beginning to watch a workspace", limit: BEGIN_PAUSE * BEGIN_TRIES })
    }

    /// Waits for changes. Can be dropped at any time without losing one.
    ///
    /// # Errors
    /// Only if the sandbox has ended.
    pub(super) async fn changes(&self) -> Result<Vec<RelativePath>, Error> {
        loop {
            let changes = self.take();
            if !changes.is_empty() {
                return Ok(changes);
            }
            self.0.inbox.settled().await;
            let not_before = self.0.failures.lock().not_before;
            if let Some(moment) = not_before {
                tokio::time::sleep_until(moment).await;
            }
            match self.look().await {
                Ok(()) => {}
                Err(error @ Error::Ended { .. }) => return Err(error),
                Err(error) => {
                    let pause = self.0.failures.lock().again();
                    tracing::debug!(sandbox = self.0.sandbox.id(), %error, ?pause, "a workspace cannot be looked at");
                }
            }
        }
    }

    /// Makes sure that [`take`](Self::take) gives all that changed before this call.
    pub(super) async fn synchronize(&self) -> Result<(), Error> {
        if !self.barrier(COOKIE_DEADLINE).await? {
            self.0.inbox.look_at_everything();
        }
        self.look().await
    }

    /// What was found to have changed since the last call.
    pub(super) fn take(&self) -> Vec<RelativePath> {
        let changed = std::mem::take(&mut *self.0.changed.lock());
        changed.into_iter().filter_map(|path| RelativePath::new(path).ok()).collect()
    }

    /// Drops what was found.
    pub(super) fn forget_changes(&self) {
        self.0.changed.lock().clear();
    }

    /// Finds out how the workspace differs from what is stored of it, which [`take`](Self::take) gives then.
    pub(super) async fn compare(&self, stored: &[FileInfo]) -> Result<(), Error> {
        let Inner { known, changed, .. } = self.0.as_ref();
        let mut known = known.lock().await;
        let present = self.find(&[".".to_owned()]).await?;
        let mut differs: BTreeSet<String> = present.keys().cloned().collect();
        let mut same_size = BTreeMap::new();
        for file in stored {
            match (present.get(file.path.as_str()), &file.sha256) {
                (None, _) => drop(differs.insert(file.path.as_str().to_owned())),
                // Only what may be the same is read.
                (Some(size), Some(sha256)) if *size == file.size => drop(same_size.insert(file.path.as_str().to_owned(), sha256)),
                _ => {}
            }
        }
        let digests = self.digests(same_size.keys()).await?;
        for (path, digest) in digests {
            if same_size.get(&path) == Some(&&digest) {
                differs.remove(&path);
            }
        }
        changed.lock().extend(differs);
        *known = present.into_keys().collect();
        Ok(())
    }

    /// Waits until the events of all that happened before this call have come. `false` if that cannot be told.
    async fn barrier(&self, deadline: Duration) -> Result<bool, Error> {
        let name = format!("{COOKIE}{}", Uuid::new_v4());
        let mut cookie = self.0.cookie.clone();
        let script = r#": > "$1" && rm -f "$1""#;
        let make = Command::new("sh").args(["-c", script, "sh", &format!("{WORKSPACE}/{name}")]);
        helper::ask(&self.0.sandbox, DOING, make, Vec::new(), 0).await?;
        let came = cookie.wait_for(|seen| *seen == name);
        Ok(tokio::time::timeout(deadline, came).await.is_ok_and(|came| came.is_ok()))
    }

    /// The regular files at or below some paths of the workspace, with their sizes, but for those that are ignored.
    async fn find(&self, paths: &[String]) -> Result<BTreeMap<String, u64>, Error> {
        let Inner { ignore, .. } = self.0.as_ref();
        let found = self.ask(LOOK, ignore.directories(), paths).await?;
        let files = found.split(|byte| *byte == 0).filter_map(|line| std::str::from_utf8(line).ok()?.split_once(' '));
        let files = files.filter_map(|(size, path)| Some((path.trim_start_matches("./").to_owned(), size.parse().ok()?)));
        Ok(files.filter(|(path, _)| !ignore.matches(path, false) && !path.starts_with(COOKIE)).collect())
    }

    /// The SHA-256 of files of the workspace. One that cannot be read has none.
    async fn digests(&self, paths: impl IntoIterator<Item = &String>) -> Result<BTreeMap<String, String>, Error> {
        let found = self.ask(DIGEST, &[], paths).await?;
        let lines = found.split(|byte| *byte == 0).filter_map(|line| std::str::from_utf8(line).ok()?.split_once(' '));
        // The digest, a blank, a mark for the kind of file, and the path.
        Ok(lines.filter_map(|(digest, path)| Some((path.get(3..)?.to_owned(), digest.to_owned()))).collect())
    }

    /// Runs a script in the workspace that reads paths and prints something of each.
    async fn ask(&self, script: &str, arguments: &[String], paths: impl IntoIterator<Item = &String>) -> Result<Vec<u8>, Error> {
        let command = Command::new("sh").args(["-c", script, "sh", WORKSPACE]).args(arguments);
        // A name that begins with a dash is no option.
        let input = paths.into_iter().flat_map(|path| format!("./{path}\0").into_bytes()).collect();
        helper::check(DOING, helper::ask(&self.0.sandbox, DOING, command, input, MAX_LISTING).await?)
    }

    /// Looks at what events named. What is found is kept, if whoever waits for it goes away.
    async fn look(&self) -> Result<(), Error> {
        let watch = self.clone();
        let looked = tokio::spawn(async move { watch.look_now().await });
        looked.await.unwrap_or_else(|error| Err(Error::Unavailable { doing: DOING, reason: error.to_string() }))
    }

    async fn look_now(&self) -> Result<(), Error> {
        let Inner { inbox, known, changed, .. } = self.0.as_ref();
        let mut known = known.lock().await;
        // Taken under the lock: whoever comes second finds the first one's result.
        let pending = inbox.take();
        let paths: Vec<String> = if pending.everything { vec![".".to_owned()] } else { pending.paths.into_keys().collect() };
        if paths.is_empty() {
            return Ok(());
        }
        let found = match self.find(&paths).await {
            Ok(found) => found,
            Err(error) => {
                // Next time.
                inbox.look_at_everything();
                return Err(error);
            }
        };
        let is_concerned = |file: &str| {
            paths
                .iter()
                .any(|path| path == "." || file == path || file.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/')))
        };
        *self.0.failures.lock() = Failures::default();
        let present: BTreeSet<String> = found.into_keys().collect();
        let gone: Vec<String> = known.iter().filter(|file| is_concerned(file) && !present.contains(*file)).cloned().collect();
        for file in &gone {
            known.remove(file);
        }
        known.extend(present.iter().cloned());
        let mut changed = changed.lock();
        changed.extend(gone);
        changed.extend(present);
        Ok(())
    }
}

/// Takes in what the watch tells, and begins it anew if it breaks off.
async fn follow(
    mut events: agent_host_modal::Watch,
    sandbox: Sandbox,
    ignore: Ignore,
    inbox: Arc<Inbox>,
    seen: watch::Sender<String>,
    ended: CancellationToken,
) {
    let mut failures = Failures::default();
    loop {
        let event = tokio::select! {
            () = ended.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Ok(event) if event.kind == FileEventKind::Access => {}
            Ok(event) => {
                failures = Failures::default();
                for path in event.paths {
                    let Some(path) = path.strip_prefix(WORKSPACE) else { continue };
                    let path = path.trim_start_matches('/');
                    if path.starts_with(COOKIE) {
                        seen.send_replace(path.to_owned());
                    } else if path.is_empty() {
                        inbox.look_at_everything();
                    } else if !ignore.matches(path, false) {
                        inbox.add(path, true);
                    }
                }
            }
            Err(Error::Ended { .. }) => return,
            Err(error) => {
                // Once is said aloud: an agent can end it as often as it wants.
                if failures.count == 0 {
                    tracing::warn!(sandbox = sandbox.id(), %error, "the watch over a workspace broke off and is begun again");
                }
                tokio::time::sleep(failures.again()).await;
                match sandbox.fs().watch(WORKSPACE, true).await {
                    Ok(again) => events = again,
                    Err(Error::Ended { .. }) => return,
                    Err(error) => tracing::debug!(sandbox = sandbox.id(), %error, "a workspace cannot be watched"),
                }
                // Whatever happened meanwhile was told to nobody.
                inbox.look_at_everything();
            }
        }
    }
}
