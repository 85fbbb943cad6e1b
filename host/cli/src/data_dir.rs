//! The data directory: what is in it, and the lock that keeps a second host out of it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use uuid::Uuid;

const HOST_ID: &str = "host-id";

/// How often a host that starts tries to lock its directory, and the pause between.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The host's own directory, locked for this process.
pub struct DataDir {
    path: PathBuf,
    /// What tells this process from all others that have used the directory.
    process_id: String,
    /// The lock ends with the process, however that ends.
    _lock: File,
}

/// Who uses a data directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Use {
    /// Its host.
    pub host_id: String,
    /// The process that has it open now.
    pub process_id: Option<String>,
}

/// Where a host with this data directory keeps the key for the admin calls.
pub fn admin_key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin-key")
}

/// Where a host with this data directory keeps what it has pulled from registries.
pub fn registry_cache(data_dir: &Path) -> PathBuf {
    data_dir.join("cache").join("registry")
}

/// Where a host with this data directory keeps its local sandboxes.
pub fn sandboxes(data_dir: &Path) -> PathBuf {
    data_dir.join("sandboxes")
}

impl DataDir {
    /// Makes the directory if need be, readable by its owner only, and locks it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("failed to create the data directory {}", path.display()))?;
        let Some(mut lock) = lock(path)? else { bail!("another agent-host uses the data directory {}", path.display()) };
        let process_id = Uuid::new_v4().to_string();
        let written = lock.set_len(0).and_then(|()| lock.write_all(process_id.as_bytes()));
        written.with_context(|| format!("failed to write {}", lock_path(path).display()))?;
        Ok(Self { path: path.to_owned(), process_id, _lock: lock })
    }

    /// Who uses a directory; `None` if no host has ever used it. Changes nothing.
    pub fn look(path: &Path) -> anyhow::Result<Option<Use>> {
        let Some(host_id) = read(&path.join(HOST_ID))? else { return Ok(None) };
        let process_id = if is_locked(path)? { read(&lock_path(path))? } else { None };
        Ok(Some(Use { host_id, process_id }))
    }

    /// What tells this process from all others that have used the directory. The lock's file holds it.
    pub fn process_id(&self) -> &str {
        &self.process_id
    }

    /// Machine code of components.
    pub fn component_cache(&self) -> PathBuf {
        self.path.join("cache").join("components")
    }

    /// Components that were pulled from registries.
    pub fn registry_cache(&self) -> PathBuf {
        registry_cache(&self.path)
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
        let make = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        kept(&admin_key_path(&self.path), make)
    }

    /// What tells this host from all others, for as long as its data directory lives.
    pub fn host_id(&self) -> anyhow::Result<String> {
        kept(&self.path.join(HOST_ID), || Uuid::new_v4().to_string())
    }

    /// Local sandboxes.
    pub fn sandboxes(&self) -> PathBuf {
        sandboxes(&self.path)
    }

    /// Events that have left the memory of loaded sessions.
    pub fn archive(&self) -> PathBuf {
        self.path.join("archive")
    }

    /// Sessions in which something goes on.
    pub fn agenda(&self) -> PathBuf {
        self.path.join("agenda")
    }

    /// What the store has still to get.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Whether there is something that the store has still to get.
    pub fn has_journal(&self) -> anyhow::Result<bool> {
        let path = self.journal();
        let entries = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            entries => entries.with_context(|| format!("failed to read {}", path.display()))?,
        };
        // What was set aside is in a directory of its own.
        Ok(entries.flatten().any(|entry| entry.path().is_file()))
    }

    /// The database of the built-in adapter.
    pub fn database(&self) -> PathBuf {
        self.path.join("agent-host.db")
    }
}

fn lock_path(data_dir: &Path) -> PathBuf {
    data_dir.join("lock")
}

/// Locks a data directory; `None` if it is locked.
fn lock(data_dir: &Path) -> anyhow::Result<Option<File>> {
    let path = lock_path(data_dir);
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let lock = opened.with_context(|| format!("failed to open {}", path.display()))?;
    for _ in 1..LOCK_TRIES {
        if got(lock.try_lock(), &path)? {
            return Ok(Some(lock));
        }
        // Whoever only looks holds it for a moment.
        std::thread::sleep(LOCK_PAUSE);
    }
    Ok(if got(lock.try_lock(), &path)? { Some(lock) } else { None })
}

/// Whether a host holds the lock of a data directory.
fn is_locked(data_dir: &Path) -> anyhow::Result<bool> {
    let path = lock_path(data_dir);
    match File::open(&path) {
        Ok(lock) => Ok(!got(lock.try_lock_shared(), &path)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("failed to open {}", path.display())),
    }
}

/// Whether a lock was got.
fn got(locked: Result<(), TryLockError>, path: &Path) -> anyhow::Result<bool> {
    match locked {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("failed to lock {}", path.display())),
    }
}

/// What a file of the host's own says; `None` if it is not there or says nothing.
fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
    }
}

/// What a file of the host's own says, which is made if it is not there.
fn kept(path: &Path, make: impl FnOnce() -> String) -> anyhow::Result<String> {
    if let Some(text) = read(path)? {
        return Ok(text);
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
