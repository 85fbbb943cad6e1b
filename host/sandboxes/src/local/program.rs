//! Where a command is installed, and what has to be readable for it to run.
//!
//! A command is found as a shell would find it. What it needs is then worked out from how programs are installed, as narrowly as that can be
//! done, since the directory that holds an installation often holds secrets as well (a home directory, `~/.local/share`, `~/.cargo`):
//!
//! - each symbolic link on the way to the real file is made again, alone;
//! - a file of an npm package needs the outermost `node_modules` that it is in: packages find their dependencies beside them;
//! - a file in a `bin` directory needs that directory and the `lib`, `lib64` and `libexec` beside it, which hold programs and no data;
//! - a script that is none of these needs the nearest directory with a `package.json`, if there is one;
//! - any other program is taken to be a single file;
//! - a script's interpreter is looked for and treated in the same way.
//!
//! What a program needs besides has to be named in the configuration (`sandbox.local.readable`). Shims that choose a program when they are run
//! (pyenv's, volta's) need what they choose from, so the real program should be configured in their place.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Longest chain of links, and of interpreters of interpreters: Linux follows 40 links and allows 4 interpreters.
const MAX_LINKS: usize = 40;
const MAX_INTERPRETERS: usize = 4;

/// How much of a script's first line is read: Linux reads 256 bytes.
const MAX_SHEBANG_BYTES: u64 = 256;

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "the program {program:?} was not found in the PATH, which is {path:?}; install it, or set its path as agents.<architecture>.command"
    )]
    NotInPath { program: String, path: OsString },
    #[error("there is no executable file {program:?}; set another path as agents.<architecture>.command")]
    NoFile { program: String },
    #[error("{script:?} needs the interpreter {interpreter:?}, which was not found in the PATH, which is {path:?}")]
    NoInterpreter { script: PathBuf, interpreter: String, path: OsString },
    #[error("failed to look at the program's file {path:?}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the program {0:?} has too long a chain of links or interpreters")]
    Loop(PathBuf),
}

/// What has to be readable for a program to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Installation {
    /// Directories that the `PATH` needs, in order.
    pub(super) path: Vec<PathBuf>,
    /// Files and directories without a link in their paths.
    pub(super) readable: BTreeSet<PathBuf>,
    /// Symbolic links and what they contain.
    pub(super) links: BTreeMap<PathBuf, PathBuf>,
}

/// A program that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// What to run.
    pub(super) file: PathBuf,
    /// What it needs.
    pub(super) installation: Installation,
}

/// Looks for programs.
pub(super) struct Finder<'a> {
    /// Where to look for names.
    pub(super) path: &'a OsStr,
    /// The host's user's home directory, which no installation may lay open.
    pub(super) home: Option<&'a Path>,
    /// The sandboxes' directory, likewise.
    pub(super) root: &'a Path,
}

impl Finder<'_> {
    /// Finds `program`, a name or a path.
    pub(super) fn find(&self, program: &str) -> Result<Program, Error> {
        let not_found = || match program.contains('/') {
            true => Error::NoFile { program: program.to_owned() },
            false => Error::NotInPath { program: program.to_owned(), path: self.path.to_owned() },
        };
        let found = self.look_up(OsStr::new(program)).ok_or_else(not_found)?;
        let mut installation = Installation::default();
        let file = self.install(&found, &mut installation, MAX_INTERPRETERS)?;
        Ok(Program { file, installation })
    }

    fn look_up(&self, program: &OsStr) -> Option<PathBuf> {
        // A relative path begins at the host's own directory, as in a shell.
        let directory = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        which::which_in(program, Some(self.path), directory).ok()
    }

    /// Adds what `found` needs and gives the path to run it by: the link's own name, in a directory without links.
    fn install(&self, found: &Path, installation: &mut Installation, interpreters: usize) -> Result<PathBuf, Error> {
        let file = without_links_in_directory(found)?;
        let mut real = file.clone();
        for _ in 0..MAX_LINKS {
            let Ok(target) = fs::read_link(&real) else { break };
            let next = real.parent().unwrap_or(Path::new("/")).join(&target);
            installation.links.insert(real, target);
            real = without_links_in_directory(&next)?;
        }
        if real.is_symlink() {
            return Err(Error::Loop(found.to_owned()));
        }
        if let Some(directory) = file.parent().filter(|&directory| !installation.path.iter().any(|known| known == directory)) {
            installation.path.push(directory.to_owned());
        }
        let interpreter = read_shebang(&real).map_err(|source| Error::Io { path: real.clone(), source })?;
        installation.readable.extend(self.package_of(&real, interpreter.is_some()));
        if let Some(interpreter) = interpreter {
            let interpreters = interpreters.checked_sub(1).ok_or_else(|| Error::Loop(found.to_owned()))?;
            let found = self.look_up(&interpreter).ok_or_else(|| Error::NoInterpreter {
                script: real.clone(),
                interpreter: interpreter.to_string_lossy().into_owned(),
                path: self.path.to_owned(),
            })?;
            self.install(&found, installation, interpreters)?;
        }
        Ok(file)
    }

    /// What the program in the file `real` consists of.
    fn package_of(&self, real: &Path, is_script: bool) -> Vec<PathBuf> {
        let file = || vec![real.to_owned()];
        if let Some(modules) = real.ancestors().filter(|path| path.file_name() == Some(OsStr::new("node_modules"))).last() {
            return if self.is_too_much(modules) { file() } else { vec![modules.to_owned()] };
        }
        let Some(directory) = real.parent() else { return file() };
        if directory.file_name() == Some(OsStr::new("bin"))
            && let Some(prefix) = directory.parent()
            && !self.is_too_much(prefix)
        {
            // `pyvenv.cfg` tells Python which installation a virtual environment belongs to.
            let parts = ["bin", "lib", "lib64", "libexec", "pyvenv.cfg"].map(|name| prefix.join(name));
            // A part that is a link leads to one of the others (`lib64` to `lib`), or to who knows where.
            return parts.into_iter().filter(|part| part.exists() && !part.is_symlink()).collect();
        }
        let package = real.ancestors().skip(1).find(|path| path.join("package.json").is_file());
        match package {
            Some(package) if is_script && !self.is_too_much(package) => vec![package.to_owned()],
            _ => file(),
        }
    }

    /// Whether a directory holds far more than a program.
    fn is_too_much(&self, directory: &Path) -> bool {
        let holds_home = self.home.is_some_and(|home| home.starts_with(directory));
        holds_home || self.root.starts_with(directory) || directory.parent().is_none()
    }
}

/// The path to the same file or link by a directory without links in it.
fn without_links_in_directory(path: &Path) -> Result<PathBuf, Error> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::NoFile { program: path.to_string_lossy().into_owned() });
    };
    let directory = directory.canonicalize().map_err(|source| Error::Io { path: directory.to_owned(), source })?;
    Ok(directory.join(name))
}

/// The program that a script's first line names: a path, or with `env` a name. `None` if the file is no script.
fn read_shebang(file: &Path) -> io::Result<Option<OsString>> {
    let mut start = Vec::new();
    match fs::File::open(file) {
        Ok(file) => file.take(MAX_SHEBANG_BYTES).read_to_end(&mut start)?,
        // A program may be executable and not readable; a script cannot.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(line) = start.strip_prefix(b"#!").and_then(|rest| rest.split(|&byte| byte == b'\n').next()) else { return Ok(None) };
    let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty()).map(OsStr::from_bytes);
    let Some(interpreter) = words.next() else { return Ok(None) };
    if Path::new(interpreter).file_name() != Some(OsStr::new("env")) {
        return Ok(Some(interpreter.to_owned()));
    }
    // `env -S node --flag`, `env NAME=value node`: the first word that is neither an option nor a variable.
    let program = words.find(|word| !word.as_bytes().starts_with(b"-") && !word.as_bytes().contains(&b'='));
    Ok(Some(program.unwrap_or(interpreter).to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A home directory with programs in it.
    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(path)
        }

        fn program(&self, path: &str, content: &str) {
            let path = self.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn link(&self, path: &str, target: &str) {
            let path = self.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }

        fn find(&self, directories: &[&str], program: &str) -> Result<Program, Error> {
            let path = env::join_paths(directories.iter().map(|directory| self.path(directory))).unwrap();
            let home = self.path("");
            Finder { path: &path, home: Some(&home), root: Path::new("/var/lib/agent-host/sandboxes") }.find(program)
        }

        fn readable(&self, program: &Program) -> Vec<String> {
            let home = self.path("");
            program.installation.readable.iter().map(|path| path.strip_prefix(&home).unwrap().to_str().unwrap().to_owned()).collect()
        }
    }

    #[test]
    fn a_command_installed_by_npm_under_nvm_brings_its_packages_and_node() {
        let home = Home::new();
        home.program(".nvm/versions/node/v22.1.0/bin/node", "\x7fELF");
        home.program(".nvm/versions/node/v22.1.0/lib/node_modules/@anthropic-ai/claude-code/cli.js", "#!/usr/bin/env node\n");
        home.link(".nvm/versions/node/v22.1.0/bin/claude", "../lib/node_modules/@anthropic-ai/claude-code/cli.js");
        home.link(".nvm/current", "versions/node/v22.1.0");
        let program = home.find(&[".nvm/current/bin"], "claude").unwrap();
        assert_eq!(program.file, home.path(".nvm/versions/node/v22.1.0/bin/claude"));
        assert_eq!(program.installation.path, [home.path(".nvm/versions/node/v22.1.0/bin")]);
        assert_eq!(
            home.readable(&program),
            [".nvm/versions/node/v22.1.0/bin", ".nvm/versions/node/v22.1.0/lib", ".nvm/versions/node/v22.1.0/lib/node_modules"]
        );
        assert!(program.installation.links.contains_key(&home.path(".nvm/versions/node/v22.1.0/bin/claude")));
    }

    #[test]
    fn a_package_of_a_project_brings_the_packages_beside_it_and_not_the_project() {
        let home = Home::new();
        home.program("claude-npm/node_modules/@anthropic-ai/claude-code/bin/claude.exe", "\x7fELF");
        home.link("claude-npm/node_modules/.bin/claude", "../@anthropic-ai/claude-code/bin/claude.exe");
        let program = home.find(&["claude-npm/node_modules/.bin"], "claude").unwrap();
        assert_eq!(home.readable(&program), ["claude-npm/node_modules"]);
    }

    #[test]
    fn a_program_in_the_home_directory_does_not_lay_the_home_directory_open() {
        let home = Home::new();
        home.program("bin/agent", "\x7fELF");
        home.program("agent", "\x7fELF");
        home.program("Downloads/agent", "\x7fELF");
        for (directory, readable) in [("bin", "bin/agent"), ("", "agent"), ("Downloads", "Downloads/agent")] {
            let program = home.find(&[directory], "agent").unwrap();
            assert_eq!(home.readable(&program), [readable]);
        }
    }

    #[test]
    fn links_to_a_versioned_file_are_followed_and_made_again() {
        let home = Home::new();
        home.program(".local/share/claude/versions/2.1.330", "\x7fELF");
        let target = home.path(".local/share/claude/versions/2.1.330");
        home.link(".local/bin/claude", target.to_str().unwrap());
        let program = home.find(&[".local/bin"], "claude").unwrap();
        assert_eq!(home.readable(&program), [".local/share/claude/versions/2.1.330"]);
        assert_eq!(program.installation.links, BTreeMap::from([(home.path(".local/bin/claude"), target)]));
    }

    #[test]
    fn paths_are_taken_as_they_are() {
        let home = Home::new();
        home.program("tools/agent", "\x7fELF");
        let program = home.find(&[], home.path("tools/agent").to_str().unwrap()).unwrap();
        assert_eq!(program.file, home.path("tools/agent"));
    }

    #[test]
    fn what_is_missing_is_named_with_where_it_was_looked_for() {
        let home = Home::new();
        home.program("bin/script", "#!/usr/bin/env -S no-such-node --flag\n");
        let error = home.find(&["bin"], "no-such-agent").unwrap_err().to_string();
        assert!(error.contains("\"no-such-agent\"") && error.contains(home.path("bin").to_str().unwrap()), "{error}");
        let error = home.find(&["bin"], "script").unwrap_err().to_string();
        assert!(error.contains("\"no-such-node\"") && error.contains("bin/script"), "{error}");
        let error = home.find(&["bin"], "/no/such/agent").unwrap_err().to_string();
        assert!(error.contains("\"/no/such/agent\""), "{error}");
    }

    #[test]
    fn scripts_that_interpret_each_other_are_refused() {
        let home = Home::new();
        home.program("bin/one", "#!/usr/bin/env two\n");
        home.program("bin/two", "#!/usr/bin/env one\n");
        assert!(matches!(home.find(&["bin"], "one"), Err(Error::Loop(_))));
    }
}
