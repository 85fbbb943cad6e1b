//! A running process, from its start until it is reaped.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::ports::sandbox::{Control, Error, Exit, Process};
use async_trait::async_trait;
use rustix::process::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::timeout;

use super::launch::Launch;
use super::spawner::Spawner;
use super::tree::{Family, Membership, Tree};

/// bubblewrap, like a shell, tells that its command was ended by a signal with this added to the signal's number.
const SIGNAL_BASE: i32 = 128;

/// The highest number of a signal on Linux. Statuses above are the command's own.
const MAX_SIGNAL: i32 = 64;

/// How long bubblewrap may take to tell about its namespace, which it does within some milliseconds.
const INFORMATION_DEADLINE: Duration = Duration::from_secs(10);

/// It tells some 200 bytes.
const MAX_INFORMATION: u64 = 4096;

/// A process that was started and may have ended since. Cheap to clone.
#[derive(Clone)]
pub(super) struct Running {
    tree: Arc<Tree>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Running {
    /// Starts a process of a sandbox.
    pub(super) async fn start(spawner: &Spawner, launch: Launch, family: &Arc<Family>) -> io::Result<(Self, Process)> {
        let Launch { mut command, information } = launch;
        let (reader, writer) = information.map(|information| (information.reader, information.writer)).unzip();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: a Ctrl-C that is meant for the host does not end its agents, which it ends in good order.
        command.process_group(0).kill_on_drop(true);
        let membership = Family::join(family);
        let mut child = spawner.spawn(command, writer).await?;
        let missing = || io::Error::other("the process has no pipes");
        let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or_else(missing)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let is_wrapped = reader.is_some();
        let tree = Arc::new(match reader {
            Some(reader) => Tree::namespace(leader, first_process(reader).await),
            None => Tree::group(leader, Arc::clone(family)),
        });
        let (sender, exit) = watch::channel(None);
        // Ends with the process, which ends with the sandbox.
        tokio::spawn(reap(child, Arc::clone(&tree), membership, is_wrapped, sender));
        let running = Self { tree, exit };
        let process = Process {
            stdin: Box::new(stdin.ok_or_else(missing)?),
            stdout: Box::new(stdout.ok_or_else(missing)?),
            stderr: Box::new(stderr.ok_or_else(missing)?),
            control: Box::new(running.clone()),
        };
        Ok((running, process))
    }

    /// Whether it has ended and was reaped, or will never be known to.
    pub(super) fn has_ended(&self) -> bool {
        self.exit.borrow().is_some() || self.exit.has_changed().is_err()
    }

    /// Waits until it has ended, with all its children, and was reaped.
    pub(super) async fn ended(&self) -> Option<Exit> {
        // An error means that the runtime is shutting down.
        *self.exit.clone().wait_for(Option::is_some).await.ok()?
    }

    /// Asks it and its children to end. Blocks for a few milliseconds.
    pub(super) fn terminate(&self) {
        self.tree.terminate();
    }

    /// Kills it and its children. Blocks for a few milliseconds.
    pub(super) fn kill(&self) {
        self.tree.kill();
    }
}

#[async_trait]
impl Control for Running {
    async fn wait(&mut self) -> Result<Exit, Error> {
        self.ended().await.ok_or_else(|| Error::Gone("its processes are no longer watched".to_owned()))
    }

    fn kill(&mut self) {
        self.tree.kill();
    }
}

/// The id of a namespace's first process, which bubblewrap tells at once. `None` if it failed before it made the namespace.
async fn first_process(reader: OwnedFd) -> Option<Pid> {
    let mut reader = pipe::Receiver::from_owned_fd(reader).ok()?;
    let mut text = Vec::new();
    let read = timeout(INFORMATION_DEADLINE, (&mut reader).take(MAX_INFORMATION).read_to_end(&mut text)).await;
    let information: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let id = information.get("child-pid")?.as_i64()?;
    read.ok().and(Pid::from_raw(i32::try_from(id).ok()?))
}

/// Waits for the process, ends the children that it leaves, and tells.
async fn reap(mut child: Child, tree: Arc<Tree>, membership: Membership, is_wrapped: bool, sender: watch::Sender<Option<Exit>>) {
    let status = child.wait().await;
    tree.leader_ended();
    // It fails only if the runtime is shutting down.
    let _ = tokio::task::spawn_blocking(move || tree.end()).await;
    drop(membership);
    let exit = status.map_or(Exit { code: None, signal: None }, |status| exit_of(status, is_wrapped));
    sender.send_replace(Some(exit));
}

fn exit_of(status: ExitStatus, is_wrapped: bool) -> Exit {
    match status.code() {
        Some(code) if is_wrapped && (SIGNAL_BASE + 1..=SIGNAL_BASE + MAX_SIGNAL).contains(&code) => {
            Exit { code: None, signal: Some(code - SIGNAL_BASE) }
        }
        code => Exit { code, signal: status.signal() },
    }
}
