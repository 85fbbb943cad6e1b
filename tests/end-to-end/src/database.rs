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

    /// The bytes of a stream of a session (`transcript/main`), as they are stored now.
    pub fn stored_stream(&self, sqlite: &Path, session: &str, stream: &str) -> Vec<u8> {
        let query = format!(
            "SELECT hex(data) FROM stream_chunks JOIN streams ON streams.id = stream_chunks.stream \
             WHERE session = '{session}' AND name = '{stream}' ORDER BY start"
        );
        let mut command = self.beside_the_database(sqlite);
        let output = command.arg("-readonly").arg(self.database()).arg(query).output().expect("failed to run sqlite3");
        assert!(output.status.success(), "sqlite3 failed: {}", String::from_utf8_lossy(&output.stderr));
        let digits: Vec<u32> = output.stdout.iter().filter_map(|digit| char::from(*digit).to_digit(16)).collect();
        digits.chunks_exact(2).filter_map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
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
