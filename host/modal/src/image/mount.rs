//! Mounts: lists of files that Modal has, from which the build of an image copies.

use std::collections::BTreeMap;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::files::Files;
use crate::client::{CallOptions, rpc};
use crate::proto::client::mount_put_file_request::DataOneof;
use crate::proto::client::{
    MountBatchedCheckExistenceRequest, MountFile, MountGetOrCreateRequest, MountPutFileRequest, ObjectCreationType,
};
use crate::{App, Error};

const DOING: &str = "sending the files of an image";

/// About how many files one call asks whether they are there: as many as the official client.
const BATCH: usize = 64;

/// How many files are sent at the same time, each of them below 4 MiB. The official client sends 64, and slow lines have longer to wait for each of those.
const CONCURRENT: usize = 16;

/// How long Modal may take to have a file that it was sent: as long as the official client waits.
const PUT_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// A mount with the files below a directory. The same ones are the same mount.
pub(super) async fn create(app: &App, files: &Files, directory: &str) -> Result<String, Error> {
    files.check()?;
    let directory = normal(directory)?;
    let mut contents = BTreeMap::new();
    let mut listed = Vec::new();
    for (path, file) in files.iter() {
        let sha256_hex: String = file.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let mode = if file.is_executable { 0o755 } else { 0o644 };
        // The official client does not say the size, which there is a field for.
        listed.push(MountFile { filename: format!("{directory}/{path}"), sha256_hex: sha256_hex.clone(), size: None, mode: Some(mode) });
        contents.insert(sha256_hex, file.contents.clone());
    }
    let missing = missing(app, &contents).await?;
    tracing::debug!(files = listed.len(), missing = missing.len(), "files of an image are sent");
    let sent = missing.into_iter().filter_map(|hash| contents.remove_entry(&hash)).map(|(hash, data)| put(app, hash, data));
    stream::iter(sent).buffer_unordered(CONCURRENT).try_collect::<()>().await?;
    let request = MountGetOrCreateRequest {
        object_creation_type: ObjectCreationType::AnonymousOwnedByApp.into(),
        files: listed,
        app_id: app.id().to_owned(),
        ..MountGetOrCreateRequest::default()
    };
    Ok(app.client().call(DOING, CallOptions::default(), request, rpc!(mount_get_or_create)).await?.mount_id)
}

/// An absolute path without a slash at the end.
fn normal(directory: &str) -> Result<String, Error> {
    let parts: Vec<_> = directory.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if !directory.starts_with('/') || directory.contains('\0') || parts.contains(&"..") {
        return Err(Error::Invalid {
            doing: super::DOING,
            reason: format!("files cannot be copied to {directory:?}, which is no absolute path"),
        });
    }
    Ok(parts.iter().map(|part| format!("/{part}")).collect())
}

/// Which contents Modal does not have.
async fn missing(app: &App, contents: &BTreeMap<String, Bytes>) -> Result<Vec<String>, Error> {
    let hashes: Vec<_> = contents.keys().cloned().collect();
    let mut missing = Vec::new();
    for batch in hashes.chunks(BATCH) {
        let request = MountBatchedCheckExistenceRequest { sha256_hex_hashes: batch.to_vec() };
        let answer = app.client().call(DOING, CallOptions::default(), request, rpc!(mount_batched_check_existence)).await?;
        missing.extend(answer.missing_sha256_hex_hashes);
    }
    Ok(missing)
}

async fn put(app: &App, sha256_hex: String, data: Bytes) -> Result<(), Error> {
    let request = MountPutFileRequest { sha256_hex, data_oneof: Some(DataOneof::Data(data)) };
    // Modal has it when it says so. Until then it is sent again.
    let sent = async {
        let pauses = ExponentialBuilder::new().with_min_delay(Duration::from_millis(100)).with_max_delay(Duration::from_secs(10));
        for pause in pauses.without_max_times().build() {
            if app.client().call(DOING, CallOptions::default(), request.clone(), rpc!(mount_put_file)).await?.exists {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        Ok(())
    };
    tokio::time::timeout(PUT_TIMEOUT, sent).await.unwrap_or(Err(Error::TimedOut { doing: DOING, limit: PUT_TIMEOUT }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_absolute_and_written_in_one_way() {
        for (directory, written) in [("/", ""), ("/opt/x", "/opt/x"), ("/opt//x/./y/", "/opt/x/y"), ("/with space", "/with space")] {
            assert_eq!(normal(directory).unwrap(), written);
        }
        for bad in ["", "opt", "/opt/../etc", "./opt", "/\0"] {
            assert!(matches!(normal(bad), Err(Error::Invalid { .. })), "{bad:?}");
        }
    }
}
