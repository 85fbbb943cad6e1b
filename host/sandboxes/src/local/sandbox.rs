//! One sandbox on this machine: what the port asks of it, handed on to the parts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_host_session::path::RelativePath;
use agent_host_session::ports::sandbox::{Command, Content, Error, File, Layout, Process, Root, Sandbox, Spec};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::directory::Directory;
use super::files::Files;
use super::launch;
use super::process::Running;
use super::provider::Machine;
use super::tree::{self, Family};
use super::watch::Watch;

/// How long processes have between being asked to end and being killed. The caller has told the agent before that there is no more input,
/// so this is for what else runs: enough to flush a file, short enough not to be felt by who deletes a session.
const GRACE: Duration = Duration::from_secs(2);

/// How long killed processes may take to be gone. Only one that hangs in a device takes longer than some milliseconds.
const KILL_DEADLINE: Duration = Duration::from_secs(5);

/// After this a kill is repeated: a process that was just being started may have been missed.
const KILL_INTERVAL: Duration = Duration::from_millis(100);

/// A sandbox on this machine.
pub(super) struct LocalSandbox {
    machine: Arc<Machine>,
    layout: Layout,
    directory: Arc<Directory>,
    files: Arc<Files>,
    watch: Watch,
    processes: Mutex<Processes>,
    /// Whether the session has it: what is written into it from then on are the session's files.
    is_given: AtomicBool,
    /// Whether they are in it.
    is_laid_down: AtomicBool,
    family: Arc<Family>,
    /// Cancelled when the sandbox begins to end.
    closing: CancellationToken,
    ended: OnceCell<()>,
}

/// The sandbox's processes.
#[derive(Default)]
struct Processes {
    /// Whether any was ever asked for: from then on, the files change by themselves.
    requested: bool,
    running: Vec<Running>,
}

impl LocalSandbox {
    /// Makes the directories and begins to watch them. Blocks.
    pub(super) fn make(machine: Arc<Machine>, spec: &Spec) -> Result<Self, Error> {
        let root = machine.root.clone();
        let failed = |error: io::Error| Error::Failed(format!("failed to make a sandbox in {}: {error}", root.display()));
        let directory = Directory::make(&machine.root, spec, machine.bubblewrap.is_some()).map_err(failed)?;
        Self::over(machine, directory).map_err(failed)
    }

    /// Takes over the directories that an earlier process of the host has left for the session. Blocks.
    pub(super) fn adopt(machine: Arc<Machine>, directory: Directory, spec: &Spec) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::Failed(format!("failed to take up the sandbox of session {}: {error}", spec.session));
        // Once more: one that was just being started when its host was killed could not be told from the host when the others were ended.
        tree::kill_marked(directory.path());
        directory.tag(spec, machine.bubblewrap.is_some()).map_err(failed)?;
        let sandbox = Self::over(machine, directory).map_err(failed)?;
        sandbox.processes.lock().requested = true;
        sandbox.is_given.store(true, Ordering::Relaxed);
        // What is there has been seen already; what is not there any more is seen now.
        sandbox.watch.add_known(spec.files.iter().map(|file| file.path.clone()));
        sandbox.watch.look_at_everything();
        Ok(sandbox)
    }

    fn over(machine: Arc<Machine>, directory: Directory) -> io::Result<Self> {
        let directory = Arc::new(directory);
        let files = Arc::new(Files::open(&directory)?);
        let watch = Watch::start(&machine.hub, &directory.id, Arc::clone(&files));
        let layout = launch::layout(&machine, &directory);
        let family = Arc::new(Family::new(directory.path().to_owned()));
        Ok(Self {
            machine,
            layout,
            directory,
            files,
            watch,
            processes: Mutex::default(),
            is_given: AtomicBool::new(false),
            is_laid_down: AtomicBool::new(false),
            family,
            closing: CancellationToken::new(),
            ended: OnceCell::new(),
        })
    }

    /// The session gets it. What has run until now was to make it ready.
    pub(super) fn give(&self) {
        self.processes.lock().requested = false;
        self.is_given.store(true, Ordering::Relaxed);
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.closing.is_cancelled() { Err(gone()) } else { Ok(()) }
    }

    /// Runs `work`, which waits for files, where it holds nobody up.
    async fn blocking<T: Send + 'static>(&self, what: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        tokio::task::spawn_blocking(work).await.map_err(|error| Error::Failed(format!("failed to {what}: {error}")))
    }

    /// The processes that have not ended.
    fn running(&self) -> Vec<Running> {
        let mut processes = self.processes.lock();
        processes.running.retain(|process| !process.has_ended());
        processes.running.clone()
    }

    fn signal(&self, signal: impl Fn(&Running) + Send + 'static) -> impl Future<Output = Result<(), Error>> {
        let running = self.running();
        self.blocking("end the processes", move || running.iter().for_each(signal))
    }

    async fn end(&self) -> Result<(), Error> {
        self.closing.cancel();
        if !self.running().is_empty() {
            self.signal(Running::terminate).await?;
            // That the grace is over is no error.
            let _ = timeout(GRACE, self.all_ended()).await;
        }
        let deadline = Instant::now() + KILL_DEADLINE;
        while !self.running().is_empty() {
            if Instant::now() >= deadline {
                return Err(Error::Failed(format!("the processes of sandbox {} could not be killed within 5 s", self.directory.id)));
            }
            self.signal(Running::kill).await?;
            let _ = timeout_at(deadline.min(Instant::now() + KILL_INTERVAL), self.all_ended()).await;
        }
        let directory = Arc::clone(&self.directory);
        let removed = self.blocking("remove the sandbox's directory", move || directory.remove()).await?;
        removed.map_err(|error| Error::Failed(format!("failed to remove the directory of sandbox {}: {error}", self.directory.id)))
    }

    async fn all_ended(&self) {
        for process in self.running() {
            process.ended().await;
        }
    }
}

fn gone() -> Error {
    Error::Gone("it was ended".to_owned())
}

#[async_trait]
impl Sandbox for LocalSandbox {
    fn id(&self) -> &str {
        &self.directory.id
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    async fn write(&self, files: Vec<File>) -> Result<(), Error> {
        self.check_open()?;
        let is_watched = files.iter().any(|file| file.root == Root::Workspace);
        let (target, watch) = (Arc::clone(&self.files), self.watch.clone());
        let written = self.blocking("write files", move || {
            files.into_iter().try_for_each(|file| {
                target.write(&file).map_err(|error| Error::Failed(format!("failed to write {} into the sandbox: {error}", file.path)))?;
                if file.root == Root::Workspace {
                    watch.add_known([file.path]);
                }
                Ok(())
            })
        });
        let result = written.await?;
        if result.is_ok() && self.is_given.load(Ordering::Relaxed) && !self.is_laid_down.swap(true, Ordering::Relaxed) {
            let directory = Arc::clone(&self.directory);
            let marked = self.blocking("mark a sandbox", move || directory.mark_laid_down()).await?;
            marked.map_err(|error| Error::Failed(format!("failed to mark sandbox {}: {error}", self.directory.id)))?;
        }
        if !is_watched {
            return result;
        }
        // While nothing runs, all that changes is what was written here. Afterwards it cannot be told apart, and is reported.
        if !self.processes.lock().requested {
            self.watch.synchronize().await;
            let processes = self.processes.lock();
            if !processes.requested {
                self.watch.forget_changes();
            }
        }
        result
    }

    async fn spawn(&self, command: Command) -> Result<Process, Error> {
        self.check_open()?;
        self.processes.lock().requested = true;
        let (machine, directory, files, layout) =
            (Arc::clone(&self.machine), Arc::clone(&self.directory), Arc::clone(&self.files), self.layout.clone());
        let program = command.program.clone();
        let prepare = move || launch::prepare(&machine, &directory, &files, &layout, &command);
        let prepared = self.blocking("prepare a process", prepare).await??;
        let started = Running::start(&self.machine.spawner, prepared, &self.family).await;
        let (running, process) = started.map_err(|error| Error::Failed(format!("failed to run {program:?}: {error}")))?;
        self.processes.lock().running.push(running.clone());
        if self.closing.is_cancelled() {
            // It may have come too late for the one who ends the others.
            self.blocking("end a process", move || running.kill()).await?;
            return Err(gone());
        }
        Ok(process)
    }

    async fn changes(&self) -> Result<Vec<RelativePath>, Error> {
        tokio::select! {
            changes = self.watch.changes() => Ok(changes),
            () = self.closing.cancelled() => Err(gone()),
        }
    }

    async fn flush_changes(&self) -> Result<Vec<RelativePath>, Error> {
        self.check_open()?;
        self.watch.synchronize().await;
        Ok(self.watch.take())
    }

    async fn read(&self, path: &RelativePath, limit: u64) -> Result<Content, Error> {
        self.check_open()?;
        let (files, path) = (Arc::clone(&self.files), path.clone());
        let work =
            move || files.read(&path, limit).map_err(|error| Error::Failed(format!("failed to read {path} in the workspace: {error}")));
        self.blocking("read a file", work).await?
    }

    async fn read_home(&self, directory: &RelativePath, limit: u64) -> Result<Vec<(RelativePath, Bytes)>, Error> {
        self.check_open()?;
        let (files, directory) = (Arc::clone(&self.files), directory.clone());
        let work =
            move || files.read_home(&directory, limit).map_err(|error| Error::Failed(format!("failed to read {directory}: {error}")));
        self.blocking("read files of an agent", work).await?
    }

    async fn terminate(&self) -> Result<(), Error> {
        self.ended.get_or_try_init(|| self.end()).await.copied()
    }
}

impl Drop for LocalSandbox {
    fn drop(&mut self) {
        self.closing.cancel();
        for process in self.running() {
            process.kill();
        }
        // The directory follows, as soon as nobody reads or writes in it.
    }
}
