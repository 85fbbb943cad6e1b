//! What an isolated agent sees of this machine, and whether bubblewrap works here.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::files::Mount;
use super::program::Installation;

/// The agent's home directory.
pub(super) const HOME: &str = "/home/agent";
/// The agent's workspace.
pub(super) const WORKSPACE: &str = "/workspace";
/// The agent's directory for temporary files.
pub(super) const TEMPORARY: &str = "/tmp";

/// The agent is a user of its own, whatever user the host is: agents refuse some things to root, and names in the host's
/// `/etc/passwd` are none of their business.
const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\nagent:x:1000:1000:agent:/home/agent:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nagent:x:1000:\nnogroup:x:65534:\n";

/// Namespaces of its own for all but the network, which the agent needs to reach its model: so it also reaches what listens on this machine.
/// No capability is left, in particular when the host runs as root; no terminal is shared, into which it could type; nothing outlives the host.
const CONFINEMENT: &[&str] = &[
    "--unshare-user",
    "--uid",
    "1000",
    "--gid",
    "1000",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--hostname",
    "sandbox",
    "--cap-drop",
    "ALL",
    "--new-session",
    "--die-with-parent",
];

/// The system's programs and libraries. Each that is a link (`/bin` to `usr/bin`) is made again as one. `/nix/store` is where NixOS keeps them.
const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"];

/// What programs look up in `/etc`: how to find libraries, names, certificates, the time and other programs. The rest of `/etc` is not there,
/// nor are the private parts of these directories: keys in `/etc/ssl/private`, the password hashes.
const ETC: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "fonts",
    "gai.conf",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.conf",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "pki/ca-trust",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
];

/// What of `/proc` is about the machine and can be written to by root's files' owner. Without a capability the agent is still the host's user, and if that
/// is root, a write to `/proc/sys/kernel/core_pattern` would run a program outside. bubblewrap means to cover these, but not in this case.
const PROC: &[&str] = &["acpi", "asound", "bus", "driver", "dynamic_debug", "fs", "irq", "mtrr", "scsi", "sys", "sysrq-trigger"];

/// bubblewrap, which was seen to work.
pub(super) struct Bubblewrap {
    program: PathBuf,
    passwd: PathBuf,
    group: PathBuf,
    readable: Vec<PathBuf>,
}

/// The directories of this machine that the agent can write to.
pub(super) struct Writable {
    pub(super) home: PathBuf,
    pub(super) workspace: PathBuf,
    pub(super) temporary: PathBuf,
}

impl Bubblewrap {
    /// Looks for it and runs it once, with all that a sandbox needs of it. The error is why it does not work.
    pub(super) fn find(program: &Path, path: &OsStr, own: &Path, readable: Vec<PathBuf>) -> Result<Self, String> {
        let program = which::which_in_global(program, Some(path))
            .ok()
            .and_then(|mut found| found.next())
            .ok_or_else(|| format!("there is no program {program:?} in the PATH"))?;
        let bubblewrap = Self { program, passwd: own.join("passwd"), group: own.join("group"), readable };
        let writable = Writable { home: own.join("probe/home"), workspace: own.join("probe/workspace"), temporary: own.join("probe/tmp") };
        bubblewrap.prepare(&writable).map_err(|error| format!("failed to prepare its trial in {}: {error}", own.display()))?;
        let output = Command::new(&bubblewrap.program)
            .args(bubblewrap.arguments(&writable, &Installation::default()))
            .args(["--", "/bin/sh", "-c", ":"])
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("failed to run {}: {error}", bubblewrap.program.display()))?;
        if output.status.success() {
            return Ok(bubblewrap);
        }
        Err(format!("{} gave {}: {}", bubblewrap.program.display(), output.status, String::from_utf8_lossy(&output.stderr).trim()))
    }

    fn prepare(&self, writable: &Writable) -> io::Result<()> {
        fs::write(&self.passwd, PASSWD)?;
        fs::write(&self.group, GROUP)?;
        for directory in [&writable.home, &writable.workspace, &writable.temporary] {
            fs::create_dir_all(directory)?;
        }
        Ok(())
    }

    /// Its own file.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Its arguments, up to the environment and the command.
    pub(super) fn arguments(&self, writable: &Writable, installation: &Installation) -> Vec<OsString> {
        let mut arguments = Arguments(CONFINEMENT.iter().map(OsString::from).collect());
        for path in SYSTEM.iter().map(Path::new) {
            match fs::read_link(path) {
                Ok(target) => arguments.add("--symlink", &target, path),
                Err(_) => arguments.add("--ro-bind-try", path, path),
            }
        }
        for path in ETC.iter().map(|name| Path::new("/etc").join(name)) {
            arguments.add("--ro-bind-try", &path, &path);
        }
        arguments.add("--ro-bind", &self.passwd, Path::new("/etc/passwd"));
        arguments.add("--ro-bind", &self.group, Path::new("/etc/group"));
        arguments.0.extend(["--proc", "/proc"].map(OsString::from));
        for path in PROC.iter().map(|name| Path::new("/proc").join(name)) {
            arguments.add("--ro-bind-try", &path, &path);
        }
        arguments.0.extend(["--dev", "/dev", "--dir", "/run", "--dir", "/var", "--symlink", "../tmp", "/var/tmp"].map(OsString::from));
        arguments.add("--bind", &writable.home, Path::new(HOME));
        arguments.add("--bind", &writable.workspace, Path::new(WORKSPACE));
        arguments.add("--bind", &writable.temporary, Path::new(TEMPORARY));
        for path in self.bindings(installation) {
            arguments.add("--ro-bind", path, path);
        }
        for (link, target) in self.missing_links(installation).filter(|(link, _)| mount_of(link).is_none()) {
            arguments.add("--symlink", target, link);
        }
        // What bubblewrap itself laid down, the root directory and the places for all of the above, is in memory and needs no more changes.
        arguments.0.extend(["--remount-ro", "/", "--chdir", WORKSPACE].map(OsString::from));
        arguments.0
    }

    /// Files and directories to be made readable at their own paths, none of them below another.
    pub(super) fn bindings<'a>(&'a self, installation: &'a Installation) -> impl Iterator<Item = &'a Path> {
        let all: std::collections::BTreeSet<&Path> = self.readable.iter().chain(&installation.readable).map(PathBuf::as_path).collect();
        let wanted: Vec<&Path> = all
            .iter()
            .copied()
            .filter(|path| !is_system(path) && !path.ancestors().skip(1).any(|ancestor| all.contains(ancestor)))
            .collect();
        wanted.into_iter()
    }

    /// Links that are not in what is readable anyway.
    pub(super) fn missing_links<'a>(&'a self, installation: &'a Installation) -> impl Iterator<Item = (&'a Path, &'a Path)> {
        let bindings: Vec<&Path> = self.bindings(installation).collect();
        let is_missing = move |link: &Path| !is_system(link) && !bindings.iter().any(|binding| link.starts_with(binding));
        installation.links.iter().map(|(link, target)| (link.as_path(), target.as_path())).filter(move |(link, _)| is_missing(link))
    }
}

/// In which of the agent's writable directories `path` is, and where.
pub(super) fn mount_of(path: &Path) -> Option<(Mount, &Path)> {
    let mounts = [(HOME, Mount::Home), (WORKSPACE, Mount::Workspace), (TEMPORARY, Mount::Temporary)];
    mounts.into_iter().find_map(|(directory, mount)| path.strip_prefix(directory).ok().map(|path| (mount, path)))
}

fn is_system(path: &Path) -> bool {
    SYSTEM.iter().any(|system| path.starts_with(system))
}

/// Arguments that come in threes.
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add(&mut self, option: &str, source: &Path, destination: &Path) {
        self.0.extend([option.into(), source.into(), destination.into()]);
    }
}
