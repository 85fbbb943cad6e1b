//! Installs the pinned `claude` from npm.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::{self, Package, cache, run, variable};

/// The version that the facts in the documentation, the fixtures and the tests are about.
pub(crate) const VERSION: &str = "2.1.330";

/// What npm installs where Node is older than 22, as of November 2026.
pub(crate) const OLDER_VERSION: &str = "2.1.197";

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("AGENT_HOST_TEST_CLAUDE names {}, which is not a file", .0.display())]
    NotAFile(PathBuf),
    #[error("npm is not in the PATH ({0}); AGENT_HOST_TEST_CLAUDE can name a claude that is installed already")]
    NoNpm(which::Error),
    #[error("{0}; AGENT_HOST_TEST_CLAUDE can name a claude that is installed already")]
    Install(#[from] install::Error),
}

pub(crate) fn find(version: &str) -> Result<PathBuf, Error> {
    if version == VERSION
        && let Some(path) = variable("AGENT_HOST_TEST_CLAUDE")
    {
        return if path.is_file() { Ok(path) } else { Err(Error::NotAFile(path)) };
    }
    find_in(&cache()?, version, which::which("npm"))
}

fn find_in(cache: &Path, version: &str, npm: Result<PathBuf, which::Error>) -> Result<PathBuf, Error> {
    let name = format!("claude-code-{version}");
    // What is there needs no npm.
    if let Some(program) = program_in(&cache.join(&name)) {
        return Ok(program);
    }
    let npm = npm.map_err(Error::NoNpm)?;
    let fill = |directory: &Path| {
        let mut command = Command::new(&npm);
        command.args([
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--fetch-retries=2",
            "--fetch-retry-mintimeout=1000",
            "--prefix",
        ]);
        command.arg(directory).arg(format!("@anthropic-ai/claude-code@{version}"));
        run(command, directory, |line| line.contains("npm error") || line.contains("npm ERR"))
    };
    Ok(Package { name: &name, fill: &fill, find: &program_in }.install(cache)?)
}

/// The program is in the package of this platform, of which npm installs no other: `@anthropic-ai/claude-code-linux-x64/claude`.
fn program_in(directory: &Path) -> Option<PathBuf> {
    let listed = fs::read_dir(directory.join("node_modules/@anthropic-ai")).ok()?;
    let programs = listed.flatten().filter(|entry| is_platform(&entry.file_name())).map(|entry| entry.path().join("claude"));
    // An npm that does not look at the C library installs both: this machine's tests are built for one of them.
    let musl = cfg!(target_env = "musl");
    let mut programs: Vec<PathBuf> = programs.filter(|program| program.is_file()).collect();
    programs.sort_by_key(|program| program.to_string_lossy().contains("-musl/") != musl);
    programs.into_iter().next()
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
        assert!(program_in(&cache.join(format!("claude-code-{VERSION}"))).is_none());
    }

    #[test]
    fn without_npm_the_error_says_how_to_do_without() {
        let directory = tempfile::tempdir().unwrap();
        let error = find_in(directory.path(), VERSION, Err(which::Error::CannotFindBinaryPath)).unwrap_err();
        assert!(error.to_string().contains("AGENT_HOST_TEST_CLAUDE"), "{error}");
    }
}
