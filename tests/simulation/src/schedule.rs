//! A random schedule: what clients do, and what goes wrong.

use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::{MessageId, SessionId};
use agent_host_session::manager::Settings;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::host::{Host, Site, settings};
use crate::hosts::Hosts;
use crate::request::Requests;
use crate::sandbox::{Cloud, Fate, Supply};
use crate::store::{SharedStore, Weather};
use crate::world::{World, note};

/// Everything there is in one schedule.
pub(crate) struct Schedule {
    pub(crate) world: Arc<World>,
    pub(crate) store: Arc<SharedStore>,
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) requests: Requests,
    pub(crate) clients: Vec<Arc<Client>>,
    /// What clients have asked for and have no answer to yet.
    pub(crate) asked: JoinSet<()>,
    followers: JoinSet<()>,
    settings: Settings,
    wants_events: bool,
    /// The machine that serves, and the one that takes over.
    sites: [Site; 2],
    pub(crate) main: Option<Arc<Host>>,
    /// A process that was stopped, and whose place another one has.
    pub(crate) stopped: Option<Arc<Host>>,
    messages: u32,
    /// Whether the other machine ever served.
    pub(crate) has_failed_over: bool,
}

impl Schedule {
    pub(crate) async fn begin(world: &Arc<World>) -> Self {
        let (store, cloud, hosts) = (SharedStore::new(world), Cloud::new(world), Hosts::new(world));
        let requests = Requests { world: Arc::clone(world), hosts: Arc::clone(&hosts), store: Arc::clone(&store) };
        let mut schedule = Self {
            settings: settings(world, store.has_leases),
            wants_events: world.chance(30),
            world: Arc::clone(world),
            store,
            cloud,
            hosts,
            requests,
            clients: Vec::new(),
            asked: JoinSet::new(),
            followers: JoinSet::new(),
            sites: [Site::new("a"), Site::new("b")],
            main: None,
            stopped: None,
            messages: 0,
            has_failed_over: false,
        };
        schedule.boot(0);
        for number in 0..1 + world.below(2) {
            let session = SessionId::new(format!("s{number}")).unwrap();
            world.known(&session, |_| ());
            schedule.requests.create(&session).await;
        }
        for number in 0..1 + world.below(4) {
            schedule.follow(number);
        }
        schedule
    }

    /// The machine's next process serves from now on.
    pub(crate) fn boot(&mut self, site: usize) {
        let Some(site) = self.sites.get_mut(site) else { return };
        let host = site.boot(&self.store, &self.cloud, &self.settings, self.wants_events);
        self.main = Some(host);
        self.lead();
    }

    /// Leads clients to the hosts that there are; now and then to one that was stopped.
    pub(crate) fn lead(&self) {
        let stopped = self.stopped.iter().filter(|_| self.world.chance(50));
        self.hosts.set(self.main.iter().chain(stopped).cloned().collect());
    }

    fn follow(&mut self, number: usize) {
        let Some(session) = self.session() else { return };
        let client = Client::new(&self.world, &self.hosts, number, session);
        self.clients.push(Arc::clone(&client));
        self.followers.spawn_local(client.follow());
    }

    fn session(&self) -> Option<SessionId> {
        self.world.pick(&self.world.present()).cloned()
    }

    /// Plays so many steps.
    pub(crate) async fn play(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step().await;
            if self.world.is_violated() {
                return;
            }
            match self.world.below(10) {
                0..=2 => {}
                3 => tokio::task::yield_now().await,
                4..=6 => tokio::time::sleep(self.world.millis(50)).await,
                7..=8 => tokio::time::sleep(self.world.millis(5_000)).await,
                _ => tokio::time::sleep(self.world.millis(120_000)).await,
            }
            while self.asked.try_join_next().is_some() {}
        }
    }

    async fn step(&mut self) {
        let Some(session) = self.session() else { return };
        let requests = self.requests.clone();
        match self.world.below(100) {
            0..=34 => self.say(session),
            35..=40 => drop(self.asked.spawn_local(requests.interrupt(session))),
            41..=43 => {
                self.messages += 1;
                drop(self.asked.spawn_local(requests.update_options(session, format!("model{}", self.messages))));
            }
            44..=46 => drop(self.asked.spawn_local(requests.sync(session))),
            47..=49 => drop(self.asked.spawn_local(requests.unload(session))),
            50..=51 => drop(self.asked.spawn_local(requests.look(session))),
            52 if self.world.chance(30) => drop(self.asked.spawn_local(requests.delete(session))),
            53..=60 => self.client_changes(),
            61..=70 => self.weather(),
            71..=74 => self.cloud.supply(*self.world.pick(&[Supply::Works, Supply::Works, Supply::Fails, Supply::Hangs]).unwrap()),
            75..=80 => self.sandbox_breaks(),
            81..=87 => self.kill().await,
            88..=90 => self.restart().await,
            91..=95 => self.fail_over(),
            _ => self.wake().await,
        }
    }

    fn say(&mut self, session: SessionId) {
        self.messages += 1;
        let number = self.messages;
        let what = match self.world.below(20) {
            0..=9 => format!("say {}", vec!["word"; 1 + self.world.below(6)].join(" ")),
            10..=12 => "hang".to_owned(),
            13 => "deaf".to_owned(),
            14..=15 => "die".to_owned(),
            16..=18 => format!("write file{} text{number}", self.world.below(3)),
            _ => format!("remove file{}", self.world.below(3)),
        };
        let id = MessageId::new(format!("m{number}")).unwrap();
        let patience = if self.world.chance(80) { 50 } else { 1 };
        self.asked.spawn_local(self.requests.clone().send(session, id, format!("m{number} {what}"), patience));
    }

    fn client_changes(&mut self) {
        match self.world.pick(&self.clients) {
            Some(client) if self.world.chance(60) => client.cut.notify_one(),
            Some(client) => *client.is_slow.lock() = *self.world.pick(&[0, 5, 90]).unwrap(),
            None => self.follow(0),
        }
    }

    fn weather(&self) {
        let fine = Weather::default();
        let weather = match self.world.below(8) {
            0..=2 => fine,
            3 => Weather { fails: 30, is_slow: 20, ..fine },
            4 => Weather { loses_answers: 30, is_slow: 10, ..fine },
            5 => Weather { is_slow: 60, hangs: 5, ..fine },
            6 => Weather { tears: 30, fails: 10, ..fine },
            _ => Weather { fails: 100, ..fine },
        };
        self.store.weather(weather);
    }

    fn sandbox_breaks(&self) {
        let alive = self.cloud.alive();
        let Some(sandbox) = self.world.pick(&alive) else { return };
        if self.world.chance(50) {
            self.cloud.lose(sandbox);
        } else {
            note!(self.world, "the agent in {} is killed", sandbox.id);
            sandbox.end_program(Fate::Killed);
        }
    }

    /// The host is killed, and starts again after a while.
    async fn kill(&mut self) {
        let mut site = 0;
        if let Some(host) = self.main.take() {
            host.kill();
            site = host.site();
        }
        self.lead();
        // For what it had under way.
        tokio::task::yield_now().await;
        self.world.waver().await;
        if self.world.chance(20) {
            tokio::time::sleep(self.world.millis(60_000)).await;
        }
        self.boot(site);
    }

    /// The host ends by itself, and starts again.
    async fn restart(&mut self) {
        let Some(host) = self.main.take() else { return };
        note!(self.world, "{} is told to end", host.name);
        self.shut_down(&host).await;
        self.boot(host.site());
    }

    pub(crate) async fn shut_down(&self, host: &Host) {
        let begun = self.world.elapsed();
        host.manager.shutdown().await;
        host.ended();
        self.lead();
        // What a store does not take in the time that there is for it is lost, which the host says.
        if !self.store.is_fine() || self.world.elapsed() - begun > Duration::from_secs(20) {
            self.forgive();
        }
    }

    /// Whatever agents wrote and the store does not have is lost with good reason.
    pub(crate) fn forgive(&self) {
        self.cloud.boxes.lock().values().for_each(|sandbox| self.cloud.forgive(sandbox));
    }

    /// The host is stopped, and another one takes its place.
    fn fail_over(&mut self) {
        if self.stopped.is_some() || !self.store.has_leases {
            return;
        }
        let Some(host) = self.main.take() else { return };
        host.stop();
        // Where another host has the session, nothing that this one does counts.
        self.forgive();
        let other = 1 - host.site();
        self.stopped = Some(host);
        self.has_failed_over = true;
        self.boot(other);
    }

    /// The host that was stopped goes on, and one of the two is ended after a while.
    pub(crate) async fn wake(&mut self) {
        let Some(host) = self.stopped.take() else { return };
        host.go_on();
        if self.world.chance(50) {
            tokio::time::sleep(self.world.millis(30_000)).await;
        }
        self.shut_down(&host).await;
        self.forgive();
    }

    /// Ends whatever makes trouble.
    pub(crate) fn clear_up(&self) {
        self.store.weather(Weather::default());
        self.cloud.supply(Supply::Works);
        self.clients.iter().for_each(|client| *client.is_slow.lock() = 0);
    }

    /// How long a host may take to end.
    pub(crate) fn longest_end() -> Duration {
        Duration::from_secs(10 * 60)
    }
}
