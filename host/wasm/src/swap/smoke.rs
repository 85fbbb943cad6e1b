//! What a new generation must show before it serves: that it keeps the contract, in a session of its own which is deleted again, and that it has what the present one has.

use std::fmt::Display;
use std::time::Duration;

use agent_host_session::id::{Epoch, ProfileId, RESERVED_PREFIX, SessionId};
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{Error as StoreError, Store};
use agent_host_session::record::{FileInfo, Options, RecordChanges, SessionRecord, StreamName};
use agent_host_session::time::Timestamp;
use bytes::Bytes;

use crate::cache::Sha256Digest;

/// What the ids of scratch sessions begin with, after [`RESERVED_PREFIX`]; a part that is random follows.
const SCRATCH: &str = "scratch.";

/// Newest sessions of the present store that the new one must have, too: a page of them shows whether it is the same store.
const COMPARED: u32 = 50;

/// Why a generation may not serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// A call failed.
    #[error("{what}: {error}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// How it failed.
        error: StoreError,
    },
    /// A call did not do what the contract says.
    #[error("{what}: {reason}")]
    Contract {
        /// What was tried.
        what: &'static str,
        /// What came of it.
        reason: String,
    },
    /// It is over another store.
    #[error("it does not have {0}, which the present adapter has: if it is over another store, have everything copied there (migrate)")]
    OtherStore(String),
}

/// Whether a session is a scratch session. Lists do not show them.
pub(super) fn is_scratch(id: &SessionId) -> bool {
    id.as_str().strip_prefix(RESERVED_PREFIX).is_some_and(|rest| rest.starts_with(SCRATCH))
}

/// Tries everything that a session needs, and deletes what it made.
pub(super) async fn contract(store: &dyn Store) -> Result<(), Failed> {
    // Ids as random as that are not in use.
    let id =
        SessionId::new(format!("{RESERVED_PREFIX}{SCRATCH}{}", uuid::Uuid::new_v4())).map_err(|error| broken("naming a session", error))?;
    let tried = session(store, &id).await;
    let deleted = store.delete_session(EPOCH, &id).await.map_err(failed("deleting the session"));
    tried.and(deleted)?;
    match store.load_session(&id).await.map_err(failed("loading the session that was deleted"))? {
        None => Ok(()),
        Some(_) => Err(broken("loading the session that was deleted", "it is still there")),
    }
}

const EPOCH: Epoch = Epoch(2);

async fn session(store: &dyn Store, id: &SessionId) -> Result<(), Failed> {
    // The beginning of time is the end of every list.
    let time = Timestamp::from_millis(0);
    let profile = ProfileId::new("default").map_err(|error| broken("naming a profile", error))?;
    let record = SessionRecord {
        id: id.clone(),
        created_at: time,
        last_activity: time,
        profile,
        architecture: "echo".to_owned(),
        name: None,
        options: Options::new(),
        origin: None,
    };
    store.create_session(Epoch::FIRST, &record).await.map_err(failed("creating a session"))?;
    expect("creating it again", store.create_session(Epoch::FIRST, &record).await, |error| matches!(error, StoreError::AlreadyExists(_)))?;
    let changes = RecordChanges { name: Some("scratch".to_owned()), ..RecordChanges::default() };
    store.update_session(EPOCH, id, &changes).await.map_err(failed("updating the session"))?;
    let stale = store.update_session(Epoch::FIRST, id, &changes).await;
    expect("updating it under an older epoch", stale, |error| matches!(error, StoreError::StaleEpoch(_)))?;

    stream(store, id).await?;
    file(store, id, time).await?;

    let found = store.load_session(id).await.map_err(failed("loading the session"))?;
    let found = found.ok_or_else(|| broken("loading the session", "it is not there"))?;
    let wanted = SessionRecord { name: changes.name, ..record };
    if found.record != wanted || found.epoch != EPOCH {
        return Err(broken("loading the session", format_args!("it is {found:?}, and was written as {wanted:?} under the epoch {EPOCH}")));
    }
    if found.streams != [(StreamName::Events, CONTENT.len() as u64)] || !found.files.is_empty() {
        return Err(broken("loading the session", format_args!("it has the streams {:?} and the files {:?}", found.streams, found.files)));
    }
    store.list_sessions(None, 1).await.map_err(failed("listing sessions"))?;
    Ok(())
}

/// Bytes that are no text.
const CONTENT: &[u8] = b"scratch\0\xff\n";

async fn stream(store: &dyn Store, id: &SessionId) -> Result<(), Failed> {
    let events = StreamName::Events;
    let data = Bytes::from_static(CONTENT);
    for what in ["appending to a stream", "appending the same again"] {
        let length = store.append(EPOCH, id, &events, 0, data.clone()).await.map_err(failed(what))?;
        if length != CONTENT.len() as u64 {
            return Err(broken(what, format_args!("the length is {length} bytes after {}", CONTENT.len())));
        }
    }
    let gap = store.append(EPOCH, id, &events, 1000, data).await;
    expect("appending behind a gap", gap, |error| matches!(error, StoreError::OffsetMismatch(_)))?;
    let what = "reading the stream";
    let there = store.read(id, &events, 1, 1000).await.map_err(failed(what))?;
    if Some(there.as_ref()) != CONTENT.get(1..) {
        return Err(broken(what, "it has other bytes than were written"));
    }
    Ok(())
}

async fn file(store: &dyn Store, id: &SessionId, time: Timestamp) -> Result<(), Failed> {
    let path = RelativePath::new("scratch/file.bin").map_err(|error| broken("naming a file", error))?;
    let sha256 = Sha256Digest::of(CONTENT).to_string();
    let file = FileInfo { path: path.clone(), size: CONTENT.len() as u64, sha256: Some(sha256), created_at: time, modified_at: time };
    store.save_file(EPOCH, id, &file, Bytes::from_static(CONTENT)).await.map_err(failed("saving a file"))?;
    let there = store.read_file(id, &path, 0, 1000).await.map_err(failed("reading the file"))?;
    if there != CONTENT {
        return Err(broken("reading the file", "it has other bytes than were saved"));
    }
    store.delete_file(EPOCH, id, &path).await.map_err(failed("deleting the file"))
}

/// Whether `next` has what `present` has, as far as the newest sessions and the profiles tell. What is written meanwhile is in both, if it is one store.
pub(super) async fn same_store(present: &dyn Store, next: &dyn Store) -> Result<(), Failed> {
    let page = patiently(|| present.list_sessions(None, COMPARED)).await.map_err(failed("listing the present adapter's sessions"))?;
    for record in page.sessions.iter().filter(|record| !is_scratch(&record.id)) {
        let what = "loading a session of the present adapter";
        let Some(before) = patiently(|| present.load_session(&record.id)).await.map_err(failed(what))? else { continue };
        let what = "loading a session that the present adapter has";
        let Some(after) = patiently(|| next.load_session(&record.id)).await.map_err(failed(what))? else {
            // Perhaps it was deleted meanwhile.
            if patiently(|| present.load_session(&record.id)).await.map_err(failed(what))?.is_none() {
                continue;
            }
            return Err(Failed::OtherStore(format!("the session {}", record.id)));
        };
        let length = |name: &StreamName| after.streams.iter().find(|(there, _)| there == name).map_or(0, |(_, length)| *length);
        if after.epoch < before.epoch || before.streams.iter().any(|(name, bytes)| *name == StreamName::Events && length(name) < *bytes) {
            return Err(Failed::OtherStore(format!("all of the session {}", record.id)));
        }
    }
    let profiles = patiently(|| next.list_profiles()).await.map_err(failed("listing agent profiles"))?;
    for profile in patiently(|| present.list_profiles()).await.map_err(failed("listing the present adapter's agent profiles"))? {
        if !profiles.iter().any(|there| there.id == profile.id)
            && patiently(|| present.load_profile(&profile.id)).await.is_ok_and(|there| there.is_some())
        {
            return Err(Failed::OtherStore(format!("the agent profile {}", profile.id)));
        }
    }
    Ok(())
}

/// So often an answer is asked for that does not come: whoever exchanges an adapter may do so because it fails.
const TRIES: u32 = 8;
const TRY_PAUSE: Duration = Duration::from_millis(50);

async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut tries = 1;
    loop {
        match ask().await {
            Err(error) if error.is_transient() && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(TRY_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

fn failed(what: &'static str) -> impl FnOnce(StoreError) -> Failed {
    move |error| Failed::Call { what, error }
}

fn broken(what: &'static str, reason: impl Display) -> Failed {
    Failed::Contract { what, reason: reason.to_string() }
}

fn expect<T>(what: &'static str, result: Result<T, StoreError>, is_right: impl FnOnce(&StoreError) -> bool) -> Result<(), Failed> {
    match result {
        Err(error) if is_right(&error) => Ok(()),
        Err(error) => Err(Failed::Call { what, error }),
        Ok(_) => Err(broken(what, "it succeeded")),
    }
}
