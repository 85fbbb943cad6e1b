//! The ports of the session domain in memory, with faults to order, for tests.
//!
//! | module | stands for |
//! | --- | --- |
//! | [`store`] | the persistence adapter |
//! | [`sandbox`] | the provider of sandboxes, with a program in them that does what it is told |
//! | [`agent`] | the architecture and the driver of that program |
//! | [`environment`] | the clock and the randomness |
//! | [`hooks`] | the event hooks |
#![forbid(unsafe_code)]

pub mod agent;
pub mod environment;
pub mod hooks;
pub mod sandbox;
pub mod store;

use std::sync::Arc;

use agent_host_session::manager::{Manager, Ports, Settings};
use agent_host_session::ports::agenda::Forgetful;
use agent_host_session::ports::archive::NoArchive;
use agent_host_session::profile::Profile;

/// A manager over fakes, and the fakes.
pub struct World {
    /// The manager.
    pub manager: Arc<Manager>,
    /// Its store, which outlives it.
    pub store: Arc<store::MemoryStore>,
    /// Its sandboxes.
    pub provider: Arc<sandbox::FakeProvider>,
    /// Its hooks.
    pub hooks: Arc<hooks::ScriptedHooks>,
    /// Which sessions have something going on.
    pub agenda: Arc<Forgetful>,
}

impl World {
    /// A world with an empty store that has a profile `default`.
    pub async fn new(settings: Settings) -> Self {
        let store = Arc::new(store::MemoryStore::default());
        let id = agent_host_session::id::ProfileId::new("default").unwrap_or_else(|error| unreachable!("{error}"));
        store.add_profile(Profile::named(id, "Default"));
        Self::over(store, settings)
    }

    /// A new host over the same store.
    pub fn over(store: Arc<store::MemoryStore>, settings: Settings) -> Self {
        Self::after(store, Arc::default(), settings)
    }

    /// The same, after one that has left this on its agenda.
    pub fn after(store: Arc<store::MemoryStore>, agenda: Arc<Forgetful>, settings: Settings) -> Self {
        let provider = Arc::new(sandbox::FakeProvider::default());
        let hooks = Arc::new(hooks::ScriptedHooks::default());
        let ports = Ports {
            store: Arc::<store::MemoryStore>::clone(&store),
            provider: Arc::<sandbox::FakeProvider>::clone(&provider),
            architectures: vec![Arc::new(agent::FakeArchitecture)],
            environment: Arc::new(environment::CountingEnvironment::default()),
            hooks: Arc::<hooks::ScriptedHooks>::clone(&hooks),
            agenda: Arc::<Forgetful>::clone(&agenda),
            archive: Arc::new(NoArchive),
        };
        let manager = Manager::new(ports, settings);
        Self { manager, store, provider, hooks, agenda }
    }
}
