//! One process of a host: the real session code over ports that can be stopped and cut.

use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::SessionId;
use agent_host_session::manager::{InterruptedTurn, Leases, Manager, Ports, Settings};
use agent_host_session::ports::agenda::{Agenda, Forgetful};
use agent_host_session::ports::archive::NoArchive;
use agent_host_session::ports::environment::Environment;
use agent_host_session::ports::store::Owner;
use agent_host_session::time::Timestamp;
use agent_host_session::{log, run};
use fake_ports::agent::FakeArchitecture;
use tokio::sync::watch;
use uuid::Uuid;

use crate::hooks::Spool;
use crate::life::{Life, Pulse};
use crate::sandbox::{Cloud, Machine};
use crate::store::{Connection, SharedStore};
use crate::world::{World, note};

/// The clock of the schedule, and names out of its seed.
struct Surroundings(Arc<World>);

impl Environment for Surroundings {
    fn now(&self) -> Timestamp {
        const START: i64 = 1_795_330_000_000;
        Timestamp::from_millis(START + i64::try_from(self.0.elapsed().as_millis()).unwrap_or(0))
    }

    fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.0.bits().to_be_bytes()).into_uuid()
    }
}

/// What a machine remembers of what goes on in it. A process that was killed writes nothing into it any more.
struct Remembered {
    agenda: Arc<Forgetful>,
    pulse: Pulse,
}

impl Agenda for Remembered {
    fn begin(&self, session: &SessionId) {
        if !self.pulse.is_killed() {
            self.agenda.begin(session);
        }
    }

    fn end(&self, session: &SessionId) {
        if !self.pulse.is_killed() {
            self.agenda.end(session);
        }
    }

    fn open(&self) -> Vec<SessionId> {
        self.agenda.open()
    }
}

/// How sessions behave in a schedule. Bounds are small, so that they are reached.
pub(crate) fn settings(world: &World, has_leases: bool) -> Settings {
    let leases = has_leases.then(|| Leases {
        // That of the machine, see `Site::boot`.
        owner: Owner { id: String::new(), address: String::new() },
        ttl: Duration::from_secs(5) + world.millis(55_000),
    });
    Settings {
        leases,
        idle_timeout: Duration::from_secs(60) + world.millis(15 * 60_000),
        sync_interval: Duration::from_secs(2) + world.millis(30_000),
        interrupted_turn: if world.chance(50) { InterruptedTurn::Report } else { InterruptedTurn::Resume },
        queue: 2 + world.below(8),
        log: log::Limits { events: 8 + world.below(120), bytes: 8 * 1024 * (1 + world.below(8)) },
        run: run::Limits { start_timeout: Duration::from_secs(30), ..run::Limits::default() },
        ..Settings::default()
    }
}

/// A machine that runs one process of a host after the other.
pub(crate) struct Site {
    pub(crate) name: &'static str,
    agenda: Arc<Forgetful>,
    processes: u32,
}

impl Site {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, agenda: Arc::default(), processes: 0 }
    }

    /// Starts the machine's next process.
    pub(crate) fn boot(&mut self, store: &Arc<SharedStore>, cloud: &Arc<Cloud>, settings: &Settings, wants_events: bool) -> Arc<Host> {
        self.processes += 1;
        let name = format!("{}{}", self.name, self.processes);
        let world = &cloud.world;
        note!(world, "{name} starts");
        let life = watch::Sender::new(Life::Running);
        let pulse = Pulse::of(&life);
        let ports = Ports {
            store: Arc::new(Connection { shared: Arc::clone(store), host: name.clone(), pulse: pulse.clone() }),
            provider: Arc::new(Machine { cloud: Arc::clone(cloud), name: self.name, host: name.clone(), pulse: pulse.clone() }),
            architectures: vec![Arc::new(FakeArchitecture)],
            environment: Arc::new(Surroundings(Arc::clone(world))),
            hooks: Arc::new(Spool { world: Arc::clone(world), pulse: pulse.clone(), wants_events }),
            agenda: Arc::new(Remembered { agenda: Arc::clone(&self.agenda), pulse: pulse.clone() }),
            archive: Arc::new(NoArchive),
        };
        let mut settings = settings.clone();
        if let Some(leases) = &mut settings.leases {
            leases.owner = Owner { id: self.name.to_owned(), address: format!("http://{}", self.name) };
        }
        let manager = Manager::new(ports, settings);
        manager.keep_leases();
        for left in cloud.left(self.name, &name) {
            // A process took the epoch and did not come to take the sandbox. Or the agent was so new that the store does not know how it calls the session.
            let is_lost =
                store.memory.epoch(&left.session) != Some(left.epoch) || !store.observed(&left.session, |it| it.has_agent_session);
            if is_lost {
                cloud.forgive(&left);
            }
        }
        tokio::spawn(Machine::clear(Arc::clone(cloud), self.name, name.clone(), pulse.clone()));
        manager.take_up();
        Arc::new(Host { name, manager, life, pulse, cloud: Arc::clone(cloud) })
    }
}

/// The connection to a host is cut, or the host ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut;

/// One process of a host.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) manager: Arc<Manager>,
    life: watch::Sender<Life>,
    pub(crate) pulse: Pulse,
    cloud: Arc<Cloud>,
}

impl Host {
    /// Its machine, by its place among all.
    pub(crate) fn site(&self) -> usize {
        usize::from(self.name.starts_with('b'))
    }

    /// `SIGKILL`.
    pub(crate) fn kill(&self) {
        note!(self.cloud.world, "{} is killed", self.name);
        self.life.send_replace(Life::Killed);
        self.cloud.orphan(&self.name);
    }

    /// The process has ended by itself.
    pub(crate) fn ended(&self) {
        note!(self.cloud.world, "{} has ended", self.name);
        self.life.send_replace(Life::Killed);
    }

    /// `SIGSTOP`.
    pub(crate) fn stop(&self) {
        note!(self.cloud.world, "{} is stopped", self.name);
        self.life.send_replace(Life::Stopped);
    }

    /// `SIGCONT`.
    pub(crate) fn go_on(&self) {
        note!(self.cloud.world, "{} goes on", self.name);
        self.life.send_replace(Life::Running);
    }

    /// What a client gets that asks this host for something.
    pub(crate) async fn ask<T>(&self, asking: impl Future<Output = T>) -> Result<T, Cut> {
        let answered = async {
            self.pulse.pass().await;
            let answer = asking.await;
            self.pulse.pass().await;
            answer
        };
        tokio::select! {
            biased;
            () = self.pulse.killed() => Err(Cut),
            answer = answered => Ok(answer),
        }
    }
}
