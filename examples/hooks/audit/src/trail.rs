//! The file.
//!
//! It is opened anew for each batch, which costs little beside the wait for the disk: so whoever moves or deletes it finds a new one begun, and nothing is written
//! to a file that nobody sees any more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use agent_host_hook::{Error, Result, log};

/// A file to which whole lines are appended.
pub(crate) struct Trail {
    path: PathBuf,
    directory: PathBuf,
    /// Larger than this it does not become, if it has anything in it.
    max_bytes: Option<u64>,
}

impl Trail {
    pub(crate) fn new(path: &str, max_bytes: Option<u64>) -> Result<Self> {
        let path = PathBuf::from(path);
        match (path.parent(), path.file_name()) {
            (Some(directory), Some(_)) if path.is_absolute() => Ok(Self { directory: directory.to_owned(), path, max_bytes }),
            _ => Err(Error::invalid(format!("{path:?} is not the absolute path of a file, such as /audit/audit.jsonl"))),
        }
    }

    /// The last lines of the file, of about so many bytes; all of it is on disk. Begins the file if there is none, so that one that cannot be written to is found at once.
    pub(crate) fn tail(&self, bytes: u64) -> Result<Vec<u8>> {
        let read = || {
            let mut file = self.open()?;
            // What an earlier process wrote and was not told that it is on disk.
            file.sync_data()?;
            let length = file.metadata()?.len();
            let start = length.saturating_sub(bytes);
            file.seek(SeekFrom::Start(start))?;
            let mut tail = Vec::new();
            file.take(bytes).read_to_end(&mut tail)?;
            if start > 0 {
                let first = tail.iter().position(|&byte| byte == b'\n').map_or(tail.len(), |newline| newline + 1);
                tail.drain(..first);
            }
            Ok(tail)
        };
        read().map_err(|error| self.failed("open", &error))
    }

    /// Appends whole lines. They are on disk when this returns; if it fails, a part of them may be.
    pub(crate) fn append(&self, lines: Vec<u8>, now: u64) -> Result<()> {
        let mut file = self.open().map_err(|error| self.failed("open", &error))?;
        let length = |file: &File| file.metadata().map(|metadata| metadata.len());
        let mut before = length(&file).map_err(|error| self.failed("measure", &error))?;
        let is_full = |max_bytes| before > 0 && before.saturating_add(lines.len() as u64) > max_bytes;
        if self.max_bytes.is_some_and(is_full) {
            self.put_aside(&file, now)?;
            file = self.open().map_err(|error| self.failed("open", &error))?;
            before = length(&file).map_err(|error| self.failed("measure", &error))?;
        }
        let write = || {
            let is_torn = before > 0 && !ends_a_line(&mut file)?;
            // In one piece, so that a line is torn by nothing but the end of the machine or a full disk.
            file.write_all(&if is_torn { [b"\n", &lines[..]].concat() } else { lines })?;
            file.sync_data()?;
            if before == 0 {
                self.sync_directory();
            }
            Ok(())
        };
        write().map_err(|error| self.failed("append to", &error))
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new().read(true).append(true).create(true).open(&self.path)
    }

    /// Gives the file another name, under which it stays as it is.
    fn put_aside(&self, file: &File, now: u64) -> Result<()> {
        let rename = || {
            // A line that was torn stays the last of this file.
            file.sync_data()?;
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{now}"));
            let mut other = PathBuf::from(name);
            // Whatever is there is not overwritten, be the clock as it may.
            while other.try_exists()? {
                let mut name = other.into_os_string();
                name.push("+");
                other = PathBuf::from(name);
            }
            fs::rename(&self.path, &other)?;
            self.sync_directory();
            Ok(other)
        };
        let other = rename().map_err(|error| self.failed("put aside", &error))?;
        log::info!("{} was full and is now {}", self.path.display(), other.display());
        Ok(())
    }

    /// Has the names of the files on disk as well. Not all systems let a directory be told that, and those which do not have it there anyway.
    fn sync_directory(&self) {
        if let Err(error) = File::open(&self.directory).and_then(|directory| directory.sync_all()) {
            log::debug!("failed to sync the directory {}: {error}", self.directory.display());
        }
    }

    /// Everything is worth another try: disks that are full are emptied, and directories that are missing are made.
    fn failed(&self, to: &str, error: &io::Error) -> Error {
        let hint = if error.kind() == io::ErrorKind::NotFound || error.kind() == io::ErrorKind::PermissionDenied {
            format!("; the hook needs a grant of the directory {} for writing", self.directory.display())
        } else {
            String::new()
        };
        Error::unavailable(format!("failed to {to} {}: {error}{hint}", self.path.display()))
    }
}

/// Whether the last byte of a file that is not empty is a newline.
fn ends_a_line(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}
