//! The least that an event hook can do, so that the host is what is measured: it counts the deltas that it is told of, and drops them.
//!
//! `events` in its configuration names the events that it wants, separated by commas. Whenever a session's status changes, the number of the session's deltas is put into its
//! metadata, where the load program looks whether it is right; so `session:status` must be among the events.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use agent_host_hook::{Config, Event, Hook, HookInfo, Result, control, export_hook};

/// Counts deltas.
pub struct Counter {
    events: Vec<String>,
    /// By session.
    deltas: BTreeMap<String, u64>,
}

export_hook!(Counter);

impl Hook for Counter {
    fn open(config: &Config) -> Result<Self> {
        config.only(&["events"])?;
        let events = config.require("events")?.split(',').map(|name| name.trim().to_owned()).collect();
        Ok(Self { events, deltas: BTreeMap::new() })
    }

    fn info(&self) -> HookInfo {
        HookInfo::new("counter", env!("CARGO_PKG_VERSION")).wants(&self.events)
    }

    fn on_events(&mut self, events: Vec<Event>) -> Result<()> {
        let mut changed = BTreeSet::new();
        for Event { session, name, .. } in events {
            match name.as_str() {
                "session:block:delta" => match self.deltas.get_mut(&session) {
                    Some(deltas) => *deltas += 1,
                    None => drop(self.deltas.insert(session, 1)),
                },
                "session:status" => drop(changed.insert(session)),
                _ => {}
            }
        }
        for session in changed {
            let deltas = self.deltas.get(&session).copied().unwrap_or(0);
            control::set_metadata(&session, "deltas", &deltas.to_string())?;
        }
        Ok(())
    }
}
