//! What an earlier process of the host has left at Modal: it is taken up by its session, or ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use agent_host_modal::{Command, Error, Exit, Listed, Sandbox, SandboxFilter};
use agent_host_session::id::{Epoch, SessionId};
use agent_host_session::ports::sandbox::Spec;
use futures_util::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::keeper::Hold;
use super::provider::Inner;
use super::sandbox::{LAID_DOWN, ModalSandbox};
use super::tags::{self, Shape};
use super::watch::Watch;
use super::{Options, helper, process};

/// How long the first sandbox waits until what was left is known.
const FIRST_LOOK: Duration = Duration::from_secs(15);

/// How long it may take to end the programs in one that was left.
const SILENCE: Duration = Duration::from_secs(10);

/// How many sandboxes are asked at once.
const AT_ONCE: usize = 16;

/// How often taking one up is tried, and the pause between.
const TAKE_UP_TRIES: usize = 3;
const TAKE_UP_PAUSE: Duration = Duration::from_secs(1);

/// Says whether a session's files are all there.
const IS_LAID_DOWN: &str = r#"[ -e "$1" ] || exit 66"#;
const NOT_LAID_DOWN: Exit = Exit::Code(66);

/// What was left.
#[derive(Debug, Default)]
pub(super) struct Left {
    state: Mutex<State>,
    was_looked_at: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    /// By the session that they were made for.
    waiting: BTreeMap<SessionId, Vec<Listed>>,
    /// Sessions that got a sandbox of this process: whatever else is found of them is older than what is stored.
    served: BTreeSet<SessionId>,
}

/// What becomes of a sandbox that nobody uses.
enum Fate {
    /// It is this process's, and being made or ended.
    Own,
    /// It waits for its session already.
    Waits,
    /// Its session may take it up.
    Left(SessionId),
    /// Nobody needs it.
    Ends,
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
        let filter = SandboxFilter::new().tag(tags::HOST, self.options.host.as_str());
        let listed: Vec<Listed> = Sandbox::list(self.app().await?, &filter).try_collect().await?;
        let running: BTreeSet<String> = listed.iter().map(|listed| listed.sandbox.id().to_owned()).collect();
        let (mut found, mut ended) = (Vec::new(), Vec::new());
        {
            let mut state = self.left.state.lock();
            let known: BTreeSet<String> = state.waiting.values().flatten().map(|listed| listed.sandbox.id().to_owned()).collect();
            for listed in listed.into_iter().filter(|listed| !self.keeper.is_held(&listed.sandbox)) {
                match self.fate(&listed, known.contains(listed.sandbox.id()), &state.served) {
                    Fate::Own | Fate::Waits => {}
                    Fate::Left(session) => found.push((session, listed)),
                    Fate::Ends => ended.push(listed),
                }
            }
            let ends = |listed: &Listed| ended.iter().any(|ended| ended.sandbox.id() == listed.sandbox.id());
            state.waiting.retain(|_, waiting| {
                waiting.retain(|listed| running.contains(listed.sandbox.id()) && !ends(listed));
                !waiting.is_empty()
            });
        }
        // An agent without a host works for nobody. Nothing is taken up before it has ended.
        let silenced = futures_util::stream::iter(found).map(async |(session, listed)| {
            silence(&listed.sandbox).await;
            (session, listed)
        });
        let silenced: Vec<(SessionId, Listed)> = silenced.buffer_unordered(AT_ONCE).collect().await;
        {
            let mut state = self.left.state.lock();
            for (session, listed) in silenced {
                if state.served.contains(&session) {
                    ended.push(listed);
                } else {
                    state.waiting.entry(session).or_default().push(listed);
                }
            }
        }
        for Listed { sandbox, tags, .. } in ended {
            tracing::info!(sandbox = sandbox.id(), session = tags.get(tags::SESSION), "a sandbox that no session uses is terminated");
            self.keeper.terminate_later(sandbox);
        }
        Ok(running)
    }

    fn fate(&self, listed: &Listed, is_known: bool, served: &BTreeSet<SessionId>) -> Fate {
        let Options { process, orphan_grace, .. } = &self.options;
        let is_old = self.begun.elapsed() >= *orphan_grace && listed.created_at.elapsed().is_ok_and(|age| age >= *orphan_grace);
        let session = listed.tags.get(tags::SESSION).and_then(|session| SessionId::new(session.as_str()).ok());
        match session {
            _ if is_old => Fate::Ends,
            _ if listed.tags.get(tags::PROCESS) == Some(process) => Fate::Own,
            Some(session) if !served.contains(&session) => {
                if is_known {
                    Fate::Waits
                } else {
                    Fate::Left(session)
                }
            }
            _ => Fate::Ends,
        }
    }

    /// The sandbox that an earlier process has left for this session, if nothing was written for the session since, and it is like the one that would be made.
    pub(super) async fn adopt(&self, spec: &Spec, shape: &Shape) -> Option<ModalSandbox> {
        self.first_look().await;
        let mut waiting: Vec<(Listed, Hold)> = {
            // From the moment when one is not waiting any more it is held: between the two it would be ended as one that nobody has.
            let mut state = self.left.state.lock();
            state.served.insert(spec.session.clone());
            let waiting = state.waiting.remove(&spec.session)?.into_iter();
            waiting.map(|listed| (self.keeper.hold(&listed.sandbox), listed)).map(|(hold, listed)| (listed, hold)).collect()
        };
        waiting.sort_by_key(|(listed, _)| listed.created_at);
        let newest = waiting.pop();
        waiting.into_iter().for_each(|(listed, _)| self.keeper.terminate_later(listed.sandbox));
        let (Listed { sandbox, tags, .. }, hold) = newest?;
        // The store has not seen another writer since: what the sandbox has is what is stored, or newer.
        let is_latest = tags.get(tags::EPOCH).and_then(|epoch| epoch.parse::<u64>().ok()).is_some_and(|epoch| spec.is_latest(Epoch(epoch)));
        if is_latest && shape.is_of(&tags) {
            match self.take_up(&sandbox, spec, shape).await {
                Ok(Some(watch)) => {
                    tracing::info!(session = %spec.session, sandbox = sandbox.id(), "a sandbox that an earlier process left is taken up");
                    return Some(ModalSandbox::adopted(sandbox, watch, hold));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(session = %spec.session, sandbox = sandbox.id(), %error, "a sandbox that was left cannot be taken up")
                }
            }
        }
        self.keeper.terminate_later(sandbox);
        None
    }

    /// Whether it is known that an earlier process has left a sandbox for a session.
    pub(super) fn is_known_to_have_left(&self, session: &SessionId) -> bool {
        self.left.state.lock().waiting.contains_key(session)
    }

    /// Whether an earlier process has left a sandbox for a session.
    pub(super) async fn has_left(&self, session: &SessionId) -> bool {
        self.first_look().await;
        self.left.state.lock().waiting.contains_key(session)
    }

    async fn first_look(&self) {
        let mut looked = self.left.was_looked_at.subscribe();
        // Whatever comes of the look is said.
        let _ = tokio::time::timeout(FIRST_LOOK, looked.wait_for(|looked| *looked)).await;
    }

    async fn take_up(&self, sandbox: &Sandbox, spec: &Spec, shape: &Shape) -> Result<Option<Watch>, Error> {
        for _ in 1..TAKE_UP_TRIES {
            match self.try_take_up(sandbox, spec, shape).await {
                Err(Error::Unavailable { .. }) => tokio::time::sleep(TAKE_UP_PAUSE).await,
                taken_up => return taken_up,
            }
        }
        self.try_take_up(sandbox, spec, shape).await
    }

    /// Makes a sandbox that was left this process's own; `None` if its session's files were never all there.
    async fn try_take_up(&self, sandbox: &Sandbox, spec: &Spec, shape: &Shape) -> Result<Option<Watch>, Error> {
        const DOING: &str = "looking for the files of a session";
        let look = Command::new("sh").args(["-c", IS_LAID_DOWN, "sh", LAID_DOWN]);
        let looked = helper::ask(sandbox, DOING, look, Vec::new(), 0).await?;
        if looked.exit == NOT_LAID_DOWN {
            return Ok(None);
        }
        helper::check(DOING, looked)?;
        process::end_all(sandbox).await?;
        sandbox.set_tags(&tags::tags(&self.options, shape, Some(spec))).await?;
        let watch = Watch::start(sandbox, self.ignore.clone()).await?;
        watch.compare(&spec.files).await?;
        Ok(Some(watch))
    }
}

/// Ends the programs in a sandbox. One in which they cannot be ended will not be taken up.
async fn silence(sandbox: &Sandbox) {
    let ended = tokio::time::timeout(SILENCE, process::end_all(sandbox)).await;
    if let Ok(Err(error)) = ended {
        tracing::debug!(sandbox = sandbox.id(), %error, "the programs of a sandbox that was left could not be ended");
    }
}
