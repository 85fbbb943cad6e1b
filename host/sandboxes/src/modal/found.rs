//! What an operator sees of the sandboxes at Modal, whether the host runs or not.

use std::time::SystemTime;

use agent_host_modal::{Client, Error, Listed, Sandbox, SandboxFilter};
use futures_util::TryStreamExt as _;

use super::tags;
use crate::Found;

/// The sandboxes that run in an app and were made by a host: this one, or any if it is not said; the newest first.
///
/// # Errors
/// Those of Modal. That there is no such app is none.
pub async fn find(client: &Client, app: &str, host: Option<&str>) -> Result<Vec<Found>, Error> {
    let app = match client.app(app).get().await {
        Err(Error::NotFound { .. }) => return Ok(Vec::new()),
        app => app?,
    };
    let filter = host.map_or_else(SandboxFilter::new, |host| SandboxFilter::new().tag(tags::HOST, host));
    Sandbox::list(&app, &filter).try_filter_map(|listed| async { Ok(found(listed)) }).try_collect().await
}

/// `None` if no host has made it.
fn found(listed: Listed) -> Option<Found> {
    let Listed { sandbox, created_at, mut tags, .. } = listed;
    Some(Found {
        id: sandbox.id().to_owned(),
        host: tags.remove(tags::HOST)?,
        process: tags.remove(tags::PROCESS),
        session: tags.remove(tags::SESSION),
        epoch: tags.remove(tags::EPOCH).and_then(|epoch| epoch.parse().ok()),
        age: SystemTime::now().duration_since(created_at).unwrap_or_default(),
    })
}

/// Terminates a sandbox, if its tags do not say that this process uses it; whether it was terminated. That it has ended already is a success.
///
/// # Errors
/// Those of Modal.
pub async fn end_unless_used(client: &Client, id: &str, process: Option<&str>) -> Result<bool, Error> {
    let terminated = async {
        let sandbox = Sandbox::from_id(client, id).await?;
        if process.is_some() && sandbox.tags().await?.get(tags::PROCESS).map(String::as_str) == process {
            return Ok(false);
        }
        sandbox.terminate().await.map(|()| true)
    };
    match terminated.await {
        Err(Error::NotFound { .. } | Error::Ended { .. }) => Ok(true),
        terminated => terminated,
    }
}
