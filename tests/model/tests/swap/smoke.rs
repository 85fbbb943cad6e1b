//! Nothing is tried in scratch sessions here.

use agent_host_session::id::SessionId;

pub(crate) fn is_scratch(_: &SessionId) -> bool {
    false
}
