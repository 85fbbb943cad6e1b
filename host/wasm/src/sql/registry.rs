//! Databases that are open, so that two components that are granted the same file share its one writer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::Error;
use super::database::{Database, SqliteOptions, WeakDatabase};

/// The databases that are open in this process, by path. They are closed with the last component that was granted them.
#[derive(Default)]
pub struct OpenDatabases(Mutex<HashMap<PathBuf, WeakDatabase>>);

impl OpenDatabases {
    /// The database at `path`, which is opened if it is not. Blocks while it is.
    ///
    /// # Errors
    /// As for [`Database::open_sqlite`].
    pub fn sqlite(&self, path: &Path, options: &SqliteOptions) -> Result<Database, Error> {
        // Held while one is opened, so that nobody else opens the same.
        let mut open = self.0.lock();
        open.retain(|_, database| database.is_open());
        // By another name it may be the same file; before it is made it has no other name.
        let name = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let Some(database) = open.get(&name).and_then(WeakDatabase::upgrade) {
            return Ok(database);
        }
        let database = Database::open_sqlite(path, options)?;
        let name = path.canonicalize().unwrap_or(name);
        open.insert(name, database.downgrade());
        Ok(database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_open_once_by_whatever_name_and_closed_with_the_last_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("a.db"), directory.path().join("link.db"));
        let databases = OpenDatabases::default();
        let first = databases.sqlite(&path, &SqliteOptions::default()).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let second = databases.sqlite(&link, &SqliteOptions::default()).unwrap();
        assert!(first.is(&second));
        drop((first, second));
        databases.sqlite(&directory.path().join("b.db"), &SqliteOptions::default()).unwrap();
        assert!(!databases.0.lock().contains_key(&path.canonicalize().unwrap()));
    }
}
