//! In the place of `agent-host-registry`'s references, which bring the client for registries: what is in one is for it to read.

use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(String);

#[derive(Debug, thiserror::Error)]
#[error("it has no digest")]
pub struct InvalidReference;

impl Reference {
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with("oci://")
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        if text.contains("@sha256:") { Ok(Self(text.to_owned())) } else { Err(InvalidReference) }
    }
}
