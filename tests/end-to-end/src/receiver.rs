//! A receiver of webhooks that fails every other time, before or after it took the events in.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Session, epoch and number of an event: what a receiver tells a repeat by.
pub type EventId = (String, u64, u64);

/// What a request came with.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Whether a request is answered well.
type Answers = Box<dyn Fn(usize) -> Outcome + Send>;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The events are taken in, and the sender is told so.
    Taken,
    /// The events are taken in, but the sender is told something else.
    TakenAndRefused,
    /// The events are not taken in.
    Refused,
}

struct Received {
    answers: Answers,
    requests: Vec<Delivery>,
    events: BTreeMap<EventId, Value>,
    repeats: usize,
}

/// A receiver, until it is dropped.
pub struct Receiver {
    /// Where it is: `http://127.0.0.1:PORT/events`.
    pub url: String,
    received: Arc<Mutex<Received>>,
    server: JoinHandle<()>,
}

impl Receiver {
    /// One that fails every other time, in two ways by turns.
    pub async fn flaky() -> Self {
        Self::start(|number| match number % 4 {
            0 => Outcome::Refused,
            2 => Outcome::TakenAndRefused,
            _ => Outcome::Taken,
        })
        .await
    }

    /// One that answers the n-th request so.
    pub async fn start(answers: impl Fn(usize) -> Outcome + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("failed to listen");
        let url = format!("http://{}/events", listener.local_addr().expect("a listener has an address"));
        let received = Received { answers: Box::new(answers), requests: Vec::new(), events: BTreeMap::new(), repeats: 0 };
        let received = Arc::new(Mutex::new(received));
        let router = Router::new().route("/events", post(receive)).with_state(Arc::clone(&received));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the receiver broke off") });
        Self { url, received, server }
    }

    /// The events that it took in, each once, with their names and data.
    pub fn events(&self) -> BTreeMap<EventId, Value> {
        self.received.lock().events.clone()
    }

    /// Events that came again, and requests.
    pub fn repeats_and_requests(&self) -> (usize, usize) {
        let received = self.received.lock();
        (received.repeats, received.requests.len())
    }

    /// What was sent, in all requests.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.received.lock().requests.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(received): State<Arc<Mutex<Received>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut received = received.lock();
    let outcome = (received.answers)(received.requests.len());
    let parsed: Value = serde_json::from_slice(&body).expect("a delivery is not JSON");
    received.requests.push(Delivery { headers, body });
    if outcome == Outcome::Refused {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    for event in parsed["data"]["events"].as_array().expect("a delivery has no events") {
        let number = |field: &str| event[field].as_u64().expect("an event lacks a number");
        let id = (event["session"].as_str().expect("an event has no session").to_owned(), number("epoch"), number("seq"));
        if received.events.insert(id, event.clone()).is_some() {
            received.repeats += 1;
        }
    }
    if outcome == Outcome::Taken { StatusCode::NO_CONTENT } else { StatusCode::INTERNAL_SERVER_ERROR }
}
