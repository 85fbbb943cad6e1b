//! The running turn, and how it ends.

use agent_host_session::event::TurnOutcome;
use agent_host_session::metadata::Usage;

use super::super::wire::TurnResult;

/// The turn that answers a message.
pub(super) struct Turn {
    /// The name of the message to the command.
    pub uuid: String,
    /// The command has taken the message up.
    pub started: bool,
    /// The user wants it to end.
    pub interrupted: bool,
    /// The command was interrupted before it took the message up, which may have been too early.
    pub interrupt_again: bool,
    /// How it ended, once it is answered. It is over when the command is idle as well.
    pub outcome: Option<TurnOutcome>,
}

impl Turn {
    pub(super) fn new(uuid: String) -> Self {
        Self { uuid, started: false, interrupted: false, interrupt_again: false, outcome: None }
    }

    /// The outcome of a turn that ended without a result.
    pub(super) fn unanswered(&self) -> TurnOutcome {
        if self.interrupted { TurnOutcome::Interrupted } else { TurnOutcome::Failed }
    }
}

impl TurnResult {
    /// How the turn ended.
    pub(super) fn outcome(&self, interrupted: bool) -> TurnOutcome {
        let aborted = self.terminal_reason.as_deref().is_some_and(|reason| reason.starts_with("aborted"));
        if aborted || (interrupted && self.subtype == "error_during_execution") {
            TurnOutcome::Interrupted
        } else if self.is_error {
            TurnOutcome::Failed
        } else {
            TurnOutcome::Completed
        }
    }

    /// What went wrong, for people and for programs.
    pub(super) fn error(&self) -> (String, String) {
        let errors = self.errors.as_deref().unwrap_or_default().join("\n");
        let text = [Some(errors), self.result.clone()].into_iter().flatten().find(|text| !text.is_empty());
        // The subtype `success` says nothing of what went wrong.
        let code = match self.terminal_reason.as_deref() {
            Some(reason) if self.subtype == "success" => reason,
            _ => &self.subtype,
        };
        (text.unwrap_or_else(|| "the agent failed without saying why".to_owned()), code.to_owned())
    }

    /// What the turn cost, its subagents included, and in US dollars. `before` is the session's total before it, if known.
    pub(super) fn spent(&self, before: Option<f64>) -> (Usage, f64) {
        let (usage, cost_usd) = self.counted(before);
        // What is no amount would spoil the session's sum for good.
        (usage, if cost_usd.is_finite() { cost_usd.max(0.0) } else { 0.0 })
    }

    fn counted(&self, before: Option<f64>) -> (Usage, f64) {
        match (&self.model_usage_since_last_result, self.usage) {
            (Some(models), _) => {
                models.values().fold((Usage::default(), 0.0), |(usage, cost), model| (usage.plus(model.tokens()), cost + model.cost_usd))
            }
            (None, usage) => {
                let usage = usage.unwrap_or_default();
                let cost = before.zip(self.total_cost_usd).map_or(0.0, |(before, after)| after - before);
                let usage = Usage {
                    input_tokens: usage.input_tokens,
                    output_tokens: usage.output_tokens,
                    cache_read_input_tokens: usage.cache_read_input_tokens.unwrap_or_default(),
                    cache_creation_input_tokens: usage.cache_creation_input_tokens.unwrap_or_default(),
                };
                (usage, cost)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_usage_by_model_the_cost_is_what_the_sessions_total_grew_by() {
        let json = r#"{"usage":{"input_tokens":3,"output_tokens":4,"cache_read_input_tokens":null},"total_cost_usd":0.75}"#;
        let result: TurnResult = serde_json::from_str(json).unwrap();
        let usage = Usage { input_tokens: 3, output_tokens: 4, ..Usage::default() };
        assert_eq!(result.spent(Some(0.5)), (usage, 0.25));
        // Of a resumed session the first total holds what was spent before.
        assert_eq!(result.spent(None), (usage, 0.0));
    }

    #[test]
    fn what_is_no_amount_costs_nothing() {
        for costs in [["1.7e308", "1.7e308"], ["-3", "1"]] {
            let [one, other] = costs;
            let json = format!(r#"{{"model_usage_since_last_result":{{"a":{{"costUSD":{one}}},"b":{{"costUSD":{other}}}}}}}"#);
            let result: TurnResult = serde_json::from_str(&json).unwrap();
            assert_eq!(result.spent(None).1, 0.0, "{json}");
        }
    }

    #[test]
    fn an_error_with_the_subtype_success_is_named_by_its_reason() {
        let json = r#"{"subtype":"success","is_error":true,"terminal_reason":"prompt_too_long","result":"Prompt is too long"}"#;
        let result: TurnResult = serde_json::from_str(json).unwrap();
        assert_eq!(result.outcome(false), TurnOutcome::Failed);
        assert_eq!(result.error(), ("Prompt is too long".to_owned(), "prompt_too_long".to_owned()));
    }
}
