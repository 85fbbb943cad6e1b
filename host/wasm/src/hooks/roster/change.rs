//! How a hook is added, replaced, removed, enabled and disabled while the host runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_host_session::time::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::MutexGuard;

use super::state::{Entry, State};
use super::{CandidateStatus, NotStarted, Record, Roster, Started};
use crate::exchange::{self, Candidate, Change, Error, Fetched, Origin, Phase, Plan, ShelfError, Subject, millis, refused};
use crate::hooks::spool::Begin;
use crate::hooks::start::Name;
use crate::metrics::Role;

/// Who wants a hook to be replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Operator,
    /// Its file is another: what an operator says meanwhile counts more.
    File,
}

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

impl Roster {
    /// Adds a hook, or gives one that is there another component: its events go on where it was. It is enabled then.
    ///
    /// # Errors
    /// [`Error`] says in which phase it failed, and why; then everything is as it was.
    pub async fn put(self: &Arc<Self>, name: &Name, request: HookRequest) -> Result<HookReport, Error> {
        self.replace(name, request, Asked::Operator).await
    }

    async fn replace(self: &Arc<Self>, name: &Name, request: HookRequest, asked: Asked) -> Result<HookReport, Error> {
        let _preparing = self.begin_preparing()?;
        let origin = self.origin(name, &request.candidate);
        let result = self.try_put(name, request, origin.clone(), asked).await;
        self.end_of_change();
        match &result {
            Ok(report) => {
                let Record { called, version, generation, .. } = &report.record;
                self.engine.metrics().swapped(role(name), Duration::from_millis(report.total_ms));
                tracing::info!(hook = %name, called, version, generation, elapsed_ms = report.total_ms, "an event hook serves");
                self.history.note("swapped", subject(name, &report.record), None);
            }
            Err(error) => {
                // A name that is not there yet is whatever somebody sent.
                if let (Error::Refused { phase, .. }, Ok(_)) = (error, self.entry(name)) {
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
        let _exchange = self.begin_change().await?;
        let entry = self.entry(name)?;
        let mut state = self.state.lock().clone();
        if self.configured(name).is_some() {
            state.put(Entry { removed: true, ..entry.clone() });
        } else {
            state.hooks.retain(|known| known.name != entry.name);
        }
        self.remember(state).await.map_err(not_kept)?;
        let member = {
            let mut members = self.members.lock();
            members.iter().position(|member| member.name == *name).map(|index| members.remove(index))
        };
        self.publish();
        if let Some(running) = member.and_then(|member| member.running) {
            self.end(running).await;
        }
        if let Err(error) = self.spool.remove(name.as_str()).await {
            tracing::error!(hook = %name, %error, "failed to remove what waited for a hook that was removed; the next start does");
        }
        tracing::info!(hook = %name, "an event hook was removed");
        self.history.note("removed", subject(name, &entry.record), None);
        Ok(())
    }

    /// Enables or disables a hook. One that is disabled is not asked, and its events wait for it.
    ///
    /// # Errors
    /// If there is none of this name, or it cannot be started; then it is as it was.
    pub async fn enable(&self, name: &Name, enabled: bool) -> Result<(), Error> {
        let is_running = || self.members.lock().iter().any(|member| member.name == *name && member.running.is_some());
        let was_running = is_running();
        let record = if enabled && !was_running {
            let _preparing = self.begin_preparing()?;
            let result = self.try_enable(name).await;
            self.end_of_change();
            result?
        } else {
            let _exchange = self.begin_change().await?;
            let entry = Entry { enabled: Some(enabled), ..self.entry(name)? };
            let record = entry.record.clone();
            let mut state = self.state.lock().clone();
            state.put(entry);
            self.remember(state).await.map_err(not_kept)?;
            if !enabled {
                let running = self.members.lock().iter_mut().find(|member| member.name == *name).and_then(|member| member.running.take());
                self.publish();
                if let Some(running) = running {
                    self.end(running).await;
                }
            }
            record
        };
        if enabled != was_running {
            let event = if enabled { "enabled" } else { "disabled" };
            tracing::info!(hook = %name, "an event hook was {event}");
            self.history.note(event, subject(name, &record), None);
        }
        Ok(())
    }

    async fn try_enable(&self, name: &Name) -> Result<Record, Error> {
        let asked = self.entry(name)?;
        let Record { plan, mut digest, .. } = asked.record;
        let mut pin = self.shelf.pin(&digest);
        if plan.origin == Origin::Configured {
            // Its file may have changed while it was disabled.
            let configured = self.configured(name).map(|hook| hook.source);
            self.enter(name, &Origin::Configured, Phase::Read);
            Fetched { digest, pin, .. } =
                exchange::fetch(self.shelf.clone(), Candidate::Configured, configured, Origin::Configured).await?;
        }
        let started = self.start_candidate(name, &plan, &digest).await?;
        let _exchange = self.begin_change().await?;
        let mut state = self.state.lock().clone();
        let present = self.entry(name)?;
        if present.enabled != asked.enabled {
            return Err(overtaken());
        }
        let mut entry = Entry { enabled: Some(true), ..present };
        if digest != entry.record.digest {
            let record = state.record(digest, plan);
            entry.replace(record, self.settings.keep);
        }
        entry.record.describe(&started.hook);
        let record = entry.record.clone();
        state.put(entry);
        let seated = self.take_seat(name, self.begin(name), started, state).await?;
        drop(pin);
        self.settle_events(name, seated.unwanted.as_ref()).await;
        Ok(record)
    }

    /// The file of a configured hook has changed.
    pub(super) async fn follow_file(self: &Arc<Self>, name: &Name, digest: &str) -> Change {
        // One that is not at work takes the file as it is when it is enabled.
        let is_concerned = |entry: &Entry| entry.record.digest != digest && !entry.removed && self.is_enabled(entry);
        if !self.state.lock().entry(name.as_str()).is_some_and(is_concerned) {
            return Change::Settled;
        }
        tracing::info!(hook = %name, %digest, "the file of an event hook has changed");
        let request = HookRequest { candidate: Candidate::Configured, config: None, grants: None, begin: None };
        Change::of(&self.replace(name, request, Asked::File).await)
    }

    async fn try_put(self: &Arc<Self>, name: &Name, request: HookRequest, origin: Origin, asked: Asked) -> Result<HookReport, Error> {
        let began = Instant::now();
        let present = self.state.lock().entry(name.as_str()).filter(|entry| !entry.removed).cloned();
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
        let Fetched { digest, pin, .. } = exchange::fetch(self.shelf.clone(), request.candidate, configured, plan.origin.clone()).await?;
        let started = self.start_candidate(name, &plan, &digest).await?;

        self.enter(name, &plan.origin, Phase::Remember);
        let _exchange = self.begin_change().await?;
        let mut state = self.state.lock().clone();
        let present = state.entry(name.as_str()).filter(|entry| !entry.removed).cloned();
        if asked == Asked::File && !present.as_ref().is_some_and(|entry| self.is_enabled(entry)) {
            return Err(overtaken());
        }
        let mut record = state.record(digest, plan);
        record.describe(&started.hook);
        let entry = match present.clone() {
            Some(mut entry) => {
                entry.replace(record.clone(), self.settings.keep);
                entry
            }
            None => Entry { name: name.to_string(), record: record.clone(), enabled: None, removed: false, earlier: Vec::new() },
        };
        // A hook that is disabled is enabled by being put there.
        let entry = Entry { enabled: None, ..entry };
        let entry = Entry { enabled: (!self.is_enabled(&entry)).then_some(true), ..entry };
        state.put(entry);
        let seated = self.take_seat(name, begin, started, state).await?;
        drop(pin);
        let total_ms = millis(began.elapsed());
        let previous_generation = present.as_ref().map(|entry| entry.record.generation);
        match seated.before.zip(present) {
            Some((before, entry)) => self.watch_newcomer(name, before, entry, seated.unwanted),
            None => self.settle_events(name, seated.unwanted.as_ref()).await,
        }
        Ok(HookReport { name: name.to_string(), record, previous_generation, total_ms })
    }

    /// Compiles and opens a component.
    async fn start_candidate(&self, name: &Name, plan: &Plan, digest: &str) -> Result<Started, Error> {
        self.enter(name, &plan.origin, Phase::Compile);
        // What compiles is in the cache then, so that opening it compiles nothing.
        self.engine.load(self.source(name, digest)).await.map_err(refused(Phase::Compile))?;
        self.enter(name, &plan.origin, Phase::Open);
        self.start_kept(name, plan, digest).await.map_err(|error| match error {
            error @ NotStarted::Load(_) => refused(Phase::Compile)(error),
            error @ (NotStarted::Options(_) | NotStarted::Start(_)) => refused(Phase::Open)(error),
        })
    }

    /// One component is made ready at a time, which may take minutes. What takes none of them does not wait for it.
    fn begin_preparing(&self) -> Result<MutexGuard<'_, ()>, Error> {
        if self.shutdown.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        self.preparing.try_lock().map_err(|_| Error::Busy)
    }

    /// One change at a time, and none when the host is about to end.
    async fn begin_change(&self) -> Result<MutexGuard<'_, ()>, Error> {
        let exchange = self.exchange.lock().await;
        if self.shutdown.is_cancelled() { Err(Error::ShuttingDown) } else { Ok(exchange) }
    }

    fn entry(&self, name: &Name) -> Result<Entry, Error> {
        let state = self.state.lock();
        state.entry(name.as_str()).filter(|entry| !entry.removed).cloned().ok_or_else(|| Error::UnknownHook(name.to_string()))
    }

    fn origin(&self, name: &Name, candidate: &Candidate) -> Origin {
        match candidate {
            Candidate::Bytes(_) => Origin::Upload,
            Candidate::File(path) => Origin::File(path.clone()),
            Candidate::Pulled { reference, .. } => Origin::Registry(reference.clone()),
            Candidate::Builtin(builtin) => Origin::Builtin(builtin.clone()),
            Candidate::Configured => Origin::Configured,
            Candidate::Digest(digest) => {
                let state = self.state.lock();
                let known = state.entry(name.as_str()).into_iter().flat_map(|entry| entry.earlier.iter().chain([&entry.record]));
                let origin = known.filter(|record| record.digest == *digest).map(|record| record.plan.origin.clone()).next_back();
                origin.filter(|origin| *origin != Origin::Configured).unwrap_or(Origin::Upload)
            }
        }
    }

    /// Writes down what is to be in force after a restart, and then takes it for what is.
    pub(super) async fn remember(&self, state: State) -> Result<(), ShelfError> {
        self.shelf.keep_aside(&state).await?;
        *self.state.lock() = state;
        Ok(())
    }

    fn enter(&self, name: &Name, origin: &Origin, phase: Phase) {
        tracing::info!(hook = %name, %origin, %phase, "preparing an event hook");
        *self.candidate.lock() = Some(CandidateStatus { name: name.to_string(), origin: origin.clone(), phase, since: Timestamp::now() });
    }

    fn end_of_change(&self) {
        *self.candidate.lock() = None;
        let state = self.state.lock().clone();
        if let Err(error) = self.shelf.tidy(&state) {
            tracing::warn!(%error, "failed to remove components that are not needed any more");
        }
    }
}

/// What somebody asked for meanwhile counts.
fn overtaken() -> Error {
    Error::Refused { phase: Phase::Remember, reason: "the hook was changed by somebody else meanwhile".to_owned() }
}

fn not_kept(error: ShelfError) -> Error {
    Error::NotKept(error.to_string())
}

pub(super) fn role(name: &Name) -> Role {
    Role::Hook(name.as_str().into())
}

pub(super) fn subject(name: &Name, record: &Record) -> Subject {
    Subject { hook: Some(name.to_string()), generation: record.generation, name: record.called.clone(), version: record.version.clone() }
}
