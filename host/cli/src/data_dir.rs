//! The data directory: what is in it, and the lock that keeps a second host out of it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The host's own directory, locked for this process.
pub struct DataDir {
    path: PathBuf,
    /// The lock ends with the process, however that ends.
    _lock: File,
}

/// Where a host with this data directory keeps the key for the admin calls.
pub fn admin_key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin-key")
}

impl DataDir {
    /// Makes the directory if need be, readable by its owner only, and locks it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("failed to create the data directory {}", path.display()))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .with_context(|| format!("failed to open {}", lock_path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!("another agent-host uses the data directory {}", path.display()),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("failed to lock {}", lock_path.display())),
        }
    }

    /// Machine code of components.
    pub fn component_cache(&self) -> PathBuf {
        self.path.join("cache").join("components")
    }

    /// Components that were swapped in.
    pub fn components(&self) -> PathBuf {
        self.path.join("components")
    }

    /// Components of event hooks.
    pub fn hooks(&self) -> PathBuf {
        self.components().join("hooks")
    }

    /// What event hooks have still to be told of.
    pub fn events(&self) -> PathBuf {
        self.path.join("events.db")
    }

    /// The key for the admin calls, which is made when it is first needed.
    pub fn admin_key(&self) -> anyhow::Result<String> {
        // 244 random bits.
        let make = || format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        kept(&admin_key_path(&self.path), make)
    }

    /// What tells this host from all others, for as long as its data directory lives.
    pub fn host_id(&self) -> anyhow::Result<String> {
        kept(&self.path.join("host-id"), || uuid::Uuid::new_v4().to_string())
    }

    /// Local sandboxes.
    pub fn sandboxes(&self) -> PathBuf {
        self.path.join("sandboxes")
    }

    /// The database of the built-in adapter.
    pub fn database(&self) -> PathBuf {
        self.path.join("agent-host.db")
    }
}

/// What a file of the host's own says, which is made if it is not there.
fn kept(path: &Path, make: impl FnOnce() -> String) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
    }
    let text = make();
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("failed to create {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(text)
}
