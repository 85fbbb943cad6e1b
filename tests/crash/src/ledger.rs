//! What clients asked for and what they were told: what the host is held to.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::words::Work;

/// All sessions of a run, by their ids. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<BTreeMap<String, Told>>>);

/// How a session is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// Nobody interrupts it or unloads it: each of its turns runs to its end.
    pub is_calm: bool,
    /// Nobody watches it.
    pub is_lonely: bool,
    /// It is deleted after a few messages.
    pub is_brief: bool,
}

/// What is known about one session.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// How it is used.
    pub kind: Kind,
    /// Its messages.
    pub messages: BTreeMap<String, Sent>,
    /// Requests to interrupt it or to unload it that were sent.
    pub disturbances: usize,
    /// The last value of the option that was confirmed.
    pub option: Option<String>,
    /// Values that were asked for since.
    pub options_since: Vec<String>,
    /// Whether its deletion was asked for.
    pub is_deleted: bool,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What it asks for.
    pub work: Work,
    /// Whether the host said that it has it.
    pub is_acknowledged: bool,
}

impl Ledger {
    /// Notes something about a session.
    pub fn note<T>(&self, session: &str, note: impl FnOnce(&mut Told) -> T) -> T {
        note(self.0.lock().entry(session.to_owned()).or_default())
    }

    /// All that is known.
    pub fn sessions(&self) -> BTreeMap<String, Told> {
        self.0.lock().clone()
    }
}
