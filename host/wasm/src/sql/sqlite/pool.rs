//! A bounded set of connections, lent to one job at a time and run off the asynchronous threads.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Cancel, Connection, Role};
use crate::sql::Error;

/// Connections of one role to one file. They are opened when they are first needed.
pub(super) struct Pool {
    path: PathBuf,
    role: Role,
    /// How long to wait for a connection, and how long SQLite waits for other programs' locks.
    wait: Duration,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    pub(super) fn new(path: PathBuf, role: Role, connections: usize, wait: Duration) -> Arc<Self> {
        Arc::new(Self { path, role, wait, slots: Arc::new(Semaphore::new(connections)), idle: Mutex::new(Vec::new()) })
    }

    /// Opens a connection now, so that a file that cannot be opened is known at once. Blocks.
    pub(super) fn warm(&self) -> Result<(), Error> {
        let connection = Connection::open(&self.path, self.role, self.wait)?;
        self.idle().push(connection);
        Ok(())
    }

    /// Waits its turn for a connection; those who wait are served in order.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, Error> {
        let permit = tokio::time::timeout(self.wait, Arc::clone(&self.slots).acquire_owned());
        let Ok(Ok(permit)) = permit.await else {
            let what = match self.role {
                Role::Writer => "other transactions to end",
                Role::Reader => "other queries to end",
            };
            return Err(Error::Busy(format!("waited {:?} for {what}", self.wait)));
        };
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let pool = Arc::clone(self);
                let open = tokio::task::spawn_blocking(move || Connection::open(&pool.path, pool.role, pool.wait));
                open.await.map_err(|error| Error::Other(format!("opening a connection ended early: {error}")))??
            }
        };
        Ok(Lease { connection: Some(connection), pool: Arc::clone(self), _permit: permit })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        // A panic elsewhere cannot have left the list half-changed.
        self.idle.lock()
    }
}

/// A connection on loan. Wherever it is dropped, what it left open is rolled back and the next in line has it.
pub(super) struct Lease {
    /// There until it is dropped.
    connection: Option<Connection>,
    pool: Arc<Pool>,
    /// Given back last, when the connection is in its place.
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Runs `job` on a thread that may block. If this future is dropped, the statement that runs is ended, and the connection goes back when it has.
    pub(super) async fn run<T, F>(mut self, job: F) -> Result<(Self, Result<T, Error>), Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
    {
        let mut cancel = CancelOnDrop(self.connection.as_ref().map(Connection::next_job));
        let task = tokio::task::spawn_blocking(move || {
            let result = match &mut self.connection {
                Some(connection) => job(connection),
                None => Err(Error::Other("the connection is closed".to_owned())),
            };
            (self, result)
        });
        let done = task.await;
        cancel.0 = None;
        done.map_err(|error| Error::Other(format!("a database job ended early: {error}")))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // Done here, wherever that is: it only forgets pages and gives the lock back, without waiting for the disk.
        let clean = !connection.in_transaction() || connection.rollback().is_ok();
        // One that cannot be rolled back, or whose job panicked, is closed, which rolls back too.
        if clean && !std::thread::panicking() {
            self.pool.idle().push(connection);
        }
    }
}

struct CancelOnDrop(Option<Cancel>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(cancel) = &self.0 {
            cancel.cancel();
        }
    }
}
