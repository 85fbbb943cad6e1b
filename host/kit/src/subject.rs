//! The adapter that is tried.

use agent_host_session::id::SessionId;
use agent_host_wasm::component::LoadError;
use agent_host_wasm::persistence::StartError;
use agent_host_wasm::{Component, Engine, Persistence, PersistenceOptions, Source};
use tokio::process::Command;

use crate::victim;

/// Why an adapter cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It cannot be opened.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// An adapter with its configuration and grants, which can be opened any number of times.
pub struct Subject {
    engine: Engine,
    component: Component,
    options: PersistenceOptions,
    victim: Option<Box<victim::Start>>,
}

impl Subject {
    /// Loads a component.
    ///
    /// # Errors
    /// If it is none, or no persistence adapter.
    pub async fn load(engine: Engine, source: Source, options: PersistenceOptions) -> Result<Self, Error> {
        let component = engine.load(source).await?;
        Ok(Self { engine, component, options, victim: None })
    }

    /// With a program that can be started and killed: it opens the same adapter over the same store, and calls [`victim::write`] for the session, whose progress it prints, a number a line.
    #[must_use]
    pub fn with_victim(self, start: impl Fn(&SessionId) -> Command + Send + Sync + 'static) -> Self {
        Self { victim: Some(Box::new(start)), ..self }
    }

    pub(crate) fn victim(&self) -> Option<&victim::Start> {
        self.victim.as_deref()
    }

    /// Opens it as a host does.
    ///
    /// # Errors
    /// What is wrong with it, its configuration or its store.
    pub async fn open(&self) -> Result<Persistence, Error> {
        self.open_with(self.options.clone()).await
    }

    /// Opens it in so many instances at most.
    pub(crate) async fn open_in(&self, instances: u32) -> Result<Persistence, Error> {
        self.open_with(PersistenceOptions { instances, ..self.options.clone() }).await
    }

    async fn open_with(&self, options: PersistenceOptions) -> Result<Persistence, Error> {
        Ok(Persistence::start(&self.engine, self.component.clone(), options).await?)
    }

    /// Whether it keeps leases.
    pub fn has_leases(&self) -> bool {
        self.component.has_leases()
    }

    /// The component's name, of its file or of what ships with the host.
    pub fn name(&self) -> &str {
        self.component.name()
    }

    /// The SHA-256 of the component's bytes, in hexadecimal.
    pub fn digest(&self) -> String {
        self.component.digest()
    }

    /// How much memory an instance may have, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.options.limits.memory
    }
}
