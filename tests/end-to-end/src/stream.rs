//! The WebSocket: a client that joins sessions and keeps all that comes.

use std::collections::{HashMap, HashSet};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::DEADLINE;
use crate::fold::Fold;
use crate::frame::{Frame, running_in};

/// Frames that a failure shows: those that came last.
const SHOWN: usize = 40;

/// An open WebSocket. Waiting reads from it; what comes meanwhile is kept, in its order.
pub struct Stream {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    frames: Vec<Frame>,
    /// What [`next`](Self::next) has passed.
    seen: usize,
    acks: HashMap<String, Value>,
    requests: usize,
    /// By session: the message whose turn runs.
    running: HashMap<String, Option<String>>,
    /// Messages whose turns ran and run no more.
    ended: HashSet<String>,
    closed: Option<String>,
}

impl Stream {
    /// Connects, without showing a key.
    pub async fn connect(base_url: &str) -> Self {
        Self::try_connect(base_url, &[]).await.unwrap_or_else(|error| panic!("failed to open a WebSocket: {error}"))
    }

    /// Connects with these headers.
    ///
    /// # Errors
    /// If the host refuses.
    pub async fn try_connect(base_url: &str, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let request = request(base_url, headers);
        // The test decides what is too large, not its client.
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let connecting = connect_async_with_config(request, Some(config), false);
        let (socket, _) = tokio::time::timeout(DEADLINE, connecting).await.expect("the WebSocket was not opened in time")?;
        Ok(Self {
            socket,
            frames: Vec::new(),
            seen: 0,
            acks: HashMap::new(),
            requests: 0,
            running: HashMap::new(),
            ended: HashSet::new(),
            closed: None,
        })
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Sends a text that may be no frame.
    pub async fn send_text(&mut self, text: &str) {
        let sent =
            tokio::time::timeout(DEADLINE, self.socket.send(Message::text(text))).await.expect("the host did not take a frame in time");
        if let Err(error) = sent {
            self.closed.get_or_insert_with(|| error.to_string());
        }
    }

    /// Shows a key, as a browser does: in the first frame.
    pub async fn authenticate(&mut self, key: &str) {
        self.send(&json!({"type": "auth", "key": key})).await;
    }

    /// Sends a request and gives its acknowledgement.
    pub async fn ask(&mut self, mut request: Value) -> Value {
        self.requests += 1;
        let id = format!("request-{}", self.requests);
        request["id"] = json!(id);
        self.send(&request).await;
        let deadline = Instant::now() + DEADLINE;
        while !self.acks.contains_key(&id) {
            if !self.read(deadline).await {
                self.fail(&format!("an acknowledgement of {request}"));
            }
        }
        self.acks.remove(&id).unwrap_or_default()
    }

    /// Joins a session and gives its snapshot.
    pub async fn join(&mut self, session: &str) -> Value {
        let ack = self.ask(json!({"type": "session:join", "sessionId": session})).await;
        assert_eq!(ack["success"], true, "failed to join {session}: {ack}");
        self.snapshot_of(session).await
    }

    /// Joins a session from behind the event with that number, and gives the acknowledgement.
    pub async fn join_since(&mut self, session: &str, seq: u64) -> Value {
        self.ask(json!({"type": "session:join", "sessionId": session, "since": seq})).await
    }

    /// The next snapshot of a session.
    pub async fn snapshot_of(&mut self, session: &str) -> Value {
        self.next("a snapshot", |frame| frame.event == "session:snapshot" && frame.is_of(session)).await.data
    }

    /// Leaves a session.
    pub async fn leave(&mut self, session: &str) -> Value {
        self.ask(json!({"type": "session:leave", "sessionId": session})).await
    }

    /// The next event of that name, counted from the one that was asked for before.
    pub async fn next_event(&mut self, name: &str) -> Frame {
        self.next(name, |frame| frame.event == name).await
    }

    /// The next event that `wanted` accepts, counted from the one that was asked for before. `what` names it in a failure.
    pub async fn next(&mut self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let new = self.frames.get(self.seen..).unwrap_or_default();
            if let Some(position) = new.iter().position(&wanted) {
                self.seen += position + 1;
                return self.frames[self.seen - 1].clone();
            }
            self.seen = self.frames.len();
            if !self.read(deadline).await {
                self.fail(what);
            }
        }
    }

    /// Waits until a message's turn ran and is over.
    pub async fn turn_end(&mut self, message: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !self.ended.contains(message) {
            if !self.read(deadline).await {
                self.fail(&format!("the end of the turn of message {message}"));
            }
        }
    }

    /// Waits until the host closes the connection, and gives the reason.
    pub async fn closed(&mut self) -> String {
        let deadline = Instant::now() + DEADLINE;
        while self.read(deadline).await {}
        self.closed.clone().unwrap_or_else(|| self.fail("the end of the connection"))
    }

    /// Everything that came so far but acknowledgements.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// What a client knows of a session now, folded from its last snapshot on.
    pub fn fold(&self, session: &str) -> Fold {
        let snapshot = self.frames.iter().rposition(|frame| frame.event == "session:snapshot" && frame.is_of(session));
        let snapshot = snapshot.unwrap_or_else(|| panic!("no snapshot of {session} came"));
        let mut fold = Fold::of_snapshot(&self.frames[snapshot].data);
        self.frames[snapshot + 1..].iter().for_each(|frame| fold.apply(frame));
        fold
    }

    /// Reads one message; `false` if none came in time or the connection is closed.
    async fn read(&mut self, deadline: Instant) -> bool {
        if self.closed.is_some() {
            return false;
        }
        let text = match timeout_at(deadline, self.socket.next()).await {
            Err(_) => return false,
            Ok(Some(Ok(Message::Text(text)))) => text,
            // Pings are answered by the socket itself.
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => return true,
            Ok(Some(Ok(Message::Close(close)))) => {
                self.closed = Some(close.map_or_else(|| "no reason given".to_owned(), |close| format!("{}: {}", close.code, close.reason)));
                return false;
            }
            Ok(Some(Ok(other))) => panic!("the host sent a message that is not text: {other:?}"),
            Ok(Some(Err(error))) => {
                self.closed = Some(error.to_string());
                return false;
            }
            Ok(None) => {
                self.closed = Some("ended without a close frame".to_owned());
                return false;
            }
        };
        let value: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("the host sent a frame that is not JSON ({error}): {text}"));
        if value["type"] == "ack" {
            if let Some(id) = value["id"].as_str() {
                self.acks.insert(id.to_owned(), value);
            }
            return true;
        }
        let frame = Frame::parse(&value).unwrap_or_else(|| panic!("the host sent neither an event nor an acknowledgement: {value}"));
        self.note_turns(&frame);
        self.frames.push(frame);
        true
    }

    fn note_turns(&mut self, frame: &Frame) {
        let running = match frame.event.as_str() {
            "session:snapshot" => Some(running_in(&frame.data["session"]["runtime"])),
            _ => frame.running(),
        };
        let (Some(running), Some(session)) = (running, frame.data["sessionId"].as_str()) else { return };
        let before = self.running.insert(session.to_owned(), running.map(str::to_owned)).flatten();
        if let Some(before) = before.filter(|before| running != Some(before)) {
            self.ended.insert(before);
        }
    }

    fn fail(&self, what: &str) -> ! {
        let last: Vec<String> = self.frames.iter().rev().take(SHOWN).rev().map(Frame::summary).collect();
        let end = self
            .closed
            .as_ref()
            .map_or_else(|| format!("did not come within {DEADLINE:?}"), |reason| format!("did not come before the end ({reason})"));
        panic!("{what} {end}; of {} frames the last are\n{}", self.frames.len(), last.join("\n"));
    }
}

fn request(base_url: &str, headers: &[(&'static str, &str)]) -> Request {
    let url = format!("{}/ws", base_url.replacen("http", "ws", 1));
    let mut request = url.into_client_request().expect("failed to make a request for a WebSocket");
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a header has an impossible value"));
    }
    request
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;

    use super::*;

    /// A host that sends these frames when it is asked to let somebody join, and closes when it is sent a ping.
    async fn host(frames: Vec<Value>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
            while let Some(Ok(Message::Text(text))) = socket.next().await {
                let request: Value = serde_json::from_str(&text).unwrap();
                if request["type"] == "ping" {
                    socket.close(None).await.unwrap();
                    return;
                }
                // An event may be ahead of the acknowledgement.
                let ack = json!({"type": "ack", "id": request["id"], "success": true});
                for frame in frames[..1].iter().chain([&ack]).chain(&frames[1..]) {
                    socket.send(Message::text(frame.to_string())).await.unwrap();
                }
            }
        });
        format!("http://{address}")
    }

    fn status(seq: u64, running: Option<&str>) -> Value {
        json!({"event": "session:status", "seq": seq, "data": {"sessionId": "s", "runtime": {"runningMessageId": running}}})
    }

    fn snapshot() -> Value {
        json!({"event": "session:snapshot", "data": {"sessionId": "s", "session": {"seq": 4, "blocks": [], "runtime": {"runningMessageId": "m0"}}}})
    }

    #[tokio::test]
    async fn the_snapshot_is_found_and_what_follows_is_folded() {
        let block = json!({"id": "b", "type": "assistant_text", "timestamp": "t", "content": "said"});
        let started =
            json!({"event": "session:block:start", "seq": 5, "data": {"sessionId": "s", "conversationId": "main", "block": block}});
        let list = json!({"event": "sessions:list", "data": {"sessions": []}});
        let mut stream = Stream::connect(&host(vec![list, snapshot(), started]).await).await;
        assert_eq!(stream.join("s").await["session"]["seq"], 4);
        stream.next_event("session:block:start").await;
        let fold = stream.fold("s");
        assert_eq!((fold.seq(), fold.blocks().answer().as_str()), (5, "said"));
    }

    #[tokio::test]
    async fn a_turn_has_ended_when_another_or_none_runs() {
        let frames = vec![snapshot(), status(5, None), status(6, Some("m1")), status(7, Some("m2")), status(8, Some("m2"))];
        let mut stream = Stream::connect(&host(frames).await).await;
        stream.join("s").await;
        // One that ran when the client joined, and one that another one followed.
        stream.turn_end("m0").await;
        stream.turn_end("m1").await;
        stream.next("the last status", |frame| frame.seq == Some(8)).await;
        assert!(!stream.ended.contains("m2"));
    }

    #[tokio::test]
    async fn the_end_of_the_connection_is_noticed() {
        let mut stream = Stream::connect(&host(vec![snapshot()]).await).await;
        stream.join("s").await;
        stream.send(&json!({"type": "ping"})).await;
        assert_eq!(stream.closed().await, "no reason given");
    }

    #[tokio::test]
    #[should_panic(expected = "session:file:created did not come before the end")]
    async fn what_cannot_come_any_more_is_not_waited_for() {
        let mut stream = Stream::connect(&host(vec![snapshot()]).await).await;
        stream.join("s").await;
        stream.send(&json!({"type": "ping"})).await;
        stream.next_event("session:file:created").await;
    }
}
