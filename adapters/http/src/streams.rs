//! Append-only sequences of bytes.

use agent_host_adapter::{Epoch, Result};

use crate::request::Request;
use crate::store::Store;
use crate::target::Target;
use crate::transport::Transport;
use crate::wire::Written;

fn one(session: &str, stream: &str) -> Target {
    Target::new("/stream").with("session", session).with("stream", stream)
}

pub(crate) fn append<T: Transport>(store: &Store<T>, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64> {
    write(store, "POST", one(session, stream).with_number("offset", offset), epoch, data)
}

pub(crate) fn replace<T: Transport>(store: &Store<T>, epoch: Epoch, session: &str, stream: &str, data: &[u8]) -> Result<u64> {
    write(store, "PUT", one(session, stream), epoch, data)
}

fn write<T: Transport>(store: &Store<T>, method: &'static str, target: Target, epoch: Epoch, data: &[u8]) -> Result<u64> {
    let (call, key) = (store.client.call(), store.client.key()?);
    let (staged, last) = store.stage(&call, &key, data)?;
    let request = Request::write(method, target.with_number("staged", staged), &key).epoch(epoch).piece(last);
    let Written { length } = call.send(&request)?.json()?;
    Ok(length)
}

pub(crate) fn read<T: Transport>(store: &Store<T>, session: &str, stream: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
    let target = one(session, stream).with_number("offset", offset).with_number("max", max.into());
    store.client.call().send(&Request::get(target))?.bytes(max)
}
