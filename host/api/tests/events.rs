//! Server-sent events, over real connections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use agent_host_api::{Options, Origin, SocketOptions};
use agent_host_session::log::Limits;
use agent_host_session::manager::Settings;
use fake_ports::World;
use fake_ports::hooks::Keep;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::events::Events;
use support::{Host, answer, within};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

const PATH: &str = "/sessions/s/events";

async fn host() -> Host {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    host
}

async fn small_host(options: Options) -> Host {
    let log = Limits { events: 100, bytes: 64 * 1024 };
    let host = Host::over(World::new(Settings { log, ..Settings::default() }).await, options).await;
    host.create("s").await;
    host
}

/// A connection whose system takes little, on which the events are asked for and none is read.
async fn narrow(host: &Host) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(host.address).await.unwrap();
    stream.write_all(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

fn number(frame: &Value) -> u64 {
    frame["seq"].as_u64().unwrap()
}

async fn metric(host: &Host, series: &str) -> bool {
    let text = host.request(Method::GET, "/metrics", None).await.text().await.unwrap();
    text.lines().any(|line| line == series)
}

#[tokio::test]
async fn what_comes_is_what_a_websocket_gets() {
    let host = host().await;
    let mut socket = host.socket().await;
    let snapshot = socket.join("s").await;
    let mut events = Events::open(&host, PATH, None).await;
    assert_eq!(events.next().await.frame, snapshot);
    host.say("s", "one two three").await;
    let all = socket.turn().await;
    assert_eq!(events.frames(all.len()).await, all);
    assert!(metric(&host, "agent_host_subscribers 2").await);
}

#[tokio::test]
async fn a_client_goes_on_after_the_last_event_that_it_saw() {
    let host = host().await;
    let mut socket = host.socket().await;
    let start = number(&socket.join("s").await);
    host.say("s", "a b c d e").await;
    let all = socket.turn().await;
    for seen in [0, 1, all.len() / 2, all.len() - 1] {
        let since = start + seen as u64;
        let mut by_header = Events::open(&host, PATH, Some(since)).await;
        let mut by_query = Events::open(&host, &format!("{PATH}?since={since}"), None).await;
        // What was seen since the page was opened counts more than what its URL says.
        let mut by_both = Events::open(&host, &format!("{PATH}?since={start}"), Some(since)).await;
        for events in [&mut by_header, &mut by_query, &mut by_both] {
            assert_eq!(events.frames(all.len() - seen).await, all[seen..], "{seen} were seen before");
        }
    }
    let mut current = Events::open(&host, PATH, Some(start + all.len() as u64)).await;
    host.say("s", "f").await;
    assert_eq!(number(&current.next().await.frame), start + all.len() as u64 + 1);
}

#[tokio::test]
async fn a_client_that_cannot_go_on_is_told_and_begins_anew() {
    let host = small_host(Options::default()).await;
    let mut watcher = host.socket().await;
    let start = number(&watcher.join("s").await);
    for _ in 0..2 {
        host.say("s", &vec!["word"; 60].join(" ")).await;
        watcher.turn().await;
    }
    for since in [start, start + 1_000_000, 0, 1, u64::MAX] {
        let snapshot = Events::open(&host, PATH, Some(since)).await.next().await.frame;
        assert_eq!((&snapshot["event"], &snapshot["data"]["resync"]), (&json!("session:snapshot"), &json!(true)), "{since}");
        assert_eq!(snapshot["data"]["session"], host.get("/sessions/s").await.1);
    }
}

#[tokio::test]
async fn what_is_wrong_has_a_status() {
    let host = host().await;
    for (path, status, code) in [
        ("/sessions/none/events", 404, "SESSION_NOT_FOUND"),
        ("/sessions/..x/events", 404, "SESSION_NOT_FOUND"),
        ("/sessions/s/events?since=x", 400, "INVALID_REQUEST"),
        ("/sessions/s/events?since=-1", 400, "INVALID_REQUEST"),
        ("/sessions/s/events?sinec=1", 400, "INVALID_REQUEST"),
        ("/sessions/s/events?auth=now", 400, "INVALID_REQUEST"),
    ] {
        let (found, problem) = host.get(path).await;
        assert_eq!((found.as_u16(), &problem["code"]), (status, &json!(code)), "{path}: {problem}");
    }
    let wrong = host.client.get(format!("http://{}{PATH}", host.address)).header("last-event-id", "one");
    assert_eq!(answer(wrong.send().await.unwrap()).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(host.post(PATH, json!({})).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(host.post(&format!("{PATH}/x"), json!({})).await.1["code"], "NOT_FOUND");
}

#[tokio::test]
async fn a_client_goes_on_when_an_unloaded_session_is_loaded_again() {
    let host = host().await;
    let mut events = Events::open(&host, PATH, None).await;
    assert_eq!(events.next().await.frame["data"]["resync"], false);
    host.say("s", "first").await;
    while events.until("session:status").await["data"]["runtime"]["queuedMessages"] != 0 {}
    assert_eq!(host.post("/sessions/s/unload", json!({})).await.0, StatusCode::OK);
    host.say("s", "second").await;
    let snapshot = events.until("session:snapshot").await;
    assert_eq!(snapshot["data"]["resync"], true);
    // How much of the turn is in the snapshot is a matter of time.
    host.say("s", "third").await;
    let mut last = number(&snapshot);
    loop {
        let event = events.next().await;
        assert_eq!(event.id, Some(last + 1));
        last += 1;
        if event.frame["data"]["block"]["content"] == "third" && event.frame["data"]["block"]["type"] == "assistant_text" {
            break;
        }
    }
}

#[tokio::test]
async fn a_deleted_session_ends_its_streams() {
    let host = host().await;
    host.create("unloaded").await;
    let mut streams = [Events::open(&host, PATH, None).await, Events::open(&host, "/sessions/unloaded/events", None).await];
    host.post("/sessions/unloaded/unload", json!({})).await;
    for (id, events) in ["s", "unloaded"].into_iter().zip(&mut streams) {
        host.request(Method::DELETE, &format!("/sessions/{id}"), None).await;
        let (last, error) = events.read_to_end().await;
        let last = last.unwrap();
        assert_eq!((&last.frame["event"], &last.frame["data"]["code"]), (&json!("error"), &json!("SESSION_DELETED")));
        assert_eq!((&last.frame["data"]["sessionId"], last.id), (&json!(id), None));
        assert!(error.is_none(), "the stream was broken off: {error:?}");
    }
}

#[tokio::test]
async fn a_slow_client_is_told_and_dropped() {
    let host = small_host(Options::default()).await;
    let mut slow = Events::open(&host, PATH, None).await;
    let mut watcher = host.socket().await;
    watcher.until("sessions:list").await;
    // Larger than what the systems of both ends take for a client that does not read.
    for _ in 0..3 {
        host.say("s", &vec!["x".repeat(1000); 8000].join(" ")).await;
    }
    let running = |frame: &Value| frame["data"]["changed"][0]["runtime"].get("runningMessageId").is_some();
    while !running(&watcher.until("sessions:list").await) {}
    while running(&watcher.until("sessions:list").await) {}
    let (last, error) = slow.read_to_end().await;
    let last = last.unwrap();
    assert_eq!((&last.frame["data"]["code"], last.id), (&json!("SLOW_CONSUMER"), None));
    assert!(error.is_none(), "{error:?}");
    assert!(metric(&host, "agent_host_subscribers_dropped_total{reason=\"lagged\"} 1").await);
    assert_eq!(host.get("/sessions/s").await.1["blocks"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn a_client_that_never_reads_loses_its_place() {
    // Whether it is the stream that has waited long enough, or the connection, on which nothing goes on.
    for min_rate in [usize::MAX, 1] {
        loses_its_place(min_rate).await;
    }
}

async fn loses_its_place(min_rate: usize) {
    let socket = SocketOptions { min_rate, ..SocketOptions::default() };
    let options = Options { max_connections: 1, send_timeout: Duration::from_millis(200), socket, ..Options::default() };
    let log = Limits { events: 100, bytes: 64 * 1024 };
    let host = Host::over(World::new(Settings { log, ..Settings::default() }).await, options).await;
    let session = support::create(&host, "s").await;
    let silent = narrow(&host).await;
    let words = vec!["x".repeat(1000); 8000].join(" ");
    host.world.manager.send_message(&session, None, agent_host_session::message::Content::Text(words)).await.unwrap();
    // There is one place: this is answered when the other client has lost it.
    host.assert_well().await;
    assert!(metric(&host, "agent_host_subscribers_dropped_total{reason=\"stalled\"} 1").await);
    drop(silent);
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_place_back() {
    let host = Host::start(Options { max_connections: 1, ..Options::default() }).await;
    support::create(&host, "s").await;
    let events = narrow(&host).await;
    drop(events);
    host.assert_well().await;
}

#[tokio::test]
async fn a_stream_without_events_has_heartbeats() {
    let socket = SocketOptions { heartbeat: Duration::from_millis(20), ..SocketOptions::default() };
    let host = Host::start(Options { socket, ..Options::default() }).await;
    host.create("s").await;
    let mut events = Events::open(&host, PATH, None).await;
    assert!(events.any().await.unwrap().is_some(), "the snapshot");
    for _ in 0..5 {
        assert_eq!(events.any().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_host_that_stops_says_so() {
    let host = host().await;
    let mut events = Events::open(&host, PATH, None).await;
    events.next().await;
    host.shutdown.cancel();
    let (last, error) = events.read_to_end().await;
    assert_eq!(last.unwrap().frame["data"]["code"], "SHUTTING_DOWN");
    assert!(error.is_none(), "{error:?}");
    within("the host's end", host.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn nothing_is_shown_before_the_hooks_have_it() {
    let host = host().await;
    let mut events = Events::open(&host, PATH, None).await;
    events.next().await;
    host.world.hooks.keep(Keep::Later);
    host.say("s", "one two").await;
    let hooks = &host.world.hooks;
    while hooks.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    let shown = tokio::time::timeout(Duration::from_millis(50), events.any()).await;
    assert!(shown.is_err(), "{shown:?}");
    hooks.store(0);
    events.next().await;
}

fn with_key() -> Options {
    Options { api_keys: vec!["right".into()], ..Options::default() }
}

#[tokio::test]
async fn without_a_key_nothing_is_told() {
    let mut host = Host::start(with_key()).await;
    host.key = Some("right");
    host.create("s").await;
    Events::open(&host, PATH, None).await.next().await;
    for (key, code) in [(None, "AUTH_REQUIRED"), (Some("wrong"), "INVALID_API_KEY")] {
        host.key = key;
        for path in [PATH, "/sessions/none/events", "/sessions/s/events?since=1", "/sessions/s/events?key=right"] {
            let (status, problem) = host.get(path).await;
            assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!(code)), "{path}");
        }
    }
}

#[tokio::test]
async fn a_key_may_be_shown_by_another_request() {
    let mut host = Host::start(with_key()).await;
    host.key = Some("right");
    host.create("s").await;
    host.key = None;
    let mut events = Events::open(&host, &format!("{PATH}?auth=later"), None).await;
    let auth = events.next().await;
    assert_eq!((&auth.frame["event"], auth.id), (&json!("auth"), None));
    let stream = auth.frame["data"]["stream"].as_str().unwrap();
    let path = format!("{PATH}/{stream}");
    assert_eq!(host.post(&path, json!({})).await.0, StatusCode::UNAUTHORIZED);
    host.key = Some("right");
    assert_eq!(host.post(&format!("/sessions/other/events/{stream}"), json!({})).await.0, StatusCode::NOT_FOUND);
    assert_eq!(host.post(&path, json!({})).await, (StatusCode::OK, json!({"success": true, "sessionId": "s"})));
    assert_eq!(events.next().await.frame["event"], "session:snapshot");
    assert_eq!(host.post(&path, json!({})).await.0, StatusCode::NOT_FOUND, "once");
}

#[tokio::test]
async fn a_stream_whose_key_does_not_come_ends() {
    let socket = SocketOptions { auth_timeout: Duration::from_millis(50), ..SocketOptions::default() };
    let host = Host::start(Options { socket, ..with_key() }).await;
    // Not even whether there is such a session is told.
    let mut events = Events::open(&host, "/sessions/none/events?auth=later", None).await;
    assert_eq!(events.next().await.frame["event"], "auth");
    assert_eq!(events.read_to_end().await.0.unwrap().frame["data"]["code"], "AUTH_REQUIRED");
}

#[tokio::test]
async fn pages_of_other_origins_cannot_open_a_stream() {
    let origins = vec![Origin::new("https://app.example.com").unwrap()];
    let open = Host::start(Options { allowed_origins: origins.clone(), ..Options::default() }).await;
    let locked = Host::start(Options { allowed_origins: origins, ..with_key() }).await;
    for host in [&open, &locked] {
        for path in [PATH, "/sessions/s/events?auth=later"] {
            let url = format!("http://{}{path}", host.address);
            let request = host.client.get(url).bearer_auth("right").header("origin", "https://evil.example");
            let (status, problem) = answer(request.send().await.unwrap()).await;
            assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("ORIGIN_NOT_ALLOWED")), "{path}");
        }
    }
}
