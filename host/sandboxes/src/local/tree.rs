//! All processes that came from one, and signals to them.
//!
//! With bubblewrap that is simple: they are in a process namespace whose first process takes all others along, however they were started.
//!
//! Without it, a process is known to belong to a sandbox by its process group, its session, its parent, or (on Linux) a `HOME` or `TMPDIR` in its
//! environment that is the sandbox's. So daemons are found as well. One that has left its group, lost its parent, *and* was started with another
//! environment is not found: only isolation ends that one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process_group};

/// How often the processes are looked for and killed: one that forks between the look and the signal leaves a child for the next round.
const KILL_ROUNDS: usize = 20;

/// The processes that came from one, the leader, which is a child of the host and the leader of its process group.
#[derive(Debug)]
pub(super) struct Tree {
    leader: Pid,
    kind: Kind,
    /// The leader has been reaped: its id may be another's.
    ended: AtomicBool,
}

/// What holds the processes together.
#[derive(Debug)]
pub(super) enum Kind {
    /// The leader is bubblewrap, its child the first process of a namespace.
    Namespace,
    /// The process group, and what can be found of the sandbox in this directory.
    Group(PathBuf),
}

impl Tree {
    pub(super) fn new(leader: Pid, kind: Kind) -> Self {
        Self { leader, kind, ended: AtomicBool::new(false) }
    }

    /// To be called as soon as the leader has been reaped.
    pub(super) fn leader_ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Asks all of them to end.
    pub(super) fn terminate(&self) {
        match &self.kind {
            // Not bubblewrap itself, which would not pass it on. The namespace's first process ignores what it does not handle.
            Kind::Namespace => {
                proc::signal(&proc::descendants(self.leader), Signal::TERM);
            }
            Kind::Group(directory) => {
                self.signal_group(Signal::TERM);
                proc::signal(&self.strays(directory), Signal::TERM);
            }
        }
    }

    /// Kills all of them. That they are gone shows when the leader is reaped, if there is a namespace; otherwise when this returns.
    pub(super) fn kill(&self) {
        match &self.kind {
            Kind::Namespace => {
                if self.ended.load(Ordering::Acquire) {
                    return;
                }
                // The kernel reaps all processes of the namespace before its first one is gone, and bubblewrap waits for that one.
                // Killing bubblewrap would let the host see the end too early.
                if proc::signal(&proc::children(self.leader), Signal::KILL) == 0 {
                    self.signal_group(Signal::KILL);
                }
            }
            Kind::Group(directory) => {
                self.signal_group(Signal::KILL);
                for _ in 0..KILL_ROUNDS {
                    if proc::signal(&self.strays(directory), Signal::KILL) == 0 {
                        break;
                    }
                }
            }
        }
    }

    fn strays(&self, directory: &Path) -> Vec<proc::Process> {
        let leader = (!self.ended.load(Ordering::Acquire)).then_some(self.leader);
        proc::members(leader, directory)
    }

    fn signal_group(&self, signal: Signal) {
        if !self.ended.load(Ordering::Acquire) {
            // An error means that there is nobody left.
            let _ = kill_process_group(self.leader, signal);
        }
    }
}

/// Kills what runs with a `HOME` or `TMPDIR` below `directory`.
pub(super) fn kill_marked(directory: &Path) {
    for _ in 0..KILL_ROUNDS {
        if proc::signal(&proc::members(None, directory), Signal::KILL) == 0 {
            break;
        }
    }
}

/// The table of processes.
#[cfg(target_os = "linux")]
mod proc {
    use std::collections::HashSet;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

    /// A process, with enough to tell it from another that gets its id later.
    #[derive(Clone, Debug)]
    pub(super) struct Process {
        id: i32,
        parent: i32,
        group: i32,
        session: i32,
        started: u64,
        is_zombie: bool,
    }

    impl Process {
        /// `None` if it is gone.
        fn look_up(id: i32) -> Option<Self> {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            // `id (name) state parent group session … started …`; the name may hold anything, parentheses too.
            let (_, rest) = stat.rsplit_once(')')?;
            let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
            let number = |index: usize| fields.get(index)?.parse().ok();
            Some(Self {
                id,
                is_zombie: matches!(*fields.first()?, "Z" | "X"),
                parent: number(1)?,
                group: number(2)?,
                session: number(3)?,
                started: fields.get(19)?.parse().ok()?,
            })
        }

        /// Whether it was started with a `HOME` or `TMPDIR` below `directory`. Other users' processes cannot be asked, and are not the sandbox's.
        fn is_marked(&self, directory: &Path) -> bool {
            let Ok(environment) = fs::read(format!("/proc/{}/environ", self.id)) else { return false };
            environment.split(|&byte| byte == 0).any(|variable| {
                let value = variable.strip_prefix(b"HOME=").or_else(|| variable.strip_prefix(b"TMPDIR="));
                value.is_some_and(|value| Path::new(std::ffi::OsStr::from_bytes(value)).starts_with(directory))
            })
        }

        /// Whether it got the signal.
        fn signal(&self, signal: Signal) -> bool {
            let Some(descriptor) = Pid::from_raw(self.id).and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok()) else { return false };
            // What the descriptor stands for is fixed now: the process that was found, if it started at the same time.
            let is_same = Self::look_up(self.id).is_some_and(|now| now.started == self.started && !now.is_zombie);
            is_same && pidfd_send_signal(descriptor, signal).is_ok()
        }
    }

    fn all() -> Vec<Process> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries.flatten().filter_map(|entry| Process::look_up(entry.file_name().to_str()?.parse().ok()?)).collect()
    }

    /// Sends a signal to those that still live, and says to how many.
    pub(super) fn signal(processes: &[Process], signal: Signal) -> usize {
        processes.iter().filter(|process| process.signal(signal)).count()
    }

    /// The children of a process.
    pub(super) fn children(parent: Pid) -> Vec<Process> {
        let parent = parent.as_raw_nonzero().get();
        all().into_iter().filter(|process| process.parent == parent).collect()
    }

    /// The children of a process, their children, and so on.
    pub(super) fn descendants(ancestor: Pid) -> Vec<Process> {
        with_descendants(all(), HashSet::from([ancestor.as_raw_nonzero().get()]), |_| false)
    }

    /// What belongs to a sandbox: the group and session of the leader, what is marked with the directory, and the descendants of all.
    pub(super) fn members(leader: Option<Pid>, directory: &Path) -> Vec<Process> {
        let leader = leader.map(|leader| leader.as_raw_nonzero().get());
        let belongs = |process: &Process| Some(process.group) == leader || Some(process.session) == leader || process.is_marked(directory);
        with_descendants(all(), leader.into_iter().collect(), belongs)
    }

    fn with_descendants(mut all: Vec<Process>, mut ids: HashSet<i32>, belongs: impl Fn(&Process) -> bool) -> Vec<Process> {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        all.retain(|process| process.id != own && !process.is_zombie);
        let (mut found, mut others): (Vec<_>, Vec<_>) = all.into_iter().partition(belongs);
        ids.extend(found.iter().map(|process| process.id));
        loop {
            let (children, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(|process| ids.contains(&process.parent));
            if children.is_empty() {
                return found;
            }
            ids.extend(children.iter().map(|process| process.id));
            found.extend(children);
            others = rest;
        }
    }
}

/// Elsewhere there is no such table, and the process group is all that is known.
#[cfg(not(target_os = "linux"))]
mod proc {
    use std::path::Path;

    use rustix::process::{Pid, Signal};

    pub(super) struct Process;

    pub(super) fn signal(_: &[Process], _: Signal) -> usize {
        0
    }

    pub(super) fn children(_: Pid) -> Vec<Process> {
        Vec::new()
    }

    pub(super) fn descendants(_: Pid) -> Vec<Process> {
        Vec::new()
    }

    pub(super) fn members(_: Option<Pid>, _: &Path) -> Vec<Process> {
        Vec::new()
    }
}
