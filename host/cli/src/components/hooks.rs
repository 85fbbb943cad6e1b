//! What the configuration says of event hooks.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_host_registry::Registry;
use agent_host_wasm::exchange::Plan;
use agent_host_wasm::hooks::delivery::DeliveryOptions;
use agent_host_wasm::hooks::roster::{Configuration, Configured};
use agent_host_wasm::hooks::spool::{Begin, Bounds, SpoolOptions};
use agent_host_wasm::hooks::{HookOptions, Name};
use agent_host_wasm::{Grants, Source};
use async_trait::async_trait;

use super::granted::{Grantor, instances, limits};
use super::registry;
use crate::config::choice;
use crate::config::grant::HookComponent;
use crate::config::schema;

/// The configured hooks.
pub struct ConfiguredHooks {
    hooks: Vec<(schema::Hook, Source)>,
    registry: Arc<Registry>,
    grantor: Grantor,
}

impl ConfiguredHooks {
    /// These, in this order.
    ///
    /// # Errors
    /// If the component of one is in a registry, and cannot be had.
    pub async fn new(hooks: Vec<schema::Hook>, registry: Arc<Registry>, grantor: Grantor) -> Result<Self, agent_host_registry::Error> {
        let mut sources = Vec::with_capacity(hooks.len());
        for hook in &hooks {
            sources.push(match &hook.component {
                HookComponent::File(path) => Source::File(path.clone()),
                HookComponent::Registry(reference) => registry::pulled(&registry, reference).await?,
            });
        }
        Ok(Self { hooks: hooks.into_iter().zip(sources).collect(), registry, grantor })
    }
}

#[async_trait]
impl Configuration for ConfiguredHooks {
    fn hooks(&self) -> Vec<Configured> {
        let configured = |(hook, source): &(schema::Hook, Source)| Configured {
            name: hook.name.0.clone(),
            source: source.clone(),
            is_enabled: hook.enabled,
            begin: match hook.from {
                choice::Begin::Start => Begin::AtStart,
                choice::Begin::End => Begin::AtEnd,
            },
        };
        self.hooks.iter().map(configured).collect()
    }

    async fn options(&self, name: &Name, plan: &Plan) -> Result<(HookOptions, DeliveryOptions), String> {
        registry::check(&self.registry, &plan.origin).await?;
        let configured = self.hooks.iter().map(|(hook, _)| hook).find(|hook| hook.name.0 == *name);
        let config = plan.config.as_ref().or(configured.map(|hook| &hook.config));
        let grants = match (configured, &plan.grants) {
            (Some(hook), asked) => self.grantor.open(self.grantor.asked("grants", asked.as_ref(), &hook.grants)?).await?,
            (None, Some(_)) => {
                let nothing = schema::Grants { databases: BTreeMap::new(), dirs: vec![], net: vec![], http: vec![], env: BTreeMap::new() };
                self.grantor.open(self.grantor.asked("grants", plan.grants.as_ref(), &nothing)?).await?
            }
            (None, None) => Grants::default(),
        };
        let config = config.cloned().unwrap_or_default().into_iter().collect();
        // These are what a configured hook has where nothing is said, which a test sees to.
        let Some(hook) = configured else {
            let options = HookOptions { config, grants, ..HookOptions::default() };
            return Ok((options, DeliveryOptions::default()));
        };
        let options = HookOptions {
            config,
            grants,
            limits: limits(&hook.limits),
            decision_timeout: hook.decision_timeout,
            decision_instances: instances(&hook.limits),
        };
        Ok((options, DeliveryOptions { events: hook.batch_events, bytes: hook.batch_bytes, delay: hook.batch_delay }))
    }
}

/// How much the host keeps for hooks.
pub fn spool_options(events: &schema::Events) -> SpoolOptions {
    SpoolOptions {
        backlog: Bounds { events: events.backlog, bytes: events.backlog_bytes },
        keep_bytes: events.keep_bytes,
        keep_for: events.keep_for,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hook_that_is_added_has_the_limits_of_one_that_is_configured_without_any() {
        let directory = tempfile::tempdir().unwrap();
        let component = directory.path().join("a.wasm");
        std::fs::write(&component, "").unwrap();
        let file = directory.path().join("agent-host.toml");
        std::fs::write(&file, "[[hooks]]\nname = 'configured'\ncomponent = 'a.wasm'\n").unwrap();
        let flags = BTreeMap::new();
        let environment = BTreeMap::<String, String>::new();
        let sources = crate::config::Sources { file: Some(&file), flags: &flags, environment: &environment, working_dir: directory.path() };
        let hooks = crate::config::load(&sources).unwrap().config.hooks;
        let registry = Registry::new(agent_host_registry::Options::default()).unwrap();
        let configured = ConfiguredHooks::new(hooks, Arc::new(registry), Grantor::new().unwrap()).await.unwrap();
        let of = async |name: &str| format!("{:?}", configured.options(&Name::new(name).unwrap(), &Plan::configured()).await.unwrap());
        assert_eq!(of("configured").await, of("added").await);
    }
}
