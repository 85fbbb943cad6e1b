//! A registry for components: Debian's `docker-registry`, with keys and signatures as `cosign` makes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use oci_client::client::{Client, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::OciImageManifest;
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, annotations};
use tempfile::TempDir;

use crate::server::{free_port, serves};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A registry without TLS at 127.0.0.1. It ends, and everything in it goes, when this is dropped.
///
/// Its methods panic if what they are asked for cannot be had: a test fails by that.
#[derive(Debug)]
pub struct OciRegistry {
    program: PathBuf,
    directory: TempDir,
    port: u16,
    child: Option<Child>,
}

#[expect(clippy::expect_used, reason = "this is how a test fails")]
impl OciRegistry {
    pub(crate) fn start(program: PathBuf) -> Self {
        let directory = TempDir::new().expect("failed to make a directory");
        let mut registry = Self { program, directory, port: free_port(), child: None };
        registry.resume();
        registry
    }

    /// Starts it with what it has kept, and waits until it serves.
    pub fn resume(&mut self) {
        let config = self.directory.path().join("config.yml");
        let storage = self.directory.path().join("storage");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{}'}}\n",
            storage.display(),
            self.port
        );
        fs::write(&config, text).expect("failed to write a configuration");
        let mut command = Command::new(&self.program);
        command.arg("serve").arg(config).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = self.child.insert(command.spawn().expect("failed to start a registry"));
        assert!(serves(child, self.port, PATIENCE), "the registry does not serve");
    }

    /// Ends it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("failed to stop a registry");
            child.wait().expect("failed to wait for a registry");
        }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Puts a component there, as `wkg oci push` does, and gives its reference.
    pub async fn push(&self, repository: &str, component: &Path) -> String {
        let bytes = fs::read(component).expect("failed to read a component");
        let layer = ImageLayer::new(bytes, "application/wasm".to_owned(), None);
        let config = Config::new(&b"{}"[..], "application/vnd.wasm.config.v0+json".to_owned(), None);
        format!("oci://{}/{repository}@{}", self.address(), self.push_image(repository, "latest", layer, config).await)
    }

    /// Signs what a reference names with a key, as `cosign sign --key --tlog-upload=false` does.
    pub async fn sign(&self, reference: &str, key: &CosignKey) {
        let (place, digest) = reference.split_once('@').expect("a reference has a digest");
        let repository = place.rsplit_once(&self.address()).expect("it is in this registry").1.trim_start_matches('/');
        let payload = serde_json::json!({
            "critical": {
                "identity": {"docker-reference": place.trim_start_matches("oci://")},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string().into_bytes();
        let signature = key.sign(&payload);
        let annotations = [("dev.cosignproject.cosign/signature".to_owned(), signature)].into();
        let layer = ImageLayer::new(payload, "application/vnd.dev.cosign.simplesigning.v1+json".to_owned(), Some(annotations));
        let config = Config::oci_v1(&b"{}"[..], None);
        self.push_image(repository, &format!("{}.sig", digest.replace(':', "-")), layer, config).await;
    }

    /// Gives the digest of the manifest.
    async fn push_image(&self, repository: &str, tag: &str, layer: ImageLayer, config: Config) -> String {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = ClientConfig { protocol: ClientProtocol::HttpsExcept(vec![self.address()]), ..ClientConfig::default() };
        let client = Client::try_from(client).expect("failed to make a client");
        let image = Reference::with_tag(self.address(), repository.to_owned(), tag.to_owned());
        let created = [(annotations::ORG_OPENCONTAINERS_IMAGE_TITLE.to_owned(), repository.to_owned())].into();
        let manifest = OciImageManifest::build(std::slice::from_ref(&layer), &config, Some(created));
        client.push(&image, &[layer], config, &RegistryAuth::Anonymous, Some(manifest)).await.expect("failed to push");
        client.fetch_manifest_digest(&image, &RegistryAuth::Anonymous).await.expect("what was pushed is not there")
    }
}

impl Drop for OciRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A key pair as `cosign generate-key-pair` makes it: ECDSA over P-256.
#[derive(Debug)]
pub struct CosignKey(TempDir);

#[expect(clippy::expect_used, reason = "this is how a test fails")]
impl CosignKey {
    pub(crate) fn make() -> Self {
        let key = Self(TempDir::new().expect("failed to make a directory"));
        key.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "cosign.key"]);
        key.openssl(&["pkey", "-in", "cosign.key", "-pubout", "-out", "cosign.pub"]);
        key
    }

    /// The file with the public key.
    pub fn public(&self) -> PathBuf {
        self.0.path().join("cosign.pub")
    }

    /// In base64.
    fn sign(&self, message: &[u8]) -> String {
        fs::write(self.0.path().join("message"), message).expect("failed to write a file");
        self.openssl(&["dgst", "-sha256", "-sign", "cosign.key", "-out", "signature", "message"]);
        let encoded = self.openssl(&["base64", "-A", "-in", "signature"]);
        String::from_utf8(encoded).expect("base64 is text").trim().to_owned()
    }

    fn openssl(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("openssl").args(arguments).current_dir(self.0.path()).output().expect("failed to run openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}
