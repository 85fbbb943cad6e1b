//! A place for sandboxes, and what tests do with them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agent_host_sandboxes::local::{Error, Isolation, Local, Options};
use agent_host_session::id::{Epoch, SessionId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::sandbox::{Command, Exit, File, Process, Provider, Root, Sandbox, Spec};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long anything may take that is waited for: far more than it needs, on a machine that is busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A provider with a directory of its own.
pub(crate) struct Place {
    pub(crate) local: Local,
    pub(crate) directory: TempDir,
}

impl Place {
    pub(crate) fn try_new(configure: impl FnOnce(&mut Options)) -> Result<Self, Error> {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path().join("sandboxes"));
        configure(&mut options);
        Ok(Self { local: Local::new(options)?, directory })
    }

    /// Without isolation.
    pub(crate) fn open() -> Self {
        Self::try_new(|options| options.isolation = Isolation::None).unwrap()
    }

    /// With isolation; `None` where bubblewrap does not work, which in CI is a failure.
    pub(crate) fn isolated() -> Option<Self> {
        Self::isolated_with(|_| {})
    }

    pub(crate) fn isolated_with(configure: impl FnOnce(&mut Options)) -> Option<Self> {
        match Self::try_new(|options| {
            options.isolation = Isolation::Required;
            configure(options);
        }) {
            Ok(place) => Some(place),
            Err(error @ Error::Isolation(_)) if std::env::var_os("CI").is_none() => {
                eprintln!("skipped: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// All kinds that work here.
    pub(crate) fn all() -> Vec<Self> {
        Self::isolated().into_iter().chain([Self::open()]).collect()
    }

    pub(crate) async fn sandbox(&self) -> Box<dyn Sandbox> {
        let spec = Spec::new(SessionId::new("a-session").unwrap(), Epoch::FIRST);
        self.local.start(spec, &|_| {}).await.unwrap().sandbox
    }

    /// The sandbox's directory, as the host sees it.
    pub(crate) fn path(&self, sandbox: &dyn Sandbox) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join("sandboxes").join(sandbox.id())
    }

    pub(crate) fn workspace(&self, sandbox: &dyn Sandbox) -> PathBuf {
        self.path(sandbox).join("workspace")
    }
}

pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    Command { program: program.to_owned(), args: args.iter().map(|&arg| arg.to_owned()).collect(), env: Vec::new() }
}

pub(crate) fn shell(script: &str) -> Command {
    command("sh", &["-c", script])
}

pub(crate) fn path(text: &str) -> RelativePath {
    RelativePath::new(text).unwrap()
}

pub(crate) fn file(root: Root, name: &str, content: &[u8]) -> File {
    File { root, path: path(name), content: content.to_vec().into(), executable: false }
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program to its end.
pub(crate) async fn run(sandbox: &dyn Sandbox, command: Command) -> Output {
    finish(sandbox.spawn(command).await.unwrap(), b"").await
}

pub(crate) async fn finish(process: Process, input: &[u8]) -> Output {
    let Process { mut stdin, mut stdout, mut stderr, mut control } = process;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let write = async {
        // A program that does not read may have ended by now.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let all = async { tokio::join!(write, stdout.read_to_end(&mut out), stderr.read_to_end(&mut err), control.wait()) };
    let (_, _, _, exit) = tokio::time::timeout(DEADLINE, all).await.expect("the program ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Output { exit: exit.unwrap(), stdout: text(out), stderr: text(err) }
}

/// Runs a script and gives what it printed, without the last newline.
pub(crate) async fn script(sandbox: &dyn Sandbox, text: &str) -> String {
    let output = run(sandbox, shell(text)).await;
    assert_eq!(output.exit, Exit { code: Some(0), signal: None }, "{text}: {output:?}");
    output.stdout.trim_end_matches('\n').to_owned()
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Takes changes until all of `expected` came, and gives all that came.
pub(crate) async fn changes_with(sandbox: &dyn Sandbox, expected: &[&str]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let all = async {
        while !expected.iter().all(|&path| seen.contains(path)) {
            seen.extend(sandbox.changes().await.unwrap().into_iter().map(String::from));
        }
    };
    let result = tokio::time::timeout(DEADLINE, all).await;
    assert!(result.is_ok(), "expected {expected:?}, got {seen:?}");
    seen
}

/// What changed until now.
pub(crate) async fn flushed(sandbox: &dyn Sandbox) -> BTreeSet<String> {
    sandbox.flush_changes().await.unwrap().into_iter().map(String::from).collect()
}

pub(crate) fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|&path| path.to_owned()).collect()
}

/// How many processes of this machine have `text` in their command line, other than dead ones.
pub(crate) fn processes_with(text: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(text)))
        .count()
}
