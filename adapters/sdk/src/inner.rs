//! Another adapter, behind this one: a component that imports what it exports itself.
//!
//! An adapter that changes what goes to a store (encrypts it, compresses it, counts it) and keeps nothing itself calls [`Inner`], and `agent-host adapter
//! compose` makes one component of the two. [`Inner`] is an [`Adapter`] like any other, so that tests put one of their own in its place.

use crate::bindings::inner::agent_host::persistence::{files, leases, lifecycle, profiles, sessions, streams};
use crate::{
    Adapter, AdapterInfo, Concurrency, Config, Epoch, FileInfo, Lease, Leases, Owner, Page, ProfileSummary, Result, SessionChanges,
    SessionRecord, Snapshot,
};

/// The adapter behind this one. An adapter that calls one of the functions of [`Leases`] can only be composed with one that keeps leases.
#[derive(Debug)]
pub struct Inner(AdapterInfo);

impl Adapter for Inner {
    fn open(config: &Config) -> Result<Self> {
        let lifecycle::AdapterInfo { name, version, concurrency, extra } = lifecycle::open(config.entries())?;
        let concurrency = match concurrency {
            lifecycle::Concurrency::Single => Concurrency::Single,
            lifecycle::Concurrency::Pooled => Concurrency::Pooled,
        };
        Ok(Self(AdapterInfo { name, version, concurrency, extra }))
    }

    fn info(&self) -> AdapterInfo {
        self.0.clone()
    }

    fn health(&self) -> Result<()> {
        lifecycle::health()
    }

    fn create_session(&mut self, epoch: Epoch, session: SessionRecord) -> Result<()> {
        sessions::create_session(epoch, &session)
    }

    fn load_session(&self, id: &str) -> Result<Option<Snapshot>> {
        sessions::load_session(id)
    }

    fn update_session(&mut self, epoch: Epoch, id: &str, changes: SessionChanges) -> Result<()> {
        sessions::update_session(epoch, id, &changes)
    }

    fn delete_session(&mut self, epoch: Epoch, id: &str) -> Result<()> {
        sessions::delete_session(epoch, id)
    }

    fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page> {
        sessions::list_sessions(cursor, limit)
    }

    fn append(&mut self, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64> {
        streams::append(epoch, session, stream, offset, data)
    }

    fn read(&self, session: &str, stream: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        streams::read(session, stream, offset, max)
    }

    fn replace(&mut self, epoch: Epoch, session: &str, stream: &str, data: Vec<u8>) -> Result<u64> {
        streams::replace(epoch, session, stream, &data)
    }

    fn save_file(&mut self, epoch: Epoch, session: &str, file: FileInfo, content: Vec<u8>) -> Result<()> {
        files::save_file(epoch, session, &file, &content)
    }

    fn read_file(&self, session: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        files::read_file(session, path, offset, max)
    }

    fn delete_file(&mut self, epoch: Epoch, session: &str, path: &str) -> Result<()> {
        files::delete_file(epoch, session, path)
    }

    fn list_profiles(&self) -> Result<Vec<ProfileSummary>> {
        profiles::list_profiles()
    }

    fn load_profile(&self, id: &str) -> Result<Option<String>> {
        profiles::load_profile(id)
    }

    fn save_profile(&mut self, profile: ProfileSummary, document: String) -> Result<()> {
        profiles::save_profile(&profile, &document)
    }

    fn delete_profile(&mut self, id: &str) -> Result<()> {
        profiles::delete_profile(id)
    }
}

impl Leases for Inner {
    fn acquire_lease(&mut self, session: &str, owner: Owner, ttl: u64) -> Result<Lease> {
        leases::acquire(session, &leases::Owner { id: owner.id, address: owner.address }, ttl).map(lease)
    }

    fn renew_leases(&mut self, owner: &str, ttl: u64, sessions: Vec<String>) -> Result<Vec<String>> {
        leases::renew(owner, ttl, &sessions)
    }

    fn release_lease(&mut self, session: &str, owner: &str) -> Result<()> {
        leases::release(session, owner)
    }

    fn lease(&self, session: &str) -> Result<Option<Lease>> {
        Ok(leases::get(session)?.map(lease))
    }
}

fn lease(leases::Lease { owner, expires_in }: leases::Lease) -> Lease {
    Lease { owner: Owner { id: owner.id, address: owner.address }, expires_in }
}
