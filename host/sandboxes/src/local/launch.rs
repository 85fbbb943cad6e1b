//! What is run for a command: its environment, its `PATH`, and bubblewrap's arguments around it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use agent_host_session::ports::sandbox::{self, Layout};

use super::bubblewrap::{self, Bubblewrap, Writable};
use super::directory::Directory;
use super::files::Files;
use super::install;
use super::program::{self, Finder, Installation, Program};
use super::provider::Machine;

/// Where every system has its programs. The host's own `PATH` is not passed on: it leads to directories that the agent has no business in.
const SYSTEM_PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// Variables by which the dynamic loader and the C library run code of another's choosing. bubblewrap itself still runs outside the sandbox and must not
/// have them, so they are set by it, for the command, on its command line. All others are inherited through it, and are so kept from the list of processes.
const LOADER_VARIABLES: [&str; 4] = ["LD_", "GLIBC_TUNABLES", "GCONV_PATH", "LOCPATH"];

/// What to start.
pub(super) struct Launch {
    /// The process.
    pub(super) command: tokio::process::Command,
    /// Where bubblewrap tells about the namespace that it makes, if there is one.
    pub(super) information: Option<Information>,
}

/// A pipe by which bubblewrap tells the id of the namespace's first process.
pub(super) struct Information {
    /// To be read by the host.
    pub(super) reader: OwnedFd,
    /// To be inherited by bubblewrap under its own number, and by nobody else.
    pub(super) writer: OwnedFd,
}

/// Why a command cannot be run.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Program(#[from] program::Error),
    #[error("failed to run {program:?}: {name:?} is not the name of an environment variable")]
    Variable { program: String, name: String },
    #[error("failed to make a pipe: {0}")]
    Pipe(io::Error),
    #[error("failed to make {path} visible in the sandbox: {source}", path = path.display())]
    MountPoint { path: PathBuf, source: io::Error },
}

impl From<Error> for sandbox::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Program(
                error @ (program::Error::NotInPath { .. } | program::Error::NoFile { .. } | program::Error::NoInterpreter { .. }),
            ) => Self::ProgramNotFound(error.to_string()),
            error => Self::Failed(error.to_string()),
        }
    }
}

/// Where things are for the programs in a sandbox.
pub(super) fn layout(machine: &Machine, directory: &Directory) -> Layout {
    let (home, workspace) = match machine.bubblewrap {
        Some(_) => (bubblewrap::HOME.to_owned(), bubblewrap::WORKSPACE.to_owned()),
        // The root is known to be text.
        None => (directory.home().to_string_lossy().into_owned(), directory.workspace().to_string_lossy().into_owned()),
    };
    let projects = format!("{home}/{}", install::DIRECTORY);
    Layout { home, workspace, projects }
}

/// The process to start for `command`. Blocks for a few file operations.
pub(super) fn prepare(
    machine: &Machine,
    directory: &Directory,
    files: &Files,
    layout: &Layout,
    command: &sandbox::Command,
) -> Result<Launch, Error> {
    let program = find(machine, layout, &command.program)?;
    let temporary = match machine.bubblewrap {
        Some(_) => bubblewrap::TEMPORARY.to_owned(),
        None => directory.temporary().to_string_lossy().into_owned(),
    };
    let environment = environment(layout, temporary, &program.installation, command)?;
    let (mut process, information) = match &machine.bubblewrap {
        Some(bubblewrap) => {
            make_mount_points(bubblewrap, files, &program.installation)?;
            let writable = Writable { home: directory.home(), workspace: directory.workspace(), temporary: directory.temporary() };
            let mut process = tokio::process::Command::new(bubblewrap.program());
            process.args(bubblewrap.arguments(&writable, &program.installation)).current_dir("/").env_clear();
            for (name, value) in environment {
                if LOADER_VARIABLES.iter().any(|variable| name.starts_with(variable)) {
                    process.args([OsStr::new("--setenv"), OsStr::new(&name), &value]);
                } else {
                    process.env(name, value);
                }
            }
            let (reader, writer) = io::pipe().map_err(Error::Pipe)?;
            let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
            process.arg("--info-fd").arg(writer.as_raw_fd().to_string()).arg("--").arg(&program.file);
            (process, Some(Information { reader, writer }))
        }
        None => {
            let mut process = tokio::process::Command::new(&program.file);
            process.current_dir(&layout.workspace).env_clear().envs(environment);
            (process, None)
        }
    };
    process.args(&command.args);
    Ok(Launch { command: process, information })
}

/// A path in the sandbox's own directories is taken as it is; anything else is looked for on this machine.
fn find(machine: &Machine, layout: &Layout, program: &str) -> Result<Program, Error> {
    let path = Path::new(program);
    if path.starts_with(&layout.home) || path.starts_with(&layout.workspace) {
        return Ok(Program { file: path.to_owned(), installation: Installation::default() });
    }
    let home = std::env::home_dir();
    Ok(Finder { path: &machine.path, home: home.as_deref(), root: &machine.root }.find(program)?)
}

/// Exactly what the command names, and what every program needs.
fn environment(
    layout: &Layout,
    temporary: String,
    installation: &Installation,
    command: &sandbox::Command,
) -> Result<BTreeMap<String, OsString>, Error> {
    let own = installation.path.iter().map(PathBuf::as_path).filter(|&directory| !SYSTEM_PATH.map(Path::new).contains(&directory));
    let directories: Vec<&OsStr> = own.chain(SYSTEM_PATH.map(Path::new)).map(Path::as_os_str).collect();
    let path = directories.join(OsStr::new(":"));
    // Agents that use a shell want bash where there is one.
    let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let defaults: [(&str, OsString); 9] = [
        ("HOME", layout.home.clone().into()),
        ("LANG", "C.UTF-8".into()),
        ("LOGNAME", "agent".into()),
        ("PATH", path),
        ("PWD", layout.workspace.clone().into()),
        ("SHELL", shell.into()),
        ("TERM", "dumb".into()),
        ("TMPDIR", temporary.into()),
        ("USER", "agent".into()),
    ];
    let mut environment: BTreeMap<String, OsString> = defaults.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for (name, value) in &command.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Error::Variable { program: command.program.clone(), name: name.clone() });
        }
        environment.insert(name.clone(), value.into());
    }
    Ok(environment)
}

/// Makes the places for what is installed below a directory that the agent writes to (the host's user is called `agent`, say).
/// bubblewrap would make them as well, but would follow the agent's links in doing so.
fn make_mount_points(bubblewrap: &Bubblewrap, files: &Files, installation: &Installation) -> Result<(), Error> {
    for path in bubblewrap.bindings(installation) {
        if let Some((mount, below)) = bubblewrap::mount_of(path) {
            let made = files.make_mount_point(mount, below, path.is_dir());
            made.map_err(|source| Error::MountPoint { path: path.to_owned(), source })?;
        }
    }
    for (link, target) in bubblewrap.missing_links(installation) {
        if let Some((mount, below)) = bubblewrap::mount_of(link) {
            files.make_link(mount, below, target).map_err(|source| Error::MountPoint { path: link.to_owned(), source })?;
        }
    }
    Ok(())
}
