//! One sandbox at Modal: what the port asks of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_host_modal::{Command, End, Error, Exit, Sandbox};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::sandbox::{self, Content, File, Layout, Process, Root};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::keeper::Hold;
use super::watch::Watch;
use super::{HOME, PROJECTS, WORKSPACE, archive, helper, process};

/// Is there when a session's files are all there.
pub(super) const LAID_DOWN: &str = "/agent/laid-down";

/// Unpacks an archive from its input, and says so. What is in the way of a file is removed and not followed.
const UNPACK: &str = r#"tar --extract --no-same-owner --preserve-permissions --unlink-first --directory=/ && : > "$1""#;

/// Prints a file of the workspace, if it is a regular one, lies in it and is not too large. What `$(…)` gives has lost the line breaks at its end, which a name may have.
const READ: &str = r#"
path=$(realpath -e -- "$1/$2" 2>/dev/null && echo /) || exit 66
path=${path%??}
case "$path" in "$1"/*) ;; *) exit 66 ;; esac
[ -f "$path" ] || exit 66
size=$(stat -c %s -- "$path") || exit 66
[ "$size" -le "$3" ] || { echo "$size"; exit 67; }
exec head -c "$(($3 + 1))" -- "$path"
"#;
/// The size of a file that is too large has fewer digits, and one that has grown meanwhile comes with one byte more.
const MAX_NUMBER: u64 = 20;
const ABSENT: Exit = Exit::Code(66);
const TOO_LARGE: Exit = Exit::Code(67);

/// Packs the files of a directory below the first, if it is there.
const PACK: &str = r#"cd "$1" && if [ -d "$2" ]; then exec tar --create --file=- -- "$2"; fi"#;

/// How much of what unpacking complains of is told.
const MAX_COMPLAINT: u64 = 2000;

/// Until it is asked again whether a sandbox has ended, if that could not be known.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const ASK_AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// A sandbox at Modal. Dropped, it is terminated in the background.
pub(super) struct ModalSandbox {
    sandbox: Sandbox,
    layout: Layout,
    watch: Watch,
    /// Whether any program was run: from then on the files change by themselves.
    has_run: AtomicBool,
    /// Programs that are known to be there.
    programs: Mutex<Vec<String>>,
    end: Arc<Ending>,
    /// Whether Modal has been told to end it.
    is_terminated: AtomicBool,
    hold: Hold,
    _waiting: AbortOnDropHandle<()>,
}

/// The end of a sandbox.
#[derive(Debug, Default)]
struct Ending {
    /// Cancelled when it has ended, by itself or not.
    ended: CancellationToken,
    /// Why, if it has by itself.
    reason: Mutex<Option<String>>,
}

impl Ending {
    fn is(&self, end: End) {
        self.reason.lock().get_or_insert_with(|| format!("it {end}"));
        self.ended.cancel();
    }
}

/// Waits until Modal has ended a sandbox. Whoever looks for changes begins and breaks off with each line that an agent prints; Modal is asked once.
async fn wait_for_end(sandbox: Sandbox, ending: Arc<Ending>) {
    let mut pause = ASK_AGAIN;
    loop {
        match sandbox.wait().await {
            Ok(end) => return ending.is(end),
            Err(error) => tracing::debug!(sandbox = sandbox.id(), %error, "it cannot be known whether a sandbox has ended"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(ASK_AGAIN_AT_MOST);
    }
}

impl ModalSandbox {
    /// One in which nothing has run.
    pub(super) fn new(sandbox: Sandbox, watch: Watch, hold: Hold) -> Self {
        let layout = Layout { home: HOME.to_owned(), workspace: WORKSPACE.to_owned(), projects: PROJECTS.to_owned() };
        let end = Arc::<Ending>::default();
        let waiting = AbortOnDropHandle::new(tokio::spawn(wait_for_end(sandbox.clone(), Arc::clone(&end))));
        let (has_run, is_terminated) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { sandbox, layout, watch, has_run, programs: Mutex::default(), end, is_terminated, hold, _waiting: waiting }
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
            self.end.is(end.clone());
        }
        process::failed(error)
    }

    fn gone(&self) -> sandbox::Error {
        sandbox::Error::Gone(self.end.reason.lock().clone().unwrap_or_else(|| "it was ended".to_owned()))
    }

    fn check_open(&self) -> Result<(), sandbox::Error> {
        if self.end.ended.is_cancelled() { Err(self.gone()) } else { Ok(()) }
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
        let _ = (&mut stderr).take(MAX_COMPLAINT).read_to_string(&mut said).await;
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
            () = self.end.ended.cancelled() => Err(self.gone()),
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
        let printed = limit.saturating_add(MAX_NUMBER);
        let finished = helper::ask(&self.sandbox, "reading a workspace file", command, Vec::new(), printed).await;
        let finished = finished.map_err(|error| self.failed(error))?;
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

    async fn read_home(&self, directory: &RelativePath, limit: u64) -> Result<Vec<(RelativePath, Bytes)>, sandbox::Error> {
        self.check_open()?;
        let command = Command::new("sh").args(["-c", PACK, "sh", HOME, directory.as_str()]);
        let packed = helper::ask(&self.sandbox, "reading files of an agent", command, Vec::new(), limit).await;
        let packed = packed.and_then(|packed| helper::check("reading files of an agent", packed)).map_err(|error| self.failed(error))?;
        let unpacked = tokio::task::spawn_blocking(move || archive::unpack(&packed)).await.map_err(std::io::Error::other);
        unpacked.and_then(|unpacked| unpacked).map_err(|error| sandbox::Error::Failed(format!("failed to read files of an agent: {error}")))
    }

    async fn terminate(&self) -> Result<(), sandbox::Error> {
        self.end.ended.cancel();
        match self.sandbox.terminate().await {
            Ok(()) | Err(Error::NotFound { .. } | Error::Ended { .. }) => {
                self.is_terminated.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(process::failed(error)),
        }
    }
}

impl Drop for ModalSandbox {
    fn drop(&mut self) {
        if !self.is_terminated.load(Ordering::Relaxed) {
            self.hold.keeper.terminate_later(self.sandbox.clone());
        }
    }
}
