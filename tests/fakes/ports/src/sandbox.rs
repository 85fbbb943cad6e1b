//! The provider of sandboxes, with a program in them that does what the message tells it to do:
//!
//! | message | what the program does |
//! | --- | --- |
//! | `hang` | says `waiting` and then nothing, until it is interrupted |
//! | `hang SECONDS` | the same, and takes so long to end when it is interrupted |
//! | `die` | says `dying` and exits with status 3 |
//! | `write PATH TEXT` | writes a workspace file |
//! | `remove PATH` | removes it |
//! | `tool NAME TEXT` | says `asking`, asks whether it may use the tool, and says whether it was `denied` and why, or `ran` and with which text |
//! | `history` | says how many bytes of transcript it was started with |
//! | anything else | says it back, word by word |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use agent_host_session::path::RelativePath;
use agent_host_session::ports::sandbox::{
    Command, Content, Control, Error, Exit, File, Layout, Process, Provided, Provider, Root, Sandbox, Spec,
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex};
use tokio::sync::{Notify, watch};

/// Makes sandboxes in memory, and counts them.
#[derive(Debug, Default)]
pub struct FakeProvider {
    fails: AtomicBool,
    hangs: AtomicBool,
    linger_ms: AtomicU64,
    started: AtomicUsize,
    alive: Arc<AtomicUsize>,
}

impl FakeProvider {
    /// From now on no sandbox can be made.
    pub fn fail(&self, fail: bool) {
        self.fails.store(fail, Ordering::SeqCst);
    }

    /// From now on making a sandbox takes for ever.
    pub fn hang(&self, hang: bool) {
        self.hangs.store(hang, Ordering::SeqCst);
    }

    /// From now on a program takes so long to end after its input has ended.
    pub fn linger(&self, time: Duration) {
        self.linger_ms.store(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// How many sandboxes were ever made.
    pub fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    /// How many there are.
    pub fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Provider for FakeProvider {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn start(&self, _spec: Spec, progress: &(dyn for<'a> Fn(&'a str) + Send + Sync)) -> Result<Provided, Error> {
        progress("making it");
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::Failed("ordered to fail".to_owned()));
        }
        let number = self.started.fetch_add(1, Ordering::SeqCst);
        self.alive.fetch_add(1, Ordering::SeqCst);
        Ok(Provided::new(FakeSandbox {
            id: format!("fake-{number}"),
            layout: Layout { home: "/home/agent".to_owned(), workspace: "/workspace".to_owned(), projects: "/projects".to_owned() },
            disk: Arc::default(),
            alive: Arc::clone(&self.alive),
            linger: Duration::from_millis(self.linger_ms.load(Ordering::SeqCst)),
            is_ended: AtomicBool::new(false),
            kill: watch::Sender::new(false),
        }))
    }
}

#[derive(Debug, Default)]
struct Disk {
    home: Mutex<BTreeMap<String, Bytes>>,
    workspace: Mutex<BTreeMap<RelativePath, Bytes>>,
    changed: Mutex<BTreeSet<RelativePath>>,
    notify: Notify,
}

#[derive(Debug)]
struct FakeSandbox {
    id: String,
    layout: Layout,
    disk: Arc<Disk>,
    alive: Arc<AtomicUsize>,
    linger: Duration,
    is_ended: AtomicBool,
    kill: watch::Sender<bool>,
}

impl FakeSandbox {
    fn end(&self) {
        self.kill.send_replace(true);
        if !self.is_ended.swap(true, Ordering::SeqCst) {
            self.alive.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for FakeSandbox {
    fn drop(&mut self) {
        self.end();
    }
}

#[async_trait]
impl Sandbox for FakeSandbox {
    fn id(&self) -> &str {
        &self.id
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    async fn write(&self, files: Vec<File>) -> Result<(), Error> {
        for file in files {
            match file.root {
                Root::Home => drop(self.disk.home.lock().insert(file.path.to_string(), file.content)),
                Root::Workspace => drop(self.disk.workspace.lock().insert(file.path, file.content)),
            }
        }
        Ok(())
    }

    async fn spawn(&self, _command: Command) -> Result<Process, Error> {
        let (stdin, program_stdin) = duplex(1024);
        let (program_stdout, stdout) = duplex(64 * 1024);
        let (_, stderr) = duplex(1);
        let (exit_sender, exit) = watch::channel(None);
        let disk = Arc::clone(&self.disk);
        let mut killed = self.kill.subscribe();
        let linger = self.linger;
        let lives = async move {
            let code = program(disk, program_stdin, program_stdout).await;
            tokio::time::sleep(linger).await;
            code
        };
        tokio::spawn(async move {
            let code = tokio::select! {
                code = lives => Exit { code: Some(code), signal: None },
                _ = killed.wait_for(|killed| *killed) => Exit { code: None, signal: Some(9) },
            };
            exit_sender.send_replace(Some(code));
        });
        let control = Box::new(FakeControl { exit, kill: self.kill.clone() });
        Ok(Process { stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(stderr), control })
    }

    async fn changes(&self) -> Result<Vec<RelativePath>, Error> {
        loop {
            let notified = self.disk.notify.notified();
            let changed = self.flush_changes().await?;
            if !changed.is_empty() {
                return Ok(changed);
            }
            notified.await;
        }
    }

    async fn flush_changes(&self) -> Result<Vec<RelativePath>, Error> {
        Ok(std::mem::take(&mut *self.disk.changed.lock()).into_iter().collect())
    }

    async fn read(&self, path: &RelativePath, limit: u64) -> Result<Content, Error> {
        Ok(match self.disk.workspace.lock().get(path) {
            None => Content::Absent,
            Some(content) if content.len() as u64 > limit => Content::TooLarge { size: content.len() as u64 },
            Some(content) => Content::Bytes(content.clone()),
        })
    }

    async fn read_home(&self, directory: &RelativePath, _limit: u64) -> Result<Vec<(RelativePath, Bytes)>, Error> {
        let home = self.disk.home.lock();
        let prefix = format!("{directory}/");
        let below = home.iter().filter(|(path, _)| path.starts_with(&prefix));
        Ok(below.filter_map(|(path, content)| Some((RelativePath::new(path.as_str()).ok()?, content.clone()))).collect())
    }

    async fn terminate(&self) -> Result<(), Error> {
        self.end();
        Ok(())
    }
}

struct FakeControl {
    exit: watch::Receiver<Option<Exit>>,
    kill: watch::Sender<bool>,
}

#[async_trait]
impl Control for FakeControl {
    async fn wait(&mut self) -> Result<Exit, Error> {
        let exit = self.exit.wait_for(Option::is_some).await.map_err(|_| Error::Gone("the program's task ended".to_owned()))?;
        exit.ok_or_else(|| Error::Gone("no exit".to_owned()))
    }

    fn kill(&mut self) {
        self.kill.send_replace(true);
    }
}

async fn program(disk: Arc<Disk>, stdin: DuplexStream, mut stdout: DuplexStream) -> i32 {
    let mut lines = BufReader::new(stdin).lines();
    let mut hesitates = Duration::ZERO;
    while let Ok(Some(line)) = lines.next_line().await {
        let (word, text) = line.split_once(' ').unwrap_or((&line, ""));
        if word == "message" {
            let seconds = text.strip_prefix("hang ").and_then(|seconds| seconds.parse().ok());
            hesitates = Duration::from_secs(seconds.unwrap_or(0));
        }
        let answer = match word {
            "hello" => "ready\n".to_owned(),
            "model" => format!("model {text}\n"),
            "interrupt" => {
                tokio::time::sleep(hesitates).await;
                "end\n".to_owned()
            }
            "allow" => format!("delta  ran {text}\nend\n"),
            "deny" => format!("delta  denied {text}\nend\n"),
            "message" => match answer(&disk, text) {
                Some(answer) => answer,
                None => {
                    let _ = stdout.write_all(b"delta dying\n").await;
                    return 3;
                }
            },
            _ => continue,
        };
        if stdout.write_all(answer.as_bytes()).await.is_err() {
            return 1;
        }
    }
    0
}

/// What the program prints for a message; `None` to die.
fn answer(disk: &Disk, message: &str) -> Option<String> {
    let mut printed = format!("transcript {message}\n");
    let words: Vec<&str> = message.split(' ').collect();
    match words.as_slice() {
        ["hang"] | ["hang", _] => {
            printed.push_str("delta waiting\n");
            return Some(printed);
        }
        ["die"] => return None,
        ["tool", tool, text @ ..] => {
            printed.push_str(&format!("ask {tool} {}\ndelta asking\n", text.join(" ")));
            return Some(printed);
        }
        ["write", path, content @ ..] => {
            let path = RelativePath::new(*path).ok()?;
            disk.workspace.lock().insert(path.clone(), Bytes::from(content.join(" ")));
            disk.changed.lock().insert(path);
            disk.notify.notify_waiters();
        }
        ["remove", path] => {
            let path = RelativePath::new(*path).ok()?;
            disk.workspace.lock().remove(&path);
            disk.changed.lock().insert(path);
            disk.notify.notify_waiters();
        }
        ["history"] => {
            let history = disk.home.lock().get("history").cloned().unwrap_or_default();
            printed.push_str(&format!("delta {}\n", String::from_utf8_lossy(&history)));
        }
        words => {
            for word in words {
                printed.push_str(&format!("delta {word}\n"));
            }
        }
    }
    printed.push_str("end\n");
    Some(printed)
}
