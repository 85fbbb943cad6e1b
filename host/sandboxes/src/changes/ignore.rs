//! What is not watched.

use std::fmt;

use ignore::Error;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Patterns in the syntax of `.gitignore`.
#[derive(Clone)]
pub(crate) struct Ignore(Gitignore);

impl fmt::Debug for Ignore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Ignore({} patterns)", self.0.len())
    }
}

impl Ignore {
    /// Reads the patterns. The error comes with the pattern that is wrong.
    pub(crate) fn new(patterns: &[String]) -> Result<Self, (String, Error)> {
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            builder.add_line(None, pattern).map_err(|error| (pattern.clone(), error))?;
        }
        builder.build().map(Self).map_err(|error| (patterns.join(" "), error))
    }

    /// Whether the file or directory at `path`, or a directory that it is in, is ignored.
    pub(crate) fn matches(&self, path: &str, is_directory: bool) -> bool {
        self.0.matched_path_or_any_parents(path, is_directory).is_ignore()
    }
}
