//! How one adapter takes the place of another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_host_session::time::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::generation::{Generation, Record, State};
use super::migration::{self, Copied};
use super::{CandidateStatus, Components, smoke};
use crate::copy::Totals;
use crate::exchange::{self, Candidate, Error, Fetched, Origin, Phase, Plan, Subject, millis, refused};
use crate::metrics::Role;
use crate::persistence::{Persistence, StartError};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The component.
    pub candidate: Candidate,
    /// What it is told at `open`; what the present one was told if `None`.
    pub config: Option<BTreeMap<String, String>>,
    /// What it may use; what the present one may use if `None`.
    pub grants: Option<Value>,
    /// Whether it is over another store, to which everything is to be copied.
    pub migrate: bool,
}

/// An exchange that was made.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What serves now.
    #[serde(flatten)]
    pub record: Record,
    /// The number of the generation that served before.
    pub previous_generation: u64,
    /// From the beginning to the moment when the new one served, in milliseconds.
    pub total_ms: u64,
    /// What was copied, if the stores differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied: Option<Totals>,
    /// The longest time for which writes waited, in milliseconds. Absent if they never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_ms: Option<f64>,
}

impl Components {
    /// Lets another adapter take over.
    ///
    /// # Errors
    /// [`Error`] says in which phase it failed, and why; then everything is as it was.
    pub async fn swap(self: &Arc<Self>, request: Request) -> Result<Report, Error> {
        let _exchange = self.exchange.try_lock().map_err(|_| Error::Busy)?;
        let present = self.switch.current();
        let plan = Plan {
            origin: match &request.candidate {
                Candidate::Bytes(_) => Origin::Upload,
                Candidate::File(path) => Origin::File(path.clone()),
                Candidate::Builtin(name) => Origin::Builtin(name.clone()),
                Candidate::Pulled { reference, .. } => Origin::Registry(reference.clone()),
                Candidate::Digest(digest) => self.origin_of(digest),
                Candidate::Configured => Origin::Configured,
            },
            config: request.config.or_else(|| present.record.plan.config.clone()),
            grants: request.grants.or_else(|| present.record.plan.grants.clone()),
        };
        let plan = if plan.origin == Origin::Configured { Plan::configured() } else { plan };
        self.exchange(request.candidate, plan, request.migrate, None).await
    }

    /// Lets the generation before the present one serve again, with the configuration and grants that it had.
    ///
    /// # Errors
    /// As for [`swap`](Self::swap). If the present one keeps its data elsewhere, everything must be copied back: `migrate`.
    pub async fn rollback(self: &Arc<Self>, migrate: bool) -> Result<Report, Error> {
        let _exchange = self.exchange.try_lock().map_err(|_| Error::Busy)?;
        let present = self.switch.current().record.generation;
        let earlier = self.state.lock().persistence.iter().rfind(|record| record.generation != present).cloned();
        let Some(record) = earlier else { return Err(Error::NothingEarlier) };
        let candidate = Candidate::Digest(record.digest.clone());
        self.exchange(candidate, record.plan.clone(), migrate, Some(record.generation)).await
    }

    /// Where a component that served before came from.
    fn origin_of(&self, digest: &str) -> Origin {
        let state = self.state.lock();
        let known = state.persistence.iter().rfind(|record| record.digest == digest && record.plan.origin != Origin::Configured);
        known.map_or(Origin::Upload, |record| record.plan.origin.clone())
    }

    /// `back_to` is the number of an earlier generation that is to serve again: then what served after it is forgotten.
    async fn exchange(self: &Arc<Self>, candidate: Candidate, plan: Plan, migrate: bool, back_to: Option<u64>) -> Result<Report, Error> {
        let origin = plan.origin.clone();
        let result = self.try_exchange(candidate, plan, migrate, back_to).await;
        *self.candidate.lock() = None;
        self.switch.stop_watching();
        let metrics = self.engine.metrics();
        match &result {
            Ok(report) => {
                metrics.swapped(Role::Persistence, Duration::from_millis(report.total_ms));
                tracing::info!(
                    serving = %report.record,
                    previous = report.previous_generation,
                    elapsed_ms = report.total_ms,
                    pause_ms = report.pause_ms,
                    "another persistence adapter serves"
                );
                self.history.note("swapped", report.record.subject(), None);
            }
            Err(error) => {
                if let Error::Refused { phase, .. } = error {
                    metrics.refused(Role::Persistence, phase.as_str());
                }
                tracing::warn!(%origin, %error, "the persistence adapter stays");
                // What was refused is not needed any more. A few names are read.
                let state = self.state.lock().clone();
                if let Err(error) = self.shelf.tidy(&state) {
                    tracing::warn!(%error, "failed to remove the component that was refused");
                }
                self.history.note("refused", Subject::default(), Some(error.to_string()));
            }
        }
        result
    }

    async fn try_exchange(
        self: &Arc<Self>,
        candidate: Candidate,
        plan: Plan,
        migrate: bool,
        back_to: Option<u64>,
    ) -> Result<Report, Error> {
        let began = Instant::now();
        self.enter(Phase::Read, &plan.origin);
        let Fetched { source, digest, pin: _pin } =
            exchange::fetch(self.shelf.clone(), candidate, Some(self.configuration.source()), plan.origin.clone()).await?;

        self.enter(Phase::Compile, &plan.origin);
        let component = self.engine.load(source).await.map_err(refused(Phase::Compile))?;

        self.enter(Phase::Open, &plan.origin);
        let options = self.configuration.options(&plan).await.map_err(refused(Phase::Open))?;
        let persistence = Persistence::start(&self.engine, component, options).await.map_err(|error| match error {
            StartError::Unhealthy { .. } => refused(Phase::Health)(error),
            error => refused(Phase::Open)(error),
        })?;

        self.enter(Phase::SmokeTest, &plan.origin);
        smoke::contract(&persistence).await.map_err(refused(Phase::SmokeTest))?;

        let record = Record {
            // One component is exchanged at a time.
            generation: self.state.lock().newest + 1,
            digest,
            plan,
            name: persistence.info().name.clone(),
            version: persistence.info().version.clone(),
            since: Timestamp::now(),
            migrated: migrate,
        };
        let next = Arc::new(Generation { record: record.clone(), persistence });
        let remember = async {
            self.enter(Phase::Remember, &record.plan.origin);
            let change = |state: &mut State| {
                if let Some(number) = back_to {
                    state.persistence.retain(|known| known.generation < number);
                }
                state.newest = record.generation;
                state.persistence.push(record.clone());
                let surplus = state.persistence.len().saturating_sub(self.settings.keep + 1);
                state.persistence.drain(..surplus);
            };
            self.remember(change).await.map_err(refused(Phase::Remember))
        };

        let (previous, copied, pause) = if migrate {
            let copied = self.migrate(&next, remember).await?;
            (copied.previous, Some(copied.totals), Some(copied.pause))
        } else {
            self.enter(Phase::SameStore, &next.record.plan.origin);
            let present = self.switch.current();
            smoke::same_store(&present.persistence, &next.persistence).await.map_err(refused(Phase::SameStore))?;
            remember.await?;
            let failures = Some(self.settings.rollback_after).filter(|after| *after > 0);
            (self.switch.publish(next, failures), None, None)
        };
        let total_ms = millis(began.elapsed());
        let previous_generation = previous.record.generation;
        // What was written after a migration is only in the new store: there is no way back by itself.
        self.retire(previous, if migrate { Duration::ZERO } else { self.settings.probation });
        Ok(Report { record, previous_generation, total_ms, copied, pause_ms: pause.map(|pause| pause.as_secs_f64() * 1000.0) })
    }

    /// Copies everything to the store of `next`, and publishes it when nothing is missing there.
    async fn migrate(&self, next: &Arc<Generation>, remember: impl Future<Output = Result<(), Error>>) -> Result<Migrated, Error> {
        self.enter(Phase::Copy, &next.record.plan.origin);
        let progress = |totals: Totals| {
            if let Some(candidate) = self.candidate.lock().as_mut() {
                candidate.copied = Some(totals);
            }
        };
        let Copied { held, held_since, totals, pause } =
            migration::copy_all(&self.switch, &next.persistence, &progress).await.map_err(refused(Phase::Copy))?;
        remember.await?;
        let previous = self.switch.publish(Arc::clone(next), None);
        drop(held);
        Ok(Migrated { previous, totals, pause: pause.max(held_since.elapsed()) })
    }

    /// Ends what served before: at once, or when it is not needed any more as a fallback.
    fn retire(self: &Arc<Self>, previous: Arc<Generation>, standby: Duration) {
        let token = self.shutdown.child_token();
        std::mem::replace(&mut *self.probation.lock(), token.clone()).cancel();
        tokio::spawn(Arc::clone(self).drain(previous, standby, token));
    }

    async fn drain(self: Arc<Self>, previous: Arc<Generation>, standby: Duration, token: CancellationToken) {
        // Err is the end of the standby, Ok that something else took over before.
        let is_over = tokio::time::timeout(standby, token.cancelled()).await.is_err();
        // It may have been gone back to, and may be what is gone back to next: then another standby ends it.
        if self.switch.needs(&previous, is_over) {
            return;
        }
        let began = Instant::now();
        previous.persistence.shutdown(self.settings.drain_timeout).await;
        self.engine.metrics().drained(Role::Persistence, began.elapsed());
        tracing::info!(retired = %previous.record, drained = ?began.elapsed(), "a persistence adapter has ended");
    }

    fn enter(&self, phase: Phase, origin: &Origin) {
        tracing::info!(%origin, %phase, "preparing a persistence adapter");
        *self.candidate.lock() = Some(CandidateStatus { origin: origin.clone(), phase, since: Timestamp::now(), copied: None });
    }
}

/// A migration that has been published.
struct Migrated {
    previous: Arc<Generation>,
    totals: Totals,
    /// For how long writes waited.
    pause: Duration,
}
