//! What is not watched.

use std::fmt;

use ignore::Error;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Patterns in the syntax of `.gitignore`.
#[derive(Clone)]
pub(crate) struct Ignore {
    patterns: Gitignore,
    directories: Vec<String>,
}

impl fmt::Debug for Ignore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Ignore({} patterns)", self.patterns.len())
    }
}

impl Ignore {
    /// Reads the patterns. The error comes with the pattern that is wrong.
    pub(crate) fn new(patterns: &[String]) -> Result<Self, (String, Error)> {
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            builder.add_line(None, pattern).map_err(|error| (pattern.clone(), error))?;
        }
        let patterns_of = |patterns| Self { patterns, directories: Vec::new() };
        let mut ignore = builder.build().map(patterns_of).map_err(|error| (patterns.join(" "), error))?;
        let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        // A later exception may be in one of them.
        if !patterns.iter().any(|pattern| pattern.starts_with('!')) {
            ignore.directories = patterns.iter().map(|pattern| pattern.trim_end_matches('/')).filter(is_name).map(str::to_owned).collect();
        }
        Ok(ignore)
    }

    /// Names of files and directories that are ignored wherever they are, with all that is in them: of letters, digits and `._-` only.
    pub(crate) fn directories(&self) -> &[String] {
        &self.directories
    }

    /// Whether the file or directory at `path`, or a directory that it is in, is ignored.
    pub(crate) fn matches(&self, path: &str, is_directory: bool) -> bool {
        self.patterns.matched_path_or_any_parents(path, is_directory).is_ignore()
    }
}
