//! Which sandboxes there are.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use super::{Sandbox, end, options};
use crate::client::{CallOptions, rpc};
use crate::proto::client::{SandboxInfo, SandboxListRequest};
use crate::{App, Client, End, Error};

/// Which sandboxes of an app are listed.
#[derive(Clone, Debug, Default)]
pub struct SandboxFilter {
    tags: BTreeMap<String, String>,
    include_finished: bool,
}

/// A sandbox in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Itself.
    pub sandbox: Sandbox,
    /// When it was created.
    pub created_at: SystemTime,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// How it ended, if it has.
    pub end: Option<End>,
}

impl SandboxFilter {
    /// All that run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only those with this tag, and all others that are named.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Those that have ended, too.
    #[must_use]
    pub fn include_finished(mut self) -> Self {
        self.include_finished = true;
        self
    }
}

impl Sandbox {
    /// The sandboxes of an app, the newest first. A page is asked for when the one before was taken.
    pub fn list(app: &App, filter: &SandboxFilter) -> BoxStream<'static, Result<Listed, Error>> {
        const DOING: &str = "listing sandboxes";
        let client = app.client().clone();
        let first = SandboxListRequest {
            app_id: app.id().to_owned(),
            before_timestamp: 0.0,
            environment_name: client.config().environment.clone(),
            include_finished: filter.include_finished,
            tags: options::tags(&filter.tags),
        };
        let page = move |request: Option<SandboxListRequest>| {
            let client = client.clone();
            async move {
                let Some(request) = request else { return Ok(None) };
                let found = client.call(DOING, CallOptions::default(), request.clone(), rpc!(sandbox_list_v2)).await?.sandboxes;
                let oldest = found.last().map(|info| info.created_at);
                // A page that leads nowhere would be asked for again for ever.
                let next = oldest.filter(|oldest| request.before_timestamp == 0.0 || *oldest < request.before_timestamp);
                let next = next.map(|before_timestamp| SandboxListRequest { before_timestamp, ..request });
                let listed: Vec<_> = found.into_iter().map(|info| Ok::<_, Error>(listed(&client, info))).collect();
                Ok::<_, Error>(Some((stream::iter(listed), next)))
            }
        };
        stream::try_unfold(Some(first), page).try_flatten().boxed()
    }
}

fn listed(client: &Client, info: SandboxInfo) -> Listed {
    Listed {
        created_at: UNIX_EPOCH + Duration::try_from_secs_f64(info.created_at).unwrap_or_default(),
        name: Some(info.name).filter(|name| !name.is_empty()),
        tags: info.tags.into_iter().map(|tag| (tag.tag_name, tag.tag_value)).collect(),
        end: info.task_info.and_then(|task| task.result).as_ref().and_then(end),
        sandbox: Sandbox::of(client.clone(), info.id, None, None),
    }
}
