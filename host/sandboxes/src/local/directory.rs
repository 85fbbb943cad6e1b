//! A sandbox's directories on this machine, and that nothing of them is left behind.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_host_session::ports::sandbox::Spec;
use agent_host_session::time::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::tree;

/// The names of a sandbox's parts: what the agent sees as its home directory, its workspace and its temporary files.
pub(super) const HOME: &str = "home";
pub(super) const WORKSPACE: &str = "workspace";
pub(super) const TEMPORARY: &str = "tmp";

/// Where files are written before they are moved to their place: on the same file system, and out of the agent's reach.
pub(super) const STAGING: &str = "staging";

/// Says which session and epoch a sandbox is for, to whoever finds its directory.
const TAG: &str = "sandbox.json";

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
    pub(super) fn make(root: &Path, spec: &Spec) -> io::Result<Self> {
        let id = Uuid::now_v7().to_string();
        let path = root.join(&id);
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        builder.create(&path)?;
        let directory = Self { id, path };
        for part in [HOME, WORKSPACE, TEMPORARY, STAGING] {
            builder.create(directory.path.join(part))?;
        }
        let tag = json!({ "session": spec.session, "epoch": spec.epoch, "created": Timestamp::now() });
        fs::write(directory.path.join(TAG), tag.to_string())?;
        Ok(directory)
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

/// Ends the processes and removes the directories of an earlier host's sandboxes. Whatever else is in the root is left alone.
pub(super) fn clear_leftovers(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let is_sandbox = entry.file_name().to_str().is_some_and(|name| Uuid::try_parse(name).is_ok());
        if !is_sandbox || !entry.file_type()?.is_dir() {
            continue;
        }
        let path = entry.path();
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
