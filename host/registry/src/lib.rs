//! Components from OCI registries.
//!
//! ```text
//! oci://ghcr.io/acme/adapter@sha256:… ── Registry::pull ──> a file with a component whose bytes are what the digest says
//!                                             │
//!                    cache (blobs/sha256/…) ──┴── registry: manifest, component, signatures
//! ```
//!
//! A component is named by the digest of its manifest, so that it is the same tomorrow, whoever has the registry. What was pulled once is kept, and asks no registry again.
//! Where keys are configured, somebody must have signed the manifest with one of them as [cosign](https://docs.sigstore.dev/cosign/) does.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`Reference`] | how a component is named |
//! | `cache` | what was pulled before |
//! | `remote` | the registry, by the OCI distribution protocol |
//! | [`signature`] | who has signed it |
#![forbid(unsafe_code)]

mod cache;
mod reference;
mod remote;
pub mod signature;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use secrecy::SecretString;

use self::cache::Cache;
use self::reference::Digest;
pub use self::reference::{InvalidReference, Reference};
pub use self::remote::SetupError;
use self::remote::{Manifest, Remote};
pub use self::signature::Key;

/// How long a component and all that belongs to it may take: a large one over a slow network, and no request that somebody waits for.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How components are pulled.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where they are kept.
    pub cache: PathBuf,
    /// The largest component, in bytes.
    pub max_bytes: u64,
    /// Who may have signed them; with none, they need no signature.
    pub signed_by: Vec<Key>,
    /// Registries that speak HTTP without TLS, such as `127.0.0.1:5000`.
    pub plain_http: Vec<String>,
    /// Who the host is for registries that ask.
    pub logins: BTreeMap<String, Login>,
}

/// Who the host is for a registry.
#[derive(Clone, Debug)]
pub struct Login {
    /// A name.
    pub username: String,
    /// A password or a token.
    pub password: SecretString,
}

/// Why a component is not had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry did not give it.
    #[error("failed to pull {reference}: {reason}")]
    Pull {
        /// What was asked for.
        reference: Reference,
        /// Why it is not there.
        reason: String,
    },
    /// It is something else than a component.
    #[error("{reference} is no component: {reason}")]
    NotAComponent {
        /// What was asked for.
        reference: Reference,
        /// What it is.
        reason: String,
    },
    /// Nobody who is trusted has signed it.
    #[error("{reference} is not signed by a key of components.registry.signed_by: the registry has {found}")]
    NotSigned {
        /// What was asked for.
        reference: Reference,
        /// What there is instead.
        found: String,
    },
    /// It cannot be kept.
    #[error("failed to {action} {path}: {source}", path = path.display())]
    Cache {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Registries, and what was pulled from them.
#[derive(Debug)]
pub struct Registry {
    cache: Cache,
    remote: Remote,
    max_bytes: u64,
    signed_by: Vec<Key>,
}

impl Registry {
    /// Asks nobody yet, and makes no directory.
    ///
    /// # Errors
    /// If this machine lacks what HTTPS takes.
    pub fn new(options: Options) -> Result<Self, SetupError> {
        let Options { cache, max_bytes, signed_by, plain_http, logins } = options;
        Ok(Self { cache: Cache::new(cache), remote: Remote::new(plain_http, logins)?, max_bytes, signed_by })
    }

    /// A component's file, which has the bytes that the reference says: from the registry, or from when it was pulled before.
    ///
    /// # Errors
    /// [`Error`] says what is wrong with the reference, the registry, the component or its signatures. Nothing of it is used then.
    pub async fn pull(&self, reference: &Reference) -> Result<PathBuf, Error> {
        tokio::time::timeout(PATIENCE, self.try_pull(reference)).await.unwrap_or_else(|_| {
            Err(Error::Pull { reference: reference.clone(), reason: format!("it took longer than {} s", PATIENCE.as_secs()) })
        })
    }

    async fn try_pull(&self, reference: &Reference) -> Result<PathBuf, Error> {
        let digest = reference.digest();
        let manifest = match self.cache.get(digest).await {
            Some(bytes) => bytes,
            None => {
                let bytes = self.remote.manifest(reference).await?;
                self.keep(reference, digest, bytes).await?
            }
        };
        let not_a_component = |reason| Error::NotAComponent { reference: reference.clone(), reason };
        let layer = Manifest::read(&manifest).and_then(|manifest| manifest.component()).map_err(not_a_component)?;
        if layer.size > self.max_bytes {
            return Err(not_a_component(format!("it has {} bytes, and {} is the most", layer.size, self.max_bytes)));
        }
        // Before the component itself: what nobody has signed is not worth its bytes.
        self.check_signatures(reference).await?;
        if self.cache.get(&layer.digest).await.is_none() {
            let bytes = self.remote.blob(reference, &layer).await?;
            let length = bytes.len();
            self.keep(reference, &layer.digest, bytes).await?;
            tracing::info!(%reference, bytes = length, "component pulled");
        }
        Ok(self.cache.path(&layer.digest))
    }

    /// Keeps what was pulled, if it is what was asked for.
    async fn keep(&self, reference: &Reference, digest: &Digest, bytes: Bytes) -> Result<Bytes, Error> {
        let found = Digest::of(&bytes);
        if found != *digest {
            let reason = format!("the registry gave something else for {digest}: its digest is {found}");
            return Err(Error::Pull { reference: reference.clone(), reason });
        }
        self.cache.put(digest, &bytes).await?;
        Ok(bytes)
    }

    /// That one of the keys that are trusted now has signed what the reference names, if any need to. For what was pulled when others were trusted.
    ///
    /// # Errors
    /// If nobody has, or the registry does not say.
    pub async fn check_signatures(&self, reference: &Reference) -> Result<(), Error> {
        if self.signed_by.is_empty() {
            return Ok(());
        }
        let digest = reference.digest();
        let accepts =
            |signatures: &[signature::Signature]| signatures.iter().any(|signature| signature.is_by_one_of(&self.signed_by, digest));
        if accepts(&self.cache.signatures(digest).await) {
            return Ok(());
        }
        let mut found = self.remote.simple_signatures(reference).await?;
        if !accepts(&found) {
            found.extend(self.remote.bundles(reference).await?);
        }
        if !accepts(&found) {
            let found = match found.len() {
                0 => "no signature of it".to_owned(),
                1 => "one signature of it, by another key".to_owned(),
                count => format!("{count} signatures of it, by other keys"),
            };
            return Err(Error::NotSigned { reference: reference.clone(), found });
        }
        self.cache.put_signatures(digest, &found).await
    }
}
