//! Databases that are open, so that two components that are granted the same file share its one writer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::Error;
use super::postgres::{Postgres, WeakPostgres};
use super::sqlite::{Sqlite, WeakSqlite};
use super::{Database, PostgresOptions, SqliteOptions};

/// The databases that are open in this process. They are closed with the last component that was granted them.
#[derive(Default)]
pub struct OpenDatabases {
    /// By path.
    files: Mutex<HashMap<PathBuf, WeakSqlite>>,
    /// Locked while one is opened, which waits for its server.
    servers: tokio::sync::Mutex<Vec<WeakPostgres>>,
}

impl OpenDatabases {
    /// The database at `path`, which is opened if it is not. Blocks while it is.
    ///
    /// # Errors
    /// As for [`Database::open_sqlite`].
    pub fn sqlite(&self, path: &Path, options: &SqliteOptions) -> Result<Database, Error> {
        // Held while one is opened, so that nobody else opens the same.
        let mut open = self.files.lock();
        open.retain(|_, file| file.is_open());
        // By another name it may be the same file; before it is made it has no other name.
        let name = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let Some(file) = open.get(&name).and_then(WeakSqlite::upgrade) {
            return Ok(file.into());
        }
        let file = Sqlite::open(path, options)?;
        let name = path.canonicalize().unwrap_or(name);
        open.insert(name, file.downgrade());
        Ok(file.into())
    }

    /// The PostgreSQL database of these options, which is connected to if it is not.
    ///
    /// # Errors
    /// As for [`Database::open_postgres`].
    pub async fn postgres(&self, options: &PostgresOptions) -> Result<Database, Error> {
        let mut open = self.servers.lock().await;
        let mut found = None;
        open.retain(|server| {
            let server = server.upgrade();
            let is_open = server.is_some();
            found = found.take().or(server.filter(|server| server.has(options)));
            is_open
        });
        if let Some(server) = found {
            return Ok(server.into());
        }
        let server = Postgres::open(options).await?;
        open.push(server.downgrade());
        Ok(server.into())
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
        assert!(!databases.files.lock().contains_key(&path.canonicalize().unwrap()));
    }
}
