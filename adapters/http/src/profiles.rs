//! Agent profiles, as the documents that they are.

use agent_host_adapter::{ProfileSummary, Result};

use crate::answer::if_found;
use crate::request::Request;
use crate::store::Store;
use crate::target::Target;
use crate::transport::Transport;
use crate::wire::{Document, ProfileToSave, Profiles};

fn one(id: &str) -> Target {
    Target::new("/profile").with("profile", id)
}

pub(crate) fn list<T: Transport>(store: &Store<T>) -> Result<Vec<ProfileSummary>> {
    let Profiles { profiles } = store.client.call().send(&Request::get(Target::new("/profiles")))?.json()?;
    Ok(profiles.into_iter().map(Into::into).collect())
}

pub(crate) fn load<T: Transport>(store: &Store<T>, id: &str) -> Result<Option<String>> {
    let found = if_found(store.client.call().send(&Request::get(one(id)))?.json())?;
    Ok(found.map(|Document { document }| document))
}

pub(crate) fn save<T: Transport>(store: &Store<T>, profile: ProfileSummary, document: &str) -> Result<()> {
    let request = Request::write("PUT", one(&profile.id), &store.client.key()?);
    let request = request.json(&ProfileToSave { profile: profile.into(), document }, store.server.body_bytes)?;
    store.client.call().send(&request)?.done()
}

pub(crate) fn delete<T: Transport>(store: &Store<T>, id: &str) -> Result<()> {
    store.client.call().send(&Request::write("DELETE", one(id), &store.client.key()?))?.done()
}
