//! Who listens to the agents: keeps all evidence, in the order in which it came.

use std::sync::Arc;

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::words::Evidence;

/// Evidence, with the number of the process that gave it.
pub type Given = (usize, Evidence);

/// Takes evidence as long as it lives.
#[derive(Debug)]
pub struct Witness {
    address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    given: Mutex<Vec<Given>>,
    /// How many pieces of evidence there are.
    count: watch::Sender<usize>,
}

impl Witness {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("the witness cannot listen")?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared { given: Mutex::default(), count: watch::Sender::new(0) });
        let listening = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut processes = 0;
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(listen(stream, processes, Arc::clone(&listening)));
                processes += 1;
            }
        });
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// All that it was told.
    pub fn evidence(&self) -> Vec<Given> {
        self.shared.given.lock().clone()
    }

    /// How many pieces of evidence there are, and will be.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.shared.count.subscribe()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends with the process, whose connection closes.
async fn listen(stream: TcpStream, process: usize, shared: Arc<Shared>) {
    // Each piece is waited for.
    drop(stream.set_nodelay(true));
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        // One that was killed in the middle of a line has not done what it was about to tell.
        let Ok(evidence) = serde_json::from_str(&line) else { return };
        let count = {
            let mut given = shared.given.lock();
            given.push((process, evidence));
            given.len()
        };
        shared.count.send_replace(count);
        line.clear();
        if stream.write_all(b"\n").await.is_err() {
            return;
        }
    }
}
