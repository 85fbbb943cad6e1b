//! What an earlier process of the host has left at Modal: it is taken up by its session, or ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use agent_host_modal::{Command, Error, Exit, Listed, Sandbox, SandboxFilter};
use agent_host_session::id::SessionId;
use agent_host_session::ports::sandbox::Spec;
use futures_util::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::keeper::Hold;
use super::provider::Inner;
use super::sandbox::{LAID_DOWN, ModalSandbox};
use super::tags::{self, Shape};
use super::watch::Watch;
use super::{Options, process};

/// How long the first sandbox waits until what was left is known.
const FIRST_LOOK: Duration = Duration::from_secs(15);

/// How many sandboxes are asked at once.
const AT_ONCE: usize = 16;

/// Says whether the session's files are all there.
const IS_LAID_DOWN: &str = r#"[ -e "$1" ] || exit 66"#;
const NOT_LAID_DOWN: Exit = Exit::Code(66);

/// Sandboxes that nobody uses, by the session that they were made for: the newest first.
#[derive(Debug, Default)]
pub(super) struct Left {
    by_session: Mutex<BTreeMap<SessionId, Vec<Listed>>>,
    was_looked_at: watch::Sender<bool>,
}

impl Inner {
    /// Looks at all sandboxes of the host, once: ends those that nobody needs, and remembers those that their sessions may take up. Gives the ids of those that run.
    pub(super) async fn look_for_left(&self) -> Result<BTreeSet<String>, Error> {
        let found = self.find_left().await;
        // If it cannot be known, sessions do not wait for it.
        self.left.was_looked_at.send_replace(true);
        found
    }

    async fn find_left(&self) -> Result<BTreeSet<String>, Error> {
        let Options { host, process, orphan_grace, .. } = &self.options;
        let filter = SandboxFilter::new().tag(tags::HOST, host.as_str());
        let listed: Vec<Listed> = Sandbox::list(self.app().await?, &filter).try_collect().await?;
        let ids = listed.iter().map(|listed| listed.sandbox.id().to_owned()).collect();
        let (mut new, mut ended) = (Vec::new(), Vec::new());
        {
            let mut left = self.left.by_session.lock();
            let known: BTreeSet<String> = left.values().flatten().map(|listed| listed.sandbox.id().to_owned()).collect();
            for listed in listed.into_iter().filter(|listed| !self.keeper.is_held(&listed.sandbox)) {
                let is_old = self.begun.elapsed() >= *orphan_grace && listed.created_at.elapsed().is_ok_and(|age| age >= *orphan_grace);
                let session = listed.tags.get(tags::SESSION).and_then(|session| SessionId::new(session.as_str()).ok());
                let is_another_process = listed.tags.get(tags::PROCESS) != Some(process);
                match session {
                    _ if is_old => ended.push(listed),
                    // One of this process is being made, or ended.
                    _ if !is_another_process => {}
                    None => ended.push(listed),
                    Some(_) if known.contains(listed.sandbox.id()) => {}
                    Some(session) => {
                        new.push(listed.sandbox.clone());
                        left.entry(session).or_default().push(listed);
                    }
                }
            }
            let ends = |listed: &Listed| ended.iter().any(|ended| ended.sandbox.id() == listed.sandbox.id());
            left.retain(|_, waiting| {
                waiting.retain(|listed| !ends(listed));
                !waiting.is_empty()
            });
        }
        // An agent without a host works for nobody.
        futures_util::stream::iter(&new).for_each_concurrent(AT_ONCE, silence).await;
        for Listed { sandbox, tags, .. } in ended {
            let (id, session) = (sandbox.id(), tags.get(tags::SESSION));
            tracing::info!(sandbox = id, session, "a sandbox that no session uses is terminated");
            match sandbox.terminate().await {
                Ok(()) | Err(Error::NotFound { .. } | Error::Ended { .. }) => {}
                Err(error) => tracing::warn!(sandbox = id, %error, "it could not be terminated, which is tried again"),
            }
        }
        Ok(ids)
    }

    /// The sandbox that an earlier process has left for this session, if it is like the one that would be made.
    pub(super) async fn adopt(&self, spec: &Spec, shape: &Shape) -> Option<ModalSandbox> {
        let mut looked = self.left.was_looked_at.subscribe();
        let _ = tokio::time::timeout(FIRST_LOOK, looked.wait_for(|looked| *looked)).await;
        let waiting: Vec<(Listed, Hold)> = {
            // From the moment when one is not waiting any more it is held: between the two it would be ended as one that nobody has.
            let mut left = self.left.by_session.lock();
            left.remove(&spec.session)?
                .into_iter()
                .map(|listed| (self.keeper.hold(&listed.sandbox), listed))
                .map(|(hold, listed)| (listed, hold))
                .collect()
        };
        let mut adopted = None;
        for (Listed { sandbox, tags, .. }, hold) in waiting {
            if adopted.is_none() && shape.is_of(&tags) {
                match self.take_up(&sandbox, spec, shape).await {
                    Ok(Some(watch)) => {
                        tracing::info!(session = %spec.session, sandbox = sandbox.id(), "a sandbox that an earlier process left is taken up");
                        adopted = Some(ModalSandbox::adopted(sandbox, watch, hold));
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::info!(session = %spec.session, sandbox = sandbox.id(), %error, "a sandbox that was left cannot be taken up")
                    }
                }
            }
            self.keeper.terminate_later(sandbox);
        }
        adopted
    }

    /// Makes a sandbox that was left this process's own; `None` if its session's files were never all there.
    async fn take_up(&self, sandbox: &Sandbox, spec: &Spec, shape: &Shape) -> Result<Option<Watch>, Error> {
        let look = Command::new("sh").args(["-c", IS_LAID_DOWN, "sh", LAID_DOWN]);
        let there = async { sandbox.exec(&look).await?.finish().await };
        if there.await?.exit == NOT_LAID_DOWN {
            return Ok(None);
        }
        process::end_all(sandbox).await?;
        sandbox.set_tags(&tags::tags(&self.options, shape, Some(spec))).await?;
        let watch = Watch::start(sandbox, self.ignore.clone()).await?;
        watch.compare(&spec.files).await?;
        Ok(Some(watch))
    }
}

/// Ends the programs in a sandbox. One that cannot be reached is ended when its time has come.
async fn silence(sandbox: &Sandbox) {
    if let Err(error) = process::end_all(sandbox).await {
        tracing::debug!(sandbox = sandbox.id(), %error, "the programs of a sandbox that was left could not be ended");
    }
}
