//! The sockets: a server on a thread of its own, which ends with the [`ModelApi`] that holds it.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::message::Ids;
use crate::reply::Reply;
use crate::request::Request;
use crate::routes;
use crate::script::Script;

/// Requests that are remembered. One of a real client is 90 kB and more, and a test looks at the last few.
const REMEMBERED: usize = 256;

/// A running API. Dropping it ends it, with all its connections.
#[derive(Debug)]
pub struct ModelApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the connections share.
pub(crate) struct Shared {
    script: Box<dyn Script>,
    pub(crate) ids: Ids,
    /// A permit is a hold that may go on.
    pub(crate) holds: Semaphore,
    requests: Mutex<VecDeque<Arc<Request>>>,
    /// How many requests there were, so that one can be waited for.
    count: watch::Sender<usize>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("requests", &*self.count.borrow()).finish_non_exhaustive()
    }
}

impl ModelApi {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If there is no port or no thread to be had.
    pub fn start(script: impl Script) -> io::Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), script)
    }

    /// Starts one at an address.
    ///
    /// # Errors
    /// If the address is taken, or there is no thread to be had.
    pub fn start_at(address: SocketAddr, script: impl Script) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Box::new(script),
            ids: Ids::new(),
            holds: Semaphore::new(0),
            requests: Mutex::default(),
            count: watch::Sender::new(0),
        });
        // A runtime of its own serves whatever the test's does meanwhile, and ends every connection when it is dropped.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let router = routes::router(Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("fake-model-api".into()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    result = routes::serve(listener, router) => if let Err(error) = result { eprintln!("the fake model API failed: {error}") },
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// What a client takes as the API's base URL: `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The last 256 requests to `/v1/messages…`, oldest first.
    pub fn requests(&self) -> Vec<Arc<Request>> {
        self.shared.remembered().iter().cloned().collect()
    }

    /// The last request.
    pub fn last_request(&self) -> Option<Arc<Request>> {
        self.shared.remembered().back().cloned()
    }

    /// Waits for a request that `wanted` accepts, which may have come already; `None` if there is none within `deadline`.
    pub async fn wait_for(&self, deadline: Duration, wanted: impl Fn(&Request) -> bool) -> Option<Arc<Request>> {
        let mut count = self.shared.count.subscribe();
        let search = async {
            loop {
                count.mark_unchanged();
                let found = self.shared.remembered().iter().find(|request| wanted(request)).cloned();
                if found.is_some() || count.changed().await.is_err() {
                    return found;
                }
            }
        };
        tokio::time::timeout(deadline, search).await.unwrap_or(None)
    }

    /// Lets one [`Delta::Hold`](crate::Delta::Hold) go on: one that waits, or else the next.
    pub fn release(&self) {
        self.shared.holds.add_permits(1);
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

impl Drop for ModelApi {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Remembers a request, and gives it with the script's reply.
    pub(crate) fn decide(&self, mut request: Request) -> (Arc<Request>, Reply) {
        let request = {
            let mut requests = self.remembered();
            let fingerprint = request.fingerprint();
            request.attempt = requests.iter().filter(|earlier| earlier.fingerprint() == fingerprint).count();
            let request = Arc::new(request);
            if requests.len() == REMEMBERED {
                requests.pop_front();
            }
            requests.push_back(Arc::clone(&request));
            request
        };
        self.count.send_modify(|count| *count += 1);
        let reply = self.script.reply(&request);
        (request, reply)
    }

    fn remembered(&self) -> MutexGuard<'_, VecDeque<Arc<Request>>> {
        self.requests.lock()
    }
}
