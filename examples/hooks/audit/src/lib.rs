//! An event hook that keeps an audit trail: a file of JSON lines, one for each event, to which it only ever appends.
//!
//! ```json
//! {"session":"s1","epoch":3,"seq":41,"name":"session:status","received":1795812202123,"data":{"sessionId":"s1","runtime":{…}}}
//! ```
//!
//! `received` is when the hook was told, in Unix milliseconds; `data` is that of the WebSocket's frame, as it is. Whole conversations are in it, and small
//! files of the workspace: the directory wants the protection that they do.
//!
//! # Configuration
//!
//! | key | what it is | default |
//! | --- | --- | --- |
//! | `file` | The file, where the component sees it. | `/audit/audit.jsonl` |
//! | `events` | Names of events, separated by commas; `*` at the end stands for any rest. | all that there are but deltas, whose text is in the block that completes |
//! | `max_bytes` | A file that would become larger is put aside, as `audit.jsonl.<Unix milliseconds>`, and a new one begun. None is ever deleted. | no limit |
//!
//! # Grants
//!
//! The file's directory, for writing.
//!
//! ```toml
//! [[hooks]]
//! name = "audit"
//! component = "examples/hooks/target/wasm32-wasip2/release/hook_audit.wasm"
//! config = { max_bytes = "1000000000" }
//! grants = { dirs = [{ host = "audit", guest = "/audit", write = true }] }
//! ```
//!
//! # What a reader can rely on
//!
//! - The hook says that it has events only when they are on disk. What the host has shown to anybody is in the file sooner or later, unless so much was waiting
//!   for the hook that the host had to skip the oldest, which it counts.
//! - Each line is whole, but for one that the end of a machine or a full disk tore: it is ended by a newline before anything else is written, and is no JSON.
//!   A reader skips it; its event comes again.
//! - The events of a session are in order.
//! - An event can be there twice, since the host tells it again when it is not sure. The hook skips what it wrote of late, which it learns from the end
//!   of the file when it starts; it does not know what is further back, in a file that was put aside, or in a batch whose writing failed half-way. A reader
//!   that counts takes one line for each `session`, `epoch` and `seq`; where ids of deleted sessions are used again, for each `data` as well.

#![forbid(unsafe_code)]

mod entry;
mod recent;
mod trail;

use std::time::{SystemTime, UNIX_EPOCH};

use agent_host_hook::{Config, Error, Event, Hook, HookInfo, Result, export_hook};

use crate::entry::{Entry, one_line};
use crate::recent::Recent;
use crate::trail::Trail;

/// All events that there are, but `session:block:delta`.
const EVENTS: &str = "session:block:start,session:block:update,session:block:complete,session:block:removed,session:subagent:*,\
    session:metadata:*,session:options:*,session:file:*,session:status,error,hook:*";

/// How much of the end of the file is read to learn what is there, in bytes. What may come again is a batch, which the host makes about 1 MiB large.
const TAIL_BYTES: u64 = 4 * 1024 * 1024;

/// Keeps an audit trail.
pub struct Audit {
    trail: Trail,
    events: Vec<String>,
    recent: Recent,
}

export_hook!(Audit);

impl Hook for Audit {
    fn open(config: &Config) -> Result<Self> {
        config.only(&["file", "events", "max_bytes"])?;
        let events: Vec<String> = list(config.get("events").unwrap_or(EVENTS)).map(str::to_owned).collect();
        if events.is_empty() {
            return Err(Error::invalid("the configuration key \"events\" names no events"));
        }
        let trail = Trail::new(config.get("file").unwrap_or("/audit/audit.jsonl"), config.parse("max_bytes")?)?;
        let mut recent = Recent::default();
        for line in trail.tail(TAIL_BYTES)?.split(|&byte| byte == b'\n') {
            // What is no entry is a line that was torn.
            if let Ok(entry) = Entry::read(line) {
                recent.insert(entry.identity());
            }
        }
        Ok(Self { trail, events, recent })
    }

    fn info(&self) -> HookInfo {
        HookInfo::new("audit", env!("CARGO_PKG_VERSION")).wants(&self.events)
    }

    fn on_events(&mut self, events: Vec<Event>) -> Result<()> {
        // Before 1970 is a clock that was never set.
        let received = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
        self.record(events, received)
    }
}

impl Audit {
    fn record(&mut self, events: Vec<Event>, received: u64) -> Result<()> {
        let mut lines = Vec::new();
        let mut written = Vec::new();
        for Event { session, epoch, seq, name, data } in events {
            let data = one_line(data).map_err(|error| not_json(&session, epoch, seq, &error))?;
            let entry = Entry { session: session.as_str().into(), epoch, seq, name: name.into(), received, data: &data };
            let identity = entry.identity();
            if !self.recent.contains(identity) {
                entry.write(&mut lines).map_err(|error| not_json(&session, epoch, seq, &error))?;
                written.push(identity);
            }
        }
        if !written.is_empty() {
            self.trail.append(lines, received)?;
        }
        // Only now: what could not be written is not known, and is written when it comes again.
        for identity in written {
            self.recent.insert(identity);
        }
        Ok(())
    }
}

fn not_json(session: &str, epoch: u64, seq: u64, error: &serde_json::Error) -> Error {
    Error::invalid(format!("the data of event {epoch}/{seq} of session {session:?} is not JSON: {error}"))
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests;
