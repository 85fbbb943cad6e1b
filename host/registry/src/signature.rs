//! Signatures as cosign makes them with a key, and the keys that they are checked with.
//!
//! cosign 2 signs a "simple signing" document; cosign 3 signs an in-toto statement in a DSSE envelope, in a Sigstore bundle. Both name the manifest's digest. Transparency logs and
//! certificates are not looked at: whoever has the private key has signed, and nobody else.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};
use webpki::RawPublicKeyEntity;

use crate::reference::Digest;

/// The media type of what cosign 2 signs, and the annotation with the signature.
pub(crate) const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub(crate) const SIMPLE_SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// What a simple signing document of cosign says that it is.
const SIMPLE_TYPE: &str = "cosign container image signature";

/// The media type of a Sigstore bundle.
pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// What the envelope of a signature of cosign 3 has in it, and what that says.
const STATEMENT: &str = "application/vnd.in-toto+json";
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

/// What keys of cosign, and of the key services that it knows, sign with.
static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ECDSA_P384_SHA256,
    webpki::ring::ECDSA_P384_SHA384,
    webpki::ring::ED25519,
    webpki::ring::RSA_PKCS1_2048_8192_SHA256,
];

/// A public key, such as `cosign.pub`: PEM with `BEGIN PUBLIC KEY`, for ECDSA over P-256 or P-384, Ed25519 or RSA.
#[derive(Clone)]
pub struct Key(SubjectPublicKeyInfoDer<'static>);

/// A file that holds no such key.
#[derive(Debug, thiserror::Error)]
#[error("{path} holds no public key such as `cosign generate-key-pair` makes: {reason}", path = path.display())]
pub struct InvalidKey {
    path: PathBuf,
    reason: String,
}

impl Key {
    /// The keys in a file, one at least.
    ///
    /// # Errors
    /// If the file cannot be read, or has none.
    pub fn read(path: &Path) -> Result<Vec<Self>, InvalidKey> {
        let invalid = |reason: String| InvalidKey { path: path.to_owned(), reason };
        let mut keys = Vec::new();
        for key in SubjectPublicKeyInfoDer::pem_file_iter(path).map_err(|error| invalid(error.to_string()))? {
            let key = key.map_err(|error| invalid(error.to_string()))?;
            RawPublicKeyEntity::try_from(&key).map_err(|error| invalid(error.to_string()))?;
            keys.push(Self(key));
        }
        if keys.is_empty() { Err(invalid("there is no BEGIN PUBLIC KEY in it".to_owned())) } else { Ok(keys) }
    }

    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = RawPublicKeyEntity::try_from(&self.0) else { return false };
        ALGORITHMS.iter().any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Key").field(&Digest::of(&self.0)).finish()
    }
}

/// Somebody's signature of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signature {
    /// What was signed.
    payload: Payload,
    #[serde(with = "as_base64")]
    signature: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Payload {
    /// A simple signing document.
    Simple(#[serde(with = "as_base64")] Vec<u8>),
    /// An in-toto statement, signed as the payload of a DSSE envelope.
    Statement(#[serde(with = "as_base64")] Vec<u8>),
}

impl Signature {
    /// That of a simple signing document, with the annotation that goes with it.
    pub(crate) fn simple(payload: &[u8], annotation: &str) -> Option<Self> {
        let signature = BASE64_STANDARD.decode(annotation).ok()?;
        Some(Self { payload: Payload::Simple(payload.to_vec()), signature })
    }

    /// Those in a Sigstore bundle, no more than `most`.
    pub(crate) fn bundle(bytes: &[u8], most: usize) -> Vec<Self> {
        let Ok(Bundle { envelope }) = serde_json::from_slice(bytes) else { return Vec::new() };
        if envelope.payload_type != STATEMENT {
            return Vec::new();
        }
        let signed = |signature: Signed| Self { payload: Payload::Statement(envelope.payload.clone()), signature: signature.sig };
        envelope.signatures.into_iter().take(most).map(signed).collect()
    }

    /// Whether one of these keys has signed with it that this manifest is meant.
    pub(crate) fn is_by_one_of(&self, keys: &[Key], manifest: &Digest) -> bool {
        let (message, names_it) = match &self.payload {
            Payload::Simple(document) => (document.clone(), names_in_document(document, manifest)),
            Payload::Statement(statement) => (envelope_message(statement), names_in_statement(statement, manifest)),
        };
        names_it && keys.iter().any(|key| key.has_signed(&message, &self.signature))
    }
}

#[derive(Deserialize)]
struct Bundle {
    #[serde(rename = "dsseEnvelope")]
    envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    #[serde(with = "as_base64")]
    payload: Vec<u8>,
    payload_type: String,
    signatures: Vec<Signed>,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(with = "as_base64")]
    sig: Vec<u8>,
}

/// What is signed of an envelope: its type and its payload, each with its length before it (the pre-authentication encoding of DSSE 1).
fn envelope_message(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {STATEMENT} {} ", STATEMENT.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

fn names_in_document(document: &[u8], manifest: &Digest) -> bool {
    #[derive(Deserialize)]
    struct Document {
        critical: Critical,
    }
    #[derive(Deserialize)]
    struct Critical {
        image: Image,
        r#type: String,
    }
    #[derive(Deserialize)]
    struct Image {
        #[serde(rename = "docker-manifest-digest")]
        digest: String,
    }
    let read = serde_json::from_slice::<Document>(document);
    read.is_ok_and(|Document { critical }| critical.r#type == SIMPLE_TYPE && critical.image.digest == manifest.to_string())
}

fn names_in_statement(statement: &[u8], manifest: &Digest) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Statement {
        predicate_type: String,
        subject: Vec<Subject>,
    }
    #[derive(Deserialize)]
    struct Subject {
        digest: Digests,
    }
    #[derive(Deserialize)]
    struct Digests {
        sha256: Option<String>,
    }
    let is_meant = |subject: &Subject| subject.digest.sha256.as_deref() == Some(manifest.hex());
    let read = serde_json::from_slice::<Statement>(statement);
    read.is_ok_and(|statement| statement.predicate_type == SIGNED && statement.subject.iter().any(is_meant))
}

/// Bytes as base64 in JSON.
mod as_base64 {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        BASE64_STANDARD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
