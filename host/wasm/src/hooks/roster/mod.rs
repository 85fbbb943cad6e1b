//! The hooks of a running host: which there are and in which order, and how they come, go and change while sessions go on.
//!
//! ```text
//! read ─ compile ─ open ─ remember ─ publish ─ events go to the new one, from where the one before was
//! ```
//!
//! A hook that is added, replaced or removed by an operator stays so over a restart, unless the configuration is to win. One that is disabled is not asked, and its
//! events wait for it. Whatever goes wrong before a hook is published leaves the one before it at work.

mod change;
mod probation;
mod seat;
mod state;
mod status;

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::change::{HookReport, HookRequest};
pub use self::state::Record;
use self::state::{Entry, State};
pub use self::status::{CandidateStatus, HookStatus, HooksStatus};
use super::control::Control;
use super::delivery::{Delivery, DeliveryOptions, Target};
use super::hook::Hook;
use super::list::{Hooks, Sink};
use super::spool::{self, Begin, Spool};
use super::start::{HookOptions, Name, StartError};
use crate::component::{LoadError, Source};
use crate::engine::Engine;
use crate::exchange::{self, Change, History, Origin, Plan, Settings, Shelf, ShelfError, Watch, WatchError};

/// A hook that is configured.
#[derive(Clone, Debug)]
pub struct Configured {
    /// Its name.
    pub name: Name,
    /// Its component.
    pub source: Source,
    /// Whether it is enabled, unless an operator says something else.
    pub is_enabled: bool,
    /// Where it begins when it is there for the first time.
    pub begin: Begin,
}

/// What the configuration says of hooks, and what it makes of what others say.
#[async_trait]
pub trait Configuration: Send + Sync + 'static {
    /// The hooks that are configured, in the order in which they are asked. No name is there twice.
    fn hooks(&self) -> Vec<Configured>;

    /// How the hook of this name is run by this plan.
    ///
    /// # Errors
    /// Names the key that is wrong.
    async fn options(&self, name: &Name, plan: &Plan) -> Result<(HookOptions, DeliveryOptions), String>;
}

/// Why the hooks cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is remembered cannot be read or written.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The events on disk cannot be used.
    #[error(transparent)]
    Spool(#[from] spool::Error),
    /// A hook cannot be started. The host does not start without it: it may be what keeps agents from doing harm.
    #[error("the event hook {name:?} cannot be started: {reason}{hint}")]
    Hook {
        /// Which one.
        name: String,
        /// Why.
        reason: String,
        /// What can be done about one that an operator added.
        hint: &'static str,
    },
}

/// What can be done about a hook that is not the configured one.
const HINT: &str = "; it was put in by an operator: to start with the configured hooks only, --components.on-start=configured";

/// A hook in its place, running or not.
struct Member {
    name: Name,
    /// `None` while it is disabled.
    running: Option<Running>,
}

/// A hook at work.
struct Running {
    hook: Arc<Hook>,
    options: DeliveryOptions,
    /// `None` before sessions are connected, and for a hook that wants no events.
    delivery: Option<Delivery>,
    /// Ends the watch over a hook that took another one's place a short while ago.
    probation: Option<DropGuard>,
}

/// What a candidate becomes.
struct Started {
    hook: Arc<Hook>,
    options: DeliveryOptions,
}

/// The hooks of a host.
pub struct Roster {
    engine: Engine,
    configuration: Arc<dyn Configuration>,
    settings: Settings,
    shelf: Shelf,
    spool: Spool,
    hooks: Arc<Hooks>,
    /// Held while a component is made ready.
    preparing: tokio::sync::Mutex<()>,
    /// Held while something changes: one thing at a time.
    exchange: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// In the order in which they are asked.
    members: Mutex<Vec<Member>>,
    candidate: Mutex<Option<CandidateStatus>>,
    history: History,
    /// Cancelled when deliveries may begin.
    connected: CancellationToken,
    shutdown: CancellationToken,
}

impl Roster {
    /// Starts the hooks that are configured, and those that were added. `directory` is where components are remembered; it is made if need be. They decide when this
    /// returns, and are told of events when they are [connected](Self::connect).
    ///
    /// # Errors
    /// [`Error`] says which hook cannot be started, and why.
    pub async fn start(
        engine: Engine,
        configuration: Arc<dyn Configuration>,
        directory: PathBuf,
        spool: Spool,
        settings: Settings,
    ) -> Result<Arc<Self>, Error> {
        let shelf = Shelf::open(directory)?;
        let configured = configuration.hooks();
        let digests = keep_configured(&shelf, &configured)?;
        let state = shelf.state::<State>()?.merge(&configured, &digests, settings.on_start);
        let hooks = Hooks::new(Arc::new(spool.clone()) as Arc<dyn Sink>);
        let roster = Self {
            engine,
            configuration,
            settings,
            shelf,
            spool,
            hooks,
            preparing: tokio::sync::Mutex::new(()),
            exchange: tokio::sync::Mutex::new(()),
            state: Mutex::default(),
            members: Mutex::default(),
            candidate: Mutex::default(),
            history: History::default(),
            connected: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        };
        let state = roster.start_all(state).await?;
        roster.shelf.keep_aside(&state).await?;
        *roster.state.lock() = state;
        // Not before: a start that fails costs no hook what waits for it.
        roster.take_places().await?;
        roster.publish();
        Ok(Arc::new(roster))
    }

    async fn start_all(&self, mut state: State) -> Result<State, Error> {
        for entry in &state.hooks {
            let is_configured = entry.record.plan.origin == Origin::Configured;
            if entry.removed {
                tracing::warn!(hook = entry.name, "a configured event hook does not run: an operator removed it (components.on_start)");
            } else if !self.is_enabled(entry) {
                tracing::warn!(hook = entry.name, "an event hook does not run: it is disabled");
            } else if !is_configured {
                let (called, version) = (&entry.record.called, &entry.record.version);
                tracing::info!(
                    hook = entry.name,
                    called,
                    version,
                    "an event hook is the one that an operator put there (components.on_start)"
                );
            }
        }
        for entry in state.hooks.iter_mut().filter(|entry| !entry.removed) {
            let plan = &entry.record.plan;
            let hint = if plan.origin == Origin::Configured { "" } else { HINT };
            let failed = |reason: String| Error::Hook { name: entry.name.clone(), reason, hint };
            let name = Name::new(entry.name.clone()).map_err(|error| failed(error.to_string()))?;
            let mut running = None;
            if self.is_enabled(entry) {
                self.shelf.get(&entry.record.digest).map_err(|error| failed(error.to_string()))?;
                let started = self.start_kept(&name, plan, &entry.record.digest).await.map_err(|error| failed(error.to_string()))?;
                entry.record.describe(&started.hook);
                running = Some(Running { hook: started.hook, options: started.options, delivery: None, probation: None });
            }
            self.members.lock().push(Member { name, running });
        }
        Ok(state)
    }

    /// Has events stored for the hooks that want some, and none for the others.
    async fn take_places(&self) -> Result<(), Error> {
        let (known, running): (Vec<Name>, Vec<Arc<Hook>>) = {
            let members = self.members.lock();
            let running = members.iter().filter_map(|member| Some(Arc::clone(&member.running.as_ref()?.hook)));
            (members.iter().map(|member| member.name.clone()).collect(), running.collect())
        };
        for name in self.spool.backlogs().into_keys().filter(|name| known.iter().all(|known| known.as_str() != name)) {
            tracing::info!(hook = name, "an event hook is gone, and with it the events that waited for it");
            self.spool.remove(&name).await?;
        }
        for hook in running {
            let name = hook.name();
            if hook.info().events.is_empty() {
                self.spool.remove(name.as_str()).await?;
                continue;
            }
            // It was to be replaced by one that wants other events when the host ended.
            if self.spool.interests_before(name.as_str()).is_some_and(|before| *before == *hook.interests()) {
                self.spool.restore(name.as_str()).await?;
            }
            self.spool.add(hook.interests().clone(), self.begin(name)).await?;
            self.spool.settle(name.as_str()).await?;
        }
        Ok(())
    }

    /// What sessions ask and tell.
    pub fn hooks(&self) -> Arc<Hooks> {
        Arc::clone(&self.hooks)
    }

    /// Connects the hooks with sessions, and begins to tell them of events. Their work on sessions is done on the threads of the caller.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(&self, control: Weak<dyn Control>) {
        self.hooks.connect(control);
        self.connected.cancel();
        let names: Vec<Name> = self.members.lock().iter().map(|member| member.name.clone()).collect();
        for name in names {
            self.begin_delivery(&name);
        }
    }

    /// Swaps a configured hook's component in whenever its file changes, as long as the result lives. A change that is refused leaves the present one at work, and
    /// the log says why.
    ///
    /// # Errors
    /// If a file's directory cannot be watched.
    pub fn watch(self: &Arc<Self>) -> Result<Vec<Watch>, WatchError> {
        let file = |hook: Configured| match hook.source {
            Source::File(path) => Some((hook.name, path)),
            Source::Builtin(_) | Source::Kept { .. } => None,
        };
        let watch = |(name, path): (Name, PathBuf)| {
            let roster = Arc::downgrade(self);
            let in_force = {
                let state = self.state.lock();
                let configured = |entry: &&Entry| entry.record.plan.origin == Origin::Configured && !entry.removed;
                state.entry(name.as_str()).filter(configured).map(|entry| entry.record.digest.clone())
            };
            exchange::watch(&path, in_force, move |digest| {
                let (roster, name) = (roster.upgrade(), name.clone());
                async move {
                    let Some(roster) = roster else { return Change::Gone };
                    roster.follow_file(&name, &digest).await
                }
            })
        };
        self.configuration.hooks().into_iter().filter_map(file).map(watch).collect()
    }

    /// Stops telling hooks of events, and ends them. What they were not told of waits for the next start.
    pub async fn shutdown(&self, deadline: Duration) {
        // No change begins any more; one that is under way gets as long as the rest.
        self.shutdown.cancel();
        let exchange = tokio::time::timeout(deadline, self.exchange.lock()).await;
        if exchange.is_err() {
            tracing::warn!(?deadline, "a change of an event hook is under way, and is broken off");
        }
        self.store_all(deadline).await;
        let running: Vec<Running> = self.members.lock().iter_mut().filter_map(|member| member.running.take()).collect();
        let end = |Running { hook, delivery, .. }: Running| async move {
            if let Some(delivery) = delivery {
                delivery.stop(deadline).await;
            }
            hook.shutdown(deadline).await;
        };
        futures_util::future::join_all(running.into_iter().map(end)).await;
        // How far they came.
        self.store_all(deadline).await;
    }

    async fn store_all(&self, deadline: Duration) {
        match tokio::time::timeout(deadline, self.spool.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "failed to store the last events for the hooks"),
            Err(_) => tracing::error!(?deadline, "the last events for the hooks are not stored yet; the disk does not answer"),
        }
    }

    /// Starts a component that is on the shelf as the hook of this name.
    async fn start_kept(&self, name: &Name, plan: &Plan, digest: &str) -> Result<Started, NotStarted> {
        let component = self.engine.load(self.source(name, digest)).await?;
        let (options, delivery) = self.configuration.options(name, plan).await.map_err(NotStarted::Options)?;
        let hook = Hook::start(&self.engine, component, name.clone(), options, self.hooks.controller()).await?;
        Ok(Started { hook, options: delivery })
    }

    /// The component of a hook, under a name by which the log tells it from the same one elsewhere.
    fn source(&self, name: &Name, digest: &str) -> Source {
        let short: String = digest.chars().take(12).collect();
        Source::Kept { name: format!("hook {name} ({short})"), path: self.shelf.path(digest) }
    }

    fn deliver(&self, name: &Name, hook: &Arc<Hook>, options: DeliveryOptions) -> Option<Delivery> {
        if !self.connected.is_cancelled() || hook.info().events.is_empty() {
            return None;
        }
        let target = Arc::clone(hook) as Arc<dyn Target>;
        match Delivery::start(self.spool.clone(), name.as_str(), target, options) {
            Ok(delivery) => Some(delivery),
            Err(error) => {
                // It was added a moment ago, and nothing else removes it.
                tracing::error!(hook = %name, %error, "an event hook is not told of events");
                None
            }
        }
    }

    /// Lets sessions see the hooks as they are now.
    fn publish(&self) {
        let members = self.members.lock();
        self.hooks.set(members.iter().filter_map(|member| Some(Arc::clone(&member.running.as_ref()?.hook))));
    }

    fn configured(&self, name: &Name) -> Option<Configured> {
        self.configuration.hooks().into_iter().find(|hook| hook.name == *name)
    }

    fn begin(&self, name: &Name) -> Begin {
        self.configured(name).map_or(Begin::AtEnd, |hook| hook.begin)
    }

    fn is_enabled(&self, entry: &Entry) -> bool {
        let configured = || self.configuration.hooks().into_iter().find(|hook| hook.name.as_str() == entry.name);
        entry.enabled.unwrap_or_else(|| configured().is_none_or(|hook| hook.is_enabled))
    }
}

/// Why a component is not at work as a hook.
#[derive(Debug, thiserror::Error)]
enum NotStarted {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{0}")]
    Options(String),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Puts the configured components on the shelf, and gives their digests.
fn keep_configured(shelf: &Shelf, configured: &[Configured]) -> Result<Vec<String>, Error> {
    let keep = |hook: &Configured| {
        let failed = |error: LoadError| Error::Hook { name: hook.name.to_string(), reason: error.to_string(), hint: "" };
        let bytes = hook.source.read().map_err(failed)?;
        let digest = crate::cache::Sha256Digest::of(&bytes);
        shelf.put(&digest, &bytes)?;
        Ok(digest.to_string())
    };
    configured.iter().map(keep).collect()
}
