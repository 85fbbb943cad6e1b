//! Looking at workspace files.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{RunEvent, SeenContent, SeenFile, send};
use crate::hex;
use crate::path::RelativePath;
use crate::ports::sandbox::{Content, Sandbox};

/// Above this size a file is hashed on a thread for blocking work. Hashing that much takes about as long as the way there and back.
const INLINE_HASH_BYTES: usize = 64 * 1024;

/// Reads the files and tells the session how they are, one by one, so that no more than a few are held at once. A file that cannot be read stays as
/// the session knows it.
pub(super) async fn report(sandbox: &dyn Sandbox, paths: Vec<RelativePath>, limit: u64, events: &mpsc::Sender<RunEvent>) {
    for path in paths {
        let content = match sandbox.read(&path, limit).await {
            Ok(Content::Absent) => SeenContent::Absent,
            Ok(Content::TooLarge { size }) => SeenContent::TooLarge { size },
            Ok(Content::Bytes(bytes)) => {
                let sha256 = hash(&bytes).await;
                SeenContent::Bytes { bytes, sha256 }
            }
            Err(error) => {
                tracing::warn!(sandbox = sandbox.id(), %path, %error, "failed to read a workspace file");
                continue;
            }
        };
        send(events, RunEvent::File(SeenFile { path, content })).await;
    }
}

/// SHA-256 as 64 lower-case hexadecimal digits.
async fn hash(bytes: &Bytes) -> String {
    if bytes.len() <= INLINE_HASH_BYTES {
        return digest(bytes);
    }
    let shared = bytes.clone();
    match tokio::task::spawn_blocking(move || digest(&shared)).await {
        Ok(digest) => digest,
        // The runtime is shutting down and takes no more blocking work.
        Err(_) => digest(bytes),
    }
}

fn digest(bytes: &Bytes) -> String {
    hex::encode(&Sha256::digest(bytes))
}
