//! One hook at work.
//!
//! Events go to one instance, one delivery after the other, so that they stay in order. Decisions are made in instances of their own: a slow delivery delays no
//! decision, and a decision that nobody waits for any more costs its instance and nothing of the events.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::{Epoch, Sequence};
use agent_host_session::ports::hooks::Verdict;
use tokio::sync::Notify;

use super::control::{Caller, Controller};
use super::decision::{self, Question};
use super::interests::Interests;
use super::start::{HookOptions, Name, StartError};
use crate::bindings::hook::Hook as Exports;
use crate::bindings::hook::exports::agent_host::hooks::event_hook as wit;
use crate::call;
use crate::component::Component;
use crate::engine::Engine;
use crate::grants::Denials;
use crate::instance::Factory;
use crate::pool::{Pool, Use};
use crate::stats::{Counts, Stats};

/// The function that is called with events.
const ON_EVENTS: &str = "on-events";

/// Longest version of a hook that is kept, in characters.
const MAX_VERSION_CHARS: usize = 100;

/// An event as hooks get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The session that it happened to.
    pub session: String,
    /// With session and number it names the event.
    pub epoch: Epoch,
    /// Its number in the session.
    pub sequence: Sequence,
    /// Such as `session:block:complete`.
    pub name: String,
    /// The `data` of the WebSocket's frame, JSON.
    pub data: String,
}

/// What holds when a hook fails to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It happens.
    Allow,
    /// It does not happen.
    Deny,
}

/// What a hook says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// What it calls itself; the operator may call it something else.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Patterns of the names of the events that it wants.
    pub events: Vec<String>,
    /// Whether it decides on new sessions.
    pub sessions: bool,
    /// Whether it decides on messages.
    pub messages: bool,
    /// Whether it decides on uses of tools.
    pub tools: bool,
    /// What holds when it fails to.
    pub on_failure: OnFailure,
}

/// A hook at work.
pub struct Hook {
    name: Name,
    info: Info,
    interests: Interests,
    takes: wit::Decisions,
    wit_version: String,
    options: HookOptions,
    denials: Arc<Denials>,
    /// `None` if it wants none.
    events: Option<Arc<Pool<Exports>>>,
    /// `None` if it takes none.
    decisions: Option<Arc<Pool<Exports>>>,
    stats: Stats,
    /// Told whenever a call has failed.
    failed: Notify,
}

impl Hook {
    /// Opens an instance, learns from it what the hook wants, and opens another one if it wants both events and decisions.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong with the component or its configuration.
    pub async fn start(
        engine: &Engine,
        component: Component,
        name: Name,
        options: HookOptions,
        controller: &Controller,
    ) -> Result<Arc<Self>, StartError> {
        let wit_version = component.check_hook()?;
        let component_name = component.name().to_owned();
        let (wanted, limit) = (options.limits.memory, engine.options().memory_limit);
        if wanted > limit {
            return Err(StartError::TooMuchMemory { component: component_name, wanted, limit });
        }
        let reserve = |wanted: u32| {
            let limit = engine.options().max_instances;
            engine.reserve(wanted).ok_or_else(|| StartError::NoRoom { component: component_name.clone(), wanted, limit })
        };
        let room = reserve(1)?;
        let caller = Caller::new(name.clone(), controller.clone());
        let (grants, limits, config) = (options.grants.clone(), options.limits.clone(), options.config.clone());
        let factory = Factory::<Exports>::new(engine.clone(), component, grants, limits, config, Some(caller))
            .map_err(|error| StartError::Link { component: component_name.clone(), reason: format!("{error:#}") })?;
        let factory = Arc::new(factory);
        let (first, said) = Pool::first(&factory).await.map_err(StartError::Open)?;
        let takes = said.decisions;
        let (info, interests) = info(&component_name, &name, said)?;

        let mut first = Some((first, room));
        let events = first
            .take_if(|_| !info.events.is_empty())
            .map(|(instance, room)| Pool::new(Arc::clone(&factory), instance, Use::InTurn, options.limits.call_timeout, room));
        let decisions = if takes == wit::Decisions::empty() {
            None
        } else {
            let instances = options.decision_instances.max(1);
            let (instance, room) = match first {
                Some((instance, mut room)) => {
                    room.merge(reserve(instances - 1)?);
                    (instance, room)
                }
                None => {
                    let room = reserve(instances)?;
                    (Pool::first(&factory).await.map_err(StartError::Open)?.0, room)
                }
            };
            Some(Pool::new(Arc::clone(&factory), instance, Use::Alike, options.decision_timeout, room))
        };
        let Info { name: called, version, events: wanted, .. } = &info;
        tracing::info!(hook = %name, component = component_name, called, version, events = ?wanted, decisions = ?takes, "event hook opened");
        let denials = Arc::clone(factory.denials());
        Ok(Arc::new(Self {
            name,
            info,
            interests,
            takes,
            wit_version,
            options,
            denials,
            events,
            decisions,
            stats: Stats::default(),
            failed: Notify::new(),
        }))
    }

    /// Its name in this host.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What it says of itself.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The events that it is told of.
    pub fn interests(&self) -> &Interests {
        &self.interests
    }

    /// The version of the contract that it exports.
    pub fn wit_version(&self) -> &str {
        &self.wit_version
    }

    /// What it was refused.
    pub fn denials(&self) -> &Arc<Denials> {
        &self.denials
    }

    /// Instances that there are.
    pub fn instances(&self) -> usize {
        self.pools().map(|pool| pool.instances()).sum()
    }

    /// Instances that there may be.
    pub fn max_instances(&self) -> usize {
        self.pools().map(|pool| pool.max_instances()).sum()
    }

    /// Calls so far: deliveries and decisions.
    pub fn counts(&self) -> Counts {
        self.stats.total()
    }

    /// How long a delivery of events may take, with an instance that has to be made for it.
    pub fn delivery_timeout(&self) -> Duration {
        self.options.limits.open_timeout + self.options.limits.call_timeout
    }

    /// Waits until a function has failed in at least so many calls, and has never done anything else; gives its name. Decisions of a hook whose failure means deny do not
    /// count: whoever can make it fail could bring back a policy that was replaced.
    pub(super) async fn hopeless(&self, calls: u64) -> &'static str {
        loop {
            let failed = self.failed.notified();
            let counts = |operation: &str| operation == ON_EVENTS || self.info.on_failure == OnFailure::Allow;
            if let Some(operation) = self.stats.hopeless(calls).filter(|operation| counts(operation)) {
                return operation;
            }
            failed.await;
        }
    }

    /// Tells it of events, those of one session in order. They go to one instance, after those that it is being told of. What it does not want any more, since it took
    /// the place of one that did, is left out.
    ///
    /// # Errors
    /// If it could not be told, or says that it could not do its work: they have to come again.
    pub async fn deliver(&self, events: Vec<Event>) -> Result<(), call::Error> {
        let Some(pool) = &self.events else { return Ok(()) };
        let events: Vec<wit::Event> = events.into_iter().filter(|event| self.interests.include(&event.name)).map(event).collect();
        if events.is_empty() {
            return Ok(());
        }
        let call = pool.call(ON_EVENTS, move |exports, store| {
            Box::pin(async move { exports.agent_host_hooks_event_hook().call_on_events(store, &events).await })
        });
        let result = call.await;
        self.count(ON_EVENTS, result.as_ref().err());
        result
    }

    fn count(&self, operation: &'static str, error: Option<&call::Error>) {
        self.stats.record(operation, error);
        if error.is_some() {
            self.failed.notify_waiters();
        }
    }

    /// Whether it wants to be asked such questions.
    pub(super) fn takes(&self, decision: wit::Decisions) -> bool {
        self.takes.contains(decision)
    }

    /// Asks it, and where it fails to decide does what it said for that case.
    pub(super) async fn decide<Q: Question>(&self, question: &Q) -> Verdict<Q::Subject> {
        let Some(pool) = &self.decisions else { return Verdict::Allow };
        let (question, limit) = (question.clone(), self.options.decision_timeout);
        let answer = pool.call_within(limit, Q::OPERATION, move |exports, store| question.call(exports, store)).await;
        self.count(Q::OPERATION, answer.as_ref().err());
        let verdict = match answer {
            Ok(verdict) => decision::verdict(self.name.as_str(), verdict),
            Err(error) => Err(Cow::from(error.to_string())),
        };
        verdict.unwrap_or_else(|reason| self.without_answer(Q::OPERATION, &reason))
    }

    fn without_answer<T>(&self, operation: &'static str, error: &str) -> Verdict<T> {
        let on_failure = self.info.on_failure;
        tracing::warn!(hook = %self.name, operation, error, ?on_failure, "a hook failed to decide");
        match on_failure {
            OnFailure::Allow => Verdict::Allow,
            // Why it failed is for the log: whoever asked can do nothing about it.
            OnFailure::Deny => Verdict::Deny {
                hook: self.name.to_string(),
                reason: "it failed to decide; without its consent this is not allowed".to_owned(),
            },
        }
    }

    /// Lets no new call begin, and waits for those that run until `deadline` has passed.
    pub async fn shutdown(&self, deadline: Duration) {
        futures_util::future::join_all(self.pools().map(|pool| pool.shut_down(deadline))).await;
    }

    fn pools(&self) -> impl Iterator<Item = &Arc<Pool<Exports>>> {
        self.events.iter().chain(&self.decisions)
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hook").field("name", &self.name).field("info", &self.info).finish_non_exhaustive()
    }
}

fn event(event: Event) -> wit::Event {
    let Event { session, epoch, sequence, name, data } = event;
    wit::Event { session, epoch: epoch.0, seq: sequence.0, name, data }
}

fn info(component: &str, name: &Name, info: wit::HookInfo) -> Result<(Info, Interests), StartError> {
    let called = Name::new(info.name).map_err(|reason| StartError::Name { component: component.to_owned(), reason })?;
    let interests = Interests::new(name.as_str(), info.events.iter().map(String::as_str))
        .map_err(|reason| StartError::Events { component: component.to_owned(), reason })?;
    let version = info.version.chars().filter(|character| !character.is_control()).take(MAX_VERSION_CHARS).collect();
    let on_failure = match info.on_failure {
        wit::OnFailure::Allow => OnFailure::Allow,
        wit::OnFailure::Deny => OnFailure::Deny,
    };
    let decides = |decision| info.decisions.contains(decision);
    let info = Info {
        name: called.to_string(),
        version,
        sessions: decides(wit::Decisions::BEFORE_SESSION),
        messages: decides(wit::Decisions::BEFORE_MESSAGE),
        tools: decides(wit::Decisions::BEFORE_TOOL_USE),
        on_failure,
        events: info.events,
    };
    Ok((info, interests))
}
