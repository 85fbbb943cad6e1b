//! What a hook says of itself, a word at a time.

use crate::{Decisions, HookInfo, OnFailure};

impl HookInfo {
    /// A hook that wants nothing yet, and whose failure means that things happen.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            events: Vec::new(),
            decisions: Decisions::empty(),
            on_failure: OnFailure::Allow,
            extra: None,
        }
    }

    /// Wants events of these names, such as `session:block:complete`; `*` at the end stands for any rest.
    #[must_use]
    pub fn wants<T: Into<String>>(mut self, events: impl IntoIterator<Item = T>) -> Self {
        self.events.extend(events.into_iter().map(Into::into));
        self
    }

    /// Wants to decide on these questions.
    #[must_use]
    pub fn decides(mut self, decisions: Decisions) -> Self {
        self.decisions = self.decisions | decisions;
        self
    }

    /// What it cannot decide on does not happen: where letting through is worse than standing still.
    #[must_use]
    pub fn denies_on_failure(mut self) -> Self {
        self.on_failure = OnFailure::Deny;
        self
    }
}
