//! Sessions' records.

use agent_host_adapter::{Epoch, Error, Page, Result, SessionChanges, SessionRecord, Snapshot};

use crate::answer::if_found;
use crate::client::{Call, Failure};
use crate::request::Request;
use crate::store::Store;
use crate::target::Target;
use crate::transport::Transport;
use crate::wire::{Changes, Session, SessionPage, SnapshotPage};

/// How often a session is read that changes while its pages are: it has one writer, which does not load what it writes.
const LOADS: usize = 3;

fn one(id: &str) -> Target {
    Target::new("/session").with("session", id)
}

pub(crate) fn create<T: Transport>(store: &Store<T>, epoch: Epoch, session: SessionRecord) -> Result<()> {
    let request = Request::write("POST", Target::new("/sessions"), &store.client.key()?).epoch(epoch);
    let request = request.json(&Session::from(session), store.server.body_bytes)?;
    store.client.call().send(&request)?.done()
}

pub(crate) fn load<T: Transport>(store: &Store<T>, id: &str) -> Result<Option<Snapshot>> {
    let call = store.client.call();
    for _ in 0..LOADS {
        if let Ok(found) = whole(&call, id)? {
            return Ok(found);
        }
    }
    Err(Error::unavailable(format!("it has changed {LOADS} times while its files were listed")))
}

/// A session was written to while its pages were read, which are no picture of it.
struct Changed;

/// All pages, if they are of one picture.
fn whole<T: Transport>(call: &Call<'_, T>, id: &str) -> Result<Result<Option<Snapshot>, Changed>> {
    let Some(SnapshotPage { epoch, session, streams, mut files, mut next, version }) = page(call, id, None)? else {
        return Ok(Ok(None));
    };
    while let Some(cursor) = next {
        let page = page(call, id, Some(&cursor))?;
        let Some(page) = page.filter(|page| page.version.is_some() && page.version == version) else { return Ok(Err(Changed)) };
        if page.files.is_empty() {
            return Err(Error::unavailable("the server gave a page without files, which would have no end"));
        }
        files.extend(page.files);
        next = page.next;
    }
    Ok(Ok(Some(Snapshot {
        epoch,
        session: session.into(),
        streams: streams.into_iter().map(Into::into).collect(),
        files: files.into_iter().map(Into::into).collect(),
    })))
}

fn page<T: Transport>(call: &Call<'_, T>, id: &str, cursor: Option<&str>) -> Result<Option<SnapshotPage>> {
    if_found(call.send(&Request::get(one(id).with_some("cursor", cursor)))?.json())
}

pub(crate) fn update<T: Transport>(store: &Store<T>, epoch: Epoch, id: &str, changes: SessionChanges) -> Result<()> {
    let request = Request::write("PATCH", one(id), &store.client.key()?).epoch(epoch);
    store.client.call().send(&request.json(&Changes::from(changes), store.server.body_bytes)?)?.done()
}

pub(crate) fn delete<T: Transport>(store: &Store<T>, epoch: Epoch, id: &str) -> Result<()> {
    store.client.call().send(&Request::write("DELETE", one(id), &store.client.key()?).epoch(epoch))?.done()
}

/// A page of as many as were asked for may be more than the host lets pass, from a server that does not mind its size; a page of fewer is one as well.
pub(crate) fn list<T: Transport>(store: &Store<T>, cursor: Option<&str>, limit: u32) -> Result<Page> {
    if cursor == Some("") {
        return Err(Error::invalid("the cursor is empty, and none is"));
    }
    let call = store.client.call();
    let mut limit = limit;
    loop {
        let target = Target::new("/sessions").with_some("cursor", cursor).with_number("limit", limit.into());
        match call.send(&Request::get(target)) {
            Err(Failure::TooLarge(_)) if limit > 1 => limit /= 2,
            answer => {
                let SessionPage { sessions, next } = answer?.json()?;
                return Ok(Page { sessions: sessions.into_iter().map(Into::into).collect(), next });
            }
        }
    }
}
