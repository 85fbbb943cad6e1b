//! A component: where it comes from, and what it must export to be a persistence adapter or an event hook.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::builtin;
use crate::cache::Sha256Digest;

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// One that ships with the host, by name.
    Builtin(String),
    /// A file.
    File(PathBuf),
    /// A file that the host keeps, under a name that says more than its path.
    Kept {
        /// What it is called in messages.
        name: String,
        /// Where it is.
        path: PathBuf,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) | Self::Kept { name, .. } => formatter.write_str(name),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

/// Why a component could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No component of that name ships with the host.
    #[error("there is no built-in component {name:?}; there are: {known}")]
    UnknownBuiltin {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The file cannot be read.
    #[error("failed to read the component {path}: {source}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bytes are not a component.
    #[error("failed to compile the component {component}: {reason}")]
    Compile {
        /// Which component.
        component: String,
        /// Why.
        reason: String,
    },
    /// It is a component, but not one of this kind.
    #[error("the component {component} is not a persistence adapter: it does not export {missing}; it exports {exports}")]
    NotAnAdapter {
        /// Which component.
        component: String,
        /// What is missing.
        missing: String,
        /// What it exports.
        exports: String,
    },
    /// It is a component, but not one of this kind.
    #[error("the component {component} is not an event hook: it does not export {missing}; it exports {exports}")]
    NotAHook {
        /// Which component.
        component: String,
        /// What is missing.
        missing: String,
        /// What it exports.
        exports: String,
    },
}

impl Source {
    /// The component's bytes. Blocks.
    ///
    /// # Errors
    /// If there is no such component, or its file cannot be read.
    pub fn bytes(&self) -> Result<bytes::Bytes, LoadError> {
        self.read().map(|bytes| match bytes {
            std::borrow::Cow::Borrowed(bytes) => bytes::Bytes::from_static(bytes),
            std::borrow::Cow::Owned(bytes) => bytes.into(),
        })
    }

    pub(crate) fn read(&self) -> Result<std::borrow::Cow<'static, [u8]>, LoadError> {
        match self {
            Self::Builtin(name) => builtin::find(name)
                .map(Into::into)
                .ok_or_else(|| LoadError::UnknownBuiltin { name: name.clone(), known: builtin::names().collect::<Vec<_>>().join(", ") }),
            Self::File(path) | Self::Kept { path, .. } => {
                read_file(path).map(Into::into).map_err(|source| LoadError::Read { path: path.clone(), source })
            }
        }
    }
}

/// The largest component that is read, in bytes. Python's, the largest that are usual, have 18 MB.
pub const MAX_COMPONENT_BYTES: u64 = 256 * 1024 * 1024;

/// Reads a file, unless it is something that has no end, such as a device, or for which somebody has to write first, such as a pipe.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // Looked at before it is opened, which alone may wait for ever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_COMPONENT_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_COMPONENT_BYTES} bytes")));
    }
    Ok(bytes)
}

/// A compiled component. Clones share the code.
#[derive(Clone)]
pub struct Component {
    pub(crate) name: Arc<str>,
    pub(crate) digest: Sha256Digest,
    pub(crate) compiled: wasmtime::component::Component,
}

impl Component {
    /// Its name: that of the built-in component, or the file's path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The SHA-256 of its bytes, in hexadecimal.
    pub fn digest(&self) -> String {
        self.digest.to_string()
    }

    /// Checks that it exports the interfaces of a persistence adapter, so that one that is something else is refused in words that help, and gives the version of
    /// the contract.
    pub(crate) fn check_persistence(&self) -> Result<String, LoadError> {
        self.check("agent-host:persistence", &["lifecycle", "sessions", "streams", "files", "profiles"])
            .map_err(|lack| LoadError::NotAnAdapter { component: self.name.to_string(), missing: lack.missing, exports: lack.exports })
    }

    /// Whether a persistence adapter says who may write a session.
    pub fn has_leases(&self) -> bool {
        self.check("agent-host:persistence", &["leases"]).is_ok()
    }

    /// The same for the interfaces of an event hook.
    pub(crate) fn check_hook(&self) -> Result<String, LoadError> {
        self.check("agent-host:hooks", &["event-hook"]).map_err(|lack| LoadError::NotAHook {
            component: self.name.to_string(),
            missing: lack.missing,
            exports: lack.exports,
        })
    }

    fn check(&self, package: &str, interfaces: &[&str]) -> Result<String, Lack> {
        let kind = self.compiled.component_type();
        let exports: Vec<&str> = kind.exports(self.compiled.engine()).map(|(name, _)| name).collect();
        let mut version = None;
        let mut missing = Vec::new();
        for interface in interfaces {
            // Any patch of 0.1 will do: what a later one adds is looked up by itself.
            let prefix = format!("{package}/{interface}@");
            let found = exports.iter().find_map(|export| export.strip_prefix(&prefix)).filter(|version| version.starts_with("0.1."));
            match found {
                Some(found) => version = version.or(Some(found.to_owned())),
                None => missing.push(format!("{prefix}0.1.0")),
            }
        }
        match version {
            Some(version) if missing.is_empty() => Ok(version),
            _ => {
                let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
                Err(Lack { missing: missing.join(", "), exports })
            }
        }
    }
}

/// What a component lacks to be of a kind, and what it has.
struct Lack {
    missing: String,
    exports: String,
}

impl fmt::Debug for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Component").field("name", &self.name).field("digest", &self.digest()).finish_non_exhaustive()
    }
}
