//! What is done with files and directories: each step with what it was for in its error, and what makes it durable.
//!
//! Nothing here locks. The host may end an instance between any two steps, which then is all that happens: there is nothing to be given back.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_host_adapter::{Error, Result, log};

/// Bytes that a read asks for where it is not known how much there is: many times a record, and as much as wasmtime gives at once.
const PIECE: usize = 64 * 1024;

/// Bytes of a path within the directory. Linux takes 4096 for all of it, and the directory is in it.
const LONGEST_PATH: usize = 3500;

/// Files of deleted sessions that are removed in one call, so that it ends soon, however large a session was.
const EMPTIED: usize = 1000;

/// The same when the adapter is opened, which may take a minute.
const SWEPT: usize = 10_000;

/// So often a directory is listed until all of it was seen.
const LISTED: usize = 10;

/// Nobody is about something that was begun so long ago: the host ends a call after seconds.
const LEFT_BEHIND: Duration = Duration::from_secs(60 * 60);

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nothing,
    Directory,
    /// A file, or something that is not followed: a symbolic link.
    Other,
}

/// By which it is seen that a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) length: u64,
    modified: SystemTime,
}

impl Stamp {
    fn of(metadata: &Metadata) -> io::Result<Self> {
        Ok(Self { length: metadata.len(), modified: metadata.modified()? })
    }

    /// Whether nobody is about it any more.
    pub(crate) fn is_left_behind(self) -> bool {
        self.modified.elapsed().is_ok_and(|age| age > LEFT_BEHIND)
    }

    /// When it was changed, since 1970.
    pub(crate) fn nanoseconds(self) -> u64 {
        let since = self.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The stamp of a file, or of a directory; `None` if it is not there.
pub(crate) fn stamp(path: &Path) -> Result<Option<Stamp>> {
    absent(step("look at", path, || Stamp::of(&fs::metadata(path)?)))
}

/// A name that nothing else has.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}{:016x}", RandomState::new().hash_one(prefix))
}

/// Refuses a path that no file system would take.
pub(crate) fn check_length(path: &str) -> Result<()> {
    if path.len() <= LONGEST_PATH {
        return Ok(());
    }
    Err(Error::invalid(format!("the path has {} bytes in the directory, of which a file system takes {LONGEST_PATH}", path.len())))
}

pub(crate) fn kind(path: &Path) -> Result<Kind> {
    match step("look at", path, || fs::symlink_metadata(path)) {
        Ok(metadata) if metadata.is_dir() => Ok(Kind::Directory),
        Ok(_) => Ok(Kind::Other),
        // A file is where there should be a directory.
        Err(failure) if failure.error.kind() == ErrorKind::NotADirectory => Ok(Kind::Other),
        Err(failure) if failure.error.kind() == ErrorKind::NotFound => Ok(Kind::Nothing),
        Err(failure) => Err(failure.into()),
    }
}

/// The names in a directory; none if it is not there. All of them, or an error.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>> {
    // In WASI a list ends at a name that was removed since it was begun.
    for _ in 0..LISTED {
        let Some(entries) = absent(step("list", directory, || fs::read_dir(directory)))? else { return Ok(Vec::new()) };
        let names = entries.map(|entry| entry?.file_name().into_string().map_err(not_utf8)).collect::<io::Result<_>>();
        if let Some(names) = absent(step("list", directory, || names))? {
            return Ok(names);
        }
    }
    Err(Error::unavailable(format!("failed to list {}: names are removed all the time", directory.display())))
}

fn not_utf8(name: OsString) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the name {} is not UTF-8", name.display()))
}

/// A file from `offset` to its end; `None` if it is not there.
pub(crate) fn read_from(path: &Path, offset: u64) -> Result<Option<Vec<u8>>> {
    absent(step("read", path, || {
        let mut file = File::open(path)?;
        if offset > 0 {
            file.seek(SeekFrom::Start(offset))?;
        }
        let mut bytes = Vec::with_capacity(PIECE);
        // Without `take` the size would be asked for before.
        file.take(u64::MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    }))
}

/// So many bytes from `offset`, which must be there.
pub(crate) fn read_range(path: &Path, offset: u64, length: usize) -> Result<Vec<u8>> {
    let read = step("read", path, || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    });
    read.map_err(|failure| match failure.error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::UnexpectedEof => {
            Error::corrupt(format!("{} does not have the {length} bytes at {offset} that were stored there", path.display()))
        }
        _ => failure.into(),
    })
}

/// Writes a file that is not there yet.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = step("create", path, || OpenOptions::new().write(true).create_new(true).open(path))?;
    write(&mut file, path, bytes)?;
    Ok(step("sync", path, || file.sync_all())?)
}

/// Puts bytes at `end`, where a file ends as far as it counts; what an append that was broken off has left there is cut off before. Without bytes that
/// count it may not be there yet.
pub(crate) fn append_at(path: &Path, end: u64, bytes: &[u8]) -> Result<()> {
    let is_new = end == 0;
    if is_new {
        ensure_directory(parent(path))?;
    }
    let mut file = step("open", path, || OpenOptions::new().write(true).create(is_new).truncate(false).open(path)).map_err(|failure| {
        if failure.error.kind() == ErrorKind::NotFound { Error::corrupt(format!("{} is gone", path.display())) } else { failure.into() }
    })?;
    let length = step("look at", path, || file.metadata())?.len();
    if length < end {
        return Err(Error::corrupt(format!("{} has {length} bytes, where {end} were stored", path.display())));
    }
    if length > end {
        step("cut", path, || file.set_len(end))?;
    }
    step("go to the end of", path, || file.seek(SeekFrom::Start(end)))?;
    write(&mut file, path, bytes)?;
    step("sync", path, || file.sync_data())?;
    if is_new { sync_parent(path) } else { Ok(()) }
}

/// Puts lines behind whatever the file has; with `cut`, the file ends there before.
pub(crate) fn append_lines(path: &Path, cut: Option<u64>, lines: &[u8]) -> Result<Stamp> {
    // Where it ends is decided when it is written: a line of another instance is not written over.
    let mut file = step("open", path, || OpenOptions::new().append(true).open(path))?;
    if let Some(end) = cut {
        step("cut", path, || file.set_len(end))?;
    }
    write(&mut file, path, lines)?;
    step("sync", path, || file.sync_data())?;
    Ok(step("look at", path, || Stamp::of(&file.metadata()?))?)
}

/// Makes durable what somebody has put into a file.
pub(crate) fn sync_file(path: &Path) -> Result<()> {
    Ok(step("sync", path, || OpenOptions::new().append(true).open(path)?.sync_data())?)
}

fn write(file: &mut File, path: &Path, bytes: &[u8]) -> Result<()> {
    #[cfg(test)]
    if crate::tests::fuse::is_at_its_end() {
        // What a process that is killed in the middle leaves.
        file.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default()).map_err(|error| Failure { action: "write", path, error })?;
    }
    Ok(step("write", path, || file.write_all(bytes))?)
}

/// Puts `from` in the place of `to`; false if there is no `from`, since that was done before.
pub(crate) fn put(from: &Path, to: &Path) -> Result<bool> {
    let rename = || absent(step("rename", from, || fs::rename(from, to)));
    let mut renamed = rename()?;
    if renamed.is_none() && kind(from)? != Kind::Nothing {
        ensure_directory(parent(to))?;
        renamed = rename()?;
    }
    // Also if somebody else has put it there, who may not have come so far.
    absent(step("sync", parent(to), || File::open(parent(to))?.sync_all()))?;
    Ok(renamed.is_some())
}

/// Makes a directory and those that it is in, durably.
pub(crate) fn ensure_directory(path: &Path) -> Result<()> {
    match step("create", path, || fs::create_dir(path)) {
        Ok(()) => sync_parent(path),
        Err(failure) if failure.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(failure) if failure.error.kind() == ErrorKind::NotFound && path.parent().is_some() => {
            ensure_directory(parent(path))?;
            ensure_directory(path)
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Makes durable which names a directory has.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    Ok(step("sync", path, || File::open(path)?.sync_all())?)
}

/// Makes durable that something came to its directory, or left it.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    sync_directory(parent(path))
}

/// Removes a file durably. One that is not there is a success, which is made durable, too.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    absent(step("remove", path, || fs::remove_file(path)))?;
    absent(step("sync", parent(path), || File::open(parent(path))?.sync_all())).map(drop)
}

/// Removes a directory if there is nothing in it; whether it was removed.
pub(crate) fn remove_empty(path: &Path) -> bool {
    step("remove", path, || fs::remove_dir(path)).is_ok()
}

/// Removes whatever is there, as long as there are files `left` that may be removed. Another instance may be about the same.
fn remove_tree(path: &Path, left: &mut usize) -> Result<()> {
    match kind(path)? {
        Kind::Nothing => Ok(()),
        Kind::Directory => remove_directory(path, left),
        Kind::Other => remove_one(path, left),
    }
}

fn remove_directory(path: &Path, left: &mut usize) -> Result<()> {
    // It is not listed to its end if that much cannot be removed.
    for entry in absent(step("list", path, || fs::read_dir(path)))?.into_iter().flatten() {
        let typed = step("list", path, || entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))));
        // Somebody else has removed it.
        let Some((path, kind)) = absent(typed)? else { return Ok(()) };
        if kind.is_dir() {
            remove_directory(&path, left)?
        } else {
            remove_one(&path, left)?
        }
        if *left == 0 {
            return Ok(());
        }
    }
    absent(step("remove", path, || fs::remove_dir(path))).map(drop)
}

fn remove_one(path: &Path, left: &mut usize) -> Result<()> {
    *left = left.saturating_sub(1);
    absent(step("remove", path, || fs::remove_file(path))).map(drop)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Why a step failed.
struct Failure<'a> {
    action: &'static str,
    path: &'a Path,
    error: io::Error,
}

fn step<'a, T>(action: &'static str, path: &'a Path, take: impl FnOnce() -> io::Result<T>) -> Result<T, Failure<'a>> {
    #[cfg(test)]
    crate::tests::fuse::burn(action, path).map_err(|error| Failure { action, path, error })?;
    take().map_err(|error| Failure { action, path, error })
}

/// `None` if the step found nothing there.
fn absent<T>(result: Result<T, Failure<'_>>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(failure) if matches!(failure.error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

impl From<Failure<'_>> for Error {
    /// A disk that is full, away or broken may be well again, and until then the host keeps what it could not write.
    fn from(Failure { action, path, error }: Failure<'_>) -> Self {
        let text = format!("failed to {action} {}: {error}", path.display());
        match error.kind() {
            ErrorKind::InvalidFilename | ErrorKind::InvalidInput => Self::invalid(text),
            _ => Self::unavailable(text),
        }
    }
}

/// Where files are made that are not to be seen before they are whole.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// In this directory, which is on the same file system as all else.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// A path for something that is to be put in its place.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.join(unique("new-"))
    }

    /// A path for something that is to be removed.
    pub(crate) fn bin(&self) -> PathBuf {
        self.0.join(unique("old-"))
    }

    /// Puts a whole file in the place of another one, or nothing.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let new = self.path();
        create(&new, bytes)?;
        if put(&new, path)? { Ok(()) } else { Err(Error::unavailable(format!("{} was removed before it was in its place", new.display()))) }
    }

    /// Removes what calls that were broken off have left, and deleted sessions.
    pub(crate) fn sweep(&self) -> Result<()> {
        for name in names(&self.0)?.iter().filter(|name| name.starts_with("new-")) {
            let path = self.0.join(name);
            if stamp(&path)?.is_some_and(Stamp::is_left_behind) {
                remove_tree(&path, &mut SWEPT.clone())?;
            }
        }
        self.empty(SWEPT)
    }

    /// Removes a part of the deleted sessions. They are gone for everybody, so it does no harm that they take room for a while.
    pub(crate) fn empty_bin(&self) {
        self.empty(EMPTIED).unwrap_or_else(|error| log::warn!("deleted sessions still take room: {error:?}"));
    }

    fn empty(&self, mut left: usize) -> Result<()> {
        let names = names(&self.0)?;
        names.iter().filter(|name| name.starts_with("old-")).try_for_each(|name| remove_tree(&self.0.join(name), &mut left))
    }

    /// Removes something that has not come to its place, and is not large.
    pub(crate) fn discard(&self, path: &Path) {
        remove_tree(path, &mut EMPTIED.clone())
            .unwrap_or_else(|error| log::warn!("it is left until the adapter is opened again: {error:?}"));
    }
}
