//! What can be configured of the local sandboxes.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// Directories that programs fill with what can be made again, and version control's own. An agent that installs its dependencies
/// makes tens of thousands of files in them, which nobody wants as changes of the session.
pub const DEFAULT_IGNORE: &[&str] = &[
    // Version control: its objects are meaningless without the rest of it, and change with each command.
    ".git",
    ".hg",
    ".jj",
    ".svn",
    // Installed packages.
    "node_modules/",
    ".venv/",
    // Caches of interpreters and checkers.
    "__pycache__/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    // What cargo and Maven build.
    "target/",
    // What editors and desktops leave.
    ".DS_Store",
    "*.swp",
];

/// Whether the agent is kept from the rest of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// By bubblewrap if it works here; otherwise the agent can do whatever the host's user can, which is said once in the log.
    #[default]
    Auto,
    /// By bubblewrap; without it there is no provider.
    Required,
    /// Not at all: directories and processes of its own, and nothing else.
    None,
}

/// How local sandboxes are made.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory for sandboxes, below the host's data directory. **It is this host's alone: what an earlier host left there is taken up by its session, or removed.**
    pub root: PathBuf,
    /// Whether the agent is kept from the rest of the machine.
    pub isolation: Isolation,
    /// Absolute paths that agents can read besides the system and their own program's installation.
    pub readable: Vec<PathBuf>,
    /// Workspace files that are not watched, in the syntax of `.gitignore`.
    pub ignore: Vec<String>,
    /// The directory of this machine from which bundled MCP servers are copied.
    pub projects: Option<PathBuf>,
    /// bubblewrap: a name to look for in `path`, or a path.
    pub bubblewrap: PathBuf,
    /// Where programs are looked for: the host's `PATH`.
    pub path: OsString,
}

impl Options {
    /// The defaults, with the host's own `PATH`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            isolation: Isolation::Auto,
            readable: Vec::new(),
            ignore: DEFAULT_IGNORE.iter().map(|&pattern| pattern.to_owned()).collect(),
            projects: None,
            bubblewrap: PathBuf::from("bwrap"),
            path: env::var_os("PATH").unwrap_or_default(),
        }
    }
}
