//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;

use super::node::{Node, Place};

/// Longest part of a value that an error quotes, in characters: enough to recognise it.
const MAX_QUOTED_CHARS: usize = 120;

/// Why there is no configuration. The text of a secret is never in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("failed to read the configuration file {}: {reason}", path.display())]
    File {
        /// As it was named.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: not valid TOML: {reason}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser said.
        reason: String,
    },
    /// There is no such setting. Its value is not quoted: it may be a secret under a misspelt name.
    #[error("{place}: unknown key {key}: {hint}")]
    UnknownKey {
        /// Where.
        place: Place,
        /// The whole key.
        key: String,
        /// What there is instead.
        hint: String,
    },
    /// The value cannot be used.
    #[error("{place}: {key} = {value}: {reason}")]
    BadValue {
        /// Where.
        place: Place,
        /// The whole key.
        key: String,
        /// As TOML, or `(hidden)`.
        value: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The variable's value is not text.
    #[error("environment variable {0}: its value is not valid UTF-8")]
    NotUnicode(String),
}

impl Error {
    /// That the value of `node` cannot be used.
    pub(super) fn bad_value(node: &Node, reason: impl Into<String>) -> Self {
        let text = node.value.to_string();
        let value = match text.char_indices().nth(MAX_QUOTED_CHARS) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text,
        };
        Self::BadValue { place: node.place.clone(), key: node.key.clone(), value, reason: reason.into() }
    }

    /// The same, for a value that may be a secret.
    pub(super) fn bad_secret(node: &Node, reason: impl Into<String>) -> Self {
        Self::BadValue { place: node.place.clone(), key: node.key.clone(), value: "(hidden)".into(), reason: reason.into() }
    }
}
