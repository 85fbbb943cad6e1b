//! What all parts of one schedule share: the seed's randomness, the trace, the model of what was promised, and the first promise that was broken.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::{MessageId, Sequence, SessionId};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

/// A bug that is put in on purpose, to show that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// What is published between the snapshot and the subscription is not seen by the client.
    DropsAtHandOver,
    /// Writes reach the store without their epoch, so that the store cannot refuse them.
    WritesWithoutEpoch,
    /// Writes are acknowledged before the store has them.
    AcknowledgesBeforeStored,
}

/// What must stay true, in the numbers of DESIGN.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// 1: what was acknowledged is in the store, once, and is brought to its end; nothing runs twice by accident.
    AcknowledgedIsDurable,
    /// 2: every client sees every event of an epoch once and in order, or is told to start anew; what it saw is what a reload shows.
    StreamsResumeExactly,
    /// 4: one task, one epoch, one turn, one sandbox; nothing is written under an old epoch after a newer one was taken.
    OneWriter,
    /// 6: no sandbox is left over.
    NothingIsLeftBehind,
    /// 7: the session goes on, whatever its readers do, and settles when the faults end.
    GoesOn,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub promise: Promise,
    /// How.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.promise, self.text)
    }
}

/// What is known of a message that a client sends.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) is_acknowledged: bool,
    /// How often an agent was given it.
    pub(crate) runs: u32,
}

/// What is known of a session, beside what is stored.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) messages: BTreeMap<MessageId, Sent>,
    /// Each event that any client saw: a number names one event for ever.
    pub(crate) numbers: BTreeMap<Sequence, String>,
    /// Whether somebody has begun to delete it.
    pub(crate) may_be_gone: bool,
    /// What agents wrote into its transcript, in order.
    pub(crate) transcript: Vec<Written>,
}

/// A line that an agent wrote into its transcript.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) line: String,
    /// Where.
    pub(crate) sandbox: String,
    /// Whether it is to be found in the store in the end.
    pub(crate) is_owed: bool,
}

/// What all parts of one schedule share.
pub(crate) struct World {
    rng: Mutex<fastrand::Rng>,
    begun: Instant,
    trace: Mutex<Vec<String>>,
    violation: watch::Sender<Option<Violation>>,
    pub(crate) bug: Option<Bug>,
    pub(crate) sessions: Mutex<BTreeMap<SessionId, Known>>,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Arc<Self> {
        Arc::new(Self {
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            begun: Instant::now(),
            trace: Mutex::default(),
            violation: watch::Sender::new(None),
            bug,
            sessions: Mutex::default(),
        })
    }

    /// Whether something happens that does with this probability in percent.
    pub(crate) fn chance(&self, percent: u32) -> bool {
        self.rng.lock().u32(0..100) < percent
    }

    pub(crate) fn below(&self, limit: usize) -> usize {
        self.rng.lock().usize(0..limit)
    }

    pub(crate) fn bits(&self) -> u128 {
        self.rng.lock().u128(..)
    }

    pub(crate) fn pick<'a, T>(&self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.below(items.len())) }
    }

    /// A time of at most so many milliseconds.
    pub(crate) fn millis(&self, most: u64) -> Duration {
        Duration::from_millis(self.rng.lock().u64(0..=most))
    }

    /// Mostly nothing, sometimes another task's turn, sometimes a while: orders of things that happen at once differ by it.
    pub(crate) async fn waver(&self) {
        match self.below(10) {
            0..=4 => {}
            5..=7 => tokio::task::yield_now().await,
            8 => tokio::time::sleep(self.millis(5)).await,
            _ => tokio::time::sleep(self.millis(200)).await,
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        let at = self.elapsed();
        self.trace.lock().push(format!("{:>5}.{:03} {what}", at.as_secs(), at.subsec_millis()));
    }

    pub(crate) fn violated(&self, promise: Promise, text: String) {
        self.note(format_args!("VIOLATION {promise:?}: {text}"));
        self.violation.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(Violation { promise, text });
            is_first
        });
    }

    pub(crate) fn is_violated(&self) -> bool {
        self.violation.borrow().is_some()
    }

    /// Waits until a promise is broken.
    pub(crate) async fn until_violated(&self) {
        drop(self.violation.subscribe().wait_for(Option::is_some).await);
    }

    pub(crate) fn end(&self) -> (Vec<String>, Option<Violation>) {
        (std::mem::take(&mut self.trace.lock()), self.violation.borrow().clone())
    }

    /// Looks at, or changes, what is known of a session.
    pub(crate) fn known<T>(&self, session: &SessionId, look: impl FnOnce(&mut Known) -> T) -> T {
        look(self.sessions.lock().entry(session.clone()).or_default())
    }

    /// Sessions that nobody has begun to delete.
    pub(crate) fn present(&self) -> Vec<SessionId> {
        self.sessions.lock().iter().filter(|(_, known)| !known.may_be_gone).map(|(id, _)| id.clone()).collect()
    }

    pub(crate) fn all(&self) -> BTreeSet<SessionId> {
        self.sessions.lock().keys().cloned().collect()
    }
}

/// Notes what happens in the trace.
macro_rules! note {
    ($world:expr, $($what:tt)*) => { $world.note(format_args!($($what)*)) };
}
pub(crate) use note;
