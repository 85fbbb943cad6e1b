//! What is remembered of hooks over a restart, and which hooks a start begins with.

use agent_host_session::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Configured;
use crate::exchange::{Kept, OnStart, Origin, Plan};
use crate::hooks::hook::Hook;

/// A component of a hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Counts up with each component of any hook, over restarts.
    pub generation: u64,
    /// The SHA-256 of the component's bytes, in hexadecimal.
    pub digest: String,
    /// What it was made from.
    #[serde(flatten)]
    pub plan: Plan,
    /// What it calls itself; empty if it never ran.
    pub called: String,
    /// Its own version; empty if it never ran.
    pub version: String,
    /// When it took its place.
    pub since: Timestamp,
}

impl Record {
    /// Takes over what a hook says of itself.
    pub(super) fn describe(&mut self, hook: &Hook) {
        self.called.clone_from(&hook.info().name);
        self.version.clone_from(&hook.info().version);
    }
}

/// A hook as it is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) record: Record,
    /// What an operator said; otherwise it is as configured, and enabled where nothing is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) enabled: Option<bool>,
    /// Whether an operator removed it, although it is configured.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) removed: bool,
    /// Components that were in its place before, the last one last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) earlier: Vec<Record>,
}

impl Entry {
    /// Gives it another component, and keeps some of those before.
    pub(super) fn replace(&mut self, record: Record, keep: usize) {
        self.earlier.push(std::mem::replace(&mut self.record, record));
        let surplus = self.earlier.len().saturating_sub(keep);
        self.earlier.drain(..surplus);
    }
}

/// All hooks as they are remembered: those that are configured, and those that were added, in the order in which they were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct State {
    /// The number of the newest generation.
    pub(super) newest: u64,
    pub(super) hooks: Vec<Entry>,
}

impl Kept for State {
    fn needs(&self, digest: &str) -> bool {
        self.hooks.iter().any(|hook| hook.record.digest == digest || hook.earlier.iter().any(|record| record.digest == digest))
    }
}

impl State {
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.hooks.iter().find(|entry| entry.name == name)
    }

    /// Puts an entry in the place of the one of its name, or behind all others.
    pub(super) fn put(&mut self, entry: Entry) {
        match self.hooks.iter_mut().find(|known| known.name == entry.name) {
            Some(known) => *known = entry,
            None => self.hooks.push(entry),
        }
    }

    /// A component of a new generation.
    pub(super) fn record(&mut self, digest: String, plan: Plan) -> Record {
        self.newest += 1;
        Record { generation: self.newest, digest, plan, called: String::new(), version: String::new(), since: Timestamp::now() }
    }

    /// What a start begins with: the configured hooks in their order, then those that were added. `digests` are those of the configured components.
    pub(super) fn merge(mut self, configured: &[Configured], digests: &[String], on_start: OnStart) -> Self {
        let known = std::mem::take(&mut self.hooks);
        let (of_configured, mut added): (Vec<Entry>, Vec<Entry>) =
            known.into_iter().partition(|entry| configured.iter().any(|hook| hook.name.as_str() == entry.name));
        // One that is not configured any more is gone with its configuration.
        added.retain(|entry| on_start == OnStart::Last && entry.record.plan.origin != Origin::Configured);
        for (hook, digest) in configured.iter().zip(digests) {
            let known = of_configured.iter().find(|entry| entry.name == hook.name.as_str()).cloned();
            let entry = match known {
                Some(entry) if on_start == OnStart::Last && (entry.removed || entry.record.plan.origin != Origin::Configured) => entry,
                Some(mut entry) => {
                    if entry.record.plan.origin != Origin::Configured || entry.record.digest != *digest {
                        entry.record = self.record(digest.clone(), Plan::configured());
                    }
                    if on_start == OnStart::Configured {
                        (entry.enabled, entry.removed) = (None, false);
                    }
                    entry
                }
                None => {
                    let record = self.record(digest.clone(), Plan::configured());
                    Entry { name: hook.name.to_string(), record, enabled: None, removed: false, earlier: Vec::new() }
                }
            };
            self.hooks.push(entry);
        }
        self.hooks.append(&mut added);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::spool::Begin;
    use super::*;
    use crate::component::Source;
    use crate::hooks::Name;

    fn configured(names: &[&str]) -> Vec<Configured> {
        let hook = |name: &&str| Configured {
            name: Name::new(*name).unwrap(),
            source: Source::File(format!("/{name}.wasm").into()),
            is_enabled: true,
            begin: Begin::AtEnd,
        };
        names.iter().map(hook).collect()
    }

    fn digests(digests: &[&str]) -> Vec<String> {
        digests.iter().map(|digest| (*digest).to_owned()).collect()
    }

    /// Names with digests, in order; a `-` before a name stands for one that was removed.
    fn shown(state: &State) -> Vec<String> {
        let shown = |entry: &Entry| format!("{}{}:{}", if entry.removed { "-" } else { "" }, entry.name, entry.record.digest);
        state.hooks.iter().map(shown).collect()
    }

    fn begun() -> State {
        State::default().merge(&configured(&["a", "b"]), &digests(&["1", "2"]), OnStart::Last)
    }

    /// After an operator has replaced `a`, removed `b` and added `c`.
    fn changed() -> State {
        let mut state = begun();
        let upload = || Plan { origin: Origin::Upload, ..Plan::configured() };
        let mut a = state.entry("a").unwrap().clone();
        a.record = state.record("9".to_owned(), upload());
        let b = Entry { removed: true, ..state.entry("b").unwrap().clone() };
        let c =
            Entry { name: "c".to_owned(), record: state.record("3".to_owned(), upload()), enabled: None, removed: false, earlier: vec![] };
        for entry in [a, b, c] {
            state.put(entry);
        }
        state
    }

    #[test]
    fn what_an_operator_did_is_in_force_after_a_restart() {
        let state = changed().merge(&configured(&["b", "a"]), &digests(&["2", "1"]), OnStart::Last);
        assert_eq!(shown(&state), ["-b:2", "a:9", "c:3"], "in the configured order");
    }

    #[test]
    fn the_configuration_can_win() {
        let state = changed().merge(&configured(&["a", "b"]), &digests(&["1", "2"]), OnStart::Configured);
        assert_eq!(shown(&state), ["a:1", "b:2"]);
    }

    #[test]
    fn a_configured_hook_follows_its_configuration() {
        let before = begun();
        let same = before.clone().merge(&configured(&["a", "b"]), &digests(&["1", "2"]), OnStart::Last);
        assert_eq!(same, before, "generations do not count restarts");
        let state = before.merge(&configured(&["a"]), &digests(&["7"]), OnStart::Last);
        assert_eq!(shown(&state), ["a:7"]);
        assert_eq!(state.hooks[0].record.generation, 3);
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_written() {
        let state = changed();
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        assert!(state.needs("9") && state.needs("3") && !state.needs("1"));
    }
}
