//! Builds components that do not ship with the host, as somebody would who has written one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What components are compiled for.
const TARGET: &str = "wasm32-wasip2";

/// A component, as cargo knows it.
pub(crate) struct Component<'a> {
    /// The directory of its workspace, from the root of the repository.
    pub(crate) workspace: &'a str,
    /// The name of its package.
    pub(crate) package: &'a str,
    /// What the build finds in its environment besides.
    pub(crate) environment: &'a [(&'a str, &'a str)],
    /// Arguments of `cargo build` besides, such as features.
    pub(crate) arguments: &'a [&'a str],
}

impl Component<'_> {
    /// Builds it into `directory`, under this name, where it is found again by those who come later. A build that fails panics: the sources are there, and so is cargo.
    #[expect(clippy::expect_used, clippy::panic, reason = "this is how a test fails")]
    pub(crate) fn build(&self, name: &str, directory: &Path) -> PathBuf {
        let Self { workspace, package, environment, arguments } = *self;
        let built = directory.join(format!("{name}.wasm"));
        fs::create_dir_all(directory).expect("failed to make a directory for components");
        let lock = File::create(directory.join("lock")).expect("failed to create a lock file");
        // One builds, the others wait for it. Closing the file unlocks it.
        lock.lock().expect("failed to lock a file");
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(workspace).join("Cargo.toml");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in std::env::vars_os() {
            let is_of_cargo = name.to_str().is_some_and(|name| name.starts_with("CARGO") || name.starts_with("RUSTC"));
            if is_of_cargo && name != "CARGO_HOME" {
                cargo.env_remove(name);
            }
        }
        let status = cargo
            .args(["build", "--quiet", "--release", "--locked", "--package", package, "--target", TARGET, "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(directory.join("target"))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .expect("failed to run cargo");
        assert!(status.success(), "failed to build {package} ({status})");
        // The next build may overwrite what cargo made. Whoever reads the copy of an earlier one meanwhile must not find half of it.
        let made = directory.join("target").join(TARGET).join("release").join(package.replace('-', "_")).with_extension("wasm");
        let partial = built.with_extension("partial");
        if let Err(error) = fs::copy(&made, &partial).and_then(|_| fs::rename(&partial, &built)) {
            panic!("failed to copy {}: {error}", made.display());
        }
        built
    }
}
