//! The admin calls over the host's components.

use std::sync::Arc;

use agent_host_api::admin::{Admin, AdminError, Component as Named, HookReplacement, Replacement};
use agent_host_registry::{InvalidReference, Reference, Registry};
use agent_host_wasm::exchange::{Candidate, Error, Phase};
use agent_host_wasm::hooks::Name;
use agent_host_wasm::hooks::roster::{HookRequest, Roster};
use agent_host_wasm::hooks::spool::Begin;
use agent_host_wasm::swap::{Components, Request};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{as_json, builtin, builtin_names};

/// The operator's side of a host.
pub struct Operator {
    /// The persistence adapter.
    pub components: Arc<Components>,
    /// The event hooks.
    pub roster: Arc<Roster>,
    /// Where components may be pulled from.
    pub registry: Arc<Registry>,
}

#[async_trait]
impl Admin for Operator {
    async fn components(&self) -> Value {
        let (persistence, hooks) = (self.components.status(), self.roster.status());
        let mut events = [persistence.events, hooks.events].concat();
        events.sort_by_key(|event| event.at);
        json!({
            "persistence": as_json(&persistence.persistence),
            "hooks": as_json(&hooks.hooks),
            "hookCandidate": as_json(&hooks.candidate),
            "events": as_json(&events),
        })
    }

    async fn swap_persistence(&self, replacement: Replacement) -> Result<Value, AdminError> {
        let Replacement { component, config, grants, migrate } = replacement;
        let candidate = self.candidate(component).await?;
        let report = self.components.swap(Request { candidate, config, grants, migrate }).await;
        report.map(|report| as_json(&report)).map_err(refused)
    }

    async fn roll_back_persistence(&self, migrate: bool) -> Result<Value, AdminError> {
        let report = self.components.rollback(migrate).await;
        report.map(|report| as_json(&report)).map_err(refused)
    }

    async fn put_hook(&self, name: &str, replacement: HookReplacement) -> Result<Value, AdminError> {
        let HookReplacement { component, config, grants, from_start } = replacement;
        let name = hook_name(name)?;
        let candidate = self.candidate(component).await?;
        let begin = from_start.map(|from_start| if from_start { Begin::AtStart } else { Begin::AtEnd });
        let report = self.roster.put(&name, HookRequest { candidate, config, grants, begin }).await;
        report.map(|report| as_json(&report)).map_err(refused)
    }

    async fn remove_hook(&self, name: &str) -> Result<(), AdminError> {
        self.roster.remove(&hook_name(name)?).await.map_err(refused)
    }

    async fn enable_hook(&self, name: &str, enabled: bool) -> Result<(), AdminError> {
        self.roster.enable(&hook_name(name)?, enabled).await.map_err(refused)
    }
}

fn hook_name(name: &str) -> Result<Name, AdminError> {
    Name::new(name).map_err(|error| AdminError::Invalid(error.to_string()))
}

impl Operator {
    async fn candidate(&self, component: Named) -> Result<Candidate, AdminError> {
        let unread = |reason| AdminError::Refused { phase: Phase::Read.to_string(), reason };
        Ok(match component {
            Named::Bytes(bytes) => Candidate::Bytes(bytes),
            Named::Path(path) => Candidate::File(path),
            Named::Digest(digest) => Candidate::Digest(digest),
            Named::Builtin(name) => match builtin(&name) {
                Some(component) => Candidate::Builtin(component.to_owned()),
                None => return Err(unread(format!("there is no built-in component {name:?}; there are {}", builtin_names()))),
            },
            Named::Registry(reference) => {
                let parsed: Reference = reference.parse().map_err(|error: InvalidReference| AdminError::Invalid(error.to_string()))?;
                let path = self.registry.pull(&parsed).await.map_err(|error| unread(error.to_string()))?;
                Candidate::Pulled { reference, path }
            }
            Named::Configured => Candidate::Configured,
        })
    }
}

fn refused(error: Error) -> AdminError {
    match error {
        Error::Busy => AdminError::Busy(error.to_string()),
        Error::NothingEarlier => AdminError::NothingEarlier(error.to_string()),
        Error::ShuttingDown => AdminError::ShuttingDown(error.to_string()),
        Error::NotKept(_) => AdminError::Failed(error.to_string()),
        Error::UnknownHook(_) => AdminError::UnknownHook(error.to_string()),
        Error::Refused { phase, reason } => AdminError::Refused { phase: phase.to_string(), reason },
    }
}
