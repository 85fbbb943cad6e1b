//! Leases: who may write a session, by the server's clock.

use agent_host_adapter::{Error, Lease, Owner, Result};

use crate::answer::if_found;
use crate::request::Request;
use crate::store::Store;
use crate::target::Target;
use crate::transport::Transport;
use crate::wire::{Acquisition, LeaseInForce, Renewal, Renewed};

fn one(session: &str) -> Target {
    Target::new("/lease").with("session", session)
}

/// A component has leases or has not, whatever its server can. So a call that cannot be answered is refused here, and nobody takes a session that others may have, too.
fn check<T: Transport>(store: &Store<T>) -> Result<()> {
    if store.server.has_leases {
        return Ok(());
    }
    let origin = store.client.origin();
    Err(Error::invalid(format!(
        "the server at {origin} keeps no leases: one host only may use it, and that one must not be told to take leases"
    )))
}

pub(crate) fn acquire<T: Transport>(store: &Store<T>, session: &str, owner: Owner, ttl: u64) -> Result<Lease> {
    check(store)?;
    let request = Request::write("POST", one(session), &store.client.key()?);
    let request = request.json(&Acquisition { owner: owner.into(), ttl }, store.server.body_bytes)?;
    store.client.call().send(&request)?.json().map(LeaseInForce::into)
}

pub(crate) fn renew<T: Transport>(store: &Store<T>, owner: &str, ttl: u64, sessions: &[String]) -> Result<Vec<String>> {
    check(store)?;
    let request = Request::write("POST", Target::new("/leases"), &store.client.key()?);
    let request = request.json(&Renewal { owner, ttl, sessions }, store.server.body_bytes)?;
    let Renewed { lost } = store.client.call().send(&request)?.json()?;
    Ok(lost)
}

pub(crate) fn release<T: Transport>(store: &Store<T>, session: &str, owner: &str) -> Result<()> {
    check(store)?;
    store.client.call().send(&Request::write("DELETE", one(session).with("owner", owner), &store.client.key()?))?.done()
}

pub(crate) fn get<T: Transport>(store: &Store<T>, session: &str) -> Result<Option<Lease>> {
    check(store)?;
    if_found(store.client.call().send(&Request::get(one(session)))?.json().map(LeaseInForce::into))
}
