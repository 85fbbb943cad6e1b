//! What is counted of the host as a whole, for `/metrics`.

use std::sync::Arc;

use agent_host_archive::FileArchive;
use agent_host_journal::JournaledStore;
use agent_host_session::manager::Manager;
use agent_host_wasm::hooks::Roster;
use agent_host_wasm::swap::Components;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// What every name begins with.
const PREFIX: &str = "agent_host";

/// Everything that the host's parts count.
pub fn registry(
    manager: &Arc<Manager>,
    journal: &JournaledStore,
    components: &Arc<Components>,
    roster: &Arc<Roster>,
    archive: Option<&FileArchive>,
) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register("build", "The host's version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    manager.register_metrics(&mut registry);
    journal.register_metrics(&mut registry);
    if let Some(archive) = archive {
        archive.register_metrics(&mut registry);
    }
    let inventories = vec![Arc::clone(components) as _, Arc::clone(roster) as _];
    agent_host_wasm::metrics::register(components.engine(), inventories, &mut registry);
    registry
}
