//! The processes of agents, found by what they were given.

use std::fs;

use agent_host_tests::{ModelApi, eventually};
use rustix::process::{Pid, Signal, kill_process};

/// All processes that were given the address of this model API, which every agent and its children are, and nobody else is.
pub(crate) fn agents(api: &ModelApi) -> Vec<Pid> {
    let mark = api.base_url();
    let is_marked = |id: i32| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        // With what ends it: a port may be the beginning of another.
        environment.split(|byte| *byte == 0).any(|variable| variable.ends_with(mark.as_bytes()))
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| is_marked(*id)).filter_map(Pid::from_raw).collect()
}

/// Kills them all.
pub(crate) fn kill_agents(api: &ModelApi) {
    let agents = agents(api);
    assert!(!agents.is_empty(), "no agent runs");
    for agent in agents {
        // With the first of a namespace the others end, too.
        let _ = kill_process(agent, Signal::KILL);
    }
}

/// Waits until there is none.
pub(crate) async fn no_agent_runs(api: &ModelApi) {
    eventually("no agent runs", async || agents(api).is_empty()).await;
}
