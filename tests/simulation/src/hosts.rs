//! The hosts that there are, as clients find them.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::host::Host;
use crate::world::World;

/// The hosts that there are. A client finds one of them, which it may have spoken to before.
pub(crate) struct Hosts {
    world: Arc<World>,
    /// Those that a client may be led to, the stopped ones among them.
    serving: Mutex<Vec<Arc<Host>>>,
    changed: watch::Sender<()>,
}

impl Hosts {
    pub(crate) fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self { world: Arc::clone(world), serving: Mutex::default(), changed: watch::Sender::new(()) })
    }

    pub(crate) fn set(&self, hosts: Vec<Arc<Host>>) {
        *self.serving.lock() = hosts;
        self.changed.send_replace(());
    }

    /// One of them, as soon as there is one.
    pub(crate) async fn any(&self) -> Arc<Host> {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(host) = self.world.pick(&self.serving.lock()) {
                return Arc::clone(host);
            }
            drop(changed.changed().await);
        }
    }
}
