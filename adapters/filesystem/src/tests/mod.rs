//! The storage as a plain struct over a directory. (Whether the component keeps the contract is what `agent-host adapter test` tries.)

mod contract;
pub(crate) mod fuse;
mod instances;
mod killed;
mod layout;
mod listing;
mod process;
mod torn;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use agent_host_adapter::*;
use tempfile::TempDir;

use crate::FileSystem;

const MAIN: &str = "transcript/main";

/// A directory, and what was opened in it last.
struct Store {
    directory: TempDir,
    adapter: FileSystem,
}

impl Store {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { adapter: open(directory.path()).unwrap(), directory }
    }

    /// With the session `s` of epoch 5.
    fn with_session() -> Self {
        let mut store = Self::new();
        store.adapter.create_session(5, record("s", 10)).unwrap();
        store
    }

    /// Opens it again, as after the end of a process.
    fn reopen(&mut self) {
        self.adapter = self.another();
    }

    /// Another instance beside this one.
    fn another(&self) -> FileSystem {
        open(self.directory.path()).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Makes a file or directory look as if it had been there for long.
    fn make_old(&self, path: &str) {
        fs::File::open(self.path(path)).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }

    /// All files but the adapter's own, sorted.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        collect(self.directory.path(), self.directory.path(), &mut files);
        files.retain(|path| !path.starts_with(".agent-host/"));
        files.sort();
        files
    }
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            collect(root, &path, files);
        } else {
            files.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

fn open(directory: &Path) -> Result<FileSystem> {
    FileSystem::open(&Config::new(vec![("directory".to_owned(), directory.to_str().unwrap().to_owned())]))
}

fn record(id: &str, created_at: u64) -> SessionRecord {
    SessionRecord {
        id: id.to_owned(),
        created_at,
        last_activity: created_at,
        profile: "default".to_owned(),
        architecture: "echo".to_owned(),
        name: None,
        options: None,
        extra: None,
    }
}

/// A file whose digest is made of its content.
fn file(path: &str, content: &[u8]) -> FileInfo {
    let sum = content.iter().fold(content.len() as u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    FileInfo {
        path: path.to_owned(),
        size: content.len() as u64,
        sha256: format!("{sum:064x}"),
        created_at: 1,
        modified_at: 2,
        extra: None,
    }
}

fn renamed(name: &str) -> SessionChanges {
    SessionChanges { last_activity: None, name: Some(name.to_owned()), options: None, extra: None }
}

fn save(adapter: &mut FileSystem, path: &str, content: &[u8]) {
    adapter.save_file(5, "s", file(path, content), content.to_vec()).unwrap();
}

fn snapshot(adapter: &FileSystem) -> Snapshot {
    adapter.load_session("s").unwrap().unwrap()
}

fn length(adapter: &FileSystem, stream: &str) -> u64 {
    snapshot(adapter).streams.iter().find(|there| there.name == stream).map_or(0, |there| there.length)
}

fn ids(page: &Page) -> Vec<&str> {
    page.sessions.iter().map(|session| session.id.as_str()).collect()
}
