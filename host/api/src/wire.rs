//! What clients get as JSON besides the events of sessions: sessions in lists, and the other frames of a WebSocket. Field names are those that clients of the
//! earlier system expect.

use agent_host_session::event::Runtime;
use agent_host_session::id::{ProfileId, SessionId};
use agent_host_session::manager::Listed;
use agent_host_session::origin::Origin;
use agent_host_session::record::SessionRecord;
use agent_host_session::time::Timestamp;
use serde::Serialize;

use crate::problem::Problem;

/// A value as JSON text.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| {
        // Only a map with keys that are not text could fail here, and there is none.
        tracing::error!(%error, "failed to write JSON");
        "null".to_owned()
    })
}

/// A frame to a WebSocket client that is no event of a session.
#[derive(Serialize)]
struct Frame<'a, T> {
    event: &'a str,
    data: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a SessionId>,
    code: &'a str,
    message: &'a str,
}

/// A frame that is no event of a session.
pub(crate) fn frame(event: &str, data: &impl Serialize) -> String {
    json(&Frame { event, data })
}

/// An `error` frame.
pub(crate) fn error_frame(session: Option<&SessionId>, code: &str, message: &str) -> String {
    frame("error", &Failed { session_id: session, code, message })
}

/// An `error` frame about a problem.
pub(crate) fn problem_frame(session: Option<&SessionId>, problem: &Problem) -> String {
    error_frame(session, problem.code().as_str(), problem.detail())
}

/// A session as lists show it. Options are not in it, so that a list of 1,000 stays small whatever they hold.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedSession<'a> {
    session_id: &'a SessionId,
    r#type: &'a str,
    agent_profile_reference: &'a ProfileId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    created_at: Timestamp,
    last_activity: Timestamp,
    runtime: &'a Runtime,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a Origin>,
}

impl<'a> From<&'a Listed> for ListedSession<'a> {
    fn from(listed: &'a Listed) -> Self {
        let SessionRecord { id, created_at, last_activity, profile, architecture, name, options: _, origin } = &listed.record;
        Self {
            session_id: id,
            r#type: architecture,
            agent_profile_reference: profile,
            name: name.as_deref(),
            created_at: *created_at,
            last_activity: *last_activity,
            runtime: &listed.runtime,
            origin: origin.as_ref(),
        }
    }
}

/// A page of the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListPage<'a> {
    pub(crate) sessions: Vec<ListedSession<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<&'a str>,
}

/// What changed in the list.
#[derive(Serialize)]
pub(crate) struct ListChanges<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) changed: Vec<ListedSession<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) deleted: Vec<&'a SessionId>,
}

#[cfg(test)]
mod tests;
