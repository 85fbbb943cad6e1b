//! What there is to see of hooks.

use agent_host_session::time::Timestamp;
use serde::Serialize;

use super::{Member, Record, Roster};
use crate::exchange::{Occurrence, Origin, Phase};
use crate::hooks::hook::{Hook, OnFailure};
use crate::hooks::spool::Backlog;
use crate::metrics::{Inventory, Role, Standing};
use crate::stats::Counts;

/// All hooks.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HooksStatus {
    /// The hooks, in the order in which they are asked.
    pub hooks: Vec<HookStatus>,
    /// What is about to become one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateStatus>,
    /// What happened since the host started, the latest last.
    pub events: Vec<Occurrence>,
}

/// A hook.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookStatus {
    /// Its name in this host.
    pub name: String,
    /// Its component.
    #[serde(flatten)]
    pub record: Record,
    /// `serving` or `disabled`.
    pub state: &'static str,
    /// More, while it serves.
    #[serde(flatten)]
    pub serving: Option<Serving>,
    /// What waits for it; absent if it wants no events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Backlog>,
    /// Components that were in its place before, the last one last.
    pub earlier: Vec<Record>,
}

/// A hook that serves.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Serving {
    /// The version of the contract that it exports.
    pub wit_version: String,
    /// Patterns of the events that it wants.
    pub events: Vec<String>,
    /// The questions that it decides on.
    pub decisions: Vec<&'static str>,
    /// What holds when it fails to: `allow` or `deny`.
    pub on_failure: &'static str,
    /// Instances that there are.
    pub instances: usize,
    /// Calls since it began to serve.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Serving {
    fn of(hook: &Hook) -> Self {
        let info = hook.info();
        let decisions = [(info.sessions, "before-session"), (info.messages, "before-message"), (info.tools, "before-tool-use")];
        Self {
            wit_version: hook.wit_version().to_owned(),
            events: info.events.clone(),
            decisions: decisions.into_iter().filter(|(takes, _)| *takes).map(|(_, name)| name).collect(),
            on_failure: match info.on_failure {
                OnFailure::Allow => "allow",
                OnFailure::Deny => "deny",
            },
            instances: hook.instances(),
            counts: hook.counts(),
        }
    }
}

/// A component that is about to become a hook.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateStatus {
    /// Of which name.
    pub name: String,
    /// Where it came from.
    pub origin: Origin,
    /// What is being done.
    pub phase: Phase,
    /// Since when this phase runs.
    pub since: Timestamp,
}

impl Inventory for Roster {
    fn standings(&self) -> Vec<Standing> {
        let backlogs = self.spool.backlogs();
        let standing = |member: &Member| {
            let running = member.running.as_ref();
            Standing {
                role: Role::Hook(member.name.as_str().into()),
                instances: running.map_or(0, |running| running.hook.instances()),
                max_instances: running.map_or(0, |running| running.hook.max_instances()),
                backlog: backlogs.get(member.name.as_str()).copied(),
            }
        };
        self.members.lock().iter().map(standing).collect()
    }

    fn lost_events(&self) -> u64 {
        self.spool.lost()
    }
}

impl Roster {
    /// What there is to see.
    pub fn status(&self) -> HooksStatus {
        let backlogs = self.spool.backlogs();
        let state = self.state.lock().clone();
        let status = |member: &Member| {
            let entry = state.entry(member.name.as_str())?;
            let serving = member.running.as_ref().map(|running| Serving::of(&running.hook));
            Some(HookStatus {
                name: entry.name.clone(),
                record: entry.record.clone(),
                state: if serving.is_some() { "serving" } else { "disabled" },
                serving,
                backlog: backlogs.get(member.name.as_str()).copied(),
                earlier: entry.earlier.clone(),
            })
        };
        let hooks = self.members.lock().iter().filter_map(status).collect();
        HooksStatus { hooks, candidate: self.candidate.lock().clone(), events: self.history.list() }
    }
}
