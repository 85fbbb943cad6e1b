//! Paths of workspace files, which cannot leave the workspace.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not a path inside the workspace.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid path {path:?}: {reason}")]
pub struct InvalidPath {
    path: String,
    reason: &'static str,
}

/// Longest path in bytes. Linux's own limit (`PATH_MAX`), which the sandbox's root is added to, is 4096.
pub const MAX_PATH_BYTES: usize = 2048;

/// Longest segment in bytes: `NAME_MAX` on Linux and macOS.
const MAX_SEGMENT_BYTES: usize = 255;

/// A relative path below a directory: segments with `/` between them, none of them empty, `.` or `..`, no NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(Arc<str>);

impl RelativePath {
    /// Checks `path`.
    ///
    /// # Errors
    /// [`InvalidPath`] if it is empty, absolute, too long, or has a segment that is empty, `.`, `..` or longer than 255 bytes.
    pub fn new(path: impl Into<String>) -> Result<Self, InvalidPath> {
        let path = path.into();
        let reason = if path.is_empty() {
            "it is empty"
        } else if path.len() > MAX_PATH_BYTES {
            "it is longer than 2048 bytes"
        } else if path.starts_with('/') {
            "it is absolute"
        } else if path.contains('\0') {
            "it contains a NUL"
        } else if path.split('/').any(str::is_empty) {
            "it has an empty segment"
        } else if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            "it has a '.' or '..' segment"
        } else if path.split('/').any(|segment| segment.len() > MAX_SEGMENT_BYTES) {
            "it has a segment longer than 255 bytes"
        } else {
            return Ok(Self(path.into()));
        };
        Err(InvalidPath { path: path.chars().take(256).collect(), reason })
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This path below `directory`.
    ///
    /// # Errors
    /// [`InvalidPath`] if the whole is longer than a path may be.
    pub fn below(&self, directory: &RelativePath) -> Result<Self, InvalidPath> {
        Self::new(format!("{directory}/{self}"))
    }
}

impl TryFrom<String> for RelativePath {
    type Error = InvalidPath;

    fn try_from(path: String) -> Result<Self, InvalidPath> {
        Self::new(path)
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.as_str().to_owned()
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for RelativePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_workspace_are_refused() {
        for path in ["", "/etc/x", "../../etc/x", "a/../b", "a//b", "a/", "./a", "a\0b", ".", ".."] {
            assert!(RelativePath::new(path).is_err(), "{path:?} was accepted");
        }
        for path in ["a", "a/b.txt", ".gitignore", "a/..b/c..", "ü/💡"] {
            assert_eq!(RelativePath::new(path).unwrap().as_str(), path);
        }
    }
}
