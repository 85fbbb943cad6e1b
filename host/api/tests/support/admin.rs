//! An operator's side that remembers what it was asked and answers as it was told.

use agent_host_api::admin::{Admin, AdminError, HookReplacement, Replacement};
use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

/// What is done to a hook.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HookDeed {
    Put(HookReplacement),
    Remove,
    Enable(bool),
}

#[derive(Debug, Default)]
pub(crate) struct FakeAdmin {
    replacements: Mutex<Vec<Replacement>>,
    /// What was done to hooks.
    hooks: Mutex<Vec<(String, HookDeed)>>,
    /// What the next exchange fails with.
    refusal: Mutex<Option<AdminError>>,
}

impl FakeAdmin {
    pub(crate) fn replacements(&self) -> MutexGuard<'_, Vec<Replacement>> {
        self.replacements.lock()
    }

    pub(crate) fn hooks(&self) -> Vec<(String, HookDeed)> {
        self.hooks.lock().clone()
    }

    fn hook(&self, name: &str, deed: HookDeed) -> Result<Value, AdminError> {
        self.hooks.lock().push((name.to_owned(), deed));
        self.answer()
    }

    pub(crate) fn refuse(&self, error: AdminError) {
        *self.refusal.lock() = Some(error);
    }

    fn answer(&self) -> Result<Value, AdminError> {
        self.refusal.lock().take().map_or_else(|| Ok(json!({"generation": 2})), Err)
    }
}

#[async_trait]
impl Admin for FakeAdmin {
    async fn components(&self) -> Value {
        json!({"persistence": {"name": "fake"}})
    }

    async fn swap_persistence(&self, replacement: Replacement) -> Result<Value, AdminError> {
        self.replacements().push(replacement);
        self.answer()
    }

    async fn roll_back_persistence(&self, _: bool) -> Result<Value, AdminError> {
        self.answer()
    }

    async fn put_hook(&self, name: &str, replacement: HookReplacement) -> Result<Value, AdminError> {
        self.hook(name, HookDeed::Put(replacement))
    }

    async fn remove_hook(&self, name: &str) -> Result<(), AdminError> {
        self.hook(name, HookDeed::Remove).map(drop)
    }

    async fn enable_hook(&self, name: &str, enabled: bool) -> Result<(), AdminError> {
        self.hook(name, HookDeed::Enable(enabled)).map(drop)
    }
}
