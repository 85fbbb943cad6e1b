//! All files of a session in one archive.

use std::io::{self, Read as _};

use agent_host_session::path::RelativePath;
use agent_host_session::ports::sandbox::{File, Root};
use bytes::Bytes;
use tar::{Archive, Builder, EntryType, Header};

use super::{HOME, WORKSPACE};

/// A tar archive of the files, to be unpacked at `/`.
pub(super) fn pack(files: &[File]) -> io::Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    for file in files {
        let root = match file.root {
            Root::Home => HOME,
            Root::Workspace => WORKSPACE,
        };
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(file.content.len() as u64);
        header.set_mode(if file.executable { 0o700 } else { 0o600 });
        let path = format!("{}/{}", root.trim_start_matches('/'), file.path);
        archive.append_data(&mut header, path, file.content.as_ref())?;
    }
    archive.into_inner()
}

/// The regular files of an archive whose paths can be.
pub(super) fn unpack(archive: &[u8]) -> io::Result<Vec<(RelativePath, Bytes)>> {
    let mut files = Vec::new();
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_str().and_then(|path| RelativePath::new(path).ok());
        let Some(path) = path.filter(|_| entry.header().entry_type() == EntryType::Regular) else { continue };
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.push((path, content.into()));
    }
    Ok(files)
}
