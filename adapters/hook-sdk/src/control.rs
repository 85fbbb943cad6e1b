//! What a hook may do to sessions.
//!
//! A call waits for the host, and counts as the hook's own time. [`Error::Unavailable`](crate::Error::Unavailable) is worth another try: an event comes
//! again when [`Hook::on_events`](crate::Hook::on_events) answers with an error.

pub use crate::bindings::agent_host::hooks::session_control::{
    SessionState, emit, get_session, interrupt, note, send_message, set_metadata,
};
