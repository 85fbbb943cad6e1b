//! What all requests of a host share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_host_session::manager::{self, Manager};
use agent_host_session::trace::Cause;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::access::Access;
use crate::admin::Admin;
use crate::events::Admissions;
use crate::feed::Snapshots;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::problem::{Code, Problem};

/// What the host said of its health: why not everything works, or why nothing does.
type Health = Result<Option<String>, Problem>;

/// How long an answer of the store about its health is repeated: whoever asks has no key, and must not be able to keep the store busy.
const HEALTH_LIFETIME: Duration = Duration::from_millis(500);

/// How long the store may take to say that it is well. Whoever asks (a load balancer, a supervisor) usually waits 5 s or more.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a request for the contents of files waits for another one to end.
const FILE_RESPONSE_WAIT: Duration = Duration::from_secs(5);

/// Handed to all handlers.
pub(crate) struct Shared {
    pub(crate) manager: Arc<Manager>,
    pub(crate) admin: Arc<dyn Admin>,
    pub(crate) options: Options,
    pub(crate) access: Access,
    pub(crate) snapshots: Snapshots,
    pub(crate) admissions: Admissions,
    pub(crate) metrics: Metrics,
    /// Cancelled when the host stops taking requests.
    pub(crate) shutdown: CancellationToken,
    /// Connections, and who serves WebSockets and event streams.
    pub(crate) connections: TaskTracker,
    /// Cancelled when connections that are still there are given up.
    pub(crate) abort: CancellationToken,
    /// Requests that change something.
    pub(crate) writes: TaskTracker,
    file_responses: Arc<Semaphore>,
    health: Mutex<Option<(Instant, Health)>>,
}

impl Shared {
    pub(crate) fn new(
        manager: Arc<Manager>,
        admin: Arc<dyn Admin>,
        registry: Registry,
        options: Options,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            manager,
            admin,
            access: Access::new(&options),
            metrics: Metrics::new(registry),
            snapshots: Snapshots::new(options.snapshot_memory_bytes),
            admissions: Admissions::default(),
            shutdown,
            connections: TaskTracker::new(),
            abort: CancellationToken::new(),
            writes: TaskTracker::new(),
            file_responses: Arc::new(Semaphore::new(options.max_file_responses)),
            health: Mutex::new(None),
            options,
        })
    }

    /// Carries out a request that changes something to its end, also when its client goes away in the middle.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, manager::Error>> + Send + 'static,
    ) -> Result<T, Problem> {
        self.carry_out(work).await
    }

    /// The same for what is no business of the manager.
    pub(crate) async fn carry_out<T: Send + 'static, E: Into<Problem> + Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, Problem> {
        match self.writes.spawn(Cause::current().carry(work.in_current_span())).await {
            Ok(result) => result.map_err(Into::into),
            Err(error) => Err(Problem::internal("carry out the request", &error)),
        }
    }

    /// Leave to answer with the contents of files.
    pub(crate) async fn file_response(&self) -> Result<OwnedSemaphorePermit, Problem> {
        match tokio::time::timeout(FILE_RESPONSE_WAIT, Arc::clone(&self.file_responses).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => {
                Err(Problem::new(Code::Busy, "too many requests for the contents of files are being answered; try again later"))
            }
        }
    }

    /// Whether the host can do its work; if only for sessions that are loaded, why.
    pub(crate) async fn health(&self) -> Health {
        let known = self.health.lock().clone();
        if let Some((at, result)) = known
            && at.elapsed() < HEALTH_LIFETIME
        {
            return result;
        }
        let result = match tokio::time::timeout(HEALTH_TIMEOUT, self.manager.health()).await {
            Ok(result) => result.map_err(Problem::from),
            Err(_) => Err(Problem::new(Code::StoreUnavailable, format!("the store did not answer within {HEALTH_TIMEOUT:?}"))),
        };
        *self.health.lock() = Some((Instant::now(), result.clone()));
        result
    }
}
