//! The port to the provider of sandboxes: where agents run.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::id::{Epoch, SessionId};
use crate::path::RelativePath;
use crate::record::FileInfo;

/// Why a sandbox could not be made or used. The text says what was being done and why it failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The agent's program is not there.
    #[error("{0}")]
    ProgramNotFound(String),
    /// The sandbox is gone.
    #[error("the sandbox is gone: {0}")]
    Gone(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// What a sandbox is for. A provider marks the sandbox with it, so that a host can find its own again.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Whose it is.
    pub session: SessionId,
    /// Under which epoch it was made.
    pub epoch: Epoch,
    /// The epoch of the last run before. A sandbox that was left under it, or under a later one that came to no run, has what is stored, or newer.
    pub since: Epoch,
    /// What it has to have.
    pub needs: Needs,
    /// The session's workspace as it is stored, for a sandbox that is found again.
    pub files: Vec<FileInfo>,
}

/// What a profile wants to find in a sandbox besides the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// npm packages.
    pub npm_packages: Vec<String>,
    /// Python packages.
    pub pip_packages: Vec<String>,
    /// Projects of the host's machine, each in the directory of its name below [`Layout::projects`].
    pub projects: Vec<Project>,
}

/// A project that is copied into the sandbox and installed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its name, which no other has.
    pub name: String,
    /// Where it is on the host's machine. It comes from a profile, and so from anybody.
    pub path: String,
    /// The shell command that installs it, run in its directory.
    pub install: String,
}

impl Spec {
    /// A sandbox that needs nothing, for a session without files that had a run under the epoch before.
    pub fn new(session: SessionId, epoch: Epoch) -> Self {
        Self { session, epoch, since: Epoch(epoch.0.saturating_sub(1)), needs: Needs::default(), files: Vec::new() }
    }

    /// Whether a sandbox that was left under this epoch has what is stored, or newer.
    pub fn is_latest(&self, epoch: Epoch) -> bool {
        self.since <= epoch && epoch < self.epoch
    }
}

/// A sandbox that a session got.
pub struct Provided {
    /// The sandbox.
    pub sandbox: Box<dyn Sandbox>,
    /// Whether an earlier process of the host had made it for this session, and laid the session's files down in it. None of its programs runs any more, and what differs in its
    /// workspace from [`Spec::files`] is among the first [changes](Sandbox::flush_changes). If not, its directories are empty.
    pub is_adopted: bool,
}

impl Provided {
    /// A sandbox with empty directories.
    pub fn new(sandbox: impl Sandbox) -> Self {
        Self { sandbox: Box::new(sandbox), is_adopted: false }
    }
}

/// Makes sandboxes.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// The provider's name in the configuration.
    fn name(&self) -> &'static str;

    /// Makes a sandbox, or finds the session's own again. `progress` is told what is being done, in a few words for people.
    ///
    /// A provider that is dropped in the middle of it leaves nothing behind.
    async fn start(&self, spec: Spec, progress: &(dyn for<'a> Fn(&'a str) + Send + Sync)) -> Result<Provided, Error>;

    /// Finds the session's own sandbox again, if an earlier process of the host has left it; makes none.
    async fn find(&self, spec: Spec) -> Result<Option<Box<dyn Sandbox>>, Error> {
        drop(spec);
        Ok(None)
    }

    /// Whether an earlier process of the host has left a sandbox for the session, as far as that is known already.
    fn has_left(&self, session: &SessionId) -> bool {
        let _ = session;
        false
    }

    /// The sessions for which an earlier process of the host has left a sandbox, as far as that is known when the host starts.
    fn left(&self) -> Vec<SessionId> {
        Vec::new()
    }

    /// The session is no more: ends what an earlier process of the host has left for it.
    fn discard(&self, session: &SessionId) {
        let _ = session;
    }

    /// Ends what it keeps ready for sessions to come. Called when there are no sandboxes any more; nothing is started afterwards.
    async fn close(&self) {}
}

/// Where things are, as the programs in the sandbox see it: absolute paths without a slash at the end.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The home directory.
    pub home: String,
    /// The workspace.
    pub workspace: String,
    /// Where projects are.
    pub projects: String,
}

/// A directory of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// The home directory, which holds the agent's own files.
    Home,
    /// The workspace.
    Workspace,
}

/// A file to lay down.
#[derive(Clone, Debug)]
pub struct File {
    /// Below which directory.
    pub root: Root,
    /// Where below it.
    pub path: RelativePath,
    /// Its contents.
    pub content: Bytes,
    /// Whether it can be run.
    pub executable: bool,
}

/// A program to run in the workspace directory.
#[derive(Clone)]
pub struct Command {
    /// A name to look for in the `PATH`, or a path.
    pub program: String,
    /// Arguments.
    pub args: Vec<String>,
    /// The whole environment but for `HOME`, `PATH`, `TMPDIR` and the like, which the sandbox gives where they are not named here.
    pub env: Vec<(String, String)>,
}

impl fmt::Debug for Command {
    /// Without the values of the environment, which hold secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        formatter.debug_struct("Command").field("program", &self.program).field("args", &self.args).field("env", &names).finish()
    }
}

/// What reading a workspace file gave.
#[derive(Clone, Debug)]
pub enum Content {
    /// There is no regular file at that path.
    Absent,
    /// The file.
    Bytes(Bytes),
    /// The file is larger than the limit.
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
}

/// A place with a home directory, a workspace and processes of its own. Dropping it ends it, as far as that can be done without waiting.
#[async_trait]
pub trait Sandbox: Send + Sync + 'static {
    /// The provider's id of it.
    fn id(&self) -> &str;

    /// Where things are.
    fn layout(&self) -> &Layout;

    /// Lays files down, with the directories that they need, in one go. They are not reported as changes.
    async fn write(&self, files: Vec<File>) -> Result<(), Error>;

    /// Runs a program.
    async fn spawn(&self, command: Command) -> Result<Process, Error>;

    /// Waits until something changed in the workspace, and gives the paths that may have changed since the last call: created, modified or deleted,
    /// which a [read](Self::read) tells. Changes that follow each other closely come together. Can be dropped at any time without losing one.
    async fn changes(&self) -> Result<Vec<RelativePath>, Error>;

    /// Like [`changes`](Self::changes), but returns at once, with everything that changed before the call.
    async fn flush_changes(&self) -> Result<Vec<RelativePath>, Error>;

    /// Reads a workspace file of at most `limit` bytes. Links that lead out of the workspace are [`Content::Absent`].
    async fn read(&self, path: &RelativePath, limit: u64) -> Result<Content, Error>;

    /// The regular files in a directory below the home directory and in those in it, with their paths below the home directory. Links are not followed.
    ///
    /// # Errors
    /// Also if all together have more than `limit` bytes.
    async fn read_home(&self, directory: &RelativePath, limit: u64) -> Result<Vec<(RelativePath, Bytes)>, Error>;

    /// Ends all its processes and removes what it left. Doing so twice is harmless.
    async fn terminate(&self) -> Result<(), Error>;
}

/// A running program.
pub struct Process {
    /// Its standard input; shutting it down or dropping it ends the input.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// Its standard output.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard error.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// How it ends.
    pub control: Box<dyn Control>,
}

/// How a running program ends.
#[async_trait]
pub trait Control: Send + 'static {
    /// Waits for its end. Can be dropped and called again.
    async fn wait(&mut self) -> Result<Exit, Error>;

    /// Kills it with all its children, and returns at once.
    fn kill(&mut self);
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its status, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(formatter, "exit status {code}"),
            (None, Some(signal)) => write!(formatter, "signal {signal}"),
            (None, None) => formatter.write_str("unknown status"),
        }
    }
}
