//! Writing and reading below a directory that an agent fills with links as it likes: no path is ever followed out of it.

use std::io::{self, Read, Write};
use std::path::Path;

use agent_host_session::path::RelativePath;
use agent_host_session::ports::sandbox::{Content, File, Root};
use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use rustix::io::Errno;
use uuid::Uuid;

use super::directory::{self, Directory};

/// The directory of a sandbox, held open: no path from here leads out of it. Its parts are opened when they are needed, since each
/// open file counts against a limit of the host (`RLIMIT_NOFILE`, often 1024).
pub(super) struct Files {
    directory: Dir,
}

impl Files {
    /// Opens it.
    pub(super) fn open(directory: &Directory) -> io::Result<Self> {
        Ok(Self { directory: Dir::open_ambient_dir(directory.path(), ambient_authority())? })
    }

    /// The workspace.
    pub(super) fn workspace(&self) -> io::Result<Dir> {
        self.directory.open_dir(directory::WORKSPACE)
    }

    /// Lays a file down with the directories that it needs. It appears at once and whole; a link in its place is replaced, not followed.
    pub(super) fn write(&self, file: &File) -> io::Result<()> {
        let root = self.directory.open_dir(match file.root {
            Root::Home => directory::HOME,
            Root::Workspace => directory::WORKSPACE,
        })?;
        let staging = self.directory.open_dir(directory::STAGING)?;
        let path = Path::new(file.path.as_str());
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            root.create_dir_all(parent)?;
        }
        let staged = Uuid::new_v4().to_string();
        let mode = if file.executable { 0o700 } else { 0o600 };
        let written = staging
            .open_with(&staged, OpenOptions::new().write(true).create_new(true).mode(mode))
            .and_then(|mut target| target.write_all(&file.content))
            .and_then(|()| staging.rename(&staged, &root, path));
        if written.is_err() {
            // The first error is the one to tell; what is staged goes with the sandbox in any case.
            let _ = staging.remove_file(&staged);
        }
        written
    }

    /// Reads a workspace file of at most `limit` bytes.
    pub(super) fn read(&self, path: &RelativePath, limit: u64) -> io::Result<Content> {
        // Without O_NONBLOCK, opening a pipe that nobody writes to waits for ever.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
        let file = match self.workspace()?.open_with(path.as_str(), &options) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(Content::Absent),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(Content::Absent);
        }
        if metadata.len() > limit {
            return Ok(Content::TooLarge { size: metadata.len() });
        }
        // The file may grow while it is read: one byte more than the limit tells.
        let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
        let size = content.len() as u64;
        if size > limit { Ok(Content::TooLarge { size }) } else { Ok(Content::Bytes(Bytes::from(content))) }
    }

    /// The regular files in a directory below the home directory and in those in it, with their paths below the home directory.
    pub(super) fn read_home(&self, directory: &RelativePath, limit: u64) -> io::Result<Vec<(RelativePath, Bytes)>> {
        let home = self.directory.open_dir(directory::HOME)?;
        let mut found = Vec::new();
        let mut room = limit;
        match home.open_dir(directory.as_str()) {
            Ok(opened) => read_all(&opened, directory.as_str(), &mut room, &mut found)?,
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(found)
    }

    /// Makes an empty file or directory at `path` below the home or temporary directory or the workspace, unless there is something already.
    pub(super) fn make_mount_point(&self, mount: Mount, path: &Path, is_directory: bool) -> io::Result<()> {
        let root = self.mounted(mount)?;
        if is_directory {
            return root.create_dir_all(path);
        }
        if let Some(parent) = path.parent() {
            root.create_dir_all(parent)?;
        }
        let made = root.open_with(path, OpenOptions::new().write(true).create_new(true).mode(0o600));
        made.map(drop).or_else(ignore_existing)
    }

    /// Makes a symbolic link, unless there is something already.
    pub(super) fn make_link(&self, mount: Mount, path: &Path, target: &Path) -> io::Result<()> {
        let root = self.mounted(mount)?;
        if let Some(parent) = path.parent() {
            root.create_dir_all(parent)?;
        }
        root.symlink_contents(target, path).or_else(ignore_existing)
    }

    fn mounted(&self, mount: Mount) -> io::Result<Dir> {
        self.directory.open_dir(match mount {
            Mount::Home => directory::HOME,
            Mount::Workspace => directory::WORKSPACE,
            Mount::Temporary => directory::TEMPORARY,
        })
    }
}

/// Reads the regular files in a directory and in those in it, as long as there is room.
fn read_all(directory: &Dir, path: &str, room: &mut u64, found: &mut Vec<(RelativePath, Bytes)>) -> io::Result<()> {
    for entry in directory.entries()? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{path}/{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read_all(&entry.open_dir()?, &path, room, found)?;
        } else if kind.is_file()
            && let Ok(path) = RelativePath::new(path)
        {
            let mut content = Vec::new();
            entry.open()?.take(room.saturating_add(1)).read_to_end(&mut content)?;
            *room = room.checked_sub(content.len() as u64).ok_or_else(|| io::Error::other("the files are too large"))?;
            found.push((path, content.into()));
        }
    }
    Ok(())
}

/// One of the directories that an isolated agent can write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mount {
    Home,
    Workspace,
    Temporary,
}

fn ignore_existing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

/// Whether `error` means that there is no file to be had at the path, as against one that could not be read.
fn is_absent(error: &io::Error) -> bool {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(errno) => matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::ISDIR),
        // The path leads out of the workspace: cap-std's own error, not one of the system.
        None => error.kind() == io::ErrorKind::PermissionDenied,
    }
}
