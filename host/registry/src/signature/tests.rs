use std::process::Command;

use serde_json::json;

use super::*;

/// A key pair that openssl made, for one test.
struct Pair {
    directory: tempfile::TempDir,
    public: Key,
}

impl Pair {
    fn new(algorithm: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        openssl(&directory, &[&["genpkey", "-out", "private.pem"], algorithm].concat());
        openssl(&directory, &["pkey", "-in", "private.pem", "-pubout", "-out", "public.pem"]);
        let public = Key::read(&directory.path().join("public.pem")).unwrap().remove(0);
        Self { directory, public }
    }

    fn sign(&self, message: &[u8], digest: &[&str]) -> Vec<u8> {
        std::fs::write(self.directory.path().join("message"), message).unwrap();
        let signed = [&["pkeyutl", "-sign", "-rawin", "-inkey", "private.pem", "-in", "message", "-out", "signature"], digest].concat();
        openssl(&self.directory, &signed);
        std::fs::read(self.directory.path().join("signature")).unwrap()
    }
}

fn openssl(directory: &tempfile::TempDir, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const SHA256: &[&str] = &["-digest", "sha256"];

fn document(digest: &Digest) -> Vec<u8> {
    json!({"critical": {"identity": {"docker-reference": "ghcr.io/acme/adapter"}, "image": {"docker-manifest-digest": digest.to_string()}, "type": SIMPLE_TYPE}, "optional": null})
        .to_string()
        .into_bytes()
}

fn simple(pair: &Pair, digest: &Digest, by: &[&str]) -> Signature {
    let payload = document(digest);
    Signature::simple(&payload, &BASE64_STANDARD.encode(pair.sign(&payload, by))).unwrap()
}

#[test]
fn what_a_key_has_signed_is_accepted_for_what_it_names() {
    let digest = Digest::of(b"manifest");
    for (algorithm, by) in [
        (P256, SHA256),
        (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], SHA256),
        (&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], SHA256),
        (&["-algorithm", "ED25519"], &[]),
    ] {
        let (pair, other) = (Pair::new(algorithm), Pair::new(P256));
        let signature = simple(&pair, &digest, by);
        assert!(signature.is_by_one_of(&[other.public.clone(), pair.public.clone()], &digest), "{algorithm:?}");
        assert!(!signature.is_by_one_of(std::slice::from_ref(&other.public), &digest), "{algorithm:?}: by another key");
        assert!(!signature.is_by_one_of(std::slice::from_ref(&pair.public), &Digest::of(b"another")), "{algorithm:?}: of something else");
        let read: Signature = serde_json::from_str(&serde_json::to_string(&signature).unwrap()).unwrap();
        assert_eq!(read, signature);
    }
}

#[test]
fn what_was_changed_or_is_of_another_kind_is_not_accepted() {
    let (pair, digest) = (Pair::new(P256), Digest::of(b"manifest"));
    let keys = std::slice::from_ref(&pair.public);
    let payload = document(&digest);
    let signature = BASE64_STANDARD.encode(pair.sign(&payload, SHA256));
    let other = Digest::of(b"another");
    let forged = Signature::simple(&document(&other), &signature).unwrap();
    assert!(!forged.is_by_one_of(keys, &other), "another document under the same signature");
    let kind =
        json!({"critical": {"image": {"docker-manifest-digest": digest.to_string()}, "type": "atomic container signature"}}).to_string();
    let foreign = Signature::simple(kind.as_bytes(), &BASE64_STANDARD.encode(pair.sign(kind.as_bytes(), SHA256))).unwrap();
    assert!(!foreign.is_by_one_of(keys, &digest), "another kind of document");
    assert_eq!(Signature::simple(&payload, "no base64!"), None);
}

#[test]
fn a_bundle_is_a_statement_in_an_envelope() {
    let (pair, digest) = (Pair::new(P256), Digest::of(b"manifest"));
    let keys = std::slice::from_ref(&pair.public);
    let bundle = |predicate: &str, payload_type: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let statement = json!({"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "", "digest": {"sha256": digest.hex()}}], "predicateType": predicate});
        let statement = statement.to_string().into_bytes();
        let envelope = json!({"payload": BASE64_STANDARD.encode(&statement), "payloadType": payload_type, "signatures": [{"sig": BASE64_STANDARD.encode(sign(&statement))}]});
        Signature::bundle(
            json!({"mediaType": BUNDLE, "verificationMaterial": {"publicKey": {"hint": "x"}}, "dsseEnvelope": envelope})
                .to_string()
                .as_bytes(),
            8,
        )
    };
    // As the specification of DSSE writes it, and not as this crate does.
    let encoded = |statement: &[u8]| {
        let text = std::str::from_utf8(statement).unwrap();
        pair.sign(format!("DSSEv1 28 application/vnd.in-toto+json {} {text}", text.len()).as_bytes(), SHA256)
    };
    let signatures = bundle(SIGNED, STATEMENT, &encoded);
    assert_eq!(signatures.len(), 1);
    assert!(signatures[0].is_by_one_of(keys, &digest));
    assert!(!signatures[0].is_by_one_of(keys, &Digest::of(b"another")));
    assert!(!bundle("https://slsa.dev/provenance/v1", STATEMENT, &encoded)[0].is_by_one_of(keys, &digest), "it says something else of it");
    assert!(
        !bundle(SIGNED, STATEMENT, &|statement| pair.sign(statement, SHA256))[0].is_by_one_of(keys, &digest),
        "not the envelope is signed"
    );
    assert_eq!(bundle(SIGNED, "text/plain", &encoded), Vec::new());
    assert_eq!(Signature::bundle(b"{}", 8), Vec::new());
}

#[test]
fn a_file_without_a_public_key_is_refused() {
    let pair = Pair::new(P256);
    let error = Key::read(&pair.directory.path().join("private.pem")).unwrap_err().to_string();
    assert!(error.contains("private.pem holds no public key"), "{error}");
    assert!(Key::read(&pair.directory.path().join("nothing.pem")).is_err());
    // Of several, each counts.
    let both = [Pair::new(P256), Pair::new(P256)].map(|pair| std::fs::read_to_string(pair.directory.path().join("public.pem")).unwrap());
    let file = pair.directory.path().join("both.pem");
    std::fs::write(&file, both.concat()).unwrap();
    assert_eq!(Key::read(&file).unwrap().len(), 2);
}
