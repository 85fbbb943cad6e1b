//! How sessions behave, and their bounds.

use std::time::Duration;

use super::Error;
use crate::ports::store::Owner;
use crate::record::Options;
use crate::{log, run};

/// What becomes of a turn in whose middle the host ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InterruptedTurn {
    /// It has ended, and the conversation says so.
    #[default]
    Report,
    /// The agent gets its message again, once; the conversation says so.
    Resume,
}

/// How a host takes sessions of a store that it shares with others.
#[derive(Clone, Debug)]
pub struct Leases {
    /// This host.
    pub owner: Owner,
    /// For how long it takes a session; it is prolonged long before.
    pub ttl: Duration,
}

/// How sessions behave, and their bounds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How sessions are taken, where several hosts share the store. A host that is alone on its store needs no leases.
    pub leases: Option<Leases>,
    /// After this long without a turn, a message or a subscriber a session leaves memory, and its sandbox ends.
    pub idle_timeout: Duration,
    /// How often transcripts are stored in the middle of a turn. They always are at its end.
    pub sync_interval: Duration,
    /// How long running turns may go on when the host is about to end.
    pub shutdown_grace: Duration,
    /// What becomes of a turn in whose middle the host ended.
    pub interrupted_turn: InterruptedTurn,
    /// How long a request waits for the store or for a session that is being unloaded.
    pub request_timeout: Duration,
    /// Messages of one session that may wait for their turn. More is a client that does not listen.
    pub queue: usize,
    /// The largest message in bytes. Images come in base64, and the model's API takes 5 MB of one.
    pub message_bytes: usize,
    /// The largest options in bytes: they are part of every listing.
    pub options_bytes: usize,
    /// Sessions in memory at once.
    pub sessions: usize,
    /// Files of one workspace that are kept. A workspace with more is a build directory that should be ignored.
    pub files: usize,
    /// The largest file whose contents are told to subscribers, in bytes.
    pub inline_file_bytes: usize,
    /// What a session keeps for clients that come back.
    pub log: log::Limits,
    /// Bounds of the agent and its sandbox.
    pub run: run::Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            leases: None,
            idle_timeout: Duration::from_secs(15 * 60),
            sync_interval: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
            interrupted_turn: InterruptedTurn::default(),
            request_timeout: Duration::from_secs(30),
            queue: 100,
            message_bytes: 8 * 1024 * 1024,
            options_bytes: 64 * 1024,
            sessions: 10_000,
            files: 10_000,
            inline_file_bytes: 64 * 1024,
            log: log::Limits::default(),
            run: run::Limits::default(),
        }
    }
}

impl Settings {
    pub(crate) fn check_options(&self, options: &Options) -> Result<(), Error> {
        let size = serde_json::to_vec(options).map_or(usize::MAX, |json| json.len());
        let limit = self.options_bytes;
        if size > limit { Err(Error::TooLarge { what: "the session's options", size, limit }) } else { Ok(()) }
    }
}
