//! Workspace files: a file each, under its own path. What is known of them is in the journal.

use std::path::{Path, PathBuf};

use agent_host_adapter::{Epoch, Error, FileInfo, MAX_READ_BYTES, Result};

use crate::disk::{self, Kind, Scratch};
use crate::names;
use crate::session::{Change, File, FileLine, Session};

/// The directory in a session's directory.
const WORKSPACE: &str = "workspace";

/// Where a file is in its session's directory.
pub(crate) fn location(file: &File) -> PathBuf {
    Path::new(WORKSPACE).join(file.stored_as.clone().unwrap_or_else(|| names::of_path(&file.info.path)))
}

pub(crate) fn list(session: &Session) -> Vec<FileInfo> {
    session.state().files.values().map(|file| file.info.clone()).collect()
}

pub(crate) fn save(session: &mut Session, epoch: Epoch, info: FileInfo, content: &[u8], scratch: &Scratch) -> Result<()> {
    session.check(epoch)?;
    if info.size != content.len() as u64 {
        return Err(Error::invalid(format!("the file is said to have {} bytes, and comes with {}", info.size, content.len())));
    }
    let known = session.state().files.get(&info.path);
    let is_same = known.is_some_and(|known| known.info.sha256 == info.sha256 && has(session, known, content));
    if is_same && known.is_some_and(|known| known.info == info) {
        return session.claim(epoch, scratch);
    }
    let stored_as = match known {
        Some(known) => known.stored_as.clone(),
        None => place(&session.directory().join(WORKSPACE), &info.path)?,
    };
    // What has not changed is not written again.
    let from = if is_same { None } else { Some(session.prepare(content)?) };
    session.commit(epoch, Change::File(FileLine::new(&File { info, stored_as }, from)), scratch)
}

/// Whether a file has this content.
fn has(session: &Session, file: &File, content: &[u8]) -> bool {
    let path = session.directory().join(location(file));
    file.info.size == content.len() as u64 && disk::read_range(&path, 0, content.len()).is_ok_and(|there| there == content)
}

pub(crate) fn read(session: &Session, id: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
    let file = session.state().files.get(path).ok_or_else(|| Error::no_such_file(id, path))?;
    let rest = file.info.size.saturating_sub(offset);
    let wanted = usize::try_from(rest.min(max.min(MAX_READ_BYTES).into())).unwrap_or(usize::MAX);
    if wanted == 0 { Ok(Vec::new()) } else { disk::read_range(&session.directory().join(location(file)), offset, wanted) }
}

pub(crate) fn delete(session: &mut Session, epoch: Epoch, path: &str, scratch: &Scratch) -> Result<()> {
    session.check(epoch)?;
    if session.state().files.contains_key(path) {
        session.commit(epoch, Change::Removed { path: path.to_owned() }, scratch)
    } else {
        session.claim(epoch, scratch)
    }
}

/// A place for a file that is not there yet; `None` if it is where its path says.
///
/// The file system itself tells whether a place is free: so it does not matter which names are one and the same to it (`readme` and `README`, an accented
/// letter as one character or as two), that a file is in the way of a directory, or that somebody has put a link there. Another name for the same
/// segment is taken then.
fn place(workspace: &Path, path: &str) -> Result<Option<String>> {
    let usual = names::of_path(path);
    let segments: Vec<_> = path.split('/').collect();
    let mut place = PathBuf::new();
    let mut is_there = true;
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        let mut names = names::of_segment(segment).map(|name| place.join(name));
        place = loop {
            let taken = || Error::other(format!("all names for {segment:?} are taken in {}", workspace.display()));
            let name = names.next().ok_or_else(taken)?;
            disk::check_length(&name.to_string_lossy())?;
            let there = workspace.join(&name);
            match if is_there { disk::kind(&there)? } else { Kind::Nothing } {
                Kind::Nothing => {
                    // So there is nothing below it, either.
                    is_there = false;
                    break name;
                }
                Kind::Directory if !is_last => break name,
                // One in which there is nothing is in nobody's way.
                Kind::Directory if disk::remove_empty(&there) => break name,
                Kind::Directory | Kind::Other => {}
            }
        };
    }
    let place = place.to_string_lossy().into_owned();
    Ok((place != usual).then_some(place))
}

/// Removes the directories that a file was in, up to the session's own, if there is nothing else in them.
pub(crate) fn remove_empty_directories(file: &Path, session: &Path) {
    let above = file.ancestors().skip(1).take_while(|directory| *directory != session);
    // That one is left is seen by nobody.
    above.take_while(|directory| disk::remove_empty(directory)).for_each(drop);
}
