//! Installs what is not built here into a cache directory outside the checkout, once for all test processes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// For so long a failed installation is not tried again, so that a suite on a machine without a network does not wait for it in each test.
const RETRY_AFTER: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("neither XDG_CACHE_HOME nor HOME is set, so that there is no place to install it")]
    NoCache,
    #[error("failed to {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("it could not be installed ({0})")]
    Failed(String),
    #[error("nothing that this machine could use was installed in {}", .0.display())]
    Unusable(PathBuf),
}

/// What is to be there.
pub(crate) struct Package<'a> {
    /// The directory's name, with the version.
    pub(crate) name: &'a str,
    /// Fills a directory that is empty.
    pub(crate) fill: &'a dyn Fn(&Path) -> Result<(), Error>,
    /// What is wanted of it, if it is there.
    pub(crate) find: &'a dyn Fn(&Path) -> Option<PathBuf>,
}

/// Where it is installed.
pub(crate) fn cache() -> Result<PathBuf, Error> {
    let base = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache"))).ok_or(Error::NoCache)?;
    Ok(base.join("agent-host"))
}

pub(crate) fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl Package<'_> {
    /// What is wanted of it, after it was installed if need be.
    pub(crate) fn install(&self, cache: &Path) -> Result<PathBuf, Error> {
        let directory = cache.join(self.name);
        if let Some(found) = (self.find)(&directory) {
            return Ok(found);
        }
        fs::create_dir_all(cache).map_err(|source| Error::Io { action: "create", path: cache.to_owned(), source })?;
        // Tests run as processes at the same time: one installs, the others wait for it. Closing the file unlocks it.
        let _lock = lock(&beside(&directory, "lock"))?;
        if let Some(found) = (self.find)(&directory) {
            return Ok(found);
        }
        let failed = beside(&directory, "failed");
        if let Some(reason) = recent_failure(&failed) {
            return Err(Error::Failed(reason));
        }
        let installed = self.install_in(&directory);
        if let Err(error) = &installed {
            // Only spares the next test the wait: without it the installation is tried again.
            let _ = fs::write(&failed, error.to_string());
        }
        installed
    }

    /// Installs into a directory beside the final one and renames it, so that an installation that is broken off is never taken for a whole one.
    fn install_in(&self, directory: &Path) -> Result<PathBuf, Error> {
        let partial = beside(directory, "partial");
        let fresh = |path: &Path| match fs::remove_dir_all(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Io { action: "remove", path: path.to_owned(), source }),
            _ => Ok(()),
        };
        fresh(&partial)?;
        fs::create_dir_all(&partial).map_err(|source| Error::Io { action: "create", path: partial.clone(), source })?;
        (self.fill)(&partial)?;
        if (self.find)(&partial).is_none() {
            return Err(Error::Unusable(partial));
        }
        fresh(directory)?;
        fs::rename(&partial, directory).map_err(|source| Error::Io { action: "rename", path: partial, source })?;
        (self.find)(directory).ok_or_else(|| Error::Unusable(directory.to_owned()))
    }
}

/// Runs a program that installs something, in its directory. `complains` tells the line that says why it failed.
pub(crate) fn run(mut command: Command, directory: &Path, complains: impl Fn(&str) -> bool) -> Result<(), Error> {
    let program = PathBuf::from(command.get_program());
    let output = command.current_dir(directory).stdin(Stdio::null()).output();
    let output = output.map_err(|source| Error::Io { action: "run", path: program, source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| complains(line)).unwrap_or("it said nothing");
    Err(Error::Failed(format!("{}: {line}", output.status)))
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
