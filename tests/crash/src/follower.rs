//! Clients that watch a session over a WebSocket, come back after whatever happens, and look that they are told each event once and in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use agent_host_tests::{Blocks, Fold, Frame};
use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::api::{Address, base_url};
use crate::random::{self, Random};
use crate::report::{Counts, Findings};

/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(30);

/// For a connection and for the answer to a request: a host that was stopped is found dead by then, as a real client finds it.
const PATIENCE: Duration = Duration::from_secs(12);

/// How long a restless client stays at most.
const STAY: Duration = Duration::from_secs(3);

/// A number has the epoch above these bits, in which events are counted.
const COUNTER_BITS: u32 = 32;

/// What must not be.
pub const WRONG: &str = "events lost, doubled or out of order at clients";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// All who watch. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Followers {
    address: Address,
    findings: Findings,
    counts: Arc<Mutex<Counts>>,
    all: Arc<Mutex<Vec<Follower>>>,
    /// Whether a host may show a session as it was before another one took it over: without leases it learns of that only when it writes.
    may_go_back: bool,
}

/// One who watches.
#[derive(Clone, Debug)]
pub struct Follower {
    /// Which session.
    pub session: String,
    fold: Arc<Mutex<Option<Fold>>>,
    task: AbortHandle,
}

impl Follower {
    /// What it knows: the number of the last event, and all blocks. `None` as long as it was told nothing.
    pub fn knows(&self) -> Option<(u64, Blocks)> {
        self.fold.lock().as_ref().map(|fold| (fold.seq(), fold.blocks().clone()))
    }
}

impl Followers {
    /// Of the host that is there.
    pub fn new(address: Address, findings: Findings, may_go_back: bool) -> Self {
        Self { address, findings, counts: Arc::default(), all: Arc::default(), may_go_back }
    }

    /// Two watch a session from now on: one that stays, and a restless one.
    pub fn follow(&self, session: &str, seed: u64) {
        for (number, is_restless) in [false, true].into_iter().enumerate() {
            let fold = Arc::<Mutex<Option<Fold>>>::default();
            let watch = Watch {
                session: session.to_owned(),
                address: self.address.clone(),
                findings: self.findings.clone(),
                counts: Arc::clone(&self.counts),
                fold: Arc::clone(&fold),
                random: random::of(seed, number as u64),
                is_restless,
                may_go_back: self.may_go_back,
            };
            let task = tokio::spawn(watch.run()).abort_handle();
            self.all.lock().push(Follower { session: session.to_owned(), fold, task });
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Follower> {
        self.all.lock().clone()
    }

    /// All go away.
    pub fn leave(&self) {
        self.all.lock().drain(..).for_each(|follower| follower.task.abort());
    }

    /// What they have seen.
    pub fn counts(&self) -> Counts {
        self.counts.lock().clone()
    }
}

struct Watch {
    session: String,
    address: Address,
    findings: Findings,
    counts: Arc<Mutex<Counts>>,
    fold: Arc<Mutex<Option<Fold>>>,
    random: Random,
    is_restless: bool,
    may_go_back: bool,
}

/// Why a connection is of no use any more.
enum Over {
    /// Another one is made.
    Again,
    /// There is nothing to watch.
    Gone,
}

impl Watch {
    async fn run(mut self) {
        while let Some(base) = base_url(&mut self.address).await {
            let connecting = connect_async(format!("{}/ws", base.replacen("http", "ws", 1)));
            if let Ok(Ok((socket, _))) = tokio::time::timeout(PATIENCE, connecting).await
                && matches!(self.watch(socket).await, Over::Gone)
            {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn watch(&mut self, mut socket: Socket) -> Over {
        self.count("connections of clients");
        let since = self.fold.lock().as_ref().map(Fold::seq);
        let mut join = json!({"type": "session:join", "id": "join", "sessionId": self.session});
        if let Some(since) = since {
            join["since"] = json!(since);
        }
        if socket.send(Message::text(join.to_string())).await.is_err() {
            return Over::Again;
        }
        // One that is answered stays as long as it likes.
        let mut until = Instant::now() + PATIENCE;
        loop {
            let message = tokio::select! {
                message = socket.next() => message,
                () = sleep_until(until) => return Over::Again,
                // Another host serves, or there is none.
                _ = self.address.changed() => return Over::Again,
            };
            let text = match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                _ => return Over::Again,
            };
            let Ok(frame) = serde_json::from_str::<Value>(&text) else {
                self.findings.add(WRONG, format!("{}: a frame that is not JSON: {text}", self.session));
                return Over::Again;
            };
            if frame["type"] == "ack" {
                match (&frame["success"], frame["code"].as_str().or(frame["error"]["code"].as_str())) {
                    (Value::Bool(true), _) => until = self.stays_until(),
                    (_, Some("SESSION_NOT_FOUND")) => return Over::Gone,
                    _ => return Over::Again,
                }
            } else if frame["data"]["code"] == "SESSION_DELETED" {
                return Over::Gone;
            } else if !self.take(&frame, since.is_some()) {
                return Over::Again;
            }
        }
    }

    fn stays_until(&mut self) -> Instant {
        const FAR: Duration = Duration::from_secs(24 * 3600);
        Instant::now() + if self.is_restless { random::time(&mut self.random, STAY) } else { FAR }
    }

    /// Takes an event; `false` if the client had better ask anew.
    fn take(&self, value: &Value, has_asked_since: bool) -> bool {
        let event = value["event"].as_str().unwrap_or_default().to_owned();
        let frame = Frame { event, data: value["data"].clone(), seq: value["seq"].as_u64() };
        if !frame.is_of(&self.session) {
            return true;
        }
        let mut fold = self.fold.lock();
        if frame.event == "session:snapshot" {
            let new = Fold::of_snapshot(&frame.data);
            if let Some(known) = fold.as_ref() {
                self.count("times that a client was told to begin anew");
                if new.seq() < known.seq() && !self.may_go_back {
                    self.wrong(format!("a snapshot of {} came after {}", new.seq(), known.seq()));
                }
                if has_asked_since && frame.data["resync"] != true {
                    self.wrong("a snapshot that nobody asked for does not say so".to_owned());
                }
            }
            *fold = Some(new);
            return true;
        }
        let Some(seq) = frame.seq else { return true };
        let Some(known) = fold.as_mut() else {
            self.wrong(format!("event {seq} came before the snapshot"));
            return false;
        };
        self.count("events that clients got");
        let last = known.seq();
        if seq != last + 1 {
            self.wrong(format!("event {seq} came after {last}: {}", frame.event));
            *fold = None;
            return false;
        }
        // The fold checks more: that each event names a block that is there, that no block begins twice.
        if catch_unwind(AssertUnwindSafe(|| known.apply(&frame))).is_err() {
            // Two hosts that have both loaded a session and not written to it mean the same epoch, and need not show the same. Leases are to end that.
            let is_first = last.trailing_zeros() >= COUNTER_BITS;
            if is_first && self.may_go_back {
                *fold = None;
                return false;
            }
            self.wrong(format!("event {seq} does not fit: {value}"));
            *fold = None;
            return false;
        }
        true
    }

    fn wrong(&self, what: String) {
        self.findings.add(WRONG, format!("{}: {what}", self.session));
    }

    fn count(&self, what: &str) {
        self.counts.lock().add(what, 1);
    }
}
