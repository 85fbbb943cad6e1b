//! The programs that tests need and that cargo does not build: where they are, and how the real `claude` is installed.
//!
//! A test that needs one begins with
//!
//! ```no_run
//! let Some(claude) = agent_host_test_programs::claude() else { return };
//! # drop(claude);
//! ```
//!
//! On a developer's machine a program that cannot be had skips the test, with one line that says so. Where the variable `CI` is set it fails
//! the test: there, nobody reads such lines.

#![forbid(unsafe_code)]

mod claude;
mod component;
#[cfg(unix)]
mod http_store;
mod install;
mod modal;
mod oci;
#[cfg(unix)]
mod postgres;
mod server;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use component::Component;
#[cfg(unix)]
pub use http_store::HttpStore;
pub use oci::{CosignKey, OciRegistry};
#[cfg(unix)]
pub use postgres::{PostgresServer, Stop};

/// The `claude` that tests are written for. A newer one may print other lines.
pub const CLAUDE_VERSION: &str = claude::VERSION;

/// The pinned `claude`: the one that `AGENT_HOST_TEST_CLAUDE` names, or else one in the cache directory, installed there from npm at first use.
///
/// # Panics
/// If it cannot be had and `CI` is set.
pub fn claude() -> Option<PathBuf> {
    version(CLAUDE_VERSION)
}

/// An older `claude`, which many machines have.
///
/// # Panics
/// If it cannot be had and `CI` is set.
pub fn older_claude() -> Option<PathBuf> {
    version(claude::OLDER_VERSION)
}

fn version(version: &str) -> Option<PathBuf> {
    match claude::find(version) {
        Ok(path) => Some(path),
        Err(error) => missing(&format!("claude {version} is needed: {error}")),
    }
}

/// A Python with Modal's official client in it: the program, and the directory that is to be its `PYTHONPATH`, where the client is installed from PyPI at first use.
///
/// # Panics
/// If it cannot be had and `CI` is set.
pub fn official_modal() -> Option<(PathBuf, PathBuf)> {
    let python = require("python3")?;
    match modal::find(&python) {
        Ok(directory) => Some((python, directory)),
        Err(error) => missing(&format!("Modal's client for Python is needed: {error}")),
    }
}

/// A client for HTTP. What is built for the host has TLS in it, which the program, and so each test, has to tell whose cryptography it is to use.
pub fn http() -> reqwest::ClientBuilder {
    // Another test of this process may have told it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

/// A PostgreSQL server of the test's own, which has begun to serve.
///
/// # Panics
/// If it is not installed and `CI` is set, or if it does not start.
#[cfg(unix)]
pub fn postgres() -> Option<PostgresServer> {
    match postgres::find() {
        Ok(programs) => Some(PostgresServer::start(programs)),
        Err(error) => missing(&format!("PostgreSQL is needed: {error}")),
    }
}

/// A registry for components, and nothing in it.
///
/// # Panics
/// If `docker-registry` is not installed and `CI` is set, or if it does not start.
pub fn oci_registry() -> Option<OciRegistry> {
    require("docker-registry").map(OciRegistry::start)
}

/// A key to sign components with.
///
/// # Panics
/// If `openssl` is not installed and `CI` is set.
pub fn cosign_key() -> Option<CosignKey> {
    require("openssl").map(|_| CosignKey::make())
}

/// A store for the adapter `http`, the one in Python over SQLite, to which hosts show a token.
///
/// # Panics
/// If there is no Python and `CI` is set, or if it does not start.
#[cfg(unix)]
pub fn http_store_in_python() -> Option<HttpStore> {
    require("python3")?;
    Some(HttpStore::start("python", vec![("STORE_BEARER", http_store::SECRET.to_owned())]))
}

/// The one in TypeScript over a PostgreSQL database, whose URL this is, to which hosts sign what they ask.
///
/// # Panics
/// If there is no npm and `CI` is set, or if it does not start.
#[cfg(unix)]
pub fn http_store_in_typescript(database: String) -> Option<HttpStore> {
    require("npm")?;
    Some(HttpStore::start("typescript", vec![("STORE_HMAC", http_store::SECRET.to_owned()), ("DATABASE_URL", database)]))
}

/// The `sql` adapter, built under another version: the same code as the one that ships with the host, and another component. It is built below the test's target directory.
///
/// # Panics
/// If cargo cannot build it.
pub fn rebuilt_adapter(version: &str) -> PathBuf {
    let adapter = Component {
        workspace: "adapters",
        package: "adapter-sql",
        environment: &[("AGENT_HOST_ADAPTER_VERSION", version)],
        arguments: &[],
    };
    adapter.build(&format!("sql-{version}"), &beside_the_test("rebuilt-adapters"))
}

/// An adapter of `adapters/` that is not in the host: `filesystem` or `http`. It is built below the test's target directory.
///
/// # Panics
/// If there is no such adapter, or cargo cannot build it.
pub fn shipped_adapter(name: &str) -> PathBuf {
    let adapter = Component { workspace: "adapters", package: &format!("adapter-{name}"), environment: &[], arguments: &[] };
    adapter.build(name, &beside_the_test("shipped-adapters"))
}

/// The adapter `examples/adapter-encrypting`, which is to be composed with one that keeps leases or, without them, with one that does not. It is built below
/// the test's target directory.
///
/// # Panics
/// If cargo cannot build it.
pub fn encrypting_adapter(keeps_leases: bool) -> PathBuf {
    let (name, arguments): (_, &[&str]) =
        if keeps_leases { ("encrypting", &[]) } else { ("encrypting-without-leases", &["--no-default-features"]) };
    let adapter = Component { workspace: "examples/adapter-encrypting", package: "adapter-encrypting", environment: &[], arguments };
    adapter.build(name, &beside_the_test("encrypting-adapter"))
}

/// The adapter `examples/adapter-postgres-wire`, which brings its own driver along. It is built below the test's target directory.
///
/// # Panics
/// If cargo cannot build it.
pub fn postgres_wire_adapter() -> PathBuf {
    // As its own `.cargo/config.toml` says, which cargo reads only where it is run.
    let environment = &[("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", "--cfg tokio_unstable")];
    let adapter = Component { workspace: "examples/adapter-postgres-wire", package: "adapter-postgres-wire", environment, arguments: &[] };
    adapter.build("postgres-wire", &beside_the_test("postgres-wire-adapter"))
}

/// A hook of `examples/hooks`: `audit`, `guard` or `webhook`. It is built below the test's target directory.
///
/// # Panics
/// If there is no such hook, or cargo cannot build it.
pub fn example_hook(name: &str) -> PathBuf {
    let hook = Component { workspace: "examples/hooks", package: &format!("hook-{name}"), environment: &[], arguments: &[] };
    hook.build(name, &beside_the_test("example-hooks"))
}

/// The hook of the load program, `tests/load/hook`. It is built below the program's target directory.
///
/// # Panics
/// If cargo cannot build it.
pub fn counting_hook() -> PathBuf {
    let hook = Component { workspace: "tests/load/hook", package: "hook-counter", environment: &[], arguments: &[] };
    hook.build("counter", &beside_the_test("load-hook"))
}

/// A component that does what none may do: one of `host/wasm/tests/guests`. It is built below the test's target directory.
///
/// # Panics
/// If there is no such component, or cargo cannot build it.
pub fn guest(name: &str) -> PathBuf {
    let guest = Component { workspace: "host/wasm/tests/guests", package: name, environment: &[], arguments: &[] };
    guest.build(name, &beside_the_test("guests"))
}

/// The `sql` adapter on a bad day, `tests/faulty-adapter`. It is built below the test's target directory.
///
/// # Panics
/// If cargo cannot build it.
pub fn faulty_adapter() -> PathBuf {
    let adapter = Component { workspace: "tests/faulty-adapter", package: "faulty", environment: &[], arguments: &[] };
    adapter.build("faulty", &beside_the_test("faulty-adapter"))
}

/// The `sql` adapter breaking the promise that its configuration names, `tests/broken-adapter`. It is built below the test's target directory.
///
/// # Panics
/// If cargo cannot build it.
pub fn broken_adapter() -> PathBuf {
    let adapter = Component { workspace: "tests/broken-adapter", package: "broken", environment: &[], arguments: &[] };
    adapter.build("broken", &beside_the_test("broken-adapter"))
}

/// A directory of this name where cargo puts what it builds with the test's profile.
#[expect(clippy::expect_used, reason = "this is how a test fails")]
fn beside_the_test(name: &str) -> PathBuf {
    let executable = std::env::current_exe().expect("failed to find the test's own executable");
    // `target/debug/deps/test` or `target/release/program`.
    let profile = executable.ancestors().skip(1).find(|path| !path.ends_with("deps")).expect("the executable is not in a target directory");
    profile.join(name)
}

/// A program of the `PATH`, such as `sqlite3`.
///
/// # Panics
/// If it is not there and `CI` is set.
pub fn require(program: &str) -> Option<PathBuf> {
    match which::which(program) {
        Ok(path) => Some(path),
        Err(error) => missing(&format!("{program} is needed: {error}")),
    }
}

/// That the adapter and the hook in C can be built here: clang, with what it needs for WebAssembly.
///
/// # Panics
/// If it cannot and `CI` is set.
pub fn clang_for_components() -> Option<()> {
    let find = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/adapters/c/tools/find-clang");
    match Command::new("sh").arg(find).output() {
        Ok(output) if output.status.success() => Some(()),
        Ok(output) => missing(String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => missing(&format!("sh is needed: {error}")),
    }
}

#[expect(clippy::panic, reason = "this is how a test fails")]
fn missing<T>(reason: &str) -> Option<T> {
    if std::env::var_os("CI").is_some_and(|value| !value.is_empty()) {
        panic!("{reason}");
    }
    // Written past the test harness, which keeps to itself what a passing test prints.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
    None
}
