//! What becomes of the hook whose place another one took: it waits whether the new one works, and takes its place again if it does not.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::change::{role, subject};
use super::state::Entry;
use super::{Roster, Running, Started};
use crate::hooks::Interests;
use crate::hooks::delivery::DeliveryOptions;
use crate::hooks::hook::Hook;
use crate::hooks::start::Name;

/// What was in a hook's place before, ready to take it again.
struct Before {
    entry: Entry,
    hook: Arc<Hook>,
    options: DeliveryOptions,
    /// For which events are stored although the newcomer wants none.
    unwanted: Option<Interests>,
}

impl Roster {
    /// Watches the hook that has just taken a place. The watch ends with it: when it is replaced, disabled or removed, or the host ends.
    pub(super) fn watch_newcomer(self: &Arc<Self>, name: &Name, before: Running, entry: Entry, unwanted: Option<Interests>) {
        let token = self.shutdown.child_token();
        let newcomer = {
            let mut members = self.members.lock();
            let running = members.iter_mut().find(|member| member.name == *name).and_then(|member| member.running.as_mut());
            let Some(running) = running else { return };
            running.probation = Some(token.clone().drop_guard());
            Arc::clone(&running.hook)
        };
        // The watch over the one before, if there still is one, ends here.
        let Running { hook, options, .. } = before;
        let before = Before { entry, hook, options, unwanted };
        tokio::spawn(Arc::clone(self).probation(name.clone(), newcomer, before, token));
    }

    async fn probation(self: Arc<Self>, name: Name, newcomer: Arc<Hook>, before: Before, token: CancellationToken) {
        let failures = self.settings.rollback_after;
        let hopeless = async {
            match failures {
                0 => std::future::pending().await,
                failures => newcomer.hopeless(failures).await,
            }
        };
        let operation = tokio::select! {
            biased;
            () = token.cancelled() => None,
            operation = hopeless => Some(operation),
            () = tokio::time::sleep(self.settings.probation) => None,
        };
        if !token.is_cancelled() {
            let _exchange = self.exchange.lock().await;
            // It may have been replaced while this waited.
            if !token.is_cancelled() {
                match operation {
                    Some(operation) => return self.roll_back(&name, before, operation).await,
                    // What waited for the one before is not needed any more.
                    None => self.settle_events(&name, before.unwanted.as_ref()).await,
                }
            }
        }
        before.hook.shutdown(self.settings.drain_timeout).await;
    }

    async fn roll_back(&self, name: &Name, before: Before, operation: &'static str) {
        let Before { entry, hook, options, unwanted } = before;
        tracing::error!(
            hook = %name,
            operation,
            generation = entry.record.generation,
            "the new event hook does not work; the one before it serves again"
        );
        self.engine.metrics().rolled_back(role(name));
        self.pause_delivery(name).await;
        let wanted = !hook.info().events.is_empty();
        self.restore_events(name, Some(hook.interests()).filter(|_| wanted)).await;
        if let Some(unwanted) = unwanted.filter(|_| !wanted) {
            self.forget(name, &unwanted).await;
        }
        let mut state = self.state.lock().clone();
        let failed = state.entry(name.as_str()).map(|failed| failed.record.clone());
        state.put(entry);
        // It is so, whether it can be written down or not.
        self.state.lock().clone_from(&state);
        if let Err(error) = self.remember(state).await {
            tracing::error!(%error, "failed to remember that the event hook was rolled back; a restart would begin with the one that does not work");
        }
        let newcomer = self.seat(name, Started { hook, options });
        if let Some(record) = failed {
            self.history.note("rolled-back", subject(name, &record), Some(format!("the first calls of {operation} failed")));
        }
        self.begin_delivery(name);
        if let Some(newcomer) = newcomer {
            newcomer.hook.shutdown(self.settings.drain_timeout).await;
        }
    }
}
