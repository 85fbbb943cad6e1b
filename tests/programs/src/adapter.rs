//! Builds the `sql` adapter under another version, as somebody would who has a new one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What components are compiled for.
const TARGET: &str = "wasm32-wasip2";

/// Builds it into `directory`, where it is found again by those who come later. A build that fails panics: the sources are there, and so is cargo.
#[expect(clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
pub(crate) fn build(version: &str, directory: &Path) -> PathBuf {
    let built = directory.join(format!("sql-{version}.wasm"));
    fs::create_dir_all(directory).expect("failed to make a directory for the adapter");
    let lock = File::create(directory.join("lock")).expect("failed to create a lock file");
    // One builds, the others wait for it. Closing the file unlocks it.
    lock.lock().expect("failed to lock a file");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../adapters/Cargo.toml");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let is_of_cargo = name.to_str().is_some_and(|name| name.starts_with("CARGO") || name.starts_with("RUSTC"));
        if is_of_cargo && name != "CARGO_HOME" {
            cargo.env_remove(name);
        }
    }
    let status = cargo
        .args(["build", "--quiet", "--release", "--locked", "--package", "adapter-sql", "--target", TARGET, "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(directory.join("target"))
        .env("AGENT_HOST_ADAPTER_VERSION", version)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("failed to run cargo");
    assert!(status.success(), "failed to build the sql adapter ({status})");
    // The next version's build overwrites what cargo made.
    let made = directory.join("target").join(TARGET).join("release/adapter_sql.wasm");
    if let Err(error) = fs::copy(&made, &built) {
        panic!("failed to copy {}: {error}", made.display());
    }
    built
}
