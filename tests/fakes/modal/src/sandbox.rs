//! A sandbox: a namespace of its own for files and processes, with a root directory of its own and this machine's programs in it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::exec::Exec;
use crate::proto::client::generic_result::GenericStatus;
use crate::proto::client::{GenericResult, Sandbox as Definition};
use crate::root::Contents;

/// Runs the commands of the image, and then nothing.
const BEGIN: &str = r#"for run in "$@"; do sh -c "$run" > /dev/null 2>&1 || exit 1; done; echo ready; exec sleep infinity"#;

/// Where Modal's program for files is.
const FS_TOOLS: &str = "/__modal/.bin/modal-sandbox-fs-tools";

/// A sandbox.
pub struct Sandbox {
    /// `sb-…`.
    pub id: String,
    /// `ta-…`.
    pub task_id: String,
    /// Its app.
    pub app_id: String,
    /// When it was created, in seconds since 1970.
    pub created_at: f64,
    /// What it was to be.
    pub definition: Definition,
    /// Its tags.
    pub tags: Mutex<BTreeMap<String, String>>,
    /// Where its root directory is on this machine.
    pub root: PathBuf,
    /// Before this moment its router does not answer.
    pub accepts_at: Instant,
    env: Vec<(String, String)>,
    /// Its first process.
    init: Mutex<Option<Init>>,
    execs: Mutex<HashMap<String, Arc<Exec>>>,
    active: watch::Sender<usize>,
    end: watch::Sender<Option<GenericResult>>,
}

struct Init {
    pid: Pid,
    child: Child,
}

/// What bubblewrap says of what it started.
#[derive(Deserialize)]
struct Info {
    #[serde(rename = "child-pid")]
    child_pid: i32,
}

/// What a new sandbox is made of.
pub struct New {
    pub id: String,
    pub task_id: String,
    pub app_id: String,
    pub definition: Definition,
    pub tags: BTreeMap<String, String>,
    pub env: Vec<(String, String)>,
    /// Where its root directory is to be, and what is to be in it.
    pub root: PathBuf,
    pub contents: Contents,
    pub accepts_in: Duration,
    /// Directories of this machine, and where they are in the sandbox.
    pub mounts: Vec<(PathBuf, String)>,
    pub fs_tools: PathBuf,
}

impl Sandbox {
    /// Starts it.
    pub async fn start(new: New) -> anyhow::Result<Arc<Self>> {
        let New { id, task_id, app_id, definition, tags, env, root, contents, accepts_in, mounts, fs_tools } = new;
        contents.write(&root).await?;
        for directory in ["tmp", "root", "var/tmp", "proc", "dev", "__modal/.bin"] {
            std::fs::create_dir_all(root.join(directory))?;
        }
        if let Some(workdir) = &definition.workdir {
            std::fs::create_dir_all(root.join(workdir.trim_start_matches('/')))?;
        }
        let mut command = Command::new("bwrap");
        command.args(["--unshare-pid", "--die-with-parent", "--info-fd", "2", "--bind"]).arg(&root).arg("/");
        command.args(["--dev", "/dev", "--proc", "/proc"]);
        contents.share(&root, &mut command)?;
        for (here, there) in &mounts {
            command.arg("--ro-bind").arg(here).arg(there);
        }
        command.arg("--ro-bind").arg(&fs_tools).arg(FS_TOOLS);
        // It says when everything is in its place.
        command
            .args(["--", "sh", "-c", BEGIN, "sh"])
            .args(&contents.runs)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start bwrap")?;
        let (mut info, ready) = (child.stderr.take().context("bwrap has no output")?, child.stdout.take().context("bwrap has no output")?);
        let mut said = String::new();
        // It closes this when it has said all.
        info.read_to_string(&mut said).await?;
        let Info { child_pid } = serde_json::from_str(&said).with_context(|| format!("bwrap says {said:?}"))?;
        let line = BufReader::new(ready).lines().next_line().await?;
        anyhow::ensure!(line.as_deref() == Some("ready"), "bwrap has ended, or a command of the image has failed");
        let pid = Pid::from_raw(child_pid).context("bwrap's child has no id")?;
        let sandbox = Arc::new(Self {
            id,
            task_id,
            app_id,
            created_at: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64(),
            tags: Mutex::new(tags),
            root,
            accepts_at: Instant::now() + accepts_in,
            env,
            init: Mutex::new(Some(Init { pid, child })),
            execs: Mutex::default(),
            active: watch::Sender::default(),
            end: watch::Sender::default(),
            definition,
        });
        sandbox.watch_over();
        Ok(sandbox)
    }

    /// Ends it when its time is over, or when nothing has run in it for too long.
    fn watch_over(self: &Arc<Self>) {
        let sandbox = Arc::clone(self);
        let lifetime = Duration::from_secs(sandbox.definition.timeout_secs.into());
        let idle = sandbox.definition.idle_timeout_secs.map_or(Duration::MAX, |seconds| Duration::from_secs(seconds.into()));
        tokio::spawn(async move {
            let mut end = sandbox.end.subscribe();
            let mut active = sandbox.active.subscribe();
            let idle = async {
                loop {
                    if active.wait_for(|active| *active == 0).await.is_err() {
                        return;
                    }
                    if tokio::time::timeout(idle, active.wait_for(|active| *active > 0)).await.is_err() {
                        return;
                    }
                }
            };
            let status = tokio::select! {
                _ = end.wait_for(Option::is_some) => return,
                () = tokio::time::sleep(lifetime) => GenericStatus::Timeout,
                () = idle => GenericStatus::IdleTimeout,
            };
            sandbox.end(status, "");
        });
    }

    /// Ends it and all its processes.
    pub fn end(&self, status: GenericStatus, exception: &str) {
        if let Some(Init { pid, mut child }) = self.init.lock().take() {
            // With the first process of a namespace all others end.
            let _ = kill_process(pid, Signal::KILL);
            let _ = child.start_kill();
        }
        let result = GenericResult { status: status.into(), exception: exception.to_owned(), exitcode: 0 };
        self.end.send_if_modified(|end| {
            let is_first = end.is_none();
            if is_first {
                *end = Some(result);
            }
            is_first
        });
    }

    /// How it ended, if it has.
    pub fn result(&self) -> Option<GenericResult> {
        self.end.borrow().clone()
    }

    /// Waits for its end.
    pub async fn wait(&self, timeout: Duration) -> Option<GenericResult> {
        let mut end = self.end.subscribe();
        tokio::time::timeout(timeout, end.wait_for(Option::is_some)).await.ok()?.ok()?.clone()
    }

    /// The program of this id.
    pub fn exec(&self, id: &str) -> Option<Arc<Exec>> {
        self.execs.lock().get(id).cloned()
    }

    /// Starts a program, unless that was done before.
    pub fn start_exec(
        self: &Arc<Self>,
        id: &str,
        arguments: &[String],
        workdir: Option<&str>,
        env: &[(String, String)],
        timeout: Option<Duration>,
    ) -> anyhow::Result<()> {
        let mut execs = self.execs.lock();
        if execs.contains_key(id) {
            return Ok(());
        }
        let pid = self.init.lock().as_ref().map(|init| init.pid).context("the sandbox has ended")?;
        let workdir = workdir.or(self.definition.workdir.as_deref()).unwrap_or("/");
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", pid.as_raw_nonzero())).args(["--mount", "--pid", "--root"]).arg(format!("--wdns={workdir}"));
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--").args(arguments).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
        command.envs(self.env.iter().chain(env).map(|(name, value)| (name, value)));
        self.active.send_modify(|active| *active += 1);
        let active = self.active.clone();
        let started = Exec::start(command, timeout, move || active.send_modify(|active| *active -= 1));
        match started {
            Ok(exec) => {
                execs.insert(id.to_owned(), exec);
                Ok(())
            }
            Err(error) => {
                self.active.send_modify(|active| *active -= 1);
                Err(error.into())
            }
        }
    }
}
