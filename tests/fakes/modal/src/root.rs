//! The root directory of a sandbox: what is in its image, and this machine's programs.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::mount::{File, Files};

/// What is this machine's in every sandbox.
const SHARED: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "etc", "opt"];

/// What is in an image besides what is this machine's.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// What is there first.
    pub(crate) snapshot: Option<PathBuf>,
    /// What is put on top.
    pub(crate) files: Files,
    /// What is run then.
    pub(crate) runs: Vec<String>,
    /// Where files of the image's own are, in the snapshot too, and the directories in which they are.
    own: BTreeSet<PathBuf>,
}

impl Contents {
    /// Puts files over what there is.
    pub(crate) fn put(&mut self, files: Files) {
        for path in files.keys() {
            self.own.extend(path.ancestors().map(Path::to_owned));
        }
        self.files.extend(files);
    }

    /// Puts all that is in another image over what there is.
    pub(crate) fn extend(&mut self, other: Self) {
        self.snapshot = other.snapshot.or(self.snapshot.take());
        self.own.extend(other.own);
        self.runs.extend(other.runs);
        self.files.extend(other.files);
    }

    /// Makes a root directory of it.
    pub(crate) async fn write(&self, root: &Path) -> anyhow::Result<()> {
        if let Some(snapshot) = &self.snapshot {
            crate::copy_tree(snapshot, root).await?;
        }
        for (path, File { contents, mode }) in &self.files {
            let path = root.join(path);
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)?;
            }
            std::fs::write(&path, contents)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode & 0o7777))?;
        }
        Ok(())
    }

    /// Has bubblewrap show this machine's programs in a root directory.
    pub(crate) fn share(&self, root: &Path, command: &mut Command) -> io::Result<()> {
        SHARED.iter().try_for_each(|name| self.share_path(&Path::new("/").join(name), root, command))
    }

    fn share_path(&self, here: &Path, root: &Path, command: &mut Command) -> io::Result<()> {
        let Ok(path) = here.strip_prefix("/") else { return Ok(()) };
        let there = root.join(path);
        match std::fs::read_link(here) {
            // It is the image's own, or a snapshot has it already.
            Ok(_) if there.is_symlink() || self.own.contains(path) => {}
            Ok(target) => symlink(target, there)?,
            // What is of the image would be hidden, so that what is beside it is shown by itself.
            Err(_) if self.own.contains(path) && here.is_dir() => {
                for entry in std::fs::read_dir(here)? {
                    self.share_path(&entry?.path(), root, command)?;
                }
            }
            Err(_) if here.exists() && !self.own.contains(path) => drop(command.arg("--ro-bind").arg(here).arg(here)),
            Err(_) => {}
        }
        Ok(())
    }
}
