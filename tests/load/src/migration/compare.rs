//! Whether what was in one store is in another: session by session, stream by stream, file by file.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};

use super::stored::{File, Stored};

/// What was found to be equal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Equal {
    /// Sessions.
    pub(super) sessions: usize,
    /// Streams.
    pub(super) streams: usize,
    /// Files.
    pub(super) files: usize,
    /// Bytes of streams and files, by their SHA-256.
    pub(super) bytes: u64,
}

/// What went on in the new store, so that it has more than the old one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since<'a> {
    /// Sessions that went on: their streams are longer.
    pub(super) worked: &'a BTreeSet<String>,
    /// The file that these wrote to.
    pub(super) file: &'a str,
    /// Sessions that may be gone.
    pub(super) deleted: &'a BTreeSet<String>,
}

/// Looks that all of the old store is in the new one. What is different ends the comparison.
pub(super) fn compare(old: &Stored, new: &Stored, since: Since<'_>) -> anyhow::Result<Equal> {
    let mut equal = Equal::default();
    let there = new.sessions()?;
    for session in old.sessions()? {
        if there.contains(&session) {
            compare_session(old, new, &session, since, &mut equal).with_context(|| format!("the session {session} is not the same"))?;
        } else {
            ensure!(since.deleted.contains(&session), "the session {session} is missing");
        }
    }
    Ok(equal)
}

fn compare_session(old: &Stored, new: &Stored, session: &str, since: Since<'_>, equal: &mut Equal) -> anyhow::Result<()> {
    let worked = since.worked.contains(session);
    let (fixed, changing) = old.record(session)?;
    let (fixed_there, changing_there) = new.record(session)?;
    ensure!(fixed == fixed_there, "the record is {fixed_there} instead of {fixed}");
    ensure!(worked || changing == changing_there, "the record is {changing_there} instead of {changing}");

    let (streams, streams_there) = (old.streams(session)?, new.streams(session)?);
    ensure!(worked || streams == streams_there, "the streams are {streams_there:?} instead of {streams:?}");
    for (name, length) in streams {
        let digest = |stored: &Stored| stored.stream_digest(session, &name, 0..length);
        ensure!(digest(old)? == digest(new)?, "the stream {name} has other bytes");
        equal.streams += 1;
        equal.bytes += length;
    }

    let (files, files_there) = (old.files(session)?, new.files(session)?);
    ensure!(worked || files == files_there, "the files are {files_there:?} instead of {files:?}");
    for (path, file) in files {
        let there = files_there.get(&path).with_context(|| format!("the file {path} is missing"))?;
        check_file(new, session, &path, there)?;
        if !(worked && path == since.file) {
            ensure!(*there == file, "the file {path} is {there:?} instead of {file:?}");
            check_file(old, session, &path, &file)?;
            equal.files += 1;
            equal.bytes += file.size;
        }
    }
    equal.sessions += 1;
    Ok(())
}

/// That the contents are those that the row names.
fn check_file(stored: &Stored, session: &str, path: &str, file: &File) -> anyhow::Result<()> {
    let digest: String = stored.file_digest(session, path)?.iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(digest == file.sha256, "the file {path} has the SHA-256 {digest} instead of {}", file.sha256);
    Ok(())
}
