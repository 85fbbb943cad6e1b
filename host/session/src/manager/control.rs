//! What hooks may do to sessions, besides sending messages and interrupting turns.

use serde_json::{Map, Value};

use super::{Error, Manager, SessionState};
use crate::event::{Event, json_weight};
use crate::id::SessionId;
use crate::metadata::OfHooks;
use crate::task::Command;

/// The longest name of an event or key of metadata, in bytes: long enough for any naming scheme.
const NAME_BYTES: usize = 128;

/// The largest data of an event, in bytes. It goes to each subscriber and stays in the log like any other event.
const EVENT_BYTES: usize = 64 * 1024;

/// The longest note, in bytes: a text for people.
const NOTE_BYTES: usize = 64 * 1024;

impl Manager {
    /// A session's row, metadata, and whether a turn runs.
    ///
    /// # Errors
    /// If there is no such session, or the store fails.
    pub async fn state(&self, id: &SessionId) -> Result<SessionState, Error> {
        self.look(id, |reply| Command::State { reply }, |loaded| (&loaded.state).into()).await
    }

    /// Puts a value into a session's metadata, among those of the hook; `null` removes it. It is stored when this returns.
    ///
    /// # Errors
    /// If there is no such session, the key is empty or too long, all hooks together would keep more than [`HOOKS_BYTES`](crate::metadata::HOOKS_BYTES), or the store fails.
    pub async fn set_metadata(&self, id: &SessionId, hook: &str, key: &str, value: Value) -> Result<(), Error> {
        check_size("the key", key.len(), NAME_BYTES)?;
        if key.is_empty() {
            return Err(Error::Invalid("the key is empty".to_owned()));
        }
        let update = OfHooks::from([(hook.to_owned(), Map::from_iter([(key.to_owned(), value)]))]);
        self.ask(id, |reply| Command::SetMetadata { update: update.clone(), reply }).await
    }

    /// Adds a `system` block to a session's conversation, in the name of a hook. It is stored when this returns.
    ///
    /// # Errors
    /// If there is no such session, the text is empty or too long, or the store fails.
    pub async fn note(&self, id: &SessionId, hook: &str, text: &str) -> Result<(), Error> {
        check_size("the note", text.len(), NOTE_BYTES)?;
        if text.trim().is_empty() {
            return Err(Error::Invalid("the note is empty".to_owned()));
        }
        self.ask(id, |reply| Command::Note { hook: hook.to_owned(), text: text.to_owned(), reply }).await
    }

    /// Tells a session's subscribers, hooks included, an event `hook:HOOK:NAME`. It is not stored.
    ///
    /// # Errors
    /// If there is no such session, the name is not 1 to 128 characters out of `A-Z a-z 0-9 . _ - :`, the data is too large, or the store fails.
    pub async fn emit(&self, id: &SessionId, hook: &str, name: &str, data: Value) -> Result<(), Error> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':');
        check_size("the event's name", name.len(), NAME_BYTES)?;
        if name.is_empty() || !name.bytes().all(is_allowed) {
            return Err(Error::Invalid(format!("the event's name {name:?} must be of letters, digits, '.', '_', '-' and ':'")));
        }
        check_size("the event's data", json_weight(&data), EVENT_BYTES)?;
        let event = Event::Emitted { name: format!("hook:{hook}:{name}"), data };
        self.ask(id, |reply| Command::Tell { event: event.clone(), reply }).await
    }
}

fn check_size(what: &'static str, size: usize, limit: usize) -> Result<(), Error> {
    if size > limit { Err(Error::TooLarge { what, size, limit }) } else { Ok(()) }
}
