//! Installs the pinned `claude` from npm into a cache directory outside the checkout, once for all test processes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The version that the facts in the documentation, the fixtures and the tests are about.
pub(crate) const VERSION: &str = "2.1.330";

/// What npm installs where Node is older than 22, as of November 2026.
pub(crate) const OLDER_VERSION: &str = "2.1.197";

/// For so long a failed installation is not tried again, so that a suite on a machine without a network does not wait for it in each test.
const RETRY_AFTER: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("AGENT_HOST_TEST_CLAUDE names {}, which is not a file", .0.display())]
    NotAFile(PathBuf),
    #[error("neither XDG_CACHE_HOME nor HOME is set, so that there is no place to install it")]
    NoCache,
    #[error("npm is not in the PATH ({0}); AGENT_HOST_TEST_CLAUDE can name a claude that is installed already")]
    NoNpm(which::Error),
    #[error("failed to {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("npm could not install it ({0}); AGENT_HOST_TEST_CLAUDE can name one that is installed already")]
    Npm(String),
    #[error("npm installed no program for this machine below {}", .0.display())]
    NoProgram(PathBuf),
}

pub(crate) fn find(version: &str) -> Result<PathBuf, Error> {
    if version == VERSION
        && let Some(path) = variable("AGENT_HOST_TEST_CLAUDE")
    {
        return if path.is_file() { Ok(path) } else { Err(Error::NotAFile(path)) };
    }
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache"))).ok_or(Error::NoCache)?;
    find_in(&cache.join("agent-host"), version, which::which("npm"))
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn find_in(cache: &Path, version: &str, npm: Result<PathBuf, which::Error>) -> Result<PathBuf, Error> {
    let directory = cache.join(format!("claude-code-{version}"));
    if let Ok(program) = program_in(&directory) {
        return Ok(program);
    }
    let npm = npm.map_err(Error::NoNpm)?;
    fs::create_dir_all(cache).map_err(|source| Error::Io { action: "create", path: cache.to_owned(), source })?;
    // Tests run as processes at the same time: one installs, the others wait for it. Closing the file unlocks it.
    let _lock = lock(&beside(&directory, "lock"))?;
    program_in(&directory).or_else(|_| {
        let failed = beside(&directory, "failed");
        if let Some(reason) = recent_failure(&failed) {
            return Err(Error::Npm(reason));
        }
        let installed = install(&npm, version, &directory).and_then(|()| program_in(&directory));
        if let Err(error) = &installed {
            // Only spares the next test the wait: without it the installation is tried again.
            let _ = fs::write(&failed, error.to_string());
        }
        installed
    })
}

/// `claude-code-2.1.330.lock`: a version's last number is no extension that may be replaced.
fn beside(directory: &Path, kind: &str) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(".");
    name.push(kind);
    name.into()
}

fn lock(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::Io { action: "lock", path: path.to_owned(), source };
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// Why an installation failed a short while ago. Where `CI` is set each failure is a fresh one.
fn recent_failure(path: &Path) -> Option<String> {
    if std::env::var_os("CI").is_some() {
        return None;
    }
    let age = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?.elapsed().ok()?;
    if age < RETRY_AFTER { fs::read_to_string(path).ok() } else { None }
}

/// Installs into a directory beside the final one and renames it, so that an installation that is broken off is never taken for a whole one.
fn install(npm: &Path, version: &str, directory: &Path) -> Result<(), Error> {
    let partial = beside(directory, "partial");
    let fresh = |path: &Path| match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Io { action: "remove", path: path.to_owned(), source }),
        _ => Ok(()),
    };
    fresh(&partial)?;
    fs::create_dir_all(&partial).map_err(|source| Error::Io { action: "create", path: partial.clone(), source })?;
    let output = Command::new(npm)
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--prefix"])
        .arg(&partial)
        .arg(format!("@anthropic-ai/claude-code@{version}"))
        .current_dir(&partial)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Io { action: "run", path: npm.to_owned(), source })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find(|line| line.contains("npm error") || line.contains("npm ERR")).unwrap_or("it said nothing");
        return Err(Error::Npm(format!("{}: {line}", output.status)));
    }
    program_in(&partial)?;
    fresh(directory)?;
    fs::rename(&partial, directory).map_err(|source| Error::Io { action: "rename", path: partial, source })
}

/// The program is in the package of this platform, of which npm installs no other: `@anthropic-ai/claude-code-linux-x64/claude`.
fn program_in(directory: &Path) -> Result<PathBuf, Error> {
    let packages = directory.join("node_modules/@anthropic-ai");
    let none = || Error::NoProgram(packages.clone());
    let listed = fs::read_dir(&packages).map_err(|_| none())?;
    let programs = listed.flatten().filter(|entry| is_platform(&entry.file_name())).map(|entry| entry.path().join("claude"));
    // An npm that does not look at the C library installs both: this machine's tests are built for one of them.
    let musl = cfg!(target_env = "musl");
    let mut programs: Vec<PathBuf> = programs.filter(|program| program.is_file()).collect();
    programs.sort_by_key(|program| program.to_string_lossy().contains("-musl/") != musl);
    programs.into_iter().next().ok_or_else(none)
}

fn is_platform(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with("claude-code-")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A stand-in for npm that counts its runs and lays down what the real one would.
    fn npm(directory: &Path, script: &str) -> PathBuf {
        let path = directory.join("npm");
        fs::write(&path, format!("#!/bin/sh\necho run >> '{}/runs'\n{script}\n", directory.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn runs(directory: &Path) -> usize {
        fs::read_to_string(directory.join("runs")).map_or(0, |text| text.lines().count())
    }

    const LAYS_DOWN: &str =
        "mkdir -p node_modules/@anthropic-ai/claude-code-linux-x64 node_modules/@anthropic-ai/claude-code-linux-x64-musl
        touch node_modules/@anthropic-ai/claude-code-linux-x64/claude node_modules/@anthropic-ai/claude-code-linux-x64-musl/claude";

    #[test]
    fn it_is_installed_once_for_all_who_ask_at_the_same_time() {
        let directory = tempfile::tempdir().unwrap();
        let npm = npm(directory.path(), LAYS_DOWN);
        let cache = directory.path().join("cache");
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| find_in(&cache, VERSION, Ok(npm.clone())))).collect();
            for thread in threads {
                assert!(thread.join().unwrap().unwrap().is_file());
            }
        });
        assert_eq!(runs(directory.path()), 1);
    }

    #[test]
    fn a_failed_installation_says_what_npm_said_and_leaves_nothing_that_looks_whole() {
        let directory = tempfile::tempdir().unwrap();
        let failing = npm(directory.path(), &format!("{LAYS_DOWN}\necho 'npm error network is down' >&2; exit 1"));
        let cache = directory.path().join("cache");
        let error = find_in(&cache, VERSION, Ok(failing)).unwrap_err();
        assert!(error.to_string().contains("npm error network is down"), "{error}");
        assert!(program_in(&cache.join(format!("claude-code-{VERSION}"))).is_err());
    }

    #[test]
    fn without_npm_the_error_says_how_to_do_without() {
        let directory = tempfile::tempdir().unwrap();
        let error = find_in(directory.path(), VERSION, Err(which::Error::CannotFindBinaryPath)).unwrap_err();
        assert!(error.to_string().contains("AGENT_HOST_TEST_CLAUDE"), "{error}");
    }
}
