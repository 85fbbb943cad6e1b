//! What is done to the host, again and again, while clients use it.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_host_tests::{Host, Setup};
use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::Api;
use crate::check::{self, Facts, Rules};
use crate::follower::Followers;
use crate::ledger::Ledger;
use crate::random::{self, Random, percent};
use crate::report::{Counts, Findings};
use crate::witness::Witness;
use crate::worker::{self, Workplace};
use crate::{processes, settle, store, words};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// SIGKILL; turns that were cut off are reported.
    Kill,
    /// SIGKILL; turns that were cut off begin again.
    KillAndResume,
    /// SIGKILL; agents are isolated, and end with the host.
    KillIsolated,
    /// SIGTERM.
    Terminate,
    /// SIGSTOP, and SIGCONT after a while.
    Stop,
    /// SIGSTOP; another host on the same store takes over, and the first one wakes up. Without leases, which hosts on one store need: epochs alone let one of them read what the other
    /// is about to write.
    TakeOver,
    /// The same with leases, which the other host waits for.
    TakeOverByLease,
}

impl Mode {
    fn takes_over(self) -> bool {
        matches!(self, Self::TakeOver | Self::TakeOverByLease)
    }
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Decides what is drawn.
    pub seed: u64,
    /// How often it is done.
    pub rounds: usize,
    /// Clients at once.
    pub workers: usize,
    /// Messages of a session, until its client turns to the next one.
    pub messages: usize,
    /// How long the host works at most before it is done again.
    pub work: Duration,
    /// How long a host is stopped at most.
    pub stop: Duration,
}

/// What must not be, besides what [`check`] finds.
const BROKEN: &str = "hosts that ended by themselves or not well";
const ORPHANS: &str = "processes left over";
const DIRECTORIES: &str = "sandbox directories left over";
pub(crate) const DIFFERENT: &str = "clients that know something else than a reload shows";
pub(crate) const RESTLESS: &str = "sessions that did not come to rest";
const PANICS: &str = "panics in the host's log";
const REFUSED: &str = "refused requests";

/// What must not be, in the order of the report.
const WRONG: [&str; 7] = [DIFFERENT, RESTLESS, REFUSED, BROKEN, PANICS, ORPHANS, DIRECTORIES];

/// Does it, and gives what was counted and what is wrong.
///
/// # Errors
/// If the run itself fails.
pub async fn run(mode: Mode, size: Size) -> anyhow::Result<(Counts, Findings)> {
    let mut run = Run::start(mode, size).await?;
    for round in 0..size.rounds {
        run.round().await?;
        if round % 20 == 19 {
            eprintln!("{mode:?}: {} of {} rounds, {} pieces of evidence", round + 1, size.rounds, *run.witness.count().borrow());
        }
    }
    run.end().await
}

/// A run that goes on.
pub(crate) struct Run {
    mode: Mode,
    size: Size,
    /// The mark of its processes.
    mark: String,
    pub(crate) hosts: Vec<Host>,
    /// The host that clients use.
    pub(crate) serving: usize,
    address: watch::Sender<Option<String>>,
    witness: Witness,
    random: Random,
    pub(crate) place: Workplace,
    workers: JoinSet<()>,
    counts: Counts,
}

impl Run {
    async fn start(mode: Mode, size: Size) -> anyhow::Result<Self> {
        let witness = Witness::start().await?;
        let mark = uuid::Uuid::new_v4().to_string();
        let mut hosts = vec![setup(mode, &witness, &mark)?.start().await];
        if mode.takes_over() {
            let database = format!("sqlite:{}", hosts[0].data_directory().join("agent-host.db").display());
            hosts.push(setup(mode, &witness, &mark)?.set("persistence.grants.databases.main", database).start().await);
        }
        let address = watch::Sender::new(Some(hosts[0].base_url().to_owned()));
        let findings = Findings::default();
        let place = Workplace {
            api: Api::new(address.subscribe()),
            ledger: Ledger::default(),
            followers: Followers::new(address.subscribe(), findings.clone(), mode.takes_over()),
            findings,
            is_over: Arc::new(AtomicBool::new(false)),
            messages: size.messages,
        };
        let mut workers = JoinSet::new();
        for number in 0..size.workers {
            workers.spawn(worker::work(place.clone(), number, size.seed));
        }
        let random = random::of(size.seed, u64::MAX);
        Ok(Self { mode, size, mark, hosts, serving: 0, address, witness, random, place, workers, counts: Counts::default() })
    }

    /// Does it once. Afterwards a host serves again.
    async fn round(&mut self) -> anyhow::Result<()> {
        self.work().await;
        match self.mode {
            Mode::Kill | Mode::KillAndResume | Mode::KillIsolated => self.kill().await,
            Mode::Terminate => {
                self.terminate().await;
                Ok(())
            }
            Mode::Stop => {
                self.signal(Signal::STOP)?;
                let stop = random::time(&mut self.random, self.size.stop);
                tokio::time::sleep(stop).await;
                self.counts.add("times stopped and woken", 1);
                self.signal(Signal::CONT)
            }
            Mode::TakeOver | Mode::TakeOverByLease => {
                self.signal(Signal::STOP)?;
                let first = self.serving;
                self.serving = 1 - first;
                self.address.send_replace(Some(self.hosts[self.serving].base_url().to_owned()));
                self.counts.add("times that another host took over", 1);
                self.work().await;
                signal(&self.hosts[first], Signal::CONT)
            }
        }
    }

    /// Lets the host work for a while, which ends at any moment or just when an agent has done something.
    async fn work(&mut self) {
        let work = random::time(&mut self.random, self.size.work);
        if percent(&mut self.random, 40) {
            let mut count = self.witness.count();
            let wanted = *count.borrow() + self.random.usize(1..12);
            // That nothing happens any more is a moment like any other.
            drop(tokio::time::timeout(work, count.wait_for(|count| *count >= wanted)).await);
            tokio::time::sleep(Duration::from_micros(self.random.u64(0..4000))).await;
        } else {
            tokio::time::sleep(work).await;
        }
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        let status = self.hosts[0].kill().await;
        self.address.send_replace(None);
        if std::os::unix::process::ExitStatusExt::signal(&status) != Some(Signal::KILL.as_raw()) {
            self.place.findings.add(BROKEN, format!("it had ended before it was killed: {status}"));
        }
        self.counts.add("kills", 1);
        while percent(&mut self.random, 25) {
            self.kill_at_start().await?;
        }
        self.serve().await;
        Ok(())
    }

    /// Starts the host and kills it before or soon after it serves.
    async fn kill_at_start(&mut self) -> anyhow::Result<()> {
        let host = &self.hosts[0];
        let mut command: Command = host.command();
        command.arg("--config").arg(host.write_config()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::options().create(true).append(true).open(host.beside("host.log"))?);
        let mut process = tokio::process::Command::from(command).kill_on_drop(true).spawn().context("failed to start the host")?;
        tokio::time::sleep(Duration::from_millis(self.random.u64(0..900))).await;
        if let Some(status) = process.try_wait()? {
            self.place.findings.add(BROKEN, format!("it ended while it started: {status}"));
        }
        process.kill().await?;
        self.counts.add("kills", 1);
        Ok(())
    }

    async fn serve(&mut self) {
        self.hosts[self.serving].start_again().await;
        self.address.send_replace(Some(self.hosts[self.serving].base_url().to_owned()));
    }

    async fn terminate(&mut self) {
        let status = self.hosts[0].stop().await;
        self.address.send_replace(None);
        if !status.success() {
            self.place.findings.add(BROKEN, format!("it was told to end, and did with {status}"));
        }
        self.counts.add("times told to end", 1);
        self.nothing_is_left("after SIGTERM");
        self.serve().await;
    }

    fn signal(&self, which: Signal) -> anyhow::Result<()> {
        signal(&self.hosts[self.serving], which)
    }

    /// No host runs: nor does anything else, and no sandbox is there.
    fn nothing_is_left(&self, when: &str) {
        for (id, command) in processes::marked(&self.mark) {
            self.place.findings.add(ORPHANS, format!("{when}: {id} {command}"));
        }
        for host in &self.hosts {
            for sandbox in processes::sandboxes(&host.data_directory()) {
                self.place.findings.add(DIRECTORIES, format!("{when}: {sandbox}"));
            }
        }
    }

    async fn end(mut self) -> anyhow::Result<(Counts, Findings)> {
        self.place.is_over.store(true, Ordering::Relaxed);
        self.workers.join_all().await.into_iter().for_each(drop);
        self.workers = JoinSet::new();
        let shown = settle::settle(&self).await?;
        let mut counts = std::mem::take(&mut self.counts);
        for (what, count) in self.place.followers.counts().iter() {
            counts.add(what, usize::try_from(count)?);
        }
        self.place.followers.leave();
        for host in &mut self.hosts {
            let status = host.stop().await;
            if !status.success() {
                self.place.findings.add(BROKEN, format!("at the end it ended with {status}"));
            }
        }
        self.nothing_is_left("at the end");
        for host in &self.hosts {
            let log = std::fs::read(host.beside("host.log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            log.lines().filter(|line| line.contains("panicked at")).for_each(|line| self.place.findings.add(PANICS, line));
        }
        let facts = Facts {
            told: self.place.ledger.sessions(),
            evidence: self.witness.evidence(),
            stored: store::read(&self.hosts[0].data_directory().join("agent-host.db"))?,
            shown,
            rules: Rules {
                cuts_turns: !matches!(self.mode, Mode::Terminate | Mode::Stop),
                resumes: self.mode == Mode::KillAndResume,
                takes_over: self.mode.takes_over(),
            },
        };
        let findings = self.place.findings.clone();
        check::check(&facts, &findings, &mut counts);
        for kind in check::WRONG.into_iter().chain(WRONG) {
            counts.add(kind, findings.count(kind));
        }
        if !findings.is_empty()
            && let Some(directory) = std::env::var_os("CRASH_KEEP")
        {
            keep(&facts, &self.hosts, directory.as_ref())?;
        }
        Ok((counts, findings))
    }
}

/// Keeps what tells why something is wrong.
fn keep(facts: &Facts, hosts: &[Host], directory: &std::path::Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)?;
    for (number, host) in hosts.iter().enumerate() {
        std::fs::copy(host.beside("host.log"), directory.join(format!("host{number}.log")))?;
    }
    std::fs::copy(hosts[0].data_directory().join("agent-host.db"), directory.join("agent-host.db"))?;
    let evidence: Vec<String> = facts.evidence.iter().map(|(process, evidence)| format!("{process} {evidence:?}\n")).collect();
    Ok(std::fs::write(directory.join("evidence.txt"), evidence.concat())?)
}

fn signal(host: &Host, signal: Signal) -> anyhow::Result<()> {
    let id = Pid::from_raw(i32::try_from(host.process_id())?).context("the host has no process id")?;
    kill_process(id, signal).context("failed to signal the host")
}

fn setup(mode: Mode, witness: &Witness, mark: &str) -> anyhow::Result<Setup> {
    let name = "witness-agent";
    let executable = std::env::current_exe().context("failed to find this program")?;
    // A test is in a directory below.
    let agent = executable.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|path| path.is_file());
    let agent = agent.with_context(|| format!("{name} is missing: cargo build -p agent-host-crash --bins"))?;
    // Where it says that it is, is asked by nobody here: the other host serves when this one is stopped.
    let setup = match mode {
        Mode::TakeOverByLease => Setup::new().set("leases.address", "http://host.example").set("leases.ttl", "1s"),
        _ => Setup::new(),
    };
    Ok(setup
        .with_agent(&agent)
        .with_variable(words::RUN, mark)
        .set(&format!("agents.claude-agent-sdk.env.{}", words::RUN), mark)
        .set(&format!("agents.claude-agent-sdk.env.{}", words::WITNESS), witness.address())
        .set("sandbox.local.isolation", if mode == Mode::KillIsolated { "required" } else { "none" })
        .set("session.interrupted_turn", if mode == Mode::KillAndResume { "resume" } else { "report" })
        // Short, so that sessions leave memory by themselves as well, and timers have run out whenever a host was stopped.
        .set("session.idle_timeout", "4s")
        .set("session.sync_interval", "2s")
        // Longer than any turn, so that none is broken off.
        .set("session.shutdown_grace", "30s")
        .set("limits.connections", 4000))
}
