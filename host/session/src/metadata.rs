//! What is known about a session besides its blocks: usage, cost, model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::json_weight;

/// Tokens, as the model's API counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Read by the model, outside any cache.
    pub input_tokens: u64,
    /// Written by the model.
    pub output_tokens: u64,
    /// Read by the model from its cache.
    #[serde(default)]
    pub cache_read_input_tokens: u64,
    /// Put into the model's cache.
    #[serde(default)]
    pub cache_creation_input_tokens: u64,
}

impl Usage {
    /// The sum of both.
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cache_read_input_tokens: self.cache_read_input_tokens.saturating_add(other.cache_read_input_tokens),
            cache_creation_input_tokens: self.cache_creation_input_tokens.saturating_add(other.cache_creation_input_tokens),
        }
    }
}

/// Most bytes, as JSON, that hooks may keep in a session's metadata: it is part of every picture of the session, and of its record anew with each change.
pub const HOOKS_BYTES: usize = 64 * 1024;

/// What hooks keep with a session: their names, and for each its keys and values.
pub type OfHooks = BTreeMap<String, Map<String, Value>>;

/// What is known about a conversation. An update carries what changed, in its new value: applying one twice changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Tokens of all turns so far, subagents included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// US dollars of all turns so far, subagents included, as the agent program estimates them.
    #[serde(default, rename = "costUSD", skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// The model that answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The tools that the agent has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// A title that the agent gave to the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Turns so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
    /// The agent program's own name for the session, with which it resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_session_id: Option<String>,
    /// What hooks have added. In an update, `null` removes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: OfHooks,
}

impl Metadata {
    /// Takes over what `update` carries.
    pub fn merge(&mut self, update: &Self) {
        fn take<T: Clone>(field: &mut Option<T>, update: &Option<T>) {
            if update.is_some() {
                field.clone_from(update);
            }
        }
        take(&mut self.usage, &update.usage);
        take(&mut self.cost_usd, &update.cost_usd);
        take(&mut self.model, &update.model);
        take(&mut self.tools, &update.tools);
        take(&mut self.title, &update.title);
        take(&mut self.turns, &update.turns);
        take(&mut self.agent_session_id, &update.agent_session_id);
        merge_hooks(&mut self.hooks, &update.hooks);
    }

    /// About how many bytes of memory its contents hold, for bounds.
    pub(crate) fn weight(&self) -> usize {
        let tools: usize = self.tools.iter().flatten().map(String::len).sum();
        let values = self.hooks.values().flatten().map(|(key, value)| key.len() + json_weight(value));
        tools + values.sum::<usize>()
    }
}

/// Takes over what an update of hooks carries: `null` removes.
pub(crate) fn merge_hooks(hooks: &mut OfHooks, update: &OfHooks) {
    for (hook, values) in update {
        let kept = hooks.entry(hook.clone()).or_default();
        for (key, value) in values {
            if value.is_null() {
                kept.remove(key);
            } else {
                kept.insert(key.clone(), value.clone());
            }
        }
        if kept.is_empty() {
            hooks.remove(hook);
        }
    }
}
