//! Where a new component comes from, and what is made of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::shelf::Pin;
use super::{Error, Phase, Shelf, refused};
use crate::cache::Sha256Digest;
use crate::component::Source;

/// A component that is to take over.
#[derive(Clone, Debug)]
pub enum Candidate {
    /// Its bytes.
    Bytes(Bytes),
    /// A file on the host's machine.
    File(PathBuf),
    /// One that ships with the host.
    Builtin(String),
    /// One that is remembered, by its SHA-256 in hexadecimal.
    Digest(String),
    /// One that was pulled from a registry.
    Pulled {
        /// How it is named there.
        reference: String,
        /// The file that it was pulled into.
        path: PathBuf,
    },
    /// The one that the configuration names, with what the configuration says of it.
    Configured,
}

/// Where a generation's component came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The configuration names it.
    Configured,
    /// It ships with the host.
    Builtin(String),
    /// A file.
    File(PathBuf),
    /// A registry, by the reference.
    Registry(String),
    /// It came through the admin API.
    Upload,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => formatter.write_str("the configured component"),
            Self::Builtin(name) => write!(formatter, "the built-in component {name}"),
            Self::File(path) => path.display().fmt(formatter),
            Self::Registry(reference) => formatter.write_str(reference),
            Self::Upload => formatter.write_str("an upload"),
        }
    }
}

/// What a generation is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Where the component came from.
    pub origin: Origin,
    /// What the component is told at `open`; what the configuration says if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<BTreeMap<String, String>>,
    /// What it may use, as the configuration would write it, but in JSON; what the configuration says if absent. Secrets are references in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Value>,
}

impl Plan {
    /// What the configuration says, in all.
    pub fn configured() -> Self {
        Self { origin: Origin::Configured, config: None, grants: None }
    }
}

/// A candidate whose bytes are on the shelf.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// Where they are.
    pub(crate) source: Source,
    /// Their SHA-256 in hexadecimal.
    pub(crate) digest: String,
    /// Keeps them there until it is remembered that they are needed.
    pub(crate) pin: Pin,
}

/// Gets a candidate's bytes, and puts them where they are found again after a restart, whatever becomes of the file that they came from. `configured` is what the
/// configuration names.
pub(crate) async fn fetch(shelf: Shelf, candidate: Candidate, configured: Option<Source>, origin: Origin) -> Result<Fetched, Error> {
    let fetch = move || {
        let read = |source: Source| source.read().map(Cow::into_owned).map_err(refused(Phase::Read));
        let bytes = match candidate {
            Candidate::Bytes(bytes) => bytes.to_vec(),
            Candidate::File(path) => read(Source::File(path))?,
            Candidate::Pulled { reference, path } => read(Source::Kept { name: reference, path })?,
            Candidate::Builtin(name) => read(Source::Builtin(name))?,
            Candidate::Digest(digest) => shelf.get(&digest).map_err(refused(Phase::Read))?,
            Candidate::Configured => {
                let nothing = || Error::Refused { phase: Phase::Read, reason: "the configuration names no such component".to_owned() };
                read(configured.ok_or_else(nothing)?)?
            }
        };
        let digest = Sha256Digest::of(&bytes);
        let pin = shelf.pin(&digest.to_string());
        shelf.put(&digest, &bytes).map_err(refused(Phase::Read))?;
        let digest = digest.to_string();
        Ok(Fetched { source: shelf.source(&origin, &digest), digest, pin })
    };
    tokio::task::spawn_blocking(fetch).await.unwrap_or_else(|error| Err(refused(Phase::Read)(error)))
}
