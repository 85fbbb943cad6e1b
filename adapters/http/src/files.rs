//! Workspace files.

use agent_host_adapter::{Epoch, FileInfo, Result};

use crate::request::Request;
use crate::store::Store;
use crate::target::Target;
use crate::transport::Transport;

fn one(session: &str, path: &str) -> Target {
    Target::new("/file").with("session", session).with("path", path)
}

pub(crate) fn save<T: Transport>(store: &Store<T>, epoch: Epoch, session: &str, file: &FileInfo, content: &[u8]) -> Result<()> {
    let (call, key) = (store.client.call(), store.client.key()?);
    let (staged, last) = store.stage(&call, &key, content)?;
    let FileInfo { path, size, sha256, created_at, modified_at, extra } = file;
    let target = one(session, path)
        .with_number("size", *size)
        .with("sha256", sha256)
        .with_number("createdAt", *created_at)
        .with_number("modifiedAt", *modified_at)
        .with_some("extra", extra.as_deref())
        .with_number("staged", staged);
    call.send(&Request::write("PUT", target, &key).epoch(epoch).piece(last))?.done()
}

pub(crate) fn read<T: Transport>(store: &Store<T>, session: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
    let target = one(session, path).with_number("offset", offset).with_number("max", max.into());
    store.client.call().send(&Request::get(target))?.bytes(max)
}

pub(crate) fn delete<T: Transport>(store: &Store<T>, epoch: Epoch, session: &str, path: &str) -> Result<()> {
    store.client.call().send(&Request::write("DELETE", one(session, path), &store.client.key()?).epoch(epoch))?.done()
}
