//! Builds the components that ship with the host (`adapters/`, for wasm32-wasip2), which `src/builtin.rs` embeds.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};

/// What components are compiled for.
const TARGET: &str = "wasm32-wasip2";

/// Name in the host, name of the package.
const COMPONENTS: [(&str, &str); 2] = [("SQL", "adapter-sql"), ("MEMORY", "adapter-memory")];

/// What they are made of, in `adapters/`, where there are others.
const SOURCES: [&str; 5] = ["Cargo.lock", "Cargo.toml", "memory", "sdk", "sql"];

/// Variables that tell cargo where and how to fetch, not how to build the crate whose build script this is.
const PASSED_ON: [&str; 6] = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_MAKEFLAGS", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_"];

fn main() {
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../..");
    let adapters = root.join("adapters");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", root.join("wit").display());
    for source in SOURCES {
        let path = adapters.join(source);
        if !path.exists() {
            fail(&format!("{} is not there: is the source tree complete?", path.display()));
        }
        println!("cargo:rerun-if-changed={}", path.display());
    }

    ensure_target();
    let target_dir = PathBuf::from(variable("OUT_DIR")).join("adapters");
    let mut cargo = clean(&variable("CARGO"));
    cargo.args(["build", "--release", "--locked", "--target", TARGET, "--manifest-path"]).arg(adapters.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(&target_dir);
    cargo.args(COMPONENTS.iter().flat_map(|(_, package)| ["--package", package]));
    if !runs(&mut cargo) {
        fail(&format!("failed to build the components in {}: see cargo's own words above", adapters.display()));
    }
    for (name, package) in COMPONENTS {
        let path = target_dir.join(TARGET).join("release").join(package.replace('-', "_")).with_extension("wasm");
        println!("cargo:rustc-env=AGENT_HOST_COMPONENT_{name}={}", path.display());
    }
}

/// Has rustup add the target if the compiler lacks it.
fn ensure_target() {
    let installed = || {
        let output = clean("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
        output.is_ok_and(|output| output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
    };
    let ready = installed() || (runs(clean("rustup").args(["target", "add", TARGET])) && installed());
    if !ready {
        fail(&format!(
            "the Rust compiler has no target {TARGET}, which components are built for: run `rustup target add {TARGET}` in this directory"
        ));
    }
}

/// A command without what cargo, clippy or the user said about the build of the host.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let of_cargo = text.starts_with("CARGO") && !PASSED_ON.iter().any(|passed| text.starts_with(passed));
        let of_rustc = text.starts_with("RUSTC") || text.starts_with("RUSTDOC") || text == "RUSTFLAGS" || text == "CLIPPY_ARGS";
        let of_build_script = matches!(text, "DEBUG" | "HOST" | "NUM_JOBS" | "OPT_LEVEL" | "OUT_DIR" | "PROFILE" | "TARGET");
        if of_cargo || of_rustc || of_build_script {
            command.env_remove(&name);
        }
    }
    command
}

fn runs(command: &mut Command) -> bool {
    // What is printed to the standard output of a build script is for cargo.
    command.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("cargo did not set {name}")))
}

fn fail(message: &str) -> ! {
    eprintln!("error: {message}");
    exit(1)
}
