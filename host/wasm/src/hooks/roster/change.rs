//! How a hook is added, replaced, removed, enabled and disabled while the host runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_host_session::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::state::{Entry, State};
use super::{CandidateStatus, Member, NotStarted, Record, Roster, Running, Started, lock};
use crate::exchange::{self, Candidate, Change, Error, Origin, Phase, Plan, Subject, millis, refused};
use crate::hooks::delivery::DeliveryOptions;
use crate::hooks::hook::Hook;
use crate::hooks::spool::Begin;
use crate::hooks::start::Name;
use crate::metrics::Role;

/// A hook that is to be there.
#[derive(Clone, Debug)]
pub struct HookRequest {
    /// Its component.
    pub candidate: Candidate,
    /// What it is told at `open`; what the present one was told, or what is configured, if `None`.
    pub config: Option<BTreeMap<String, String>>,
    /// What it may use; what the present one may use, or what is configured, if `None`.
    pub grants: Option<Value>,
    /// Where a hook begins that was not there before; what is configured, or with the next event, if `None`.
    pub begin: Option<Begin>,
}

/// A hook that is there.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookReport {
    /// Its name in this host.
    pub name: String,
    /// Its component.
    #[serde(flatten)]
    pub record: Record,
    /// The generation of the component that was in its place before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_generation: Option<u64>,
    /// From the beginning to the moment when it was there, in milliseconds.
    pub total_ms: u64,
}

/// What was in a hook's place before, ready to take it again.
struct Before {
    entry: Entry,
    hook: Arc<Hook>,
    options: DeliveryOptions,
}

impl Roster {
    /// Adds a hook, or gives one that is there another component: its events go on where it was. It is enabled then.
    ///
    /// # Errors
    /// [`Error`] says in which phase it failed, and why; then everything is as it was.
    pub async fn put(self: &Arc<Self>, name: &Name, request: HookRequest) -> Result<HookReport, Error> {
        let _exchange = self.exchange.try_lock().map_err(|_| Error::Busy)?;
        let origin = self.origin(name, &request.candidate);
        let result = self.try_put(name, request, origin.clone()).await;
        self.end_of_change();
        match &result {
            Ok(report) => {
                let Record { called, version, generation, .. } = &report.record;
                self.engine.metrics().swapped(role(name), Duration::from_millis(report.total_ms));
                tracing::info!(hook = %name, called, version, generation, elapsed_ms = report.total_ms, "an event hook serves");
                self.history.note("swapped", subject(name, &report.record), None);
            }
            Err(error) => {
                if let Error::Refused { phase, .. } = error {
                    self.engine.metrics().refused(role(name), phase.as_str());
                }
                tracing::warn!(hook = %name, %origin, %error, "the event hooks stay as they are");
                let nobody = Subject { hook: Some(name.to_string()), ..Subject::default() };
                self.history.note("refused", nobody, Some(error.to_string()));
            }
        }
        result
    }

    /// Removes a hook, and the events that wait for it.
    ///
    /// # Errors
    /// If there is none of this name, or that cannot be remembered; then it is still there.
    pub async fn remove(&self, name: &Name) -> Result<(), Error> {
        let _exchange = self.exchange.try_lock().map_err(|_| Error::Busy)?;
        let entry = self.entry(name)?;
        let mut state = lock(&self.state).clone();
        if self.configured(name).is_some() {
            state.put(Entry { removed: true, ..entry.clone() });
        } else {
            state.hooks.retain(|known| known.name != entry.name);
        }
        self.remember(state)?;
        let member = {
            let mut members = lock(&self.members);
            members.iter().position(|member| member.name == *name).map(|index| members.remove(index))
        };
        self.publish();
        if let Some(running) = member.and_then(|member| member.running) {
            self.end(running).await;
        }
        self.spool.remove(name.as_str()).await.map_err(refused(Phase::Remember))?;
        tracing::info!(hook = %name, "an event hook was removed");
        self.history.note("removed", subject(name, &entry.record), None);
        Ok(())
    }

    /// Enables or disables a hook. One that is disabled is not asked, and its events wait for it.
    ///
    /// # Errors
    /// If there is none of this name, or it cannot be started; then it is as it was.
    pub async fn enable(&self, name: &Name, enabled: bool) -> Result<(), Error> {
        let _exchange = self.exchange.try_lock().map_err(|_| Error::Busy)?;
        let entry = self.entry(name)?;
        let is_running = lock(&self.members).iter().any(|member| member.name == *name && member.running.is_some());
        let mut state = lock(&self.state).clone();
        let mut record = entry.record.clone();
        let started = if enabled && !is_running {
            let started = self.start_entry(name, &mut record).await;
            *lock(&self.candidate) = None;
            let started = started?;
            self.watch_events(&started.hook, self.begin(name)).await.map_err(refused(Phase::Remember))?;
            Some(started)
        } else {
            None
        };
        state.put(Entry { enabled: Some(enabled), record: record.clone(), ..entry });
        self.remember(state)?;
        if let Some(started) = started {
            self.seat(name, started);
        }
        if !enabled {
            let running = lock(&self.members).iter_mut().find(|member| member.name == *name).and_then(|member| member.running.take());
            self.publish();
            if let Some(running) = running {
                self.end(running).await;
            }
        }
        if enabled != is_running {
            let event = if enabled { "enabled" } else { "disabled" };
            tracing::info!(hook = %name, "an event hook was {event}");
            self.history.note(event, subject(name, &record), None);
        }
        Ok(())
    }

    /// The file of a configured hook has changed.
    pub(super) async fn follow_file(self: &Arc<Self>, name: &Name, digest: &str) -> Change {
        if lock(&self.state).entry(name.as_str()).is_some_and(|entry| entry.record.digest == digest || entry.removed) {
            return Change::Done;
        }
        tracing::info!(hook = %name, %digest, "the file of an event hook has changed");
        match self.put(name, HookRequest { candidate: Candidate::Configured, config: None, grants: None, begin: None }).await {
            Ok(_) => Change::Done,
            Err(Error::Busy) => Change::Busy,
            Err(_) => Change::Refused,
        }
    }

    async fn try_put(self: &Arc<Self>, name: &Name, request: HookRequest, origin: Origin) -> Result<HookReport, Error> {
        let began = Instant::now();
        let present = lock(&self.state).entry(name.as_str()).filter(|entry| !entry.removed).cloned();
        let plan = match origin {
            Origin::Configured => Plan::configured(),
            origin => Plan {
                origin,
                config: request.config.or_else(|| present.as_ref()?.record.plan.config.clone()),
                grants: request.grants.or_else(|| present.as_ref()?.record.plan.grants.clone()),
            },
        };
        let begin = request.begin.unwrap_or_else(|| self.begin(name));

        self.enter(name, &plan.origin, Phase::Read);
        let configured = self.configured(name).map(|hook| hook.source);
        let (_, digest) = exchange::fetch(self.shelf.clone(), request.candidate, configured, plan.origin.clone()).await?;
        let mut state = lock(&self.state).clone();
        let mut record = state.record(digest, plan);
        let started = self.start_entry(name, &mut record).await?;

        self.enter(name, &record.plan.origin, Phase::Remember);
        let earlier = present.iter().flat_map(|entry| entry.earlier.iter().chain([&entry.record])).cloned().collect::<Vec<_>>();
        let surplus = earlier.len().saturating_sub(self.settings.keep);
        let earlier = earlier.into_iter().skip(surplus).collect();
        let entry = Entry { name: name.to_string(), record: record.clone(), enabled: None, removed: false, earlier };
        // A configured hook that is disabled in the configuration is enabled by being put there.
        let entry = Entry { enabled: (!self.is_enabled(&entry)).then_some(true), ..entry };
        state.put(entry);
        self.watch_events(&started.hook, begin).await.map_err(refused(Phase::Remember))?;
        if let Err(error) = self.remember(state) {
            self.restore_events(name).await;
            return Err(error);
        }
        let before = self.seat(name, started);
        let total_ms = millis(began.elapsed());
        let previous_generation = present.as_ref().map(|entry| entry.record.generation);
        if let Some((before, entry)) = before.zip(present) {
            self.replace_delivery(name, before, entry, record.generation).await;
        }
        Ok(HookReport { name: name.to_string(), record, previous_generation, total_ms })
    }

    /// The one before is told of nothing more, the new one of everything from there on, and the one before waits whether it is needed again.
    async fn replace_delivery(self: &Arc<Self>, name: &Name, mut before: Running, entry: Entry, generation: u64) {
        self.end_delivery(&mut before).await;
        self.begin_delivery(name);
        let before = Before { entry, hook: before.hook, options: before.options };
        tokio::spawn(Arc::clone(self).probation(name.clone(), generation, before));
    }

    /// Watches a new component, and lets the one before take its place again if a function of it fails its first calls.
    async fn probation(self: Arc<Self>, name: Name, generation: u64, before: Before) {
        let standing = || lock(&self.state).entry(name.as_str()).is_some_and(|entry| entry.record.generation == generation);
        let present = lock(&self.members)
            .iter()
            .find(|member| member.name == name)
            .and_then(|member| Some(Arc::clone(&member.running.as_ref()?.hook)));
        let failures = self.settings.rollback_after;
        if let (Some(present), true) = (present, failures > 0) {
            let hopeless = tokio::select! {
                operation = present.hopeless(failures) => Some(operation),
                () = tokio::time::sleep(self.settings.probation) => None,
                () = self.shutdown.cancelled() => None,
            };
            if let Some(operation) = hopeless {
                let _exchange = self.exchange.lock().await;
                if standing() && !self.shutdown.is_cancelled() {
                    return self.roll_back(&name, before, operation).await;
                }
            }
        }
        before.hook.shutdown(self.settings.drain_timeout).await;
    }

    async fn roll_back(&self, name: &Name, before: Before, operation: &'static str) {
        let Before { entry, hook, options } = before;
        self.engine.metrics().rolled_back(role(name));
        tracing::error!(hook = %name, operation, generation = entry.record.generation, "the new event hook does not work; the one before it serves again");
        let mut state = lock(&self.state).clone();
        let failed = state.entry(name.as_str()).map(|entry| entry.record.clone());
        state.put(entry);
        if let Err(error) = self.remember(state) {
            tracing::error!(%error, "failed to remember that the event hook was rolled back; a restart would begin with the one that does not work");
        }
        if let Err(error) = self.watch_events(&hook, self.begin(name)).await {
            tracing::error!(hook = %name, %error, "failed to have events stored for the event hook as before");
        }
        if let Some(mut failed) = self.seat(name, Started { hook, options }) {
            self.end_delivery(&mut failed).await;
            self.begin_delivery(name);
            failed.hook.shutdown(self.settings.drain_timeout).await;
        }
        if let Some(record) = failed {
            self.history.note("rolled-back", subject(name, &record), Some(format!("the first calls of {operation} failed")));
        }
    }

    /// Compiles and opens what an entry names.
    async fn start_entry(&self, name: &Name, record: &mut Record) -> Result<Started, Error> {
        self.enter(name, &record.plan.origin, Phase::Compile);
        // What compiles is in the cache then, so that opening it compiles nothing.
        let source = self.shelf.source(&record.plan.origin, &record.digest);
        self.engine.load(source).await.map_err(refused(Phase::Compile))?;
        self.enter(name, &record.plan.origin, Phase::Open);
        let started = self.start_kept(name, &record.plan, &record.digest).await.map_err(|error| match error {
            error @ NotStarted::Load(_) => refused(Phase::Compile)(error),
            error @ (NotStarted::Options(_) | NotStarted::Start(_)) => refused(Phase::Open)(error),
        })?;
        record.called.clone_from(&started.hook.info().name);
        record.version.clone_from(&started.hook.info().version);
        Ok(started)
    }

    /// Puts a hook that runs in its place, lets sessions see it, and gives the one before. Where there was none it is told of events from now on.
    fn seat(&self, name: &Name, started: Started) -> Option<Running> {
        let Started { hook, options } = started;
        let running = Running { hook, options, delivery: None };
        let before = {
            let mut members = lock(&self.members);
            let index = match members.iter().position(|member| member.name == *name) {
                Some(index) => index,
                None => {
                    let index = self.place(&members, name);
                    members.insert(index, Member { name: name.clone(), running: None });
                    index
                }
            };
            members.get_mut(index).and_then(|member| member.running.replace(running))
        };
        self.publish();
        if before.is_none() {
            self.begin_delivery(name);
        }
        before
    }

    /// Where a hook belongs that is not there: a configured one behind those that are configured before it, any other behind all.
    fn place(&self, members: &[Member], name: &Name) -> usize {
        let configured = self.configuration.hooks();
        let Some(rank) = configured.iter().position(|hook| hook.name == *name) else { return members.len() };
        let comes_later = |member: &Member| configured.iter().position(|hook| hook.name == member.name).is_none_or(|other| other > rank);
        members.iter().position(comes_later).unwrap_or(members.len())
    }

    fn begin_delivery(&self, name: &Name) {
        let mut members = lock(&self.members);
        if let Some(running) = members.iter_mut().find(|member| member.name == *name).and_then(|member| member.running.as_mut()) {
            running.delivery = self.deliver(name, &running.hook, running.options);
        }
    }

    /// What is being delivered has the time of a call to end; after that it comes again.
    async fn end_delivery(&self, running: &mut Running) {
        if let Some(delivery) = running.delivery.take() {
            let began = Instant::now();
            delivery.stop(self.settings.drain_timeout.min(running.hook.call_timeout())).await;
            self.engine.metrics().drained(role(running.hook.name()), began.elapsed());
        }
    }

    async fn end(&self, mut running: Running) {
        self.end_delivery(&mut running).await;
        running.hook.shutdown(self.settings.drain_timeout).await;
    }

    /// Has the events stored that the hook in this place wants, or none if there is none.
    async fn restore_events(&self, name: &Name) {
        let present = lock(&self.members)
            .iter()
            .find(|member| member.name == *name)
            .and_then(|member| Some(Arc::clone(&member.running.as_ref()?.hook)));
        let restored = match present {
            Some(hook) => self.watch_events(&hook, Begin::AtEnd).await,
            None if lock(&self.state).entry(name.as_str()).is_none() => self.spool.remove(name.as_str()).await,
            None => Ok(()),
        };
        if let Err(error) = restored {
            tracing::error!(hook = %name, %error, "failed to have events stored for the event hook as before");
        }
    }

    fn entry(&self, name: &Name) -> Result<Entry, Error> {
        let state = lock(&self.state);
        state.entry(name.as_str()).filter(|entry| !entry.removed).cloned().ok_or_else(|| Error::UnknownHook(name.to_string()))
    }

    fn origin(&self, name: &Name, candidate: &Candidate) -> Origin {
        match candidate {
            Candidate::Bytes(_) => Origin::Upload,
            Candidate::File(path) => Origin::File(path.clone()),
            Candidate::Builtin(builtin) => Origin::Builtin(builtin.clone()),
            Candidate::Configured => Origin::Configured,
            Candidate::Digest(digest) => {
                let state = lock(&self.state);
                let known = state.entry(name.as_str()).into_iter().flat_map(|entry| entry.earlier.iter().chain([&entry.record]));
                let origin = known.filter(|record| record.digest == *digest).map(|record| record.plan.origin.clone()).next_back();
                origin.filter(|origin| *origin != Origin::Configured).unwrap_or(Origin::Upload)
            }
        }
    }

    fn remember(&self, state: State) -> Result<(), Error> {
        self.shelf.keep(&state).map_err(refused(Phase::Remember))?;
        *lock(&self.state) = state;
        Ok(())
    }

    fn enter(&self, name: &Name, origin: &Origin, phase: Phase) {
        tracing::info!(hook = %name, %origin, %phase, "preparing an event hook");
        *lock(&self.candidate) = Some(CandidateStatus { name: name.to_string(), origin: origin.clone(), phase, since: Timestamp::now() });
    }

    fn end_of_change(&self) {
        *lock(&self.candidate) = None;
        let state = lock(&self.state).clone();
        if let Err(error) = self.shelf.tidy(&state) {
            tracing::warn!(%error, "failed to remove components that are not needed any more");
        }
    }
}

fn role(name: &Name) -> Role {
    Role::Hook(name.as_str().into())
}

fn subject(name: &Name, record: &Record) -> Subject {
    Subject { hook: Some(name.to_string()), generation: record.generation, name: record.called.clone(), version: record.version.clone() }
}
