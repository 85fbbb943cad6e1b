//! Sandboxes: they outlive the host that made them, until its next process finds them or they are given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::{Epoch, SessionId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::sandbox::{
    Command, Content, Control, Error, Exit, File, Layout, Process, Provided, Provider, Root, Sandbox, Spec,
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::duplex;
use tokio::sync::{Notify, watch};

use crate::life::Pulse;
use crate::program;
use crate::world::{Promise, World, note};

/// After this long a sandbox that was left and that nobody wants is ended, as by the providers that there are.
const ORPHAN_GRACE: Duration = Duration::from_secs(10 * 60);

/// How the making of sandboxes goes at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Supply {
    #[default]
    Works,
    Fails,
    Hangs,
}

/// All sandboxes on all machines.
pub(crate) struct Cloud {
    pub(crate) world: Arc<World>,
    pub(crate) boxes: Mutex<BTreeMap<String, Arc<SandboxState>>>,
    supply: Mutex<Supply>,
}

/// How the program in a sandbox is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lives,
    /// The host that listened was killed.
    Orphaned,
    Killed,
}

/// A sandbox, wherever the host is that speaks to it.
pub(crate) struct SandboxState {
    pub(crate) id: String,
    machine: &'static str,
    pub(crate) session: SessionId,
    pub(crate) epoch: Epoch,
    /// The host's process that has it.
    owner: Mutex<String>,
    pub(crate) home: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(crate) workspace: Mutex<BTreeMap<RelativePath, Bytes>>,
    changed: Mutex<BTreeSet<RelativePath>>,
    pub(crate) notify: Notify,
    /// Of the program that was started last.
    program: Mutex<watch::Sender<Fate>>,
    is_ended: Mutex<bool>,
    /// Whether what is written in it is owed to nobody, until somebody adopts it.
    pub(crate) is_forgiven: Mutex<bool>,
}

impl SandboxState {
    pub(crate) fn change(&self, path: RelativePath) {
        self.changed.lock().insert(path);
        self.notify.notify_waiters();
    }

    pub(crate) fn is_alive(&self) -> bool {
        !*self.is_ended.lock()
    }

    pub(crate) fn end_program(&self, fate: Fate) {
        self.program.lock().send_replace(fate);
    }

    fn end(&self) {
        *self.is_ended.lock() = true;
        self.end_program(Fate::Killed);
    }
}

impl Cloud {
    pub(crate) fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self { world: Arc::clone(world), boxes: Mutex::default(), supply: Mutex::default() })
    }

    pub(crate) fn supply(&self, supply: Supply) {
        note!(self.world, "sandboxes: {supply:?}");
        *self.supply.lock() = supply;
    }

    pub(crate) fn alive(&self) -> Vec<Arc<SandboxState>> {
        self.boxes.lock().values().filter(|sandbox| sandbox.is_alive()).cloned().collect()
    }

    /// A sandbox is gone from one moment to the next, with all that is in it.
    pub(crate) fn lose(&self, sandbox: &SandboxState) {
        note!(self.world, "{} is lost", sandbox.id);
        self.forgive(sandbox);
        sandbox.end();
    }

    /// What the agent in it wrote, and the store does not have, is lost with good reason.
    pub(crate) fn forgive(&self, sandbox: &SandboxState) {
        *sandbox.is_forgiven.lock() = true;
        self.world.known(&sandbox.session, |known| {
            known.transcript.iter_mut().filter(|written| written.sandbox == sandbox.id).for_each(|written| written.is_owed = false);
        });
    }

    /// The process of a host was killed: its sandboxes stay, and the programs in them have nobody to speak to.
    pub(crate) fn orphan(&self, host: &str) {
        for sandbox in self.boxes.lock().values().filter(|sandbox| *sandbox.owner.lock() == host) {
            if sandbox.is_alive() {
                sandbox.end_program(Fate::Orphaned);
            } else {
                // What its agent had written last was only in the memory of the host.
                self.forgive(sandbox);
            }
        }
    }

    /// Sandboxes that an earlier process on the machine has left.
    pub(crate) fn left(&self, machine: &str, host: &str) -> Vec<Arc<SandboxState>> {
        let left = |sandbox: &Arc<SandboxState>| sandbox.machine == machine && *sandbox.owner.lock() != host;
        self.alive().into_iter().filter(left).collect()
    }
}

/// The provider of one process of a host.
pub(crate) struct Machine {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) name: &'static str,
    pub(crate) host: String,
    pub(crate) pulse: Pulse,
}

impl Machine {
    /// Ends, after a while, what an earlier process has left and nobody wants.
    pub(crate) async fn clear(cloud: Arc<Cloud>, name: &'static str, host: String, pulse: Pulse) {
        tokio::time::sleep(ORPHAN_GRACE).await;
        pulse.pass().await;
        for sandbox in cloud.left(name, &host) {
            note!(cloud.world, "{host} gives up {}, which was left", sandbox.id);
            cloud.forgive(&sandbox);
            sandbox.end();
        }
    }

    /// The session's own sandbox, if it was left in the epoch before this one. If there was another epoch in between, it does not have the latest workspace.
    fn adopt(&self, spec: &Spec) -> Option<Box<dyn Sandbox>> {
        let mut adopted = None;
        for left in self.cloud.left(self.name, &self.host).into_iter().filter(|left| left.session == spec.session) {
            if left.epoch.next() != spec.epoch {
                note!(self.cloud.world, "{} ends {} of {}, which is of an old epoch", self.host, left.id, left.session);
                self.cloud.forgive(&left);
                left.end();
                continue;
            }
            note!(self.cloud.world, "{} adopts {} of {}", self.host, left.id, left.session);
            left.end_program(Fate::Killed);
            self.host.clone_into(&mut left.owner.lock());
            *left.is_forgiven.lock() = false;
            let known = spec.files.iter().map(|file| file.path.clone());
            left.changed.lock().extend(left.workspace.lock().keys().cloned().chain(known));
            adopted = Some(left);
        }
        adopted.map(|state| Box::new(self.connection(state)) as Box<dyn Sandbox>)
    }

    fn make(&self, spec: &Spec) -> Provided {
        let mut boxes = self.cloud.boxes.lock();
        let twin = |other: &&Arc<SandboxState>| {
            other.is_alive() && other.machine == self.name && other.session == spec.session && *other.owner.lock() == self.host
        };
        if let Some(twin) = boxes.values().find(twin) {
            let text = format!("{} makes a sandbox for {} and has {} for it already", self.host, spec.session, twin.id);
            self.cloud.world.violated(Promise::OneWriter, text);
        }
        let id = format!("box{}", boxes.len());
        let state = Arc::new(SandboxState {
            id: id.clone(),
            machine: self.name,
            session: spec.session.clone(),
            epoch: spec.epoch,
            owner: Mutex::new(self.host.clone()),
            home: Mutex::default(),
            workspace: Mutex::default(),
            changed: Mutex::default(),
            notify: Notify::new(),
            program: Mutex::new(watch::Sender::new(Fate::Lives)),
            is_ended: Mutex::new(false),
            is_forgiven: Mutex::new(false),
        });
        note!(self.cloud.world, "{} makes {id} for {} under {}", self.host, spec.session, spec.epoch);
        boxes.insert(id, Arc::clone(&state));
        drop(boxes);
        Provided::new(self.connection(state))
    }

    fn connection(&self, state: Arc<SandboxState>) -> Connection {
        let layout = Layout { home: "/home/agent".to_owned(), workspace: "/workspace".to_owned(), projects: "/projects".to_owned() };
        Connection { cloud: Arc::clone(&self.cloud), state, layout, pulse: self.pulse.clone() }
    }
}

#[async_trait]
impl Provider for Machine {
    fn name(&self) -> &'static str {
        "simulated"
    }

    async fn start(&self, spec: Spec, progress: &(dyn for<'a> Fn(&'a str) + Send + Sync)) -> Result<Provided, Error> {
        self.pulse.pass().await;
        progress("making it");
        self.cloud.world.waver().await;
        let supply = *self.cloud.supply.lock();
        match supply {
            Supply::Works => {}
            Supply::Fails => return Err(Error::Failed("ordered to fail".to_owned())),
            Supply::Hangs => std::future::pending().await,
        }
        self.pulse.pass().await;
        if let Some(sandbox) = self.adopt(&spec) {
            return Ok(Provided { sandbox, is_adopted: true });
        }
        if self.cloud.world.chance(30) {
            tokio::time::sleep(self.cloud.world.millis(5_000)).await;
            self.pulse.pass().await;
        }
        Ok(self.make(&spec))
    }

    async fn find(&self, spec: Spec) -> Result<Option<Box<dyn Sandbox>>, Error> {
        self.pulse.pass().await;
        self.cloud.world.waver().await;
        self.pulse.pass().await;
        Ok(self.adopt(&spec))
    }
}

/// A host's connection to a sandbox. Dropping it ends the sandbox, unless the host was killed.
struct Connection {
    cloud: Arc<Cloud>,
    state: Arc<SandboxState>,
    layout: Layout,
    pulse: Pulse,
}

impl Connection {
    async fn reach(&self) -> Result<(), Error> {
        self.pulse.pass().await;
        self.cloud.world.waver().await;
        self.pulse.pass().await;
        if self.state.is_alive() { Ok(()) } else { Err(Error::Gone("it was lost".to_owned())) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.pulse.is_killed() {
            return;
        }
        if self.state.is_alive() {
            // Given up in the middle of something. A run that is stopped while it takes a left sandbox over loses what only that had: a gap that is known.
            self.cloud.forgive(&self.state);
        }
        self.state.end();
    }
}

#[async_trait]
impl Sandbox for Connection {
    fn id(&self) -> &str {
        &self.state.id
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    async fn write(&self, files: Vec<File>) -> Result<(), Error> {
        self.reach().await?;
        for file in files {
            match file.root {
                Root::Home => drop(self.state.home.lock().insert(file.path.to_string(), file.content.to_vec())),
                Root::Workspace => drop(self.state.workspace.lock().insert(file.path, file.content)),
            }
        }
        Ok(())
    }

    async fn spawn(&self, _command: Command) -> Result<Process, Error> {
        self.reach().await?;
        let (stdin, program_stdin) = duplex(1024);
        let (program_stdout, stdout) = duplex(4 * 1024);
        let (_, stderr) = duplex(1);
        let fate = watch::Sender::new(Fate::Lives);
        let (exit_sender, exit) = watch::channel(None);
        let program = program::run(Arc::clone(&self.cloud), Arc::clone(&self.state), program_stdin, program_stdout, fate.subscribe());
        *self.state.program.lock() = fate;
        let state = Arc::clone(&self.state);
        tokio::spawn(async move {
            exit_sender.send_replace(Some(program.await));
        });
        Ok(Process {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            control: Box::new(Handle { exit, state, pulse: self.pulse.clone() }),
        })
    }

    async fn changes(&self) -> Result<Vec<RelativePath>, Error> {
        loop {
            let notified = self.state.notify.notified();
            if !self.state.changed.lock().is_empty() {
                return self.flush_changes().await;
            }
            notified.await;
        }
    }

    async fn flush_changes(&self) -> Result<Vec<RelativePath>, Error> {
        // Taken at the end, so that none is lost when this is dropped.
        self.reach().await?;
        Ok(std::mem::take(&mut *self.state.changed.lock()).into_iter().collect())
    }

    async fn read(&self, path: &RelativePath, limit: u64) -> Result<Content, Error> {
        self.reach().await?;
        Ok(match self.state.workspace.lock().get(path) {
            None => Content::Absent,
            Some(content) if content.len() as u64 > limit => Content::TooLarge { size: content.len() as u64 },
            Some(content) => Content::Bytes(content.clone()),
        })
    }

    async fn read_home(&self, directory: &RelativePath, _limit: u64) -> Result<Vec<(RelativePath, Bytes)>, Error> {
        self.reach().await?;
        let home = self.state.home.lock();
        let prefix = format!("{directory}/");
        let below = home.iter().filter(|(path, _)| path.starts_with(&prefix));
        Ok(below.filter_map(|(path, content)| Some((RelativePath::new(path.as_str()).ok()?, Bytes::from(content.clone())))).collect())
    }

    async fn terminate(&self) -> Result<(), Error> {
        self.pulse.pass().await;
        self.cloud.world.waver().await;
        self.pulse.pass().await;
        self.state.end();
        Ok(())
    }
}

struct Handle {
    exit: watch::Receiver<Option<Exit>>,
    state: Arc<SandboxState>,
    pulse: Pulse,
}

#[async_trait]
impl Control for Handle {
    async fn wait(&mut self) -> Result<Exit, Error> {
        self.pulse.pass().await;
        let exit = self.exit.wait_for(Option::is_some).await.map_err(|_| Error::Gone("the program's task ended".to_owned()))?;
        exit.ok_or_else(|| Error::Gone("no exit".to_owned()))
    }

    fn kill(&mut self) {
        if !self.pulse.is_killed() {
            self.state.end_program(Fate::Killed);
        }
    }
}
