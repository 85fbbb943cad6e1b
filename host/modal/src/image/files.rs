//! Files that are to be in an image.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::DOING;
use crate::Error;

/// The files of a directory, in memory: paths, contents, and which of them can be executed. Copies share the contents.
///
/// A path is relative, its parts are divided by `/`, and the directories on the way are made. So there are no empty ones.
///
/// ```
/// use agent_host_modal::{Files, Image};
///
/// let tools = Files::new().file("README.md", "How to use them.").executable("bin/greet", "#!/bin/sh\necho hello\n");
/// let image = Image::from_registry("debian:12-slim").copy(tools, "/opt/tools").dockerfile_commands(["RUN /opt/tools/bin/greet"]);
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Files(BTreeMap<String, File>);

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct File {
    pub(super) sha256: [u8; 32],
    pub(super) contents: Bytes,
    pub(super) is_executable: bool,
}

impl fmt::Debug for Files {
    /// Without the contents.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.0.iter().map(|(path, file)| (path, file.contents.len()))).finish()
    }
}

impl Files {
    /// No file may have more bytes: what is larger, Modal takes in another way only.
    pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024 - 1;

    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, in the place of one that has this path already.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, contents: impl Into<Bytes>) -> Self {
        self.insert(path.into(), contents.into(), false);
        self
    }

    /// Adds a file that can be executed, in the place of one that has this path already.
    #[must_use]
    pub fn executable(mut self, path: impl Into<String>, contents: impl Into<Bytes>) -> Self {
        self.insert(path.into(), contents.into(), true);
        self
    }

    /// All files of a directory of this machine and of those in it. A link to a file is that file; links to directories are left out.
    ///
    /// # Errors
    /// Those of the file system, with the path; and if something is neither a file nor a directory, or its name is not UTF-8.
    pub async fn read_dir(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        let read = tokio::task::spawn_blocking(move || {
            let mut files = Self::new();
            files.read(&directory, "")?;
            Ok(files)
        });
        read.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &File)> {
        self.0.iter().map(|(path, file)| (path.as_str(), file))
    }

    fn insert(&mut self, path: String, contents: Bytes, is_executable: bool) {
        let sha256 = Sha256::digest(&contents).into();
        self.0.insert(path, File { sha256, contents, is_executable });
    }

    fn read(&mut self, directory: &Path, prefix: &str) -> io::Result<()> {
        let of = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("failed to read {}: {error}", path.display()));
        for entry in std::fs::read_dir(directory).map_err(|error| of(directory, error))? {
            let entry = entry.map_err(|error| of(directory, error))?;
            let path = entry.path();
            let invalid = |reason: &str| of(&path, io::Error::new(io::ErrorKind::InvalidData, reason));
            let name = entry.file_name();
            let relative = format!("{prefix}{}", name.to_str().ok_or_else(|| invalid("its name is not UTF-8"))?);
            if entry.file_type().map_err(|error| of(&path, error))?.is_dir() {
                self.read(&path, &format!("{relative}/"))?;
                continue;
            }
            let metadata = std::fs::metadata(&path).map_err(|error| of(&path, error))?;
            if metadata.is_file() {
                let contents = std::fs::read(&path).map_err(|error| of(&path, error))?;
                self.insert(relative, contents.into(), is_executable(&metadata));
            } else if !metadata.is_dir() {
                return Err(invalid("it is neither a file nor a directory"));
            }
        }
        Ok(())
    }

    /// That Modal can be given these.
    pub(super) fn check(&self) -> Result<(), Error> {
        let invalid = |reason| Err(Error::Invalid { doing: DOING, reason });
        for (path, file) in &self.0 {
            if path.contains('\0') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
                return invalid(format!("{path:?} is no relative path of a file"));
            }
            if file.contents.len() > Self::MAX_FILE_BYTES {
                let bytes = file.contents.len();
                return invalid(format!("the file {path:?} has {bytes} bytes; at most {} are allowed", Self::MAX_FILE_BYTES));
            }
            if let Some((above, _)) = path.match_indices('/').find_map(|(end, _)| self.0.get_key_value(path.get(..end)?)) {
                return invalid(format!("{above:?} is a file, and {path:?} is in it"));
            }
        }
        Ok(())
    }
}

/// Paths, contents, and whether they can be executed.
impl<P: Into<String>, C: Into<Bytes>> FromIterator<(P, C, bool)> for Files {
    fn from_iter<I: IntoIterator<Item = (P, C, bool)>>(files: I) -> Self {
        let mut all = Self::new();
        for (path, contents, is_executable) in files {
            all.insert(path.into(), contents.into(), is_executable);
        }
        all
    }
}

#[cfg(unix)]
fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_metadata: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_are_equal_in_whatever_order_they_come_and_contents_are_not_shown() {
        let one = Files::new().file("a", "SECRET").executable("b/c d", "2");
        let same: Files = [("b/c d", "2", true), ("a", "SECRET", false)].into_iter().collect();
        assert_eq!((one.len(), &one), (2, &same));
        assert_eq!(format!("{one:?}"), r#"{"a": 6, "b/c d": 1}"#);
        for other in [Files::new().file("a", "SECRET").file("b/c d", "2"), one.clone().file("a", "S"), one.clone().file("b/d", "")] {
            assert_ne!(other, one);
        }
        one.check().unwrap();
    }

    #[test]
    fn files_that_cannot_be_are_refused_with_the_reason() {
        for path in ["", "/a", "a/", "a//b", "./a", "a/../b", "..", "a\0"] {
            assert!(matches!(Files::new().file(path, "").check(), Err(Error::Invalid { .. })), "{path:?}");
        }
        assert!(Files::new().file("a", "").file("a b", "").file("a/b", "").check().is_err());
        Files::new().file("a", vec![0; Files::MAX_FILE_BYTES]).check().unwrap();
        let error = Files::new().file("large", vec![0; Files::MAX_FILE_BYTES + 1]).check().unwrap_err().to_string();
        assert!(error.contains("\"large\" has 4194304 bytes; at most 4194303"), "{error}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_directory_is_read_with_what_is_in_it() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        std::fs::create_dir_all(at("deep/er")).unwrap();
        std::fs::create_dir(at("empty")).unwrap();
        std::fs::write(at("deep/er/with space"), "1").unwrap();
        std::fs::write(at("run"), "2").unwrap();
        std::fs::set_permissions(at("run"), std::fs::Permissions::from_mode(0o700)).unwrap();
        symlink("run", at("link")).unwrap();
        symlink("deep", at("linked directory")).unwrap();
        let expected = Files::new().file("deep/er/with space", "1").executable("run", "2").executable("link", "2");
        assert_eq!(Files::read_dir(directory.path()).await.unwrap(), expected);
        symlink("nothing", at("broken")).unwrap();
        let error = Files::read_dir(directory.path()).await.unwrap_err();
        assert!(error.kind() == io::ErrorKind::NotFound && error.to_string().contains("broken"), "{error}");
        assert!(Files::read_dir(at("none")).await.is_err());
    }
}
