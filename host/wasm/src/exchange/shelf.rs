//! What is remembered of components over a restart: their bytes, by digest, and which of them serve, or served.
//!
//! ```text
//! components/state.json           which they are
//! components/<sha-256>.wasm       the bytes of one of them
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Origin;
use crate::cache::Sha256Digest;
use crate::component::Source;

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

/// What is remembered beside the components: an object in JSON.
pub(crate) trait Kept: Default + Serialize + DeserializeOwned {
    /// What this host writes as `format` beside the rest, so that a later one can tell an older file.
    const FORMAT: u32 = 1;

    /// Whether a component of this digest is needed.
    fn needs(&self, digest: &str) -> bool;
}

/// The state as it is in the file.
#[derive(Serialize)]
struct Envelope<'a, K> {
    format: u32,
    #[serde(flatten)]
    state: &'a K,
}

/// A directory of components. What is not async blocks.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    directory: PathBuf,
    /// How many are at work with a component that the state may not speak of yet.
    pinned: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// Keeps a component on the shelf whatever the state says.
#[must_use]
#[derive(Debug)]
pub(crate) struct Pin {
    digest: String,
    pinned: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pinned = self.pinned.lock();
        if let Some(count) = pinned.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                pinned.remove(&self.digest);
            }
        }
    }
}

impl Shelf {
    /// Makes the directory, for its owner only, if it is not there.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|source| Error::Io { action: "create", path: directory.clone(), source })?;
        Ok(Self { directory, pinned: Arc::default() })
    }

    /// Keeps a component of this digest, if it is there or comes, until the pin is dropped.
    pub(crate) fn pin(&self, digest: &str) -> Pin {
        *self.pinned.lock().entry(digest.to_owned()).or_default() += 1;
        Pin { digest: digest.to_owned(), pinned: Arc::clone(&self.pinned) }
    }

    pub(crate) fn state<K: Kept>(&self) -> Result<K, Error> {
        let path = self.state_path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(K::default()),
            Err(source) => return Err(Error::Io { action: "read", path, source }),
        };
        let unreadable = |reason: String| Error::State { path: path.clone(), reason };
        let mut fields: Map<String, Value> = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        let (found, known) = (fields.remove("format").unwrap_or_default(), K::FORMAT);
        if found != known {
            return Err(unreadable(format!("its format is {found}, and this host knows {known}")));
        }
        serde_json::from_value(Value::Object(fields)).map_err(|error| unreadable(error.to_string()))
    }

    /// Keeps the state, and [tidies](Self::tidy). After an error it is as before.
    pub(crate) fn keep<K: Kept>(&self, state: &K) -> Result<(), Error> {
        let path = self.state_path();
        let text = serde_json::to_vec_pretty(&Envelope { format: K::FORMAT, state })
            .map_err(|error| Error::State { path: path.clone(), reason: error.to_string() })?;
        self.write(&path, &text)?;
        if let Err(error) = self.tidy(state) {
            tracing::warn!(%error, "failed to remove components that are not needed any more");
        }
        Ok(())
    }

    /// [Keeps](Self::keep) the state without blocking.
    pub(crate) async fn keep_aside<K: Kept + Clone + Send + 'static>(&self, state: &K) -> Result<(), Error> {
        let (shelf, state) = (self.clone(), state.clone());
        let broken = |error| Error::Io { action: "write", path: self.state_path(), source: io::Error::other(error) };
        tokio::task::spawn_blocking(move || shelf.keep(&state)).await.unwrap_or_else(|error| Err(broken(error)))
    }

    /// Removes the components of which the state does not speak, and that nobody is at work with.
    pub(crate) fn tidy<K: Kept>(&self, state: &K) -> Result<(), Error> {
        let listed = fs::read_dir(&self.directory).map_err(|source| Error::Io { action: "list", path: self.directory.clone(), source })?;
        for entry in listed.flatten() {
            let name = entry.file_name();
            let Some(digest) = name.to_str().and_then(|name| name.strip_suffix(".wasm")) else { continue };
            if !state.needs(digest)
                && !self.pinned.lock().contains_key(digest)
                && let Err(error) = fs::remove_file(entry.path())
            {
                // It takes room, and nothing else.
                tracing::warn!(path = %entry.path().display(), %error, "failed to remove a component that is not used any more");
            }
        }
        Ok(())
    }

    /// Puts a component there.
    pub(crate) fn put(&self, digest: &Sha256Digest, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(&digest.to_string());
        if self.get(&digest.to_string()).is_err() {
            self.write(&path, bytes)?;
        }
        Ok(())
    }

    /// A component's bytes, if it is there and whole.
    pub(crate) fn get(&self, digest: &str) -> Result<Vec<u8>, Error> {
        let path = self.path(digest);
        let bytes = fs::read(&path).map_err(|source| Error::Io { action: "read", path: path.clone(), source })?;
        let found = Sha256Digest::of(&bytes).to_string();
        if found == digest { Ok(bytes) } else { Err(Error::Damaged { path, found }) }
    }

    /// Where a component of this digest is, or would be. The digest is checked to be one: it comes from users.
    pub(crate) fn path(&self, digest: &str) -> PathBuf {
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.directory.join(if is_digest { format!("{digest}.wasm") } else { "not-a-digest".to_owned() })
    }

    /// The component of a digest that is there.
    pub(crate) fn source(&self, origin: &Origin, digest: &str) -> Source {
        let short: String = digest.chars().take(12).collect();
        Source::Kept { name: format!("{origin} ({short})"), path: self.path(digest) }
    }

    fn state_path(&self) -> PathBuf {
        self.directory.join("state.json")
    }

    /// Whole or not at all, and there after a power failure.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let written = || {
            // All that may be refused comes before the file takes its place.
            let directory = File::open(&self.directory)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            directory.sync_all()
        };
        written().map_err(|source| Error::Io { action: "write", path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct State {
        needed: Vec<String>,
    }

    impl Kept for State {
        fn needs(&self, digest: &str) -> bool {
            self.needed.iter().any(|needed| needed == digest)
        }
    }

    #[test]
    fn what_is_kept_is_there_again_and_what_is_not_spoken_of_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(directory.path().join("components")).unwrap();
        assert_eq!(shelf.state::<State>().unwrap(), State::default());
        let (kept, dropped) = (Sha256Digest::of(b"kept"), Sha256Digest::of(b"dropped"));
        shelf.put(&kept, b"kept").unwrap();
        shelf.put(&dropped, b"dropped").unwrap();
        let state = State { needed: vec![kept.to_string()] };
        shelf.keep(&state).unwrap();
        assert_eq!(shelf.state::<State>().unwrap(), state);
        assert_eq!(shelf.get(&kept.to_string()).unwrap(), b"kept");
        assert!(shelf.get(&dropped.to_string()).is_err());
        // One that is being made ready is spared by whatever happens meanwhile.
        let pin = shelf.pin(&dropped.to_string());
        shelf.put(&dropped, b"dropped").unwrap();
        shelf.keep(&state).unwrap();
        assert_eq!(shelf.get(&dropped.to_string()).unwrap(), b"dropped");
        drop(pin);
        shelf.tidy(&state).unwrap();
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
        for text in ["{", r#"{"format": 2, "needed": []}"#, r#"{"needed": []}"#] {
            fs::write(directory.path().join("state.json"), text).unwrap();
            assert!(matches!(shelf.state::<State>(), Err(Error::State { .. })), "{text}");
        }
    }

    #[test]
    fn a_digest_from_a_user_cannot_name_another_file() {
        let shelf = Shelf::open(tempfile::tempdir().unwrap().path().join("x")).unwrap();
        assert!(shelf.path("../../etc/passwd").ends_with("not-a-digest"));
    }
}
