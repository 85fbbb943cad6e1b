//! Which files of a workspace have changed: one watch tells where something happened, and one short program looks at what is there now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agent_host_modal::{Command, Error, FileEventKind, Sandbox};
use agent_host_session::path::RelativePath;
use agent_host_session::record::FileInfo;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::WORKSPACE;
use crate::changes::{Ignore, Inbox};

/// A file that is made and removed to see that all that happened before it was told. Its beginning.
const COOKIE: &str = ".agent-host-sync-";

/// How long its event may take. If it takes longer, everything is looked at.
const COOKIE_DEADLINE: Duration = Duration::from_secs(5);

/// How often it is made until the watch has begun.
const BEGIN_TRIES: u32 = 20;
const BEGIN_PAUSE: Duration = Duration::from_millis(250);

/// For each path of its input, the regular files that are there or below it.
const LOOK: &str = r#"cd "$1" && xargs -0 -r sh -c 'find "$@" -type f -print0 2>/dev/null; true' sh"#;

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
    _ended: DropGuard,
}

impl Watch {
    /// Begins to watch, and returns when nothing is missed any more.
    pub(super) async fn start(sandbox: &Sandbox, ignore: Ignore) -> Result<Self, Error> {
        let events = sandbox.fs().watch(WORKSPACE, true).await?;
        let (inbox, ended) = (Arc::new(Inbox::default()), CancellationToken::new());
        let (seen, cookie) = watch::channel(String::new());
        tokio::spawn(follow(events, sandbox.clone(), ignore.clone(), Arc::clone(&inbox), seen, ended.clone()));
        let (known, changed) = (tokio::sync::Mutex::default(), Mutex::default());
        let watch = Self(Arc::new(Inner { sandbox: sandbox.clone(), ignore, inbox, cookie, known, changed, _ended: ended.drop_guard() }));
        for _ in 0..BEGIN_TRIES {
            if watch.barrier(BEGIN_PAUSE).await? {
                return Ok(watch);
            }
        }
        Err(Error::TimedOut { doing: "beginning to watch a workspace", limit: BEGIN_PAUSE * BEGIN_TRIES })
    }

    /// Waits for changes. Can be dropped at any time without losing one.
    pub(super) async fn changes(&self) -> Result<Vec<RelativePath>, Error> {
        loop {
            let changes = self.take();
            if !changes.is_empty() {
                return Ok(changes);
            }
            self.0.inbox.settled().await;
            self.look().await?;
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
        let Inner { sandbox, ignore, known, changed, .. } = self.0.as_ref();
        let mut known = known.lock().await;
        let found = find(sandbox, &[".".to_owned()]).await?;
        let present: BTreeSet<String> = found.into_iter().filter(|file| !ignore.matches(file, false)).collect();
        let digests = digests(sandbox, &present).await?;
        let mut changed = changed.lock();
        changed.extend(stored.iter().map(|file| file.path.as_str().to_owned()).filter(|path| !present.contains(path)));
        let stored: BTreeMap<&str, Option<&str>> = stored.iter().map(|file| (file.path.as_str(), file.sha256.as_deref())).collect();
        let is_stored = |path: &&String| digests.get(*path).is_some_and(|digest| stored.get(path.as_str()) == Some(&Some(digest)));
        changed.extend(present.iter().filter(|path| !is_stored(path)).cloned());
        *known = present;
        Ok(())
    }

    /// Waits until the events of all that happened before this call have come. `false` if that cannot be told.
    async fn barrier(&self, deadline: Duration) -> Result<bool, Error> {
        let name = format!("{COOKIE}{}", Uuid::new_v4());
        let mut cookie = self.0.cookie.clone();
        let script = r#": > "$1" && rm -f "$1""#;
        let make = Command::new("sh").args(["-c", script, "sh", &format!("{WORKSPACE}/{name}")]);
        self.0.sandbox.exec(&make).await?.exec.wait().await?;
        let came = cookie.wait_for(|seen| *seen == name);
        Ok(tokio::time::timeout(deadline, came).await.is_ok_and(|came| came.is_ok()))
    }

    /// Looks at what events named. What is found is kept, if whoever waits for it goes away.
    async fn look(&self) -> Result<(), Error> {
        let watch = self.clone();
        let looked = tokio::spawn(async move { watch.look_now().await });
        looked.await.unwrap_or_else(|error| Err(Error::Unavailable { doing: "looking at a workspace", reason: error.to_string() }))
    }

    async fn look_now(&self) -> Result<(), Error> {
        let Inner { sandbox, ignore, inbox, known, changed, .. } = self.0.as_ref();
        let mut known = known.lock().await;
        // Taken under the lock: whoever comes second finds the first one's result.
        let pending = inbox.take();
        let paths: Vec<String> = if pending.everything { vec![".".to_owned()] } else { pending.paths.into_keys().collect() };
        if paths.is_empty() {
            return Ok(());
        }
        let found = match find(sandbox, &paths).await {
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
        let present: BTreeSet<String> =
            found.into_iter().filter(|file| !ignore.matches(file, false) && !file.starts_with(COOKIE)).collect();
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

/// The regular files at or below some paths of the workspace.
async fn find(sandbox: &Sandbox, paths: &[String]) -> Result<Vec<String>, Error> {
    let found = ask(sandbox, LOOK, paths).await?;
    let files = found.split(|byte| *byte == 0).filter_map(|path| std::str::from_utf8(path).ok());
    Ok(files.map(|path| path.trim_start_matches("./").to_owned()).filter(|path| !path.is_empty()).collect())
}

/// The SHA-256 of files of the workspace. One that cannot be read has none.
async fn digests(sandbox: &Sandbox, paths: &BTreeSet<String>) -> Result<BTreeMap<String, String>, Error> {
    let found = ask(sandbox, DIGEST, paths).await?;
    let lines = found.split(|byte| *byte == 0).filter_map(|line| std::str::from_utf8(line).ok());
    // The digest, a blank, a mark for the kind of file, and the path.
    Ok(lines
        .filter_map(|line| line.split_once(' '))
        .map(|(digest, path)| (path.get(3..).unwrap_or_default().to_owned(), digest.to_owned()))
        .collect())
}

/// Runs a script in the workspace that reads paths and prints something of each.
async fn ask<'a>(sandbox: &Sandbox, script: &str, paths: impl IntoIterator<Item = &'a String>) -> Result<Vec<u8>, Error> {
    const DOING: &str = "looking at a workspace";
    let mut process = sandbox.exec(&Command::new("sh").args(["-c", script, "sh", WORKSPACE])).await?;
    let mut input = Vec::new();
    for path in paths {
        // A name that begins with a dash is no option.
        input.extend_from_slice(format!("./{path}\0").as_bytes());
    }
    let unwritten = |error: std::io::Error| Error::Unavailable { doing: DOING, reason: error.to_string() };
    process.stdin.write_all(&input).await.map_err(unwritten)?;
    process.stdin.shutdown().await.map_err(unwritten)?;
    let finished = process.finish().await?;
    if !finished.exit.is_success() {
        let said = String::from_utf8_lossy(&finished.stderr).chars().take(300).collect::<String>();
        return Err(Error::Unavailable { doing: DOING, reason: format!("{}: {said}", finished.exit) });
    }
    Ok(finished.stdout)
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
    loop {
        let event = tokio::select! {
            () = ended.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Ok(event) if event.kind == FileEventKind::Access => {}
            Ok(event) => {
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
                tracing::warn!(sandbox = sandbox.id(), %error, "the watch over a workspace broke off and is begun again");
                tokio::time::sleep(BEGIN_PAUSE).await;
                match sandbox.fs().watch(WORKSPACE, true).await {
                    Ok(again) => events = again,
                    Err(Error::Ended { .. }) => return,
                    Err(error) => tracing::warn!(sandbox = sandbox.id(), %error, "a workspace cannot be watched"),
                }
                // Whatever happened meanwhile was told to nobody.
                inbox.look_at_everything();
            }
        }
    }
}
