//! Which sandboxes this process uses, and that the others of its host end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agent_host_modal::Sandbox;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// How long a host that ends waits for the answers to what it asked of Modal.
const CLOSE: Duration = Duration::from_secs(20);

/// Knows the sandboxes that are in use, and what is being done in the background.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    held: Mutex<BTreeSet<String>>,
    pub(super) tasks: TaskTracker,
}

/// A sandbox is in use as long as this is there.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) keeper: Arc<Keeper>,
    id: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.keeper.held.lock().remove(&self.id);
    }
}

impl Keeper {
    pub(super) fn hold(self: &Arc<Self>, sandbox: &Sandbox) -> Hold {
        let id = sandbox.id().to_owned();
        self.held.lock().insert(id.clone());
        Hold { keeper: Arc::clone(self), id }
    }

    pub(super) fn is_held(&self, sandbox: &Sandbox) -> bool {
        self.held.lock().contains(sandbox.id())
    }

    /// Terminates a sandbox that nobody has any more.
    pub(super) fn terminate_later(&self, sandbox: Sandbox) {
        let Ok(runtime) = Handle::try_current() else { return };
        let termination = async move {
            if let Err(error) = sandbox.terminate().await {
                tracing::warn!(sandbox = sandbox.id(), %error, "a sandbox that nobody needs could not be terminated, which is tried again");
            }
        };
        self.tasks.spawn_on(termination, &runtime);
    }

    /// Waits for what is being done in the background.
    pub(super) async fn close(&self) {
        self.tasks.close();
        if tokio::time::timeout(CLOSE, self.tasks.wait()).await.is_err() {
            tracing::warn!("Modal has not answered in time; what is left there ends when this host starts again, or when its time is over");
        }
    }
}
