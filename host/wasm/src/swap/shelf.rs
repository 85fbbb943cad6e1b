//! What is remembered of components over a restart: their bytes, by digest, and which of them served in which order.
//!
//! ```text
//! components/state.json           the generations, and which one serves
//! components/<sha-256>.wasm       a component of one of them
//! ```

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::generation::{Origin, Record};
use crate::cache::Sha256Digest;
use crate::component::Source;

/// What [`Shelf::state`] is, so that a later host can tell an older file.
const FORMAT: u32 = 1;

/// Why the shelf cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("failed to {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file is not one of this program, or of a later version of it.
    #[error("{path} cannot be read: {reason}; without it the host starts as configured", path = path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A component's bytes are not those that were put there.
    #[error("the component {path} is damaged: its digest is {found}", path = path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// The digest of what is there.
        found: String,
    },
}

/// Generations, and which one serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct State {
    format: u32,
    /// The number of the newest generation.
    pub(super) newest: u64,
    /// Generations that served, the one that does last. The ones before it can be gone back to.
    pub(super) persistence: Vec<Record>,
}

impl Default for State {
    fn default() -> Self {
        Self { format: FORMAT, newest: 0, persistence: Vec::new() }
    }
}

/// A directory of components. All of it blocks.
#[derive(Clone, Debug)]
pub(super) struct Shelf(PathBuf);

impl Shelf {
    /// Makes the directory, for its owner only, if it is not there.
    pub(super) fn open(directory: PathBuf) -> Result<Self, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|source| Error::Io { action: "create", path: directory.clone(), source })?;
        Ok(Self(directory))
    }

    pub(super) fn state(&self) -> Result<State, Error> {
        let path = self.state_path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
            Err(source) => return Err(Error::Io { action: "read", path, source }),
        };
        let state: State = serde_json::from_slice(&text).map_err(|error| Error::State { path: path.clone(), reason: error.to_string() })?;
        if state.format != FORMAT {
            return Err(Error::State { path, reason: format!("its format is {}, and this host knows {FORMAT}", state.format) });
        }
        Ok(state)
    }

    /// Keeps the state, and [tidies](Self::tidy).
    pub(super) fn keep(&self, state: &State) -> Result<(), Error> {
        let path = self.state_path();
        let text = serde_json::to_vec_pretty(state).map_err(|error| Error::State { path: path.clone(), reason: error.to_string() })?;
        self.write(&path, &text)?;
        self.tidy(state)
    }

    /// Removes the components of which the state does not speak.
    pub(super) fn tidy(&self, state: &State) -> Result<(), Error> {
        let listed = fs::read_dir(&self.0).map_err(|source| Error::Io { action: "list", path: self.0.clone(), source })?;
        for entry in listed.flatten() {
            let name = entry.file_name();
            let Some(digest) = name.to_str().and_then(|name| name.strip_suffix(".wasm")) else { continue };
            if !state.persistence.iter().any(|record| record.digest == digest)
                && let Err(error) = fs::remove_file(entry.path())
            {
                // It takes room, and nothing else.
                tracing::warn!(path = %entry.path().display(), %error, "failed to remove a component that is not used any more");
            }
        }
        Ok(())
    }

    /// Puts a component there.
    pub(super) fn put(&self, digest: &Sha256Digest, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(&digest.to_string());
        if self.get(&digest.to_string()).is_err() {
            self.write(&path, bytes)?;
        }
        Ok(())
    }

    /// A component's bytes, if it is there and whole.
    pub(super) fn get(&self, digest: &str) -> Result<Vec<u8>, Error> {
        let path = self.path(digest);
        let bytes = fs::read(&path).map_err(|source| Error::Io { action: "read", path: path.clone(), source })?;
        let found = Sha256Digest::of(&bytes).to_string();
        if found == digest { Ok(bytes) } else { Err(Error::Damaged { path, found }) }
    }

    /// Where a component of this digest is, or would be. The digest is checked to be one: it comes from users.
    pub(super) fn path(&self, digest: &str) -> PathBuf {
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.0.join(if is_digest { format!("{digest}.wasm") } else { "not-a-digest".to_owned() })
    }

    /// The component of a digest that is there.
    pub(super) fn source(&self, origin: &Origin, digest: &str) -> Source {
        let short: String = digest.chars().take(12).collect();
        Source::Kept { name: format!("{origin} ({short})"), path: self.path(digest) }
    }

    fn state_path(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// Whole or not at all, and there after a power failure.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let written = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            File::open(&self.0)?.sync_all()
        };
        written().map_err(|source| Error::Io { action: "write", path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use agent_host_session::time::Timestamp;

    use super::super::generation::Plan;
    use super::*;

    fn record(digest: &Sha256Digest) -> Record {
        Record {
            generation: 1,
            digest: digest.to_string(),
            plan: Plan { origin: Origin::Upload, config: None, grants: Some(serde_json::json!({"env": {"A": "env:B"}})) },
            name: "sql".into(),
            version: "1".into(),
            since: Timestamp::from_millis(5),
            migrated: false,
        }
    }

    #[test]
    fn what_is_kept_is_there_again_and_what_is_not_spoken_of_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(directory.path().join("components")).unwrap();
        assert_eq!(shelf.state().unwrap(), State::default());
        let (kept, dropped) = (Sha256Digest::of(b"kept"), Sha256Digest::of(b"dropped"));
        shelf.put(&kept, b"kept").unwrap();
        shelf.put(&dropped, b"dropped").unwrap();
        let state = State { newest: 1, persistence: vec![record(&kept)], ..State::default() };
        shelf.keep(&state).unwrap();
        assert_eq!(shelf.state().unwrap(), state);
        assert_eq!(shelf.get(&kept.to_string()).unwrap(), b"kept");
        assert!(shelf.get(&dropped.to_string()).is_err());
    }

    #[test]
    fn damage_is_noticed_and_mended() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(directory.path().to_owned()).unwrap();
        let digest = Sha256Digest::of(b"component");
        shelf.put(&digest, b"component").unwrap();
        let path = shelf.path(&digest.to_string());
        fs::write(&path, b"compo").unwrap();
        assert!(matches!(shelf.get(&digest.to_string()), Err(Error::Damaged { .. })));
        shelf.put(&digest, b"component").unwrap();
        assert_eq!(shelf.get(&digest.to_string()).unwrap(), b"component");
        fs::write(directory.path().join("state.json"), b"{").unwrap();
        assert!(matches!(shelf.state(), Err(Error::State { .. })));
    }

    #[test]
    fn a_digest_from_a_user_cannot_name_another_file() {
        let shelf = Shelf::open(tempfile::tempdir().unwrap().path().join("x")).unwrap();
        assert!(shelf.path("../../etc/passwd").ends_with("not-a-digest"));
    }
}
