//! Files for images: contents, which are kept by their hash, and mounts, which are lists of them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tonic::Status;

use crate::proto::client::*;

/// From this size on, the official client puts a file elsewhere.
const LARGE_BYTES: usize = 4 * 1024 * 1024;

/// A file of a mount or of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) contents: Bytes,
    pub(crate) mode: u32,
}

/// Files by their paths, without the slash at the beginning.
pub(crate) type Files = BTreeMap<PathBuf, File>;

/// What was put here.
#[derive(Default)]
pub(crate) struct Mounts {
    contents: BTreeMap<String, Bytes>,
    mounts: BTreeMap<String, Arc<Files>>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_hash(hash: &str) -> Result<(), Status> {
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hash { Ok(()) } else { Err(Status::invalid_argument(format!("{hash:?} is no SHA-256 in hexadecimal digits"))) }
}

/// A path from the root, without its slash; `None` if it leads out.
pub(crate) fn from_root(path: &str) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => relative.push(name),
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(relative)
}

impl Mounts {
    /// Which of these contents are not here.
    pub(crate) fn missing(&self, hashes: Vec<String>) -> Result<Vec<String>, Status> {
        hashes.iter().try_for_each(|hash| check_hash(hash))?;
        Ok(hashes.into_iter().filter(|hash| !self.contents.contains_key(hash)).collect())
    }

    pub(crate) fn put(&mut self, request: MountPutFileRequest) -> Result<bool, Status> {
        use mount_put_file_request::DataOneof;

        let hash = request.sha256_hex;
        check_hash(&hash)?;
        match request.data_oneof {
            None => {}
            Some(DataOneof::DataBlobId(_)) => return Err(Status::unimplemented("the fake has no blobs")),
            Some(DataOneof::Data(data)) if data.len() >= LARGE_BYTES => {
                return Err(Status::invalid_argument(format!("{} bytes are too many to be sent like this", data.len())));
            }
            Some(DataOneof::Data(data)) => {
                let is = hex(&Sha256::digest(&data));
                if is != hash {
                    return Err(Status::invalid_argument(format!("the SHA-256 is {is} and not {hash}")));
                }
                self.contents.insert(hash.clone(), data.into());
            }
        }
        Ok(self.contents.contains_key(&hash))
    }

    /// The same files for the same app are the same mount, in whatever order they are said.
    pub(crate) fn create(&mut self, request: MountGetOrCreateRequest) -> Result<MountGetOrCreateResponse, Status> {
        match (request.object_creation_type(), request.app_id.is_empty()) {
            (ObjectCreationType::AnonymousOwnedByApp, false) | (ObjectCreationType::Ephemeral, true) => {}
            (ObjectCreationType::Unspecified, _) => return Err(Status::not_found("there is no such mount")),
            (creation, _) => return Err(Status::invalid_argument(format!("no mount is created like this: {creation:?}"))),
        }
        let mut files = Files::new();
        for MountFile { filename, sha256_hex, size, mode } in request.files {
            let path = from_root(&filename).filter(|path| filename.starts_with('/') && path.file_name().is_some());
            let path = path.ok_or_else(|| Status::invalid_argument(format!("{filename:?} is no path of a file")))?;
            let contents = self.contents.get(&sha256_hex).cloned();
            let contents =
                contents.ok_or_else(|| Status::failed_precondition(format!("the contents {sha256_hex} of {filename:?} are not here")))?;
            if size.is_some_and(|size| size != contents.len() as u64) {
                return Err(Status::invalid_argument(format!("{filename:?} has {} bytes", contents.len())));
            }
            if files.insert(path, File { contents, mode: mode.unwrap_or(0o644) }).is_some() {
                return Err(Status::invalid_argument(format!("{filename:?} is there twice")));
            }
        }
        if let Some(path) = files.keys().find(|path| path.ancestors().skip(1).any(|above| files.contains_key(above))) {
            return Err(Status::invalid_argument(format!("{path:?} is in a file")));
        }
        let mut digest = Sha256::new();
        for (path, File { contents, mode }) in &files {
            digest.update(format!("{path:?} {mode:o} {} ", hex(&Sha256::digest(contents))));
        }
        let checksum = hex(&digest.clone().finalize());
        digest.update(&request.app_id);
        let mount_id = format!("mo-{}", hex(&digest.finalize()).get(..22).unwrap_or_default());
        self.mounts.insert(mount_id.clone(), Arc::new(files));
        Ok(MountGetOrCreateResponse { mount_id, handle_metadata: Some(MountHandleMetadata { content_checksum_sha256_hex: checksum }) })
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Files>> {
        self.mounts.get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use mount_put_file_request::DataOneof;

    fn put(mounts: &mut Mounts, hash: &str, data: &[u8]) -> Result<bool, Code> {
        let request = MountPutFileRequest { sha256_hex: hash.to_owned(), data_oneof: Some(DataOneof::Data(data.to_vec())) };
        mounts.put(request).map_err(|status| status.code())
    }

    fn create(mounts: &mut Mounts, files: &[(&str, &str, Option<u64>)]) -> Result<String, Code> {
        let file = |(name, hash, size): &(&str, &str, Option<u64>)| MountFile {
            filename: (*name).to_owned(),
            sha256_hex: (*hash).to_owned(),
            size: *size,
            mode: Some(0o755),
        };
        let request = MountGetOrCreateRequest {
            object_creation_type: ObjectCreationType::AnonymousOwnedByApp.into(),
            app_id: "ap-1".to_owned(),
            files: files.iter().map(file).collect(),
            ..Default::default()
        };
        mounts.create(request).map(|created| created.mount_id).map_err(|status| status.code())
    }

    #[test]
    fn what_is_put_and_listed_is_checked() {
        let mut mounts = Mounts::default();
        let (one, other) = (hex(&Sha256::digest(b"one")), hex(&Sha256::digest(b"other")));
        assert_eq!(mounts.missing(vec![one.clone()]).unwrap(), [one.as_str()]);
        assert_eq!(mounts.missing(vec!["beef".to_owned()]).unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(put(&mut mounts, &one, b"other"), Err(Code::InvalidArgument));
        assert_eq!(put(&mut mounts, &hex(&Sha256::digest(vec![0; LARGE_BYTES])), &vec![0; LARGE_BYTES]), Err(Code::InvalidArgument));
        assert_eq!(create(&mut mounts, &[("/a", &one, None)]), Err(Code::FailedPrecondition), "it was not put");
        assert_eq!(put(&mut mounts, &one, b"one"), Ok(true));
        assert!(mounts.missing(vec![one.clone()]).unwrap().is_empty());
        assert_eq!(put(&mut mounts, &other, b"other"), Ok(true));

        let mount = create(&mut mounts, &[("/a", &one, Some(3)), ("/b c/d", &other, None)]).unwrap();
        assert_eq!(create(&mut mounts, &[("/b c/d", &other, Some(5)), ("/a", &one, None)]), Ok(mount.clone()));
        assert_ne!(create(&mut mounts, &[("/a", &one, None)]), Ok(mount.clone()));
        assert_eq!(mounts.get(&mount).unwrap()[Path::new("b c/d")], File { contents: Bytes::from_static(b"other"), mode: 0o755 });
        for bad in [
            &[("/a", one.as_str(), Some(4))][..],
            &[("a", &one, None)],
            &[("/../a", &one, None)],
            &[("/", &one, None)],
            &[("/a", &one, None), ("/a", &other, None)],
            &[("/a", &one, None), ("/a/b", &other, None)],
        ] {
            assert_eq!(create(&mut mounts, bad), Err(Code::InvalidArgument), "{bad:?}");
        }
    }
}
