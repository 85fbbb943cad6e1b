//! The plumbing between the generated exports and an [`Adapter`]: the instance, the checks of arguments, the context of errors.

use std::cell::RefCell;
use std::thread::LocalKey;

use crate::bindings::exports::agent_host::persistence::{files, lifecycle, profiles, sessions, streams};
use crate::bindings::leases::exports::agent_host::persistence::leases;
use crate::error::{check_number, check_times};
use crate::{
    Adapter, AdapterInfo, Config, Epoch, Error, FileInfo, Lease, Leases, MAX_LEASE_MILLIS, MAX_LIST_SESSIONS, MAX_READ_BYTES,
    MAX_RENEW_SESSIONS, Owner, Page, ProfileSummary, Result, SessionChanges, SessionRecord, Snapshot,
};

/// Where the adapter of an instance is, once it is open.
pub struct Slot<A>(RefCell<Option<A>>);

impl<A> Slot<A> {
    /// Before `open`.
    pub const fn empty() -> Self {
        Self(RefCell::new(None))
    }
}

/// What `export_adapter!` implements for a component.
pub trait Instance {
    /// The adapter that it exports.
    type Adapter: Adapter;

    /// Where it is. A component has one thread.
    fn slot() -> &'static LocalKey<Slot<Self::Adapter>>;
}

fn read<I: Instance, T>(doing: impl FnOnce() -> String, call: impl FnOnce(&I::Adapter) -> Result<T>) -> Result<T> {
    let result = I::slot().with(|slot| match slot.0.try_borrow().as_deref() {
        Ok(Some(adapter)) => call(adapter),
        Ok(None) => Err(not_open()),
        Err(_) => Err(reentered()),
    });
    result.map_err(|error| error.while_trying(doing))
}

fn write<I: Instance, T>(doing: impl FnOnce() -> String, call: impl FnOnce(&mut I::Adapter) -> Result<T>) -> Result<T> {
    let result = I::slot().with(|slot| match slot.0.try_borrow_mut().as_deref_mut() {
        Ok(Some(adapter)) => call(adapter),
        Ok(None) => Err(not_open()),
        Err(_) => Err(reentered()),
    });
    result.map_err(|error| error.while_trying(doing))
}

fn not_open() -> Error {
    Error::invalid("the adapter was called before `open`")
}

fn reentered() -> Error {
    Error::other("the adapter was called while it was answering another call")
}

impl<I: Instance> lifecycle::Guest for I {
    fn open(config: Vec<(String, String)>) -> Result<AdapterInfo> {
        crate::logging::install();
        I::slot().with(|slot| {
            let mut slot = slot.0.try_borrow_mut().map_err(|_| reentered())?;
            if slot.is_some() {
                return Err(Error::invalid("the adapter is already open"));
            }
            let adapter = I::Adapter::open(&Config::new(config)).map_err(|error| error.while_trying(|| "open the adapter".to_owned()))?;
            let info = adapter.info();
            *slot = Some(adapter);
            Ok(info)
        })
    }

    fn health() -> Result<()> {
        read::<I, _>(|| "check the store".to_owned(), |adapter| adapter.health())
    }
}

impl<I: Instance> sessions::Guest for I {
    fn create_session(epoch: Epoch, session: SessionRecord) -> Result<()> {
        let id = session.id.clone();
        write::<I, _>(
            || format!("create session {id:?}"),
            |adapter| {
                check_number("epoch", epoch)?;
                check_session_id(&session.id)?;
                check_times([session.created_at, session.last_activity])?;
                adapter.create_session(epoch, session)
            },
        )
    }

    fn load_session(id: String) -> Result<Option<Snapshot>> {
        read::<I, _>(|| format!("load session {id:?}"), |adapter| adapter.load_session(&id))
    }

    fn update_session(epoch: Epoch, id: String, changes: SessionChanges) -> Result<()> {
        write::<I, _>(
            || format!("update session {id:?}"),
            |adapter| {
                check_number("epoch", epoch)?;
                check_times(changes.last_activity)?;
                adapter.update_session(epoch, &id, changes)
            },
        )
    }

    fn delete_session(epoch: Epoch, id: String) -> Result<()> {
        write::<I, _>(
            || format!("delete session {id:?}"),
            |adapter| {
                check_number("epoch", epoch)?;
                adapter.delete_session(epoch, &id)
            },
        )
    }

    fn list_sessions(cursor: Option<String>, limit: u32) -> Result<Page> {
        read::<I, _>(
            || "list sessions".to_owned(),
            |adapter| {
                if !(1..=MAX_LIST_SESSIONS).contains(&limit) {
                    return Err(Error::invalid(format!("the limit {limit} is not 1 to {MAX_LIST_SESSIONS}")));
                }
                adapter.list_sessions(cursor.as_deref(), limit)
            },
        )
    }
}

impl<I: Instance> streams::Guest for I {
    fn append(epoch: Epoch, session: String, stream: String, offset: u64, data: Vec<u8>) -> Result<u64> {
        write::<I, _>(
            || format!("append {} bytes at {offset} to stream {stream:?} of session {session:?}", data.len()),
            |adapter| {
                check_number("epoch", epoch)?;
                check_number("end of the append", offset.saturating_add(data.len() as u64))?;
                adapter.append(epoch, &session, &stream, offset, &data)
            },
        )
    }

    fn read(session: String, stream: String, offset: u64, max: u32) -> Result<Vec<u8>> {
        read::<I, _>(
            || format!("read {max} bytes at {offset} of stream {stream:?} of session {session:?}"),
            |adapter| {
                check_read(offset, max)?;
                adapter.read(&session, &stream, offset, max)
            },
        )
    }

    fn replace(epoch: Epoch, session: String, stream: String, data: Vec<u8>) -> Result<u64> {
        write::<I, _>(
            || format!("replace stream {stream:?} of session {session:?}"),
            |adapter| {
                check_number("epoch", epoch)?;
                adapter.replace(epoch, &session, &stream, data)
            },
        )
    }
}

impl<I: Instance> files::Guest for I {
    fn save_file(epoch: Epoch, session: String, file: FileInfo, content: Vec<u8>) -> Result<()> {
        let path = file.path.clone();
        write::<I, _>(
            || format!("save file {path:?} of session {session:?}"),
            |adapter| {
                check_number("epoch", epoch)?;
                check_number("size", file.size)?;
                check_times([file.created_at, file.modified_at])?;
                adapter.save_file(epoch, &session, file, content)
            },
        )
    }

    fn read_file(session: String, path: String, offset: u64, max: u32) -> Result<Vec<u8>> {
        read::<I, _>(
            || format!("read {max} bytes at {offset} of file {path:?} of session {session:?}"),
            |adapter| {
                check_read(offset, max)?;
                adapter.read_file(&session, &path, offset, max)
            },
        )
    }

    fn delete_file(epoch: Epoch, session: String, path: String) -> Result<()> {
        write::<I, _>(
            || format!("delete file {path:?} of session {session:?}"),
            |adapter| {
                check_number("epoch", epoch)?;
                adapter.delete_file(epoch, &session, &path)
            },
        )
    }
}

impl<I: Instance> profiles::Guest for I {
    fn list_profiles() -> Result<Vec<ProfileSummary>> {
        read::<I, _>(|| "list profiles".to_owned(), |adapter| adapter.list_profiles())
    }

    fn load_profile(id: String) -> Result<Option<String>> {
        read::<I, _>(|| format!("load profile {id:?}"), |adapter| adapter.load_profile(&id))
    }

    fn save_profile(profile: ProfileSummary, document: String) -> Result<()> {
        let id = profile.id.clone();
        write::<I, _>(|| format!("save profile {id:?}"), |adapter| adapter.save_profile(profile, document))
    }

    fn delete_profile(id: String) -> Result<()> {
        write::<I, _>(|| format!("delete profile {id:?}"), |adapter| adapter.delete_profile(&id))
    }
}

impl<I: Instance<Adapter: Leases>> leases::Guest for I {
    fn acquire(session: String, owner: Owner, ttl: u64) -> Result<Lease> {
        write::<I, _>(
            || format!("acquire the lease of session {session:?}"),
            |adapter| {
                check_ttl(ttl)?;
                adapter.acquire_lease(&session, owner, ttl)
            },
        )
    }

    fn renew(owner: String, ttl: u64, sessions: Vec<String>) -> Result<Vec<String>> {
        let count = sessions.len();
        write::<I, _>(
            || format!("renew the leases of {count} sessions"),
            |adapter| {
                check_ttl(ttl)?;
                if count > MAX_RENEW_SESSIONS {
                    return Err(Error::invalid(format!("one renewal may name {MAX_RENEW_SESSIONS} sessions")));
                }
                adapter.renew_leases(&owner, ttl, sessions)
            },
        )
    }

    fn release(session: String, owner: String) -> Result<()> {
        write::<I, _>(|| format!("release the lease of session {session:?}"), |adapter| adapter.release_lease(&session, &owner))
    }

    fn get(session: String) -> Result<Option<Lease>> {
        read::<I, _>(|| format!("look for the lease of session {session:?}"), |adapter| adapter.lease(&session))
    }
}

fn check_ttl(ttl: u64) -> Result<()> {
    if (1..=MAX_LEASE_MILLIS).contains(&ttl) {
        return Ok(());
    }
    Err(Error::invalid(format!("a lease of {ttl} ms was asked for; it is 1 to {MAX_LEASE_MILLIS}")))
}

fn check_read(offset: u64, max: u32) -> Result<()> {
    check_number("offset", offset)?;
    if max > MAX_READ_BYTES {
        return Err(Error::invalid(format!("{max} bytes are more than the {MAX_READ_BYTES} that one read may ask for")));
    }
    Ok(())
}

/// 1 to 128 characters out of `A-Z a-z 0-9 . _ -`, not beginning with a dot: what `types.wit` says.
fn check_session_id(id: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=128).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(allowed) {
        return Ok(());
    }
    Err(Error::invalid("a session id is 1 to 128 characters out of `A-Z a-z 0-9 . _ -` and does not begin with a dot"))
}
