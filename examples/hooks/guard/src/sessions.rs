//! What the policy needs of sessions.

use agent_host_hook::{Result, control};

/// Sessions, as far as the policy has to do with them. Tests have others than the host's.
pub(crate) trait Sessions {
    fn state(&self, session: &str) -> Result<State>;
    fn interrupt(&self, session: &str) -> Result<bool>;
    fn set_metadata(&self, session: &str, key: &str, value: &str) -> Result<()>;
    fn note(&self, session: &str, text: &str) -> Result<()>;
}

/// A session as it is now.
pub(crate) struct State {
    /// A JSON object.
    pub(crate) metadata: String,
    pub(crate) is_running: bool,
}

/// Those of the host.
pub(crate) struct Host;

impl Sessions for Host {
    fn state(&self, session: &str) -> Result<State> {
        let control::SessionState { metadata, is_running, .. } = control::get_session(session)?;
        Ok(State { metadata, is_running })
    }

    fn interrupt(&self, session: &str) -> Result<bool> {
        control::interrupt(session)
    }

    fn set_metadata(&self, session: &str, key: &str, value: &str) -> Result<()> {
        control::set_metadata(session, key, value)
    }

    fn note(&self, session: &str, text: &str) -> Result<()> {
        control::note(session, text)
    }
}
