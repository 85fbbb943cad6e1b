//! The persistence adapter that has everything kept by a server of one's own, over a small HTTP protocol: `openapi.yaml` beside this crate, which its `README.md` explains.
//!
//! It keeps nothing itself but what it has learnt of the server at `open`, so any number of instances may run at once. Each function of the contract is a request, or a few where a
//! stream or file is larger than one piece.
//!
//! - `settings`, `credentials`: what the operator has configured.
//! - `target`, `request`, `wire`: what is asked, and the records in it.
//! - `client`, `patience`, `clock`, `transport`: how it is asked, as often and as long as it is worth it.
//! - `answer`: what came of it, in the contract's words.
//! - `capabilities`, `store`: the server, and what it can.
//! - `sessions`, `streams`, `files`, `profiles`, `leases`: the contract.
#![forbid(unsafe_code)]

mod answer;
mod capabilities;
mod client;
mod clock;
mod credentials;
mod files;
mod leases;
mod patience;
mod profiles;
mod request;
mod sessions;
mod settings;
mod store;
mod streams;
mod target;
mod transport;
mod wire;

use agent_host_adapter::{
    Adapter, AdapterInfo, Concurrency, Config, Epoch, FileInfo, Lease, Leases, Owner, Page, ProfileSummary, Result, SessionChanges,
    SessionRecord, Snapshot, export_adapter,
};

use crate::settings::Settings;
use crate::store::Store;
use crate::transport::Host;

/// The adapter: a server that it knows how to ask.
pub struct Http {
    store: Store<Host>,
}

#[cfg(feature = "leases")]
export_adapter!(Http, leases);

#[cfg(not(feature = "leases"))]
export_adapter!(Http);

impl Adapter for Http {
    fn open(config: &Config) -> Result<Self> {
        let settings = Settings::read(config, |name| std::env::var(name).ok())?;
        Ok(Self { store: Store::open(Host::default(), settings)? })
    }

    fn info(&self) -> AdapterInfo {
        let (name, version) = ("http".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        AdapterInfo { name, version, concurrency: Concurrency::Pooled, extra: None }
    }

    fn health(&self) -> Result<()> {
        self.store.health()
    }

    fn create_session(&mut self, epoch: Epoch, session: SessionRecord) -> Result<()> {
        sessions::create(&self.store, epoch, session)
    }

    fn load_session(&self, id: &str) -> Result<Option<Snapshot>> {
        sessions::load(&self.store, id)
    }

    fn update_session(&mut self, epoch: Epoch, id: &str, changes: SessionChanges) -> Result<()> {
        sessions::update(&self.store, epoch, id, changes)
    }

    fn delete_session(&mut self, epoch: Epoch, id: &str) -> Result<()> {
        sessions::delete(&self.store, epoch, id)
    }

    fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page> {
        sessions::list(&self.store, cursor, limit)
    }

    fn append(&mut self, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64> {
        streams::append(&self.store, epoch, session, stream, offset, data)
    }

    fn read(&self, session: &str, stream: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        streams::read(&self.store, session, stream, offset, max)
    }

    fn replace(&mut self, epoch: Epoch, session: &str, stream: &str, data: Vec<u8>) -> Result<u64> {
        streams::replace(&self.store, epoch, session, stream, &data)
    }

    fn save_file(&mut self, epoch: Epoch, session: &str, file: FileInfo, content: Vec<u8>) -> Result<()> {
        files::save(&self.store, epoch, session, &file, &content)
    }

    fn read_file(&self, session: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        files::read(&self.store, session, path, offset, max)
    }

    fn delete_file(&mut self, epoch: Epoch, session: &str, path: &str) -> Result<()> {
        files::delete(&self.store, epoch, session, path)
    }

    fn list_profiles(&self) -> Result<Vec<ProfileSummary>> {
        profiles::list(&self.store)
    }

    fn load_profile(&self, id: &str) -> Result<Option<String>> {
        profiles::load(&self.store, id)
    }

    fn save_profile(&mut self, profile: ProfileSummary, document: String) -> Result<()> {
        profiles::save(&self.store, profile, &document)
    }

    fn delete_profile(&mut self, id: &str) -> Result<()> {
        profiles::delete(&self.store, id)
    }
}

impl Leases for Http {
    fn acquire_lease(&mut self, session: &str, owner: Owner, ttl: u64) -> Result<Lease> {
        leases::acquire(&self.store, session, owner, ttl)
    }

    fn renew_leases(&mut self, owner: &str, ttl: u64, sessions: Vec<String>) -> Result<Vec<String>> {
        leases::renew(&self.store, owner, ttl, &sessions)
    }

    fn release_lease(&mut self, session: &str, owner: &str) -> Result<()> {
        leases::release(&self.store, session, owner)
    }

    fn lease(&self, session: &str) -> Result<Option<Lease>> {
        leases::get(&self.store, session)
    }
}
