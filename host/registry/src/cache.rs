//! What was pulled before: manifests and components by their digest, as an OCI image layout has them, and the signatures of manifests.
//!
//! ```text
//! blobs/sha256/<digest>       a manifest, or a component
//! signatures/<digest>.json    signatures of a manifest that were accepted once
//! ```
//!
//! Everything is checked when it is read, so that what is damaged is pulled again; it may be removed at any time.

use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::Error;
use crate::reference::Digest;
use crate::signature::Signature;

#[derive(Debug)]
pub(crate) struct Cache(PathBuf);

impl Cache {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.0.join("blobs").join("sha256").join(digest.hex())
    }

    fn signatures_path(&self, digest: &Digest) -> PathBuf {
        self.0.join("signatures").join(format!("{}.json", digest.hex()))
    }

    /// What is there, if it is whole.
    pub(crate) async fn get(&self, digest: &Digest) -> Option<Bytes> {
        let path = self.path(digest);
        let bytes = tokio::fs::read(&path).await.ok()?;
        if Digest::of(&bytes) == *digest {
            return Some(bytes.into());
        }
        tracing::warn!(path = %path.display(), "a component from a registry is damaged, and is pulled again");
        None
    }

    pub(crate) async fn put(&self, digest: &Digest, bytes: &Bytes) -> Result<(), Error> {
        self.write(self.path(digest), bytes.clone()).await
    }

    /// What was accepted once. It is looked at again: other keys may be trusted now.
    pub(crate) async fn signatures(&self, digest: &Digest) -> Vec<Signature> {
        let read = tokio::fs::read(self.signatures_path(digest)).await;
        read.ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    pub(crate) async fn put_signatures(&self, digest: &Digest, signatures: &[Signature]) -> Result<(), Error> {
        let path = self.signatures_path(digest);
        let text =
            serde_json::to_vec(signatures).map_err(|error| Error::Cache { action: "write", path: path.clone(), source: error.into() })?;
        self.write(path, text.into()).await
    }

    /// Whole or not at all.
    async fn write(&self, path: PathBuf, bytes: Bytes) -> Result<(), Error> {
        let written = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || replace(&path, &bytes)).await.unwrap_or_else(|error| Err(io::Error::other(error)))
        };
        written.map_err(|source| Error::Cache { action: "write", path, source })
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_damaged_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().join("registry"));
        let digest = Digest::of(b"component");
        assert_eq!(cache.get(&digest).await, None);
        cache.put(&digest, &Bytes::from_static(b"component")).await.unwrap();
        assert_eq!(cache.get(&digest).await.unwrap(), b"component".as_slice());
        std::fs::write(cache.path(&digest), b"compo").unwrap();
        assert_eq!(cache.get(&digest).await, None);
        std::fs::create_dir_all(cache.signatures_path(&digest).parent().unwrap()).unwrap();
        std::fs::write(cache.signatures_path(&digest), b"[{").unwrap();
        assert_eq!(cache.signatures(&digest).await, Vec::new());
    }
}
