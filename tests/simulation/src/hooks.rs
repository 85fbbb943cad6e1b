//! Hooks that keep events for a while before anybody may see them.

use std::sync::Arc;

use agent_host_session::id::SessionId;
use agent_host_session::message::{Content, Message};
use agent_host_session::ports::hooks::{Batch, Hooks, SessionDraft, ToolDraft, Verdict, Wants};
use agent_host_session::record::Options;
use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::life::Pulse;
use crate::world::World;

/// The hooks of one process of a host.
pub(crate) struct Spool {
    pub(crate) world: Arc<World>,
    pub(crate) pulse: Pulse,
    pub(crate) wants_events: bool,
}

#[async_trait]
impl Hooks for Spool {
    fn wants(&self) -> Wants {
        Wants { events: self.wants_events, ..Wants::default() }
    }

    fn tools(&self) -> watch::Receiver<bool> {
        watch::channel(false).1
    }

    fn record(&self, batch: Batch) {
        let (world, pulse) = (Arc::clone(&self.world), self.pulse.clone());
        if world.chance(50) {
            batch.stored.done();
            return;
        }
        tokio::spawn(async move {
            world.waver().await;
            pulse.pass().await;
            batch.stored.done();
        });
    }

    async fn before_session(&self, _draft: &SessionDraft) -> Verdict<Options> {
        Verdict::Allow
    }

    async fn before_message(&self, _session: &SessionId, _message: &Message, _from: Option<&str>) -> Verdict<Content> {
        Verdict::Allow
    }

    async fn before_tool_use(&self, _draft: &ToolDraft) -> Verdict<Map<String, Value>> {
        Verdict::Allow
    }
}
