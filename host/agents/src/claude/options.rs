//! The options of a session with `claude`.
//!
//! | option | value | a change takes effect |
//! | --- | --- | --- |
//! | `model` | a model's name or alias | at once |
//! | `maxThinkingTokens` | whole number from 0 to 1,000,000 | at once |
//! | `effort` | `low`, `medium`, `high`, `xhigh` or `max` | when the agent is started next |
//! | `maxTurns` | whole number from 1 to 100,000: requests to the model in answer to one message | when the agent is started next |
//! | `maxBudgetUsd` | number above 0: US dollars that one run of the agent may cost | when the agent is started next |
//! | `appendSystemPrompt` | text, added after the profile's system prompt | when the agent is started next |
//!
//! `null` is the same as leaving an option out.

use agent_host_session::ports::agent::Invalid;
use agent_host_session::record::Options;
use serde_json::Value;

/// Far above any real use; below, so that no number can overflow in the command.
const MAX_TURNS: u64 = 100_000;
/// More than any model's context.
const MAX_THINKING_TOKENS: u64 = 1_000_000;
/// Longest name of a model: it is an argument of a process and is shown to people.
const MAX_MODEL_BYTES: usize = 200;
/// Those of version 2.1.330; it warns about others and ignores them.
const EFFORTS: [&str; 5] = ["low", "medium", "high", "xhigh", "max"];

/// A session's options, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SessionOptions {
    pub model: Option<String>,
    pub max_thinking_tokens: Option<u32>,
    pub effort: Option<String>,
    pub max_turns: Option<u32>,
    pub max_budget_usd: Option<f64>,
    pub append_system_prompt: Option<String>,
}

impl SessionOptions {
    /// Checks `options`; the error names the one that is wrong.
    pub(super) fn parse(options: &Options) -> Result<Self, Invalid> {
        let mut parsed = Self::default();
        for (name, value) in options {
            if value.is_null() {
                continue;
            }
            let known = match name.as_str() {
                "model" => {
                    parsed.model = model(value);
                    parsed
                        .model
                        .is_some()
                        .then_some(())
                        .ok_or("a model's name of at most 200 bytes, without spaces and not beginning with '-'")
                }
                "maxThinkingTokens" => {
                    parsed.max_thinking_tokens = whole(value, 0, MAX_THINKING_TOKENS);
                    parsed.max_thinking_tokens.is_some().then_some(()).ok_or("a whole number from 0 to 1000000")
                }
                "effort" => {
                    parsed.effort = value.as_str().filter(|effort| EFFORTS.contains(effort)).map(str::to_owned);
                    parsed.effort.is_some().then_some(()).ok_or("low, medium, high, xhigh or max")
                }
                "maxTurns" => {
                    parsed.max_turns = whole(value, 1, MAX_TURNS);
                    parsed.max_turns.is_some().then_some(()).ok_or("a whole number from 1 to 100000")
                }
                "maxBudgetUsd" => {
                    parsed.max_budget_usd = value.as_f64().filter(|dollars| *dollars > 0.0);
                    parsed.max_budget_usd.is_some().then_some(()).ok_or("a number above 0")
                }
                "appendSystemPrompt" => {
                    parsed.append_system_prompt = value.as_str().map(str::to_owned);
                    parsed.append_system_prompt.is_some().then_some(()).ok_or("a text")
                }
                _ => return Err(Invalid(format!("unknown option {name:?} for claude-agent-sdk"))),
            };
            known.map_err(|expected| Invalid(format!("option {name:?} must be {expected}")))?;
        }
        Ok(parsed)
    }
}

fn model(value: &Value) -> Option<String> {
    let name = value.as_str()?;
    // An argument that begins with a dash would be taken for another option.
    let fine = !name.is_empty() && name.len() <= MAX_MODEL_BYTES && !name.starts_with('-') && name.chars().all(|c| c.is_ascii_graphic());
    fine.then(|| name.to_owned())
}

fn whole(value: &Value, min: u64, max: u64) -> Option<u32> {
    value.as_u64().filter(|number| (min..=max).contains(number)).and_then(|number| number.try_into().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<SessionOptions, Invalid> {
        SessionOptions::parse(value.as_object().unwrap())
    }

    #[test]
    fn known_options_are_taken() {
        let options = json!({
            "model": "claude-sonnet-4-6", "maxThinkingTokens": 0, "effort": "xhigh", "maxTurns": 3, "maxBudgetUsd": 0.5, "appendSystemPrompt": "Be brief.",
        });
        let parsed = parse(options).unwrap();
        assert_eq!(parsed.model.as_deref(), Some("claude-sonnet-4-6"));
        assert_eq!((parsed.max_thinking_tokens, parsed.max_turns, parsed.max_budget_usd), (Some(0), Some(3), Some(0.5)));
        assert_eq!(parse(json!({"model": null})).unwrap(), SessionOptions::default());
    }

    #[test]
    fn a_wrong_option_is_refused_by_name() {
        for (name, value) in [
            ("model", json!("")),
            ("model", json!("--dangerous")),
            ("model", json!("a b")),
            ("model", json!(1)),
            ("maxThinkingTokens", json!(-1)),
            ("maxThinkingTokens", json!(1.5)),
            ("effort", json!("extreme")),
            ("maxTurns", json!(0)),
            ("maxTurns", json!("3")),
            ("maxBudgetUsd", json!(0)),
            ("maxBudgetUsd", json!("1")),
            ("appendSystemPrompt", json!(["x"])),
            ("modle", json!("claude")),
        ] {
            let error = parse(json!({name: value})).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
