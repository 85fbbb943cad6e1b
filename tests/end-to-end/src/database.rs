//! What is in the adapter's database while the host runs, as another program sees it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::host::Host;

/// What every SQLite database begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

impl Host {
    /// All databases below the data directory as SQL, by the program `sqlite3`. Texts are in it as they are, bytes in hexadecimal.
    pub fn database_dump(&self, sqlite: &Path) -> String {
        let databases: Vec<PathBuf> = files_below(&self.data_directory()).into_iter().filter(|path| is_database(path)).collect();
        assert!(!databases.is_empty(), "no SQLite database below {}", self.data_directory().display());
        databases.iter().map(|database| dump(sqlite, database)).collect()
    }
}

fn dump(sqlite: &Path, database: &Path) -> String {
    let output = Command::new(sqlite).arg("-readonly").arg(database).arg(".dump").output().expect("failed to run sqlite3");
    assert!(output.status.success(), "sqlite3 failed on {}: {}", database.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.flat_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files_below(&entry.path()),
        Ok(kind) if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    });
    files.collect()
}

fn is_database(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 16];
    fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok()) && start == *MAGIC
}
