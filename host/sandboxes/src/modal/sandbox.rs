//! One sandbox at Modal: what the port asks of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_host_modal::{Command, Error, Exit, Sandbox};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::sandbox::{self, Content, File, Layout, Process, Root};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

use super::keeper::Hold;
use super::watch::Watch;
use super::{HOME, PROJECTS, WORKSPACE, archive, process};

/// Is there when a session's files are all there.
pub(super) const LAID_DOWN: &str = "/agent/laid-down";

/// Unpacks an archive from its input, and says so. What is in the way of a file is removed and not followed.
const UNPACK: &str = r#"tar --extract --no-same-owner --preserve-permissions --unlink-first --directory=/ && : > "$1""#;

/// Prints a file of the workspace, if it is a regular one, lies in it and is not too large.
const READ: &str = r#"
path=$(realpath -e -- "$1/$2" 2>/dev/null) || exit 66
case "$path" in "$1"/*) ;; *) exit 66 ;; esac
[ -f "$path" ] || exit 66
size=$(stat -c %s -- "$path") || exit 66
[ "$size" -le "$3" ] || { echo "$size"; exit 67; }
exec head -c "$(($3 + 1))" -- "$path"
"#;
const ABSENT: Exit = Exit::Code(66);
const TOO_LARGE: Exit = Exit::Code(67);

/// A sandbox at Modal. Dropped, it is terminated in the background.
pub(super) struct ModalSandbox {
    sandbox: Sandbox,
    layout: Layout,
    watch: Watch,
    /// Whether any program was run: from then on the files change by themselves.
    has_run: AtomicBool,
    /// Programs that are known to be there.
    programs: Mutex<Vec<String>>,
    /// Cancelled when the sandbox has ended, by itself or not.
    ended: CancellationToken,
    /// Why, if it has.
    reason: Mutex<Option<String>>,
    hold: Hold,
}

impl ModalSandbox {
    /// One in which nothing has run.
    pub(super) fn new(sandbox: Sandbox, watch: Watch, hold: Hold) -> Self {
        let layout = Layout { home: HOME.to_owned(), workspace: WORKSPACE.to_owned(), projects: PROJECTS.to_owned() };
        let (has_run, ended) = (AtomicBool::new(false), CancellationToken::new());
        Self { sandbox, layout, watch, has_run, programs: Mutex::default(), ended, reason: Mutex::default(), hold }
    }

    /// One that has been a session's before.
    pub(super) fn adopted(sandbox: Sandbox, watch: Watch, hold: Hold) -> Self {
        let adopted = Self::new(sandbox, watch, hold);
        adopted.has_run.store(true, Ordering::Relaxed);
        adopted
    }

    /// Gives one that was kept ready its tags, and makes sure that it is still there.
    pub(super) async fn claim(&self, tags: &BTreeMap<String, String>) -> Result<(), Error> {
        tokio::try_join!(self.sandbox.set_tags(tags), self.watch.synchronize()).map(drop)
    }

    fn failed(&self, error: Error) -> sandbox::Error {
        if let Error::Ended { end, .. } = &error {
            self.reason.lock().get_or_insert_with(|| format!("it {end}"));
            self.ended.cancel();
        }
        process::failed(error)
    }

    fn gone(&self) -> sandbox::Error {
        sandbox::Error::Gone(self.reason.lock().clone().unwrap_or_else(|| "it was ended".to_owned()))
    }

    fn check_open(&self) -> Result<(), sandbox::Error> {
        if self.ended.is_cancelled() { Err(self.gone()) } else { Ok(()) }
    }

    async fn unpack(&self, packed: Vec<u8>) -> Result<(), sandbox::Error> {
        let command = Command::new("sh").args(["-c", UNPACK, "sh", LAID_DOWN]);
        let process = self.sandbox.exec(&command).await.map_err(|error| self.failed(error))?;
        let (exec, mut stderr) = (process.exec.clone(), process.stderr);
        match process.stdin.send_all(packed).await {
            // It says itself why it did not read on.
            Ok(()) | Err(Error::InputClosed) => {}
            Err(error) => return Err(self.failed(error)),
        }
        let exit = exec.wait().await.map_err(|error| self.failed(error))?;
        if exit.is_success() {
            return Ok(());
        }
        let mut said = String::new();
        let _ = stderr.read_to_string(&mut said).await;
        Err(sandbox::Error::Failed(format!("failed to write files into the sandbox: {exit}: {}", said.trim())))
    }
}

#[async_trait]
impl sandbox::Sandbox for ModalSandbox {
    fn id(&self) -> &str {
        self.sandbox.id()
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    async fn write(&self, files: Vec<File>) -> Result<(), sandbox::Error> {
        self.check_open()?;
        let is_watched = files.iter().any(|file| file.root == Root::Workspace);
        let pack = move || archive::pack(&files);
        let packed = tokio::task::spawn_blocking(pack).await.map_err(std::io::Error::other).and_then(|packed| packed);
        let packed = packed.map_err(|error| sandbox::Error::Failed(format!("failed to pack the files of a session: {error}")))?;
        self.unpack(packed).await?;
        // While nothing runs, all that changes is what was written here. Afterwards it cannot be told apart, and is reported.
        if is_watched && !self.has_run.load(Ordering::Relaxed) {
            self.watch.synchronize().await.map_err(|error| self.failed(error))?;
            if !self.has_run.load(Ordering::Relaxed) {
                self.watch.forget_changes();
            }
        }
        Ok(())
    }

    async fn spawn(&self, command: sandbox::Command) -> Result<Process, sandbox::Error> {
        self.check_open()?;
        self.has_run.store(true, Ordering::Relaxed);
        let is_known = self.programs.lock().contains(&command.program);
        if !is_known {
            if !process::has(&self.sandbox, &command.program).await.map_err(|error| self.failed(error))? {
                let reason = format!("the sandbox's image has no program {:?}", command.program);
                return Err(sandbox::Error::ProgramNotFound(reason));
            }
            self.programs.lock().push(command.program.clone());
        }
        process::spawn(&self.sandbox, command).await.map_err(|error| self.failed(error))
    }

    async fn changes(&self) -> Result<Vec<RelativePath>, sandbox::Error> {
        tokio::select! {
            changes = self.watch.changes() => changes.map_err(|error| self.failed(error)),
            end = self.sandbox.wait() => match end {
                Ok(end) => Err(self.failed(Error::Ended { sandbox_id: self.sandbox.id().to_owned(), end })),
                Err(error) => Err(self.failed(error)),
            },
            () = self.ended.cancelled() => Err(self.gone()),
        }
    }

    async fn flush_changes(&self) -> Result<Vec<RelativePath>, sandbox::Error> {
        self.check_open()?;
        self.watch.synchronize().await.map_err(|error| self.failed(error))?;
        Ok(self.watch.take())
    }

    async fn read(&self, path: &RelativePath, limit: u64) -> Result<Content, sandbox::Error> {
        self.check_open()?;
        let command = Command::new("sh").args(["-c", READ, "sh", WORKSPACE, path.as_str(), &limit.to_string()]);
        let read = async { self.sandbox.exec(&command).await?.finish().await };
        let finished = read.await.map_err(|error| self.failed(error))?;
        let unreadable = |reason: &str| sandbox::Error::Failed(format!("failed to read {path} in the workspace: {reason}"));
        match finished.exit {
            Exit::Code(0) if finished.stdout.len() as u64 > limit => Ok(Content::TooLarge { size: finished.stdout.len() as u64 }),
            Exit::Code(0) => Ok(Content::Bytes(finished.stdout.into())),
            ABSENT => Ok(Content::Absent),
            TOO_LARGE => {
                let size = String::from_utf8_lossy(&finished.stdout).trim().parse();
                Ok(Content::TooLarge { size: size.map_err(|_| unreadable("its size is no number"))? })
            }
            exit => Err(unreadable(&format!("{exit}: {}", String::from_utf8_lossy(&finished.stderr).trim()))),
        }
    }

    async fn terminate(&self) -> Result<(), sandbox::Error> {
        self.ended.cancel();
        match self.sandbox.terminate().await {
            Ok(()) | Err(Error::NotFound { .. } | Error::Ended { .. }) => Ok(()),
            Err(error) => Err(process::failed(error)),
        }
    }
}

impl Drop for ModalSandbox {
    fn drop(&mut self) {
        if !self.ended.is_cancelled() {
            self.hold.keeper.terminate_later(self.sandbox.clone());
        }
    }
}
