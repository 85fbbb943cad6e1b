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

#[cfg(test)]
mod tests {
    use super::*;

    /// A store of one session with a transcript of two chunks and a file, after which `then` is done to it.
    fn store(then: &str) -> Stored {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let database = rusqlite::Connection::open(&path).unwrap();
        let made = database.execute_batch(
            "CREATE TABLE sessions (id, epoch, created_at, last_activity, profile, architecture, name, options, extra);
             CREATE TABLE streams (id, session, name, length);
             CREATE TABLE stream_chunks (stream, start, data);
             CREATE TABLE files (id, session, path, size, sha256, created_at, modified_at, extra);
             CREATE TABLE file_chunks (file, start, data);
             INSERT INTO sessions VALUES ('s', 1, 10, 20, 'default', 'echo', NULL, '{}', NULL);
             INSERT INTO streams VALUES (1, 's', 'transcript/main', 6);
             INSERT INTO stream_chunks VALUES (1, 0, x'616263'), (1, 3, x'646566');
             INSERT INTO files VALUES
                 (1, 's', 'a.txt', 1, 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb', 11, 12, NULL);
             INSERT INTO file_chunks VALUES (1, 0, x'61');",
        );
        made.unwrap();
        database.execute_batch(then).unwrap();
        Stored::open(&path).unwrap()
    }

    fn compared(then: &str, worked: &[&str], deleted: &[&str]) -> anyhow::Result<Equal> {
        let [worked, deleted] = [worked, deleted].map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        compare(&store(""), &store(then), Since { worked: &worked, file: "work.txt", deleted: &deleted })
    }

    #[test]
    fn what_is_the_same_is_equal_however_it_is_cut() {
        let cut = "DELETE FROM stream_chunks; INSERT INTO stream_chunks VALUES (1, 0, x'61626364'), (1, 4, x'6566')";
        let equal = compared(cut, &[], &[]).unwrap();
        assert_eq!((equal.sessions, equal.streams, equal.files, equal.bytes), (1, 1, 1, 7));
    }

    #[test]
    fn whatever_is_different_is_found() {
        for then in [
            "DELETE FROM sessions",
            "UPDATE sessions SET last_activity = 21",
            "DELETE FROM streams",
            "UPDATE stream_chunks SET data = x'616264' WHERE start = 0",
            "DELETE FROM stream_chunks WHERE start = 3",
            "UPDATE stream_chunks SET start = 4 WHERE start = 3",
            "UPDATE streams SET length = 7",
            "DELETE FROM files",
            "UPDATE files SET modified_at = 13",
            "UPDATE file_chunks SET data = x'62'",
        ] {
            assert!(compared(then, &[], &[]).is_err(), "{then}");
        }
    }

    #[test]
    fn a_session_that_went_on_has_more_and_nothing_less() {
        let longer =
            "UPDATE streams SET length = 7; INSERT INTO stream_chunks VALUES (1, 6, x'67'); UPDATE sessions SET last_activity = 21;";
        assert_eq!(compared(longer, &["s"], &[]).unwrap().bytes, 7);
        assert!(compared(longer, &[], &[]).is_err());
        for then in
            ["UPDATE stream_chunks SET data = x'616264' WHERE start = 0", "UPDATE sessions SET created_at = 11", "DELETE FROM files"]
        {
            assert!(compared(&format!("{longer}{then}"), &["s"], &[]).is_err(), "{then}");
        }
    }

    #[test]
    fn only_what_was_deleted_may_be_gone() {
        assert_eq!(compared("DELETE FROM sessions", &[], &["s"]).unwrap().sessions, 0);
        assert!(compared("DELETE FROM sessions", &["s"], &["t"]).is_err());
    }
}
