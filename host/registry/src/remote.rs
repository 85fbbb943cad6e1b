//! A registry, by the OCI distribution protocol.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use oci_client::Client;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use secrecy::ExposeSecret as _;

use crate::reference::{Digest, Reference};
use crate::signature::{BUNDLE, SIMPLE, SIMPLE_SIGNATURE, Signature};
use crate::{Error, Login};

/// What the layer of a component is said to be, by `wkg` and by most others.
const WASM_LAYERS: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];

/// How long a registry may take to answer, and then between two pieces.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);

/// Signatures that are looked at: more are no signatures but an attempt to keep the host busy.
const SIGNATURES: usize = 32;

/// The largest signature, in bytes, with what it signs.
const SIGNATURE_BYTES: u64 = 256 * 1024;

/// HTTPS cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("failed to make a client for registries: {0}")]
pub struct SetupError(OciDistributionError);

pub(crate) struct Remote {
    client: Client,
    logins: BTreeMap<String, Login>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Remote").field("logins", &self.logins).finish_non_exhaustive()
    }
}

/// A component's bytes in a registry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl Layer {
    fn read(descriptor: &OciDescriptor) -> Result<Self, String> {
        let wrong = || format!("its layer {} has no sha256 digest, or no size", descriptor.digest);
        let digest = descriptor.digest.parse().map_err(|()| wrong())?;
        Ok(Self { digest, size: u64::try_from(descriptor.size).map_err(|_| wrong())? })
    }

    fn descriptor(&self) -> OciDescriptor {
        OciDescriptor { digest: self.digest.to_string(), size: i64::try_from(self.size).unwrap_or(i64::MAX), ..OciDescriptor::default() }
    }
}

/// A manifest whose bytes were checked.
pub(crate) struct Manifest(OciImageManifest);

impl Manifest {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice(bytes).map_err(|error| format!("its manifest cannot be read: {error}"))? {
            OciManifest::Image(manifest) => Ok(Self(manifest)),
            OciManifest::ImageIndex(_) => Err("it is an index of several images; name the one that is the component".to_owned()),
        }
    }

    /// The only layer, if it is WebAssembly.
    pub(crate) fn component(&self) -> Result<Layer, String> {
        let [layer] = self.0.layers.as_slice() else {
            return Err(format!("it has {} layers, and a component is one", self.0.layers.len()));
        };
        if !WASM_LAYERS.contains(&layer.media_type.as_str()) {
            return Err(format!("its layer is {}, and not {}", layer.media_type, WASM_LAYERS[0]));
        }
        Layer::read(layer)
    }
}

impl Remote {
    pub(crate) fn new(plain_http: Vec<String>, logins: BTreeMap<String, Login>) -> Result<Self, SetupError> {
        // The client takes the process's own provider of cryptography. Where there is one already, it is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain_http),
            platform_resolver: None,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("agent-host/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        Ok(Self { client: Client::try_from(config).map_err(SetupError)?, logins })
    }

    /// Who the host is for the registry.
    fn auth(&self, reference: &Reference) -> RegistryAuth {
        self.logins
            .get(reference.registry())
            .map_or(RegistryAuth::Anonymous, |login| RegistryAuth::Basic(login.username.clone(), login.password.expose_secret().to_owned()))
    }

    /// The bytes of the manifest. They are not checked.
    pub(crate) async fn manifest(&self, reference: &Reference) -> Result<Bytes, Error> {
        self.manifest_of(reference, &reference.by_digest(reference.digest())).await.map_err(failed(reference, "its manifest"))
    }

    async fn manifest_of(&self, reference: &Reference, image: &oci_client::Reference) -> Result<Bytes, OciDistributionError> {
        let accepted = [OCI_IMAGE_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE];
        self.client.pull_manifest_raw(image, &self.auth(reference), &accepted).await.map(|(bytes, _)| bytes)
    }

    /// A layer's bytes, no more than it is said to have. They are not checked.
    pub(crate) async fn blob(&self, reference: &Reference, layer: &Layer) -> Result<Bytes, Error> {
        self.client.store_auth_if_needed(reference.registry(), &self.auth(reference)).await;
        let image = reference.by_digest(reference.digest());
        let descriptor = layer.descriptor();
        let mut stream = self.client.pull_blob_stream(&image, &descriptor).await.map_err(failed(reference, "its bytes"))?;
        let mut bytes = BytesMut::new();
        while let Some(piece) = stream.try_next().await.map_err(failed(reference, "its bytes"))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > layer.size {
                let reason = format!("its bytes: there are more than the {} that its manifest says", layer.size);
                return Err(Error::Pull { reference: reference.clone(), reason });
            }
        }
        Ok(bytes.freeze())
    }

    /// Signatures of the manifest as cosign 2 makes them: layers of an image whose tag is the digest. Whose they are is not checked.
    pub(crate) async fn simple_signatures(&self, reference: &Reference) -> Result<Vec<Signature>, Error> {
        let tag = format!("sha256-{}.sig", reference.digest().hex());
        let image = match self.manifest_of(reference, &reference.by_tag(tag)).await {
            Ok(bytes) => bytes,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(failed(reference, "its signatures")(error)),
        };
        let mut signatures = Vec::new();
        let Ok(Manifest(manifest)) = Manifest::read(&image) else { return Ok(signatures) };
        for layer in manifest.layers.iter().filter(|layer| layer.media_type == SIMPLE).take(SIGNATURES) {
            let signature = layer.annotations.as_ref().and_then(|annotations| annotations.get(SIMPLE_SIGNATURE));
            if let (Some(signature), Some(payload)) = (signature, self.small_blob(reference, layer).await?) {
                signatures.extend(Signature::simple(&payload, signature));
            }
        }
        Ok(signatures)
    }

    /// Those of cosign 3, which are images that refer to the manifest.
    pub(crate) async fn bundles(&self, reference: &Reference) -> Result<Vec<Signature>, Error> {
        let image = reference.by_digest(reference.digest());
        let index = self.client.pull_referrers(&image, Some(BUNDLE)).await.map_err(failed(reference, "its signatures"))?;
        let mut signatures = Vec::new();
        let is_bundle = |kind: &Option<String>| kind.as_deref().is_none_or(|kind| kind == BUNDLE);
        for entry in index.manifests.iter().filter(|entry| is_bundle(&entry.artifact_type)).take(SIGNATURES) {
            let Ok(digest) = entry.digest.parse::<Digest>() else { continue };
            let manifest = self.manifest_of(reference, &reference.by_digest(&digest)).await.map_err(failed(reference, "a signature"))?;
            let Ok(Manifest(manifest)) = Manifest::read(&manifest) else { continue };
            for layer in manifest.layers.iter().filter(|layer| layer.media_type == BUNDLE).take(SIGNATURES) {
                if let Some(bundle) = self.small_blob(reference, layer).await? {
                    let most = SIGNATURES - signatures.len();
                    signatures.extend(Signature::bundle(&bundle, most));
                }
                if signatures.len() >= SIGNATURES {
                    return Ok(signatures);
                }
            }
        }
        Ok(signatures)
    }

    /// A layer, if it is as small as signatures are.
    async fn small_blob(&self, reference: &Reference, descriptor: &OciDescriptor) -> Result<Option<Bytes>, Error> {
        match Layer::read(descriptor) {
            Ok(layer) if layer.size <= SIGNATURE_BYTES => self.blob(reference, &layer).await.map(Some),
            _ => Ok(None),
        }
    }
}

fn is_missing(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::ImageManifestNotFoundError(_) | OciDistributionError::ServerError { code: 404, .. } => true,
        OciDistributionError::RegistryError { envelope, .. } => {
            let missing = [OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound];
            envelope.errors.iter().any(|error| missing.contains(&error.code))
        }
        _ => false,
    }
}

/// That something failed, with all its causes: the outermost says only that a request failed.
fn failed<E: std::error::Error>(reference: &Reference, what: &'static str) -> impl FnOnce(E) -> Error {
    let reference = reference.clone();
    move |error| {
        let mut reason = format!("{what}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors repeat what caused them.
            if !reason.contains(&text) {
                reason.push_str(": ");
                reason.push_str(&text);
            }
            cause = error.source();
        }
        Error::Pull { reference, reason }
    }
}
