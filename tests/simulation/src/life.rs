//! How a process is: what it asks of the world outside gets an answer only while it runs.
//!
//! A host that is killed does not unwind: none of its destructors run, and nothing comes out of it any more. So a killed host stays where it is, behind ports that
//! neither take nor give anything again, and is thrown away at the end of the schedule. One that is stopped (`SIGSTOP`) goes on later with what it had just been about to do.

use std::future::pending;

use tokio::sync::watch;

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    Stopped,
    Killed,
}

/// What sees how a process is.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(watch::Receiver<Life>);

impl Pulse {
    pub(crate) fn of(life: &watch::Sender<Life>) -> Self {
        Self(life.subscribe())
    }

    pub(crate) fn now(&self) -> Life {
        *self.0.borrow()
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.now() == Life::Killed
    }

    /// Returns at once in a process that runs, later in one that is stopped, and never in one that was killed.
    pub(crate) async fn pass(&self) {
        let mut life = self.0.clone();
        loop {
            match *life.borrow_and_update() {
                Life::Running => return,
                Life::Stopped => {}
                Life::Killed => break,
            }
            if life.changed().await.is_err() {
                break;
            }
        }
        pending().await
    }

    /// Waits until the process is killed.
    pub(crate) async fn killed(&self) {
        let mut life = self.0.clone();
        if life.wait_for(|life| *life == Life::Killed).await.is_err() {
            pending().await
        }
    }
}
