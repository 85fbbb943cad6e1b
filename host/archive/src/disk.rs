//! What is done to files, so that a test can do it badly.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

/// A place for files. All of it may take any time.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Makes a file, which is deleted when what is given is dropped.
    fn create(&self, name: &str) -> io::Result<TempPath>;

    /// Writes at a place in a file. When it fails, anything may be there.
    fn write(&self, file: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads a part of a file.
    fn read(&self, file: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>>;
}

/// Files in a directory. None is held open: there may be thousands, and a process may have few.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Disk for Files {
    fn create(&self, name: &str) -> io::Result<TempPath> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        Ok(tempfile::Builder::new().prefix(name).tempfile_in(&self.0)?.into_temp_path())
    }

    fn write(&self, file: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(file)?;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn read(&self, file: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut file = OpenOptions::new().read(true).open(file)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
