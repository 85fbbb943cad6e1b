//! What a session may use.

use std::collections::BTreeMap;

use agent_host_hook::{Config, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The key in the session's metadata under which it is kept that the conversation was told of a budget that is used; the value is that budget.
pub(crate) const TOLD: &str = "toldOfBudget";

/// What a session may use.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Budget {
    #[serde(rename = "maxCostUSD", skip_serializing_if = "Option::is_none")]
    max_cost_usd: Option<f64>,
    #[serde(rename = "maxTokens", skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
}

/// What of a session's metadata a budget is about.
#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    usage: Usage,
    #[serde(default, rename = "costUSD")]
    cost_usd: f64,
    #[serde(default)]
    hooks: BTreeMap<String, Map<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Usage {
    input_tokens: u64,
    output_tokens: u64,
    cache_creation_input_tokens: u64,
}

/// A budget that is used.
#[derive(Debug, PartialEq)]
pub(crate) struct Exceeded {
    /// A sentence.
    pub(crate) reason: String,
    /// Whether the conversation was told of it.
    pub(crate) is_told: bool,
}

impl Budget {
    /// `None` if there is no limit.
    pub(crate) fn new(config: &Config) -> Result<Option<Self>> {
        let budget = Self { max_cost_usd: config.parse("max_cost_usd")?, max_tokens: config.parse("max_tokens")? };
        if budget.max_cost_usd.is_some_and(|limit| !(limit.is_finite() && limit > 0.0)) || budget.max_tokens == Some(0) {
            return Err(Error::invalid(
                "the values of the configuration keys \"max_cost_usd\" and \"max_tokens\" must be more than nothing",
            ));
        }
        Ok((budget.max_cost_usd.is_some() || budget.max_tokens.is_some()).then_some(budget))
    }

    /// Whether a session with this metadata has used it; `None` if not.
    pub(crate) fn check(&self, metadata: &str) -> Result<Option<Exceeded>> {
        let metadata: Metadata =
            serde_json::from_str(metadata).map_err(|error| Error::other(format!("failed to read the session's metadata: {error}")))?;
        let tokens = metadata.usage.counted();
        let reason = match (self.max_cost_usd, self.max_tokens) {
            (Some(limit), _) if metadata.cost_usd >= limit => {
                format!("it may cost {}, and has cost {}", dollars(limit), dollars(metadata.cost_usd))
            }
            (_, Some(limit)) if tokens >= limit => format!("it may use {limit} tokens, and has used {tokens}"),
            _ => return Ok(None),
        };
        let told = self.as_told()?;
        // Under which name this hook keeps its values only the operator knows. One of another that has told of the same budget will do.
        let is_told = metadata.hooks.values().any(|values| values.get(TOLD) == Some(&told));
        Ok(Some(Exceeded { reason: format!("This session has used its budget: {reason}."), is_told }))
    }

    /// What is kept when the conversation was told of it.
    pub(crate) fn as_told(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|error| Error::other(format!("failed to write the budget as JSON: {error}")))
    }
}

impl Usage {
    fn counted(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens).saturating_add(self.cache_creation_input_tokens)
    }
}

/// With cents, and with as much more as small amounts need.
fn dollars(amount: f64) -> String {
    let decimals = if amount < 1.0 { 4 } else { 2 };
    format!("{amount:.decimals$} US dollars")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn budget(entries: &[(&str, &str)]) -> Result<Option<Budget>> {
        Budget::new(&Config::new(entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()))
    }

    fn check(entries: &[(&str, &str)], metadata: Value) -> Option<Exceeded> {
        budget(entries).unwrap().unwrap().check(&metadata.to_string()).unwrap()
    }

    #[test]
    fn cost_counts_up_to_the_limit() {
        let check = |cost: Value| check(&[("max_cost_usd", "0.5")], json!({"costUSD": cost, "turns": 3}));
        assert_eq!(check(json!(0.49)), None);
        let exceeded = check(json!(0.51234)).unwrap();
        assert_eq!(exceeded.reason, "This session has used its budget: it may cost 0.5000 US dollars, and has cost 0.5123 US dollars.");
        assert!(check(json!(0.5)).is_some());
    }

    #[test]
    fn tokens_count_but_for_those_that_are_read_from_the_cache() {
        let usage =
            |read| json!({"usage": {"inputTokens": 10, "outputTokens": 20, "cacheReadInputTokens": read, "cacheCreationInputTokens": 30}});
        assert_eq!(check(&[("max_tokens", "61")], usage(1000)), None);
        let exceeded = check(&[("max_tokens", "60")], usage(0)).unwrap();
        assert_eq!(exceeded.reason, "This session has used its budget: it may use 60 tokens, and has used 60.");
        assert!(check(&[("max_tokens", "60"), ("max_cost_usd", "1")], usage(0)).is_some(), "either limit is enough");
    }

    #[test]
    fn what_is_not_reported_is_not_counted() {
        assert_eq!(check(&[("max_cost_usd", "1"), ("max_tokens", "1")], json!({})), None);
    }

    #[test]
    fn that_the_conversation_was_told_holds_for_the_same_budget() {
        let is_told = |limit: &str, told: Value| {
            let metadata = json!({"costUSD": 9.5, "hooks": {"other": {"x": 1}, "guard-2": {TOLD: told}}});
            check(&[("max_cost_usd", limit)], metadata).unwrap().is_told
        };
        let told = budget(&[("max_cost_usd", "5")]).unwrap().unwrap().as_told().unwrap();
        assert_eq!(told, json!({"maxCostUSD": 5.0}));
        assert!(is_told("5", told.clone()) && is_told("5.0", told.clone()));
        assert!(!is_told("6", told) && !is_told("5", json!(true)));
    }

    #[test]
    fn a_budget_is_more_than_nothing() {
        for (key, value) in
            [("max_cost_usd", "0"), ("max_cost_usd", "-1"), ("max_cost_usd", "NaN"), ("max_cost_usd", "inf"), ("max_tokens", "0")]
        {
            assert!(matches!(budget(&[(key, value)]), Err(Error::Invalid(_))), "{key} {value}");
        }
        assert!(matches!(budget(&[("max_tokens", "many")]), Err(Error::Invalid(text)) if text.contains("\"max_tokens\"")));
        assert_eq!(budget(&[]), Ok(None));
    }
}
