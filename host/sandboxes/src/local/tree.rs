//! All processes that came from one, and signals to them.
//!
//! With bubblewrap that is simple: they are in a process namespace whose first process takes all others along, however they were started.
//!
//! Without it, a process is known to belong to a sandbox by its process group, its session, its parent, or (on Linux) a `HOME` or `TMPDIR` in its
//! environment that is the sandbox's. So daemons are found as well. One that has left its group, lost its parent, *and* was started with another
//! environment is not found: only isolation ends that one. And since the environment tells only the sandbox, a daemon that an ended process left
//! is ended with the last process of the sandbox.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};

/// How often the processes are looked for and killed: one that forks between the look and the signal leaves a child for the next round.
const KILL_ROUNDS: usize = 20;

/// How long a killed namespace may take to be gone. Only a process that hangs in a device takes longer than some milliseconds.
const GONE_DEADLINE: Duration = Duration::from_secs(5);

/// The trees of one sandbox without isolation, which are told apart only as far as the module says.
#[derive(Debug)]
pub(super) struct Family {
    /// The sandbox's.
    directory: PathBuf,
    trees: Mutex<usize>,
}

impl Family {
    /// Of the sandbox in `directory`.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, trees: Mutex::new(0) }
    }

    /// To be called before a process is started, and kept until it was reaped and its strays were killed.
    pub(super) fn join(family: &Arc<Self>) -> Membership {
        *family.trees.lock() += 1;
        Membership(Arc::clone(family))
    }
}

/// That a family has one tree more, until it is dropped.
#[must_use]
#[derive(Debug)]
pub(super) struct Membership(Arc<Family>);

impl Drop for Membership {
    fn drop(&mut self) {
        *self.0.trees.lock() -= 1;
    }
}

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
enum Kind {
    /// The leader is bubblewrap, and this the first process of a namespace, if it came that far.
    Namespace(Option<proc::Handle>),
    /// The process group, and whatever else can be found.
    Group(Arc<Family>),
}

impl Tree {
    /// Of bubblewrap and the namespace whose first process is `first`.
    pub(super) fn namespace(leader: Pid, first: Option<Pid>) -> Self {
        Self { leader, kind: Kind::Namespace(first.and_then(proc::Handle::open)), ended: AtomicBool::new(false) }
    }

    /// Of a process without isolation.
    pub(super) fn group(leader: Pid, family: Arc<Family>) -> Self {
        Self { leader, kind: Kind::Group(family), ended: AtomicBool::new(false) }
    }

    /// To be called as soon as the leader has been reaped.
    pub(super) fn leader_ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Asks all of them to end.
    pub(super) fn terminate(&self) {
        match &self.kind {
            // Not bubblewrap itself, which would not pass it on. The namespace's first process ignores what it does not handle.
            Kind::Namespace(Some(_)) => {
                if !self.ended.load(Ordering::Acquire) {
                    proc::signal(&proc::descendants(self.leader), Signal::TERM);
                }
            }
            Kind::Namespace(None) => self.signal_group(Signal::TERM),
            Kind::Group(family) => {
                self.signal_group(Signal::TERM);
                self.signal_found(family, Signal::TERM, 1);
            }
        }
    }

    /// Kills all of them.
    pub(super) fn kill(&self) {
        match &self.kind {
            // Not bubblewrap itself, which tells how its command ended and ends with it.
            Kind::Namespace(Some(first)) => first.signal(Signal::KILL),
            Kind::Namespace(None) => self.signal_group(Signal::KILL),
            Kind::Group(family) => {
                self.signal_group(Signal::KILL);
                self.signal_found(family, Signal::KILL, KILL_ROUNDS);
            }
        }
    }

    /// Kills all of them and waits until they are gone. Blocks.
    pub(super) fn end(&self) {
        self.kill();
        if let Kind::Namespace(Some(first)) = &self.kind {
            // bubblewrap may end before the rest of its namespace does.
            first.wait(GONE_DEADLINE);
        }
    }

    /// Signals what is found of the tree in the table of processes, until nothing is.
    fn signal_found(&self, family: &Family, signal: Signal, rounds: usize) {
        // No process is started meanwhile that would be taken for a stray.
        let trees = family.trees.lock();
        let mark = (*trees <= 1).then_some(family.directory.as_path());
        for _ in 0..rounds {
            let leader = (!self.ended.load(Ordering::Acquire)).then_some(self.leader);
            if proc::signal(&proc::members(leader, mark), signal) == 0 {
                break;
            }
        }
    }

    fn signal_group(&self, signal: Signal) {
        if !self.ended.load(Ordering::Acquire) {
            // An error means that there is nobody left.
            let _ = kill_process_group(self.leader, signal);
        }
    }
}

/// Kills what runs with a `HOME` or `TMPDIR` below `directory`, and what shows the directory to a program.
pub(super) fn kill_marked(directory: &Path) {
    for _ in 0..KILL_ROUNDS {
        if proc::signal(&proc::members(None, Some(directory)), Signal::KILL) == 0 {
            break;
        }
    }
}

/// The table of processes.
#[cfg(target_os = "linux")]
mod proc {
    use std::collections::HashSet;
    use std::fs;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
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

        /// Whether it was started with a `HOME` or `TMPDIR` below `directory`, or is a bubblewrap that shows the directory to its program: one whose parent is killed before it
        /// has asked to be killed with it waits for ever. Other users' processes cannot be asked, and are not the sandbox's.
        fn is_marked(&self, directory: &Path) -> bool {
            let Ok(environment) = fs::read(format!("/proc/{}/environ", self.id)) else { return false };
            let is_below = |path: &[u8]| Path::new(std::ffi::OsStr::from_bytes(path)).starts_with(directory);
            let is_at_home = environment.split(|&byte| byte == 0).any(|variable| {
                let value = variable.strip_prefix(b"HOME=").or_else(|| variable.strip_prefix(b"TMPDIR="));
                value.is_some_and(is_below)
            });
            if is_at_home {
                return true;
            }
            let arguments = fs::read(format!("/proc/{}/cmdline", self.id)).unwrap_or_default();
            let mut arguments = arguments.split(|&byte| byte == 0);
            std::iter::from_fn(|| arguments.by_ref().find(|argument| *argument == b"--bind").and_then(|_| arguments.next())).any(is_below)
        }

        /// Whether it got the signal.
        fn signal(&self, signal: Signal) -> bool {
            let Some(descriptor) = Pid::from_raw(self.id).and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok()) else { return false };
            // What the descriptor stands for is fixed now: the process that was found, if it started at the same time.
            let is_same = Self::look_up(self.id).is_some_and(|now| now.started == self.started && !now.is_zombie);
            is_same && pidfd_send_signal(descriptor, signal).is_ok()
        }
    }

    /// A process that is known by more than its id, which another may get.
    #[derive(Debug)]
    pub(super) struct Handle(OwnedFd);

    impl Handle {
        /// `None` if it is gone.
        pub(super) fn open(id: Pid) -> Option<Self> {
            pidfd_open(id, PidfdFlags::empty()).ok().map(Self)
        }

        /// Signals it, if it still lives.
        pub(super) fn signal(&self, signal: Signal) {
            let _ = pidfd_send_signal(&self.0, signal);
        }

        /// Waits until it has ended, and with the first process of a namespace all others. Blocks.
        pub(super) fn wait(&self, deadline: Duration) {
            let deadline = Timespec::try_from(deadline).ok();
            // An error, or that the deadline has passed, changes nothing for the caller, who can only go on.
            let _ = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], deadline.as_ref());
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

    /// The children of a process, their children, and so on.
    pub(super) fn descendants(ancestor: Pid) -> Vec<Process> {
        with_descendants(all(), HashSet::from([ancestor.as_raw_nonzero().get()]), |_| false)
    }

    /// The group and session of the leader, what is marked with the directory, and the descendants of all.
    pub(super) fn members(leader: Option<Pid>, mark: Option<&Path>) -> Vec<Process> {
        let leader = leader.map(|leader| leader.as_raw_nonzero().get());
        let belongs = |process: &Process| {
            Some(process.group) == leader || Some(process.session) == leader || mark.is_some_and(|directory| process.is_marked(directory))
        };
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
    use std::time::Duration;

    use rustix::process::{Pid, Signal};

    pub(super) struct Process;

    #[derive(Debug)]
    pub(super) struct Handle;

    impl Handle {
        pub(super) fn open(_: Pid) -> Option<Self> {
            None
        }

        pub(super) fn signal(&self, _: Signal) {}

        pub(super) fn wait(&self, _: Duration) {}
    }

    pub(super) fn signal(_: &[Process], _: Signal) -> usize {
        0
    }

    pub(super) fn descendants(_: Pid) -> Vec<Process> {
        Vec::new()
    }

    pub(super) fn members(_: Option<Pid>, _: Option<&Path>) -> Vec<Process> {
        Vec::new()
    }
}
