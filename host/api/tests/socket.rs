//! WebSockets, over real connections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use agent_host_api::{Options, SocketOptions};
use agent_host_session::log::Limits;
use agent_host_session::manager::Settings;
use fake_ports::World;
use futures_util::SinkExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Host, Next, within};
use tokio_tungstenite::tungstenite::Message;

/// The blocks of a session as a client has them that began with a snapshot and took in the events.
fn fold(session: &Value, events: &[Value]) -> Vec<Value> {
    let mut blocks: Vec<Value> = session["blocks"].as_array().unwrap().clone();
    for event in events {
        let data = &event["data"];
        let place = |blocks: &[Value], id: &Value| blocks.iter().position(|block| block["id"] == *id);
        match event["event"].as_str().unwrap() {
            "session:block:start" => blocks.push(data["block"].clone()),
            "session:block:delta" => {
                let index = place(&blocks, &data["blockId"]).expect("a delta names a block that began");
                let text = format!("{}{}", blocks[index]["content"].as_str().unwrap(), data["delta"].as_str().unwrap());
                blocks[index]["content"] = json!(text);
            }
            "session:block:complete" => match place(&blocks, &data["blockId"]) {
                Some(index) => {
                    if data["block"]["type"] == "assistant_text" {
                        assert_eq!(blocks[index]["content"], data["block"]["content"], "the deltas make up the block");
                    }
                    blocks[index] = data["block"].clone();
                }
                None => blocks.push(data["block"].clone()),
            },
            _ => {}
        }
    }
    blocks
}

fn sequences(events: &[Value]) -> Vec<u64> {
    events.iter().filter_map(|event| event["seq"].as_u64()).collect()
}

fn assert_without_gaps(after: u64, events: &[Value]) {
    let numbers = sequences(events);
    assert_eq!(numbers, (after + 1..=after + numbers.len() as u64).collect::<Vec<_>>());
}

async fn slow_world() -> World {
    let log = Limits { events: 100, bytes: 64 * 1024 };
    World::new(Settings { log, ..Settings::default() }).await
}

#[tokio::test]
async fn what_is_streamed_is_what_get_shows() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let mut socket = host.socket().await;
    let snapshot = socket.join("s").await;
    assert_eq!((&snapshot["data"]["sessionId"], &snapshot["data"]["resync"]), (&json!("s"), &json!(false)));
    assert_eq!(snapshot["data"]["session"]["seq"], snapshot["seq"]);
    host.say("s", "one two three").await;
    let events = socket.turn().await;
    assert_without_gaps(snapshot["seq"].as_u64().unwrap(), &events);
    let streamed = fold(&snapshot["data"]["session"], &events);
    assert_eq!(streamed.len(), 2);
    assert_eq!(host.get("/sessions/s").await.1["blocks"], json!(streamed));
    assert_eq!(host.post("/sessions/s/unload", json!({})).await.0, StatusCode::OK);
    assert_eq!(host.get("/sessions/s").await.1["blocks"], json!(streamed), "also after a reload");
}

#[tokio::test]
async fn a_client_that_comes_in_the_middle_sees_the_turn_from_its_beginning() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let mut early = host.socket().await;
    early.join("s").await;
    host.say("s", "hang").await;
    early.until("session:block:delta").await;
    let mut late = host.socket().await;
    let snapshot = late.join("s").await;
    assert_eq!(snapshot["data"]["session"]["blocks"][1]["content"], "waiting");
    host.post("/sessions/s/interrupt", json!({})).await;
    let events = late.rest_of_turn().await;
    assert_eq!(host.get("/sessions/s").await.1["blocks"], json!(fold(&snapshot["data"]["session"], &events)));
}

#[tokio::test]
async fn resume_after_disconnect_replays_exactly_once() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let mut socket = host.socket().await;
    let start = socket.join("s").await["seq"].as_u64().unwrap();
    host.say("s", "a b c d e").await;
    let all = socket.turn().await;
    drop(socket);
    for seen in [0, 1, all.len() / 2, all.len()] {
        let mut socket = host.socket().await;
        let since = start + seen as u64;
        let answer = socket.ask(json!({"type": "session:join", "sessionId": "s", "since": since})).await;
        assert_eq!(answer["success"], true);
        let mut replayed = Vec::new();
        for _ in seen..all.len() {
            replayed.push(socket.other().await);
        }
        assert_eq!(replayed, all[seen..], "{seen} were seen before");
        // Nothing comes after what was missed.
        assert_eq!(socket.ask(json!({"type": "ping"})).await["success"], true);
    }
}

#[tokio::test]
async fn a_client_that_was_away_too_long_is_told_to_start_anew() {
    let host = Host::over(slow_world().await, Options::default()).await;
    host.create("s").await;
    let mut socket = host.socket().await;
    let since = socket.join("s").await["seq"].as_u64().unwrap();
    drop(socket);
    let mut watcher = host.socket().await;
    watcher.join("s").await;
    host.say("s", &vec!["word"; 60].join(" ")).await;
    watcher.turn().await;
    host.say("s", &vec!["word"; 60].join(" ")).await;
    watcher.turn().await;
    for since in [since, since + 1_000_000, 1] {
        let mut socket = host.socket().await;
        let answer = socket.ask(json!({"type": "session:join", "sessionId": "s", "since": since})).await;
        assert_eq!(answer["success"], true);
        let snapshot = socket.other().await;
        assert_eq!((&snapshot["event"], &snapshot["data"]["resync"]), (&json!("session:snapshot"), &json!(true)));
        assert_eq!(snapshot["data"]["session"], host.get("/sessions/s").await.1);
    }
}

#[tokio::test]
async fn mistakes_are_answered_and_do_not_end_the_connection() {
    let host = Host::start(Options::default()).await;
    let mut socket = host.socket().await;
    for (frame, code) in [
        ("", "INVALID_REQUEST"),
        ("{", "INVALID_REQUEST"),
        ("[1]", "INVALID_REQUEST"),
        ("{}", "INVALID_REQUEST"),
        (r#"{"type":"session:join"}"#, "INVALID_REQUEST"),
        (r#"{"type":"session:leave"}"#, "INVALID_REQUEST"),
        (r#"{"type":"session:join","sessionId":"none"}"#, "SESSION_NOT_FOUND"),
        (r#"{"type":"session:join","sessionId":null}"#, "INVALID_REQUEST"),
        (r#"{"type":"no such"}"#, "INVALID_REQUEST"),
    ] {
        socket.send(frame).await;
        let answer = socket.other().await;
        assert_eq!((&answer["type"], &answer["success"], &answer["code"]), (&json!("ack"), &json!(false), &json!(code)), "{frame}");
        assert!(!answer["error"].as_str().unwrap().is_empty());
    }
    socket.stream.send(Message::Binary(vec![0, 1, 2].into())).await.unwrap();
    assert_eq!(socket.other().await["success"], false);
    assert_eq!(socket.ask(json!({"type": "ping"})).await["success"], true);
}

#[tokio::test]
async fn an_endless_stream_of_mistakes_is_ended() {
    let host = Host::start(Options::default()).await;
    let mut socket = host.socket().await;
    for _ in 0..SocketOptions::default().max_mistakes {
        socket.send("x").await;
    }
    assert_eq!(socket.read_to_end().await.1, Some(1008));
    host.assert_well().await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_the_connection() {
    let host = Host::start(Options::default()).await;
    let mut socket = host.socket().await;
    socket.send(json!({"type": "ping", "id": "x".repeat(100_000)}).to_string()).await;
    assert_eq!(socket.read_to_end().await.1, Some(1009));
    host.assert_well().await;
}

#[tokio::test]
async fn a_session_that_was_left_is_silent() {
    let host = Host::start(Options::default()).await;
    host.create("a").await;
    host.create("b").await;
    let mut socket = host.socket().await;
    socket.join("a").await;
    socket.join("b").await;
    assert_eq!(socket.ask(json!({"type": "session:leave", "sessionId": "a"})).await["success"], true);
    let mut watcher = host.socket().await;
    watcher.join("a").await;
    host.say("a", "unheard").await;
    watcher.turn().await;
    host.say("b", "heard").await;
    assert!(socket.turn().await.iter().all(|event| event["data"]["sessionId"] == "b"));
}

#[tokio::test]
async fn joining_twice_gives_each_event_once() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let mut socket = host.socket().await;
    socket.join("s").await;
    let start = socket.join("s").await["seq"].as_u64().unwrap();
    host.say("s", "a b").await;
    assert_without_gaps(start, &socket.turn().await);
}

#[tokio::test]
async fn only_so_many_sessions_are_joined_at_once() {
    let socket = SocketOptions { max_joined: 2, ..SocketOptions::default() };
    let host = Host::start(Options { socket, ..Options::default() }).await;
    for id in ["a", "b", "c"] {
        host.create(id).await;
    }
    let mut socket = host.socket().await;
    socket.join("a").await;
    socket.join("b").await;
    let join = json!({"type": "session:join", "sessionId": "c"});
    assert_eq!(socket.ask(join.clone()).await["code"], "TOO_MANY_JOINED");
    socket.ask(json!({"type": "session:leave", "sessionId": "a"})).await;
    socket.join("c").await;
}

#[tokio::test]
async fn a_client_goes_on_when_an_unloaded_session_is_loaded_again() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let mut socket = host.socket().await;
    socket.join("s").await;
    host.say("s", "first").await;
    socket.turn().await;
    assert_eq!(host.post("/sessions/s/unload", json!({})).await.0, StatusCode::OK);
    while socket.until("session:status").await["data"]["runtime"]["isLoaded"] == true {}
    host.say("s", "second").await;
    let snapshot = socket.until("session:snapshot").await;
    assert_eq!(snapshot["data"]["resync"], true);
    let mut events = Vec::new();
    let is_over = |blocks: &[Value]| blocks.len() == 4 && blocks[3]["content"] == "second";
    while !is_over(&fold(&snapshot["data"]["session"], &events)) {
        events.push(socket.other().await);
    }
    assert_without_gaps(snapshot["seq"].as_u64().unwrap(), &events);
}

#[tokio::test]
async fn a_deleted_session_says_so_and_its_clients_stay_connected() {
    let host = Host::start(Options::default()).await;
    host.create("loaded").await;
    host.create("unloaded").await;
    let mut socket = host.socket().await;
    socket.join("loaded").await;
    socket.join("unloaded").await;
    host.post("/sessions/unloaded/unload", json!({})).await;
    for id in ["loaded", "unloaded"] {
        host.request(Method::DELETE, &format!("/sessions/{id}"), None).await;
        let error = socket.until("error").await;
        assert_eq!((&error["data"]["code"], &error["data"]["sessionId"]), (&json!("SESSION_DELETED"), &json!(id)));
    }
    let join = json!({"type": "session:join", "sessionId": "loaded"});
    assert_eq!(socket.ask(join).await["code"], "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn the_list_comes_once_and_then_only_its_changes() {
    let host = Host::start(Options::default()).await;
    host.create("old").await;
    let mut socket = host.socket().await;
    let page = socket.until("sessions:list").await;
    assert_eq!(page["data"]["sessions"][0]["sessionId"], "old");
    assert_eq!(page.get("seq"), None);
    host.create("new").await;
    let changes = socket.until("sessions:list").await;
    assert_eq!(changes["data"]["changed"].as_array().unwrap().len(), 1);
    assert_eq!(changes["data"]["changed"][0]["sessionId"], "new");
    assert_eq!(changes["data"].get("sessions"), None);
    host.request(Method::DELETE, "/sessions/old", None).await;
    assert_eq!(socket.until("sessions:list").await["data"], json!({"deleted": ["old"]}));
}

#[tokio::test]
async fn a_burst_of_changes_is_one_frame() {
    let socket = SocketOptions { list_interval: Duration::from_secs(1), ..SocketOptions::default() };
    let host = Host::start(Options { socket, ..Options::default() }).await;
    let mut socket = host.socket().await;
    assert_eq!(socket.until("sessions:list").await["data"]["sessions"], json!([]));
    let mut created = 0;
    let mut frames = 0;
    for id in 0..20 {
        host.create(&format!("s{id}")).await;
    }
    while created < 20 {
        created += socket.until("sessions:list").await["data"]["changed"].as_array().unwrap().len();
        frames += 1;
    }
    assert!(created == 20 && frames < 10, "{created} in {frames} frames");
}

#[tokio::test]
async fn a_slow_client_is_told_and_dropped_and_others_are_not_slowed_down() {
    let host = Host::over(slow_world().await, Options::default()).await;
    host.create("s").await;
    let mut slow = host.narrow_socket().await;
    slow.join("s").await;
    // Larger than what the operating system takes for a client that does not read.
    let words = vec!["x".repeat(1000); 8000].join(" ");
    let mut changes = host.world.manager.watch_list();
    host.say("s", &words).await;
    let ended = async {
        let mut has_begun = false;
        loop {
            if let agent_host_session::manager::ListChange::Updated(listed) = changes.recv().await.unwrap() {
                has_begun |= listed.runtime.running_message_id.is_some();
                if has_begun && listed.runtime.running_message_id.is_none() {
                    return;
                }
            }
        }
    };
    within("the turn's end", ended).await;
    let mut last_event = None;
    let code = loop {
        match slow.next().await {
            Next::Frame(frame) if frame["event"] == "sessions:list" => {}
            Next::Frame(frame) => last_event = Some(frame),
            Next::Closed(code) => break code,
        }
    };
    assert_eq!(last_event.unwrap()["data"]["code"], "SLOW_CONSUMER");
    assert_eq!(code, Some(1013));
    let metrics = host.request(Method::GET, "/metrics", None).await.text().await.unwrap();
    assert!(metrics.contains("agent_host_subscribers_dropped_total{reason=\"lagged\"} 1\n"), "{metrics}");
    let (_, session) = host.get("/sessions/s").await;
    assert_eq!(session["blocks"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_client_that_never_reads_loses_its_place() {
    // Whether it is the WebSocket that has waited long enough, or the connection, on which nothing goes on.
    for min_rate in [usize::MAX, 1] {
        loses_its_place(min_rate).await;
    }
}

async fn loses_its_place(min_rate: usize) {
    let socket = SocketOptions { min_rate, ..SocketOptions::default() };
    let options = Options { max_connections: 1, send_timeout: Duration::from_millis(200), socket, ..Options::default() };
    let host = Host::over(slow_world().await, options).await;
    let id = support::create(&host, "s").await;
    let mut silent = host.narrow_socket().await;
    silent.join(id.as_str()).await;
    let words = vec!["x".repeat(1000); 8000].join(" ");
    host.world.manager.send_message(&id, None, agent_host_session::message::Content::Text(words)).await.unwrap();
    // There is one place: this is answered when the other client has lost it.
    host.assert_well().await;
    let metrics = host.request(Method::GET, "/metrics", None).await.text().await.unwrap();
    assert!(metrics.contains("agent_host_subscribers_dropped_total{reason=\"stalled\"} 1\n"), "{metrics}");
    drop(silent);
}

#[tokio::test]
async fn a_peer_that_does_not_answer_pings_is_dropped() {
    let socket = SocketOptions { heartbeat: Duration::from_millis(50), ..SocketOptions::default() };
    let host = Host::start(Options { max_connections: 1, socket, ..Options::default() }).await;
    let silent = host.socket().await;
    // There is one place: this is answered when the other client has lost it.
    host.assert_well().await;
    drop(silent);
}

#[tokio::test]
async fn a_peer_that_answers_pings_stays() {
    // A peer has two of these to answer, which a busy machine must not make too short.
    let socket = SocketOptions { heartbeat: Duration::from_millis(500), ..SocketOptions::default() };
    let host = Host::start(Options { socket, ..Options::default() }).await;
    let mut socket = host.socket().await;
    socket.until("sessions:list").await;
    let mut pings = 0;
    while pings < 4 {
        // Reading answers the ping.
        match within("a ping", futures_util::StreamExt::next(&mut socket.stream)).await {
            Some(Ok(Message::Ping(_))) => pings += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(socket.ask(json!({"type": "ping"})).await["success"], true);
}

#[tokio::test]
async fn a_host_that_stops_says_so() {
    let host = Host::start(Options::default()).await;
    let mut socket = host.socket().await;
    socket.until("sessions:list").await;
    host.shutdown.cancel();
    assert_eq!(socket.read_to_end().await.1, Some(1001));
    drop(socket);
    within("the host's end", host.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn many_clients_see_the_same() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = host.socket().await;
        socket.join("s").await;
        sockets.push(socket);
    }
    host.say("s", "a b c").await;
    let mut seen = Vec::new();
    for socket in &mut sockets {
        seen.push(socket.turn().await);
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
}
