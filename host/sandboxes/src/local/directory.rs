//! A sandbox's directories on this machine, and that nothing of them is left behind.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_host_session::id::{Epoch, SessionId};
use agent_host_session::ports::sandbox::Spec;
use agent_host_session::time::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::tree;
use crate::Found;

/// The names of a sandbox's parts: what the agent sees as its home directory, its workspace and its temporary files.
pub(super) const HOME: &str = "home";
pub(super) const WORKSPACE: &str = "workspace";
pub(super) const TEMPORARY: &str = "tmp";

/// Where files are written before they are moved to their place: on the same file system, and out of the agent's reach.
pub(super) const STAGING: &str = "staging";

/// Says which session and epoch a sandbox is for, to whoever finds its directory.
const TAG: &str = "sandbox.json";

/// The same, while it is written.
const NEW_TAG: &str = "sandbox.json.new";

/// Is there when a session's files are all in the sandbox.
const LAID_DOWN: &str = "laid-down";

/// What the tag says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Tag {
    pub(super) session: SessionId,
    pub(super) epoch: Epoch,
    created: Timestamp,
    /// How its programs see it: paths are others with isolation.
    #[serde(default)]
    isolated: bool,
}

impl Tag {
    fn of(spec: &Spec, isolated: bool) -> Self {
        Self { session: spec.session.clone(), epoch: spec.epoch, created: Timestamp::now(), isolated }
    }

    /// Whether a sandbox with this tag is the session's own, and nothing was written for the session since.
    pub(super) fn is_latest_of(&self, spec: &Spec, isolated: bool) -> bool {
        self.session == spec.session && spec.is_latest(self.epoch) && self.isolated == isolated
    }
}

/// How often the removal is tried: a process that is just being killed may still make files in a directory that is being emptied.
const REMOVAL_ATTEMPTS: u32 = 50;

/// Between two attempts. All together they take 2 s, longer than the kernel needs to end any process that is not stuck in a device.
const REMOVAL_PAUSE: Duration = Duration::from_millis(40);

/// `<root>/<uuid>` with the directories of one sandbox. Removes them when dropped, on a thread of its own.
#[derive(Debug)]
pub(super) struct Directory {
    /// The directory's name, which is the sandbox's id.
    pub(super) id: String,
    path: PathBuf,
}

impl Directory {
    /// Makes the directories and the tag.
    pub(super) fn make(root: &Path, spec: &Spec, isolated: bool) -> io::Result<Self> {
        let id = Uuid::now_v7().to_string();
        let path = root.join(&id);
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        builder.create(&path)?;
        let directory = Self { id, path };
        for part in [HOME, WORKSPACE, TEMPORARY, STAGING] {
            builder.create(directory.path.join(part))?;
        }
        directory.tag(spec, isolated)?;
        Ok(directory)
    }

    /// Says whose it is. At any moment that is said whole: a host which is killed in the middle would leave one that nobody can take up.
    pub(super) fn tag(&self, spec: &Spec, isolated: bool) -> io::Result<()> {
        let new = self.path.join(NEW_TAG);
        fs::write(&new, serde_json::to_string(&Tag::of(spec, isolated))?)?;
        fs::rename(new, self.path.join(TAG))
    }

    /// Says that a session's files are all in it.
    pub(super) fn mark_laid_down(&self) -> io::Result<()> {
        fs::write(self.path.join(LAID_DOWN), [])
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn home(&self) -> PathBuf {
        self.path.join(HOME)
    }

    pub(super) fn workspace(&self) -> PathBuf {
        self.path.join(WORKSPACE)
    }

    pub(super) fn temporary(&self) -> PathBuf {
        self.path.join(TEMPORARY)
    }

    /// Removes it; that it is gone already is a success. Blocks for up to 2 s.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove(&self.path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.path.exists() {
            return;
        }
        let path = self.path.clone();
        let removal = move || {
            if let Err(error) = remove(&path) {
                tracing::warn!(path = %path.display(), %error, "failed to remove a sandbox's directory; the next start of the host tries again");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("sandbox-removal".to_owned()).spawn(removal) {
            tracing::warn!(path = %self.path.display(), %error, "failed to start the removal of a sandbox's directory; the next start of the host tries again");
        }
    }
}

/// The sandboxes that are in a root, if there is one; whose they are is for the caller to know.
///
/// # Errors
/// If the directory cannot be read.
pub fn find(root: &Path, host: &str, process: Option<&str>) -> io::Result<Vec<Found>> {
    let now = Timestamp::now();
    let found = sandboxes(root)?.into_iter().map(|(id, path)| {
        // One that is just being made has none.
        let tag: Option<Tag> = fs::read(path.join(TAG)).ok().and_then(|tag| serde_json::from_slice(&tag).ok());
        let age = tag.as_ref().map_or(0, |tag| now.as_millis().saturating_sub(tag.created.as_millis()));
        Found {
            id,
            host: host.to_owned(),
            process: process.map(str::to_owned),
            session: tag.as_ref().map(|tag| tag.session.as_str().to_owned()),
            epoch: tag.as_ref().map(|tag| tag.epoch.0),
            age: Duration::from_millis(u64::try_from(age).unwrap_or(0)),
        }
    });
    Ok(found.collect())
}

/// The names and paths of the directories of sandboxes in a root. Whatever else is in it is left alone.
fn sandboxes(root: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if Uuid::try_parse(&name).is_ok() && entry.file_type()?.is_dir() {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

/// Ends the processes of the sandboxes in a root that no host uses, removes those that no session can take up, and gives the others.
pub(super) fn end_processes(root: &Path) -> io::Result<Vec<(Tag, Directory)>> {
    // Also what only looked whether bubblewrap works: this host has not started anything yet.
    tree::kill_marked(root);
    let (mut left, mut removed) = (Vec::new(), Vec::new());
    for (id, path) in sandboxes(root)? {
        let tag: Option<Tag> = fs::read(path.join(TAG)).ok().and_then(|tag| serde_json::from_slice(&tag).ok());
        let is_whole = path.join(LAID_DOWN).is_file();
        let directory = Directory { id, path };
        match tag.filter(|_| is_whole) {
            Some(tag) => left.push((tag, directory)),
            // Dropped, it is removed.
            None => {
                tracing::info!(path = %directory.path.display(), "removing a sandbox that an earlier host left, and that was never complete");
                removed.push(directory.path.clone());
            }
        }
    }
    end_late_starts(removed);
    Ok(left)
}

/// When a removed sandbox is looked at again: a process that an earlier host was just starting could not be told from that host, and shows itself when its start goes on, be it on a
/// machine that is very busy.
const AFTERWARDS: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(3)];

fn end_late_starts(removed: Vec<PathBuf>) {
    if removed.is_empty() {
        return;
    }
    let looking = move || {
        for pause in AFTERWARDS {
            std::thread::sleep(pause);
            removed.iter().for_each(|path| tree::kill_marked(path));
        }
    };
    if let Err(error) = std::thread::Builder::new().name("sandbox-removal".to_owned()).spawn(looking) {
        tracing::warn!(%error, "failed to look for late processes of an earlier host");
    }
}

/// Ends the processes and removes the directories of the sandboxes in a root that no host uses: those of an earlier one.
///
/// # Errors
/// If the directory cannot be read.
pub fn end_all(root: &Path) -> io::Result<()> {
    for (_, path) in sandboxes(root)? {
        let tag = fs::read_to_string(path.join(TAG)).unwrap_or_default();
        tracing::info!(path = %path.display(), %tag, "removing a sandbox that an earlier host left");
        tree::kill_marked(&path);
        if let Err(error) = remove(&path) {
            // It is in nobody's way.
            tracing::warn!(path = %path.display(), %error, "failed to remove a sandbox that an earlier host left");
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    // First of all, so that a host which is killed in the middle does not leave one that seems whole: its session would take what is missing for deleted.
    begin_removal(path)?;
    // Whatever was missed when its processes were ended: afterwards, nobody looks for it any more.
    tree::kill_marked(path);
    let mut result = Ok(());
    for attempt in 0..REMOVAL_ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(REMOVAL_PAUSE);
        }
        result = fs::remove_dir_all(path);
        match &result {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => return Ok(()),
            // Go's module cache, for one, makes its directories read-only.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => make_removable(path),
            Err(_) => {}
        }
    }
    result
}

/// From now on it is not whole any more.
fn begin_removal(path: &Path) -> io::Result<()> {
    match fs::remove_file(path.join(LAID_DOWN)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives the owner back the right to change each directory. What cannot be changed shows in the removal that follows.
fn make_removable(path: &Path) {
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        if fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).is_err() {
            continue;
        }
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        directories.extend(entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_whose_removal_was_broken_off_is_not_given_to_its_session() {
        let root = tempfile::tempdir().unwrap();
        let spec = Spec::new(SessionId::new("s").unwrap(), Epoch(3));
        for is_begun in [false, true] {
            let directory = Directory::make(root.path(), &spec, false).unwrap();
            directory.mark_laid_down().unwrap();
            let path = directory.path().to_owned();
            if is_begun {
                begin_removal(&path).unwrap();
            }
            // As the end of the process leaves it.
            std::mem::forget(directory);
            let left = end_processes(root.path()).unwrap();
            assert_eq!(left.len(), usize::from(!is_begun));
            drop(left);
            while path.exists() {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn a_directory_that_changes_hands_is_never_without_a_whole_tag() {
        let root = tempfile::tempdir().unwrap();
        let spec = |epoch| Spec::new(SessionId::new("s").unwrap(), Epoch(epoch));
        let directory = Directory::make(root.path(), &spec(3), false).unwrap();
        // Whoever reads the old one while the new one is written.
        let before = root.path().join("before");
        fs::hard_link(directory.path().join(TAG), &before).unwrap();
        directory.tag(&spec(4), false).unwrap();
        let epoch = |path: &Path| serde_json::from_slice::<Tag>(&fs::read(path).unwrap()).unwrap().epoch;
        assert_eq!((epoch(&before), epoch(&directory.path().join(TAG))), (Epoch(3), Epoch(4)));
        directory.remove().unwrap();
    }

    #[test]
    fn a_bubblewrap_that_was_left_in_the_middle_of_its_start_is_ended() {
        use std::process::{Command, Stdio};
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::make(root.path(), &Spec::new(SessionId::new("s").unwrap(), Epoch(3)), true).unwrap();
        // Waits for its input as bubblewrap does for its parent, and names the directory in the same way.
        let waits = |path: &Path| {
            let mut command = Command::new("sh");
            command.args(["-c", "read line", "bwrap", "--dev", "/dev", "--bind"]).arg(path.join(HOME)).arg("/home/agent");
            command.stdin(Stdio::piped()).spawn().unwrap()
        };
        let mut own = waits(directory.path());
        let elsewhere = tempfile::tempdir().unwrap();
        let mut other = waits(elsewhere.path());
        drop(end_processes(root.path()).unwrap());
        assert!(!own.wait().unwrap().success());
        assert_eq!(other.try_wait().unwrap(), None, "another one is ended, too");
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn the_latest_is_one_of_the_last_run_or_of_a_later_epoch_that_came_to_none() {
        let spec = |epoch, since| Spec { since: Epoch(since), ..Spec::new(SessionId::new("s").unwrap(), Epoch(epoch)) };
        let tag = |epoch| Tag::of(&spec(epoch, 0), false);
        for (epoch, is_latest) in [(3, false), (4, true), (5, true), (6, false)] {
            assert_eq!(tag(epoch).is_latest_of(&spec(6, 4), false), is_latest, "{epoch}");
        }
        assert!(!tag(4).is_latest_of(&spec(6, 4), true), "its paths are others");
    }
}
