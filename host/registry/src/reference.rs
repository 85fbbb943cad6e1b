//! How a component is named: `oci://HOST/REPOSITORY@sha256:DIGEST`.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// What references begin with.
const SCHEME: &str = "oci://";

/// What digests begin with: the only algorithm that every registry has.
const ALGORITHM: &str = "sha256:";

/// A component in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    repository: String,
    digest: Digest,
}

/// A text that names no component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no component in a registry: {reason}; expected oci://HOST/REPOSITORY@sha256:DIGEST")]
pub struct InvalidReference {
    text: String,
    reason: &'static str,
}

impl Reference {
    /// Whether a text is meant to be a reference, valid or not.
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The registry's host, with its port if it has one.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// As the client for registries has it.
    pub(crate) fn by_digest(&self, digest: &Digest) -> oci_client::Reference {
        oci_client::Reference::with_digest(self.registry.clone(), self.repository.clone(), digest.to_string())
    }

    pub(crate) fn by_tag(&self, tag: String) -> oci_client::Reference {
        oci_client::Reference::with_tag(self.registry.clone(), self.repository.clone(), tag)
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let invalid = |reason| InvalidReference { text: text.chars().take(300).collect(), reason };
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| invalid("it does not begin with oci://"))?;
        let (place, digest) =
            rest.split_once('@').ok_or_else(|| invalid("it has no digest, and a tag may mean something else tomorrow"))?;
        let digest = digest.parse().map_err(|()| invalid("its digest is not sha256: and 64 hexadecimal digits"))?;
        let (registry, repository) = place.split_once('/').ok_or_else(|| invalid("it has no repository"))?;
        if repository.contains(':') {
            return Err(invalid("it has a tag beside its digest"));
        }
        // The rules for names are the client's, which has a registry of its own where none is named.
        let parsed: oci_client::Reference =
            format!("{place}@{digest}").parse().map_err(|_| invalid("its host or its repository has a character that is not allowed"))?;
        if parsed.registry() != registry || parsed.repository() != repository {
            return Err(invalid("its host is none"));
        }
        Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}/{}@{}", self.registry, self.repository, self.digest)
    }
}

/// The SHA-256 of a manifest or a component, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest(String);

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hex = String::with_capacity(64);
        for byte in Sha256::digest(bytes) {
            // Writing into a String does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// Without the algorithm.
    pub(crate) fn hex(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let hex = text.strip_prefix(ALGORITHM).ok_or(())?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() == 64 && hex.bytes().all(is_digit) { Ok(Self(hex.to_owned())) } else { Err(()) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{ALGORITHM}{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_a_host_a_repository_and_a_digest() {
        let digest = Digest::of(b"component");
        for place in ["ghcr.io/acme/adapter", "127.0.0.1:5000/adapter", "localhost/a/b/c"] {
            let text = format!("oci://{place}@{digest}");
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        let hex = digest.hex();
        for (text, complaint) in [
            (format!("ghcr.io/acme/adapter@{digest}"), "begin with oci://"),
            ("oci://ghcr.io/acme/adapter:1.0".to_owned(), "no digest"),
            (format!("oci://ghcr.io/acme/adapter:1.0@{digest}"), "a tag"),
            (format!("oci://ghcr.io@{digest}"), "no repository"),
            (format!("oci://acme/adapter@{digest}"), "host is none"),
            (format!("oci://ghcr.io/Acme Adapter@{digest}"), "not allowed"),
            (format!("oci://ghcr.io/acme/adapter@sha512:{hex}{hex}"), "64 hexadecimal"),
            (format!("oci://ghcr.io/acme/adapter@sha256:{}", hex.to_uppercase()), "64 hexadecimal"),
            (format!("oci://ghcr.io/acme/../adapter@{digest}"), "not allowed"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
