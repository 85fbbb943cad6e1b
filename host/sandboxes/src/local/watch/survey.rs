//! The files that are known to be in a workspace, and what of them changed.
//!
//! An event says where something happened, not what is there now. So each path is looked at: a regular file there has changed; a directory that came
//! is searched; and where nothing is, all files that were known there are gone. Links, pipes, sockets and devices are not files.

use std::collections::BTreeSet;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use agent_host_session::path::RelativePath;
use cap_std::fs::Dir;

use super::super::files::Files;
use super::hub::Hub;
use crate::changes::{Inbox, Pending};

/// The most files of a workspace that are reported: some 50 MB of names. Who makes more has forgotten to have them ignored.
const MAX_FILES: usize = 250_000;

/// What an update looks at.
struct View<'a> {
    workspace: Dir,
    inbox: &'a Inbox,
}

/// Knows the files of a workspace.
pub(super) struct Survey {
    hub: Hub,
    id: String,
    files: Arc<Files>,
    known: BTreeSet<String>,
    /// What the current update found.
    changed: BTreeSet<String>,
}

impl Survey {
    pub(super) fn new(hub: Hub, id: &str, files: Arc<Files>) -> Self {
        Self { hub, id: id.to_owned(), files, known: BTreeSet::new(), changed: BTreeSet::new() }
    }

    /// Files that are there already.
    pub(super) fn add_known(&mut self, paths: impl IntoIterator<Item = RelativePath>) {
        let watched = paths.into_iter().map(String::from).filter(|path| !self.hub.ignores(path, false));
        self.known.extend(watched);
    }

    /// Looks at what is pending, and gives the paths of files that came, changed or went.
    pub(super) fn update(&mut self, pending: Pending, inbox: &Inbox) -> BTreeSet<String> {
        match self.files.workspace() {
            Ok(workspace) => {
                let view = View { workspace, inbox };
                if pending.everything {
                    self.search(&view, None);
                }
                for (path, is_deep) in pending.paths {
                    self.look(&view, &path, is_deep);
                }
            }
            Err(error) => {
                tracing::warn!(sandbox = self.id, %error, "failed to open the workspace; it is taken to be empty");
                self.changed.append(&mut self.known);
            }
        }
        std::mem::take(&mut self.changed)
    }

    fn look(&mut self, view: &View<'_>, path: &str, is_deep: bool) {
        match view.workspace.symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                self.forget_below(path);
                self.note(view, path);
            }
            Ok(metadata) if metadata.is_dir() => {
                if is_deep && !self.hub.ignores(path, true) {
                    self.forget(path);
                    self.search(view, Some(path));
                }
            }
            Ok(_) => self.forget_with_below(path),
            Err(error) if is_gone(&error) => self.forget_with_below(path),
            // It is there and cannot be looked at (a directory above it was closed to us): what was known of it stays.
            Err(error) => tracing::debug!(sandbox = self.id, path, %error, "failed to look at a workspace file"),
        }
    }

    /// Looks at all that is below a directory, and watches it from now on.
    fn search(&mut self, view: &View<'_>, directory: Option<&str>) {
        let mut seen = BTreeSet::new();
        let mut directories = vec![directory.map(str::to_owned)];
        while let Some(directory) = directories.pop() {
            let directory = directory.as_deref();
            if let Err(error) = self.hub.watch(&self.id, directory) {
                self.cannot_watch(view, directory, &error);
            }
            let entries = match view.workspace.read_dir(directory.unwrap_or(".")) {
                Ok(entries) => entries,
                Err(error) if is_gone(&error) => continue,
                Err(error) => {
                    tracing::debug!(sandbox = self.id, ?directory, %error, "failed to read a workspace directory");
                    // What was known in it stays.
                    seen.extend(self.below(directory).cloned());
                    continue;
                }
            };
            for entry in entries.flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                let name = entry.file_name();
                let path = name.to_str().map(|name| directory.map_or_else(|| name.to_owned(), |directory| format!("{directory}/{name}")));
                let Some(path) = path.filter(|path| RelativePath::new(path.as_str()).is_ok()) else {
                    if view.inbox.may_complain() {
                        tracing::warn!(
                            sandbox = self.id,
                            ?directory,
                            ?name,
                            "a path that is not UTF-8 or too long is not reported, nor are others"
                        );
                    }
                    continue;
                };
                if self.hub.ignores(&path, kind.is_dir()) {
                    continue;
                }
                if kind.is_dir() {
                    directories.push(Some(path));
                } else if kind.is_file() && self.note(view, &path) {
                    seen.insert(path);
                }
            }
        }
        let gone: Vec<String> = self.below(directory).filter(|&path| !seen.contains(path)).cloned().collect();
        gone.iter().for_each(|path| self.forget(path));
    }

    /// A file is there. `false` if there are too many.
    fn note(&mut self, view: &View<'_>, path: &str) -> bool {
        if RelativePath::new(path).is_err() {
            return false;
        }
        if !self.known.contains(path) {
            if self.known.len() >= MAX_FILES {
                if view.inbox.may_complain() {
                    tracing::warn!(sandbox = self.id, path, "the workspace has more than {MAX_FILES} files; further ones are not reported");
                }
                return false;
            }
            self.known.insert(path.to_owned());
        }
        self.changed.insert(path.to_owned());
        true
    }

    /// A file is not there.
    fn forget(&mut self, path: &str) {
        if let Some(path) = self.known.take(path) {
            self.changed.insert(path);
        }
    }

    fn forget_below(&mut self, directory: &str) {
        let gone: Vec<String> = self.below(Some(directory)).cloned().collect();
        gone.iter().for_each(|path| self.forget(path));
    }

    fn forget_with_below(&mut self, path: &str) {
        self.forget(path);
        self.forget_below(path);
    }

    /// The files known below a directory.
    fn below(&self, directory: Option<&str>) -> impl Iterator<Item = &String> {
        // `0` is the character after `/`.
        let bounds = directory.map(|directory| (format!("{directory}/"), format!("{directory}0")));
        let range = match &bounds {
            Some((first, end)) => (Bound::Included(first.as_str()), Bound::Excluded(end.as_str())),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        self.known.range::<str, _>(range)
    }

    fn cannot_watch(&self, view: &View<'_>, directory: Option<&str>, error: &notify::Error) {
        let is_gone = match &error.kind {
            notify::ErrorKind::PathNotFound => true,
            notify::ErrorKind::Io(error) => is_gone(error),
            _ => false,
        };
        if !is_gone && !view.inbox.is_blind() {
            view.inbox.set_blind();
            tracing::warn!(
                sandbox = self.id,
                directory = directory.unwrap_or("."),
                %error,
                "failed to watch a workspace directory; changes are now found only at the end of a turn, by looking at all files \
                 (on Linux, fs.inotify.max_user_watches may have to be raised)"
            );
        }
    }
}

/// Whether `error` means that nothing is there. A path that led out of the workspace (cap-std's own error, without a number) led through a link.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) || error.raw_os_error().is_none()
}
