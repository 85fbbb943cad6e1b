//! A host on a real socket over fakes of the ports, and clients that see it from outside.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod admin;
pub(crate) mod events;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_host_api::{Options, serve};
use agent_host_session::id::{ProfileId, SessionId};
use agent_host_session::manager::{Create, Settings};
use fake_ports::World;
use futures_util::{SinkExt, StreamExt};
use prometheus_client::registry::Registry;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;

pub(crate) use self::admin::FakeAdmin;

/// Far beyond what anything here takes: a test that waits so long has failed.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    pub(crate) world: World,
    pub(crate) admin: Arc<FakeAdmin>,
    pub(crate) client: reqwest::Client,
    pub(crate) key: Option<&'static str>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), agent_host_api::Error>>,
}

impl Host {
    pub(crate) async fn start(options: Options) -> Self {
        Self::over(World::new(Settings::default()).await, options).await
    }

    pub(crate) async fn over(world: World, options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let admin = Arc::new(FakeAdmin::default());
        let operator = Arc::clone(&admin) as Arc<dyn agent_host_api::Admin>;
        let mut registry = Registry::with_prefix("agent_host");
        world.manager.register_metrics(&mut registry);
        let task = tokio::spawn(serve(listener, Arc::clone(&world.manager), operator, registry, options, shutdown.clone()));
        Self { address, world, admin, client: agent_host_test_programs::http().build().unwrap(), key: None, shutdown, task }
    }

    pub(crate) async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        if let Some(key) = self.key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        within("a response", request.send()).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path, None).await).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path, Some(body)).await).await
    }

    /// Creates a session of the id.
    pub(crate) async fn create(&self, id: &str) {
        let body = json!({"agentProfileRef": "default", "architecture": "fake", "sessionId": id});
        let (status, answer) = self.post("/sessions/create", body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    pub(crate) async fn say(&self, id: &str, content: &str) {
        let (status, answer) = self.post(&format!("/sessions/{id}/message"), json!({"content": content})).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    }

    /// Opens a connection and sends the bytes as they are.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A host that refuses what it has read so far may close before all is written.
        drop(stream.write_all(bytes).await);
        stream
    }

    /// The host still does its work.
    pub(crate) async fn assert_well(&self) {
        let (status, answer) = self.get("/health").await;
        assert_eq!((status, answer), (StatusCode::OK, json!({"status": "ok"})));
    }

    pub(crate) async fn socket(&self) -> Socket {
        self.try_socket(&[]).await.unwrap()
    }

    pub(crate) async fn try_socket(&self, headers: &[(&'static str, &str)]) -> Result<Socket, tungstenite::Error> {
        self.socket_over(TcpStream::connect(self.address).await.unwrap(), headers).await
    }

    /// A socket whose operating system takes little, so that a client that does not read is noticed soon.
    pub(crate) async fn narrow_socket(&self) -> Socket {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        self.socket_over(socket.connect(self.address).await.unwrap(), &[]).await.unwrap()
    }

    async fn socket_over(&self, stream: TcpStream, headers: &[(&'static str, &str)]) -> Result<Socket, tungstenite::Error> {
        let mut request = format!("ws://{}/ws", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (stream, _) = within("a WebSocket", client_async(request, stream)).await?;
        Ok(Socket { stream, next_id: 0 })
    }
}

/// Creates a session without a request, which would take up a place.
pub(crate) async fn create(host: &Host, id: &str) -> SessionId {
    let request = Create {
        id: Some(SessionId::new(id).unwrap()),
        profile: ProfileId::new("default").unwrap(),
        architecture: "fake".into(),
        name: None,
        options: Default::default(),
    };
    host.world.manager.create(request).await.unwrap().record.id
}

pub(crate) async fn answer(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = within("a body", response.text()).await.unwrap();
    if status == StatusCode::NO_CONTENT {
        assert!(text.is_empty(), "{text:?}");
        return (status, Value::Null);
    }
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text:?}")))
}

/// Everything that a connection gives until it ends.
pub(crate) async fn read_all(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is as good as an end.
    drop(within("the end of a connection", stream.read_to_end(&mut bytes)).await);
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<TcpStream>,
    next_id: u64,
}

/// What a WebSocket gives.
#[derive(Debug)]
pub(crate) enum Next {
    Frame(Value),
    Closed(Option<u16>),
}

impl Socket {
    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.stream.send(Message::Text(text.into().into())).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Next {
        let next = async {
            loop {
                return match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => Next::Frame(serde_json::from_str(&text).unwrap()),
                    Some(Ok(Message::Close(frame))) => Next::Closed(frame.map(|frame| frame.code.into())),
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => Next::Closed(None),
                };
            }
        };
        within("a frame", next).await
    }

    pub(crate) async fn frame(&mut self) -> Value {
        match self.next().await {
            Next::Frame(frame) => frame,
            Next::Closed(code) => panic!("closed with {code:?}"),
        }
    }

    /// The next frame that is not about the list of sessions.
    pub(crate) async fn other(&mut self) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["event"] != "sessions:list" {
                return frame;
            }
        }
    }

    /// Reads until a frame of the event.
    pub(crate) async fn until(&mut self, event: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["event"] == event {
                return frame;
            }
        }
    }

    /// Sends a request and gives the answer to it, which must be the next frame but for the list.
    pub(crate) async fn ask(&mut self, mut request: Value) -> Value {
        self.next_id += 1;
        request["id"] = json!(self.next_id);
        self.send(request.to_string()).await;
        let answer = self.other().await;
        assert_eq!((&answer["type"], &answer["id"]), (&json!("ack"), &json!(self.next_id)), "{answer}");
        answer
    }

    /// Joins a session and gives the snapshot.
    pub(crate) async fn join(&mut self, session: &str) -> Value {
        let answer = self.ask(json!({"type": "session:join", "sessionId": session})).await;
        assert_eq!(answer["success"], true, "{answer}");
        let frame = self.other().await;
        assert_eq!(frame["event"], "session:snapshot", "{frame}");
        frame
    }

    /// Reads a session's events to the end of the turn, which is when nothing runs or waits after something did.
    pub(crate) async fn turn(&mut self) -> Vec<Value> {
        self.events_of_turn(false).await
    }

    /// The same for a turn that runs already.
    pub(crate) async fn rest_of_turn(&mut self) -> Vec<Value> {
        self.events_of_turn(true).await
    }

    async fn events_of_turn(&mut self, mut has_begun: bool) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let frame = self.other().await;
            events.push(frame.clone());
            if frame["event"] == "session:status" {
                let runtime = &frame["data"]["runtime"];
                has_begun |= runtime.get("runningMessageId").is_some();
                if has_begun && runtime.get("runningMessageId").is_none() && runtime["queuedMessages"] == 0 {
                    return events;
                }
            }
        }
    }

    /// Reads to the end and gives the last frame and the close code.
    pub(crate) async fn read_to_end(&mut self) -> (Option<Value>, Option<u16>) {
        let mut last = None;
        loop {
            match self.next().await {
                Next::Frame(frame) => last = Some(frame),
                Next::Closed(code) => return (last, code),
            }
        }
    }
}
