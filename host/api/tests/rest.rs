//! The REST calls, over real connections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use agent_host_api::Options;
use agent_host_session::manager::Settings;
use agent_host_session::profile::Profile;
use fake_ports::World;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Host, answer, read_all, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn create(id: &str) -> Value {
    json!({"agentProfileRef": "default", "architecture": "fake", "sessionId": id, "sessionOptions": {"model": "m"}})
}

#[tokio::test]
async fn a_session_is_created_listed_read_and_deleted() {
    let host = Host::start(Options::default()).await;
    let response = host.request(Method::POST, "/sessions/create", Some(create("a"))).await;
    assert_eq!(response.headers()["location"], "/sessions/a");
    let (status, created) = answer(response).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(
        created,
        json!({
            "sessionId": "a", "runtime": {"isLoaded": false, "sandbox": null, "queuedMessages": 0},
            "createdAt": created["createdAt"], "sessionOptions": {"model": "m"},
        })
    );
    assert!(created["createdAt"].as_i64().unwrap() > 1_700_000_000_000, "milliseconds");
    host.create("b").await;
    let (_, first) = host.get("/sessions?limit=1").await;
    assert_eq!(first["sessions"][0]["sessionId"], "b");
    let (_, second) = host.get(&format!("/sessions?limit=1&cursor={}", first["nextCursor"].as_str().unwrap())).await;
    assert_eq!(second["sessions"][0]["sessionId"], "a");
    assert_eq!(second.get("nextCursor"), None);
    let (status, session) = host.get("/sessions/a").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&session["type"], &session["agentProfileReference"], &session["blocks"]), (&json!("fake"), &json!("default"), &json!([])));
    let (status, deleted) = answer(host.request(Method::DELETE, "/sessions/a", None).await).await;
    assert_eq!((status, deleted), (StatusCode::OK, json!({"success": true, "sessionId": "a"})));
    assert_eq!(host.get("/sessions/a").await.1["code"], "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn the_same_session_id_is_the_same_session_or_a_conflict() {
    let host = Host::start(Options::default()).await;
    assert_eq!(host.post("/sessions/create", create("a")).await.0, StatusCode::CREATED);
    let (status, again) = host.post("/sessions/create", create("a")).await;
    assert_eq!((status, &again["sessionId"]), (StatusCode::OK, &json!("a")));
    let mut other = create("a");
    other["name"] = json!("another");
    let (status, conflict) = host.post("/sessions/create", other).await;
    assert_eq!((status, &conflict["code"]), (StatusCode::CONFLICT, &json!("CONFLICT")));
}

#[tokio::test]
async fn wrong_input_gets_a_clear_error_and_changes_nothing() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let profile = json!({"id": "p", "name": "P"});
    let with = |mut body: Value, field: &str, value: Value| {
        body[field] = value;
        Some(body)
    };
    let cases = [
        (Method::GET, "/nowhere", None, 404, "NOT_FOUND", "nothing at this path"),
        (Method::PUT, "/sessions", None, 405, "METHOD_NOT_ALLOWED", "method"),
        (Method::GET, "/sessions?limit=0", None, 400, "INVALID_REQUEST", "limit"),
        (Method::GET, "/sessions?limit=x", None, 400, "INVALID_REQUEST", "limit"),
        (Method::GET, "/sessions?lmit=1", None, 400, "INVALID_REQUEST", "lmit"),
        (Method::GET, "/sessions/none", None, 404, "SESSION_NOT_FOUND", "none"),
        (Method::GET, "/sessions/.hidden", None, 404, "SESSION_NOT_FOUND", "begins with a dot"),
        (Method::GET, "/sessions/%2e%2e%2fx", None, 404, "SESSION_NOT_FOUND", "invalid session id"),
        (Method::GET, "/sessions/%ff", None, 404, "SESSION_NOT_FOUND", "UTF-8"),
        (Method::GET, "/sessions/s?include=all", None, 400, "INVALID_REQUEST", "include"),
        (Method::DELETE, "/sessions/none", None, 404, "SESSION_NOT_FOUND", "none"),
        (Method::POST, "/sessions/none/message", Some(json!({"content": "x"})), 404, "SESSION_NOT_FOUND", "none"),
        (Method::POST, "/sessions/none/interrupt", None, 404, "SESSION_NOT_FOUND", "none"),
        (Method::POST, "/sessions/none/unload", None, 404, "SESSION_NOT_FOUND", "none"),
        (Method::POST, "/sessions/none/sync", None, 404, "SESSION_NOT_FOUND", "none"),
        (Method::PATCH, "/sessions/none/options", Some(json!({"sessionOptions": {}})), 404, "SESSION_NOT_FOUND", "none"),
        (Method::POST, "/sessions/create", None, 400, "INVALID_REQUEST", "EOF"),
        (Method::POST, "/sessions/create", Some(json!({})), 400, "INVALID_REQUEST", "agentProfileRef"),
        (Method::POST, "/sessions/create", with(create("n"), "sessionOption", json!({})), 400, "INVALID_REQUEST", "sessionOption"),
        (Method::POST, "/sessions/create", with(create("n"), "name", json!(5)), 400, "INVALID_REQUEST", "name: invalid type"),
        (
            Method::POST,
            "/sessions/create",
            with(create("n"), "sessionId", json!("a/b")),
            400,
            "INVALID_REQUEST",
            "sessionId: invalid session id",
        ),
        (Method::POST, "/sessions/create", with(create("n"), "agentProfileRef", json!("none")), 422, "UNKNOWN_PROFILE", "agentProfileRef"),
        (Method::POST, "/sessions/create", with(create("n"), "architecture", json!("none")), 422, "UNKNOWN_ARCHITECTURE", "fake"),
        (Method::POST, "/sessions/create", with(create("n"), "sessionOptions", json!({"x": 1})), 422, "UNPROCESSABLE", "\"x\""),
        (Method::POST, "/sessions/create", with(create("n"), "name", json!("x".repeat(300))), 422, "UNPROCESSABLE", "name"),
        (Method::POST, "/sessions/create", with(create("n"), "name", json!("x".repeat(200_000))), 413, "PAYLOAD_TOO_LARGE", "131072 bytes"),
        (Method::POST, "/sessions/s/message", Some(json!({"content": ""})), 422, "UNPROCESSABLE", "empty"),
        (Method::POST, "/sessions/s/message", Some(json!({"content": 5})), 400, "INVALID_REQUEST", "content"),
        (Method::POST, "/sessions/s/message", Some(json!({"content": "x", "messageId": "/"})), 400, "INVALID_REQUEST", "messageId"),
        (Method::PATCH, "/sessions/s/options", Some(json!({"sessionOptions": {"x": 1}})), 422, "UNPROCESSABLE", "\"x\""),
        (Method::PATCH, "/sessions/s/options", Some(json!({"sessionOptions": null})), 400, "INVALID_REQUEST", "sessionOptions"),
        (Method::GET, "/agent-profiles/none", None, 404, "PROFILE_NOT_FOUND", "none"),
        (Method::DELETE, "/agent-profiles/none", None, 404, "PROFILE_NOT_FOUND", "none"),
        (Method::PUT, "/agent-profiles/q", Some(profile.clone()), 400, "INVALID_REQUEST", "the path says"),
        (Method::PUT, "/agent-profiles/p", with(profile, "sytemPrompt", json!("")), 400, "INVALID_REQUEST", "sytemPrompt"),
        (Method::GET, "/ws", None, 400, "INVALID_REQUEST", "WebSocket"),
    ];
    for (method, path, body, status, code, text) in cases {
        let what = format!("{method} {path}");
        let response = host.request(method, path, body).await;
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{what}");
        let (answered, problem) = answer(response).await;
        assert_eq!((answered.as_u16(), &problem["code"]), (status, &json!(code)), "{what}: {problem}");
        assert!(problem["error"].as_str().unwrap().contains(text), "{what}: {problem}");
        assert_eq!(problem["detail"], problem["error"], "{what}");
        assert_eq!(problem["status"], status, "{what}");
    }
    let (_, list) = host.get("/sessions").await;
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(host.get("/sessions/s").await.1["blocks"], json!([]));
}

#[tokio::test]
async fn a_message_is_acknowledged_once_it_is_stored_and_sent_once() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let mut socket = host.socket().await;
    socket.join("s").await;
    let message = json!({"content": "one two", "messageId": "m1"});
    let (status, accepted) = host.post("/sessions/s/message", message.clone()).await;
    assert_eq!((status, accepted), (StatusCode::ACCEPTED, json!({"success": true, "sessionId": "s", "messageId": "m1"})));
    socket.turn().await;
    assert_eq!(host.post("/sessions/s/message", message).await.0, StatusCode::ACCEPTED);
    assert_eq!(host.post("/sessions/s/message", json!({"content": "other", "messageId": "m1"})).await.0, StatusCode::CONFLICT);
    let (_, session) = host.get("/sessions/s").await;
    let texts: Vec<&Value> = session["blocks"].as_array().unwrap().iter().map(|block| &block["content"]).collect();
    assert_eq!(texts, ["one two", "onetwo"]);
    assert_eq!(session["metadata"]["usage"]["outputTokens"], 2);
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_said_so() {
    let host = Host::start(Options::default()).await;
    host.world.store.fail_writes(true);
    let response = host.request(Method::POST, "/sessions/create", Some(create("a"))).await;
    assert!(response.headers().contains_key("retry-after"));
    let (status, problem) = answer(response).await;
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("STORE_UNAVAILABLE")));
    assert!(!problem.to_string().contains("ordered to fail"), "{problem}");
    let (status, health) = host.get("/health").await;
    assert_eq!((status, &health["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("STORE_UNAVAILABLE")));
}

#[tokio::test]
async fn files_come_with_their_contents_when_asked_for() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let mut socket = host.socket().await;
    socket.join("s").await;
    host.say("s", "write a.txt hello").await;
    socket.until("session:file:created").await;
    let (_, session) = host.get("/sessions/s").await;
    let file = &session["workspaceFiles"][0];
    assert_eq!((&file["path"], &file["size"], file.get("content")), (&json!("a.txt"), &json!(5), None));
    // The file is told of before it is stored; a sync returns when it is.
    assert_eq!(host.post("/sessions/s/sync", json!({})).await.0, StatusCode::OK);
    let (_, session) = host.get("/sessions/s?include=files").await;
    let file = &session["workspaceFiles"][0];
    assert_eq!((&file["content"], &file["encoding"]), (&json!("hello"), &json!("utf-8")));
}

#[tokio::test]
async fn a_large_session_arrives_whole() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let mut socket = host.socket().await;
    socket.join("s").await;
    let content = "x".repeat(1_000_000);
    for _ in 0..8 {
        host.say("s", &content).await;
        socket.turn().await;
    }
    let response = host.request(Method::GET, "/sessions/s", None).await;
    assert_eq!(response.headers().get("content-length"), None, "it is sent as it is written");
    let (_, session) = answer(response).await;
    assert_eq!(
        session["blocks"].as_array().unwrap().iter().map(|block| block["content"].as_str().unwrap().len()).sum::<usize>(),
        16_000_000
    );
}

#[tokio::test]
async fn a_session_is_interrupted_synced_unloaded_and_changed() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let done = json!({"success": true, "sessionId": "s"});
    assert_eq!(host.post("/sessions/s/interrupt", json!({})).await.1["interrupted"], false);
    let mut socket = host.socket().await;
    socket.join("s").await;
    host.say("s", "hang").await;
    socket.until("session:block:delta").await;
    assert_eq!(host.post("/sessions/s/interrupt", json!({})).await.1["interrupted"], true);
    socket.until("session:block:complete").await;
    assert_eq!(host.post("/sessions/s/sync", json!({})).await, (StatusCode::OK, done.clone()));
    let response = host.request(Method::PATCH, "/sessions/s/options", Some(json!({"sessionOptions": {"depth": 3}}))).await;
    let (status, options) = answer(response).await;
    assert_eq!((status, &options["sessionOptions"]), (StatusCode::OK, &json!({"depth": 3})));
    assert_eq!(host.post("/sessions/s/unload", json!({})).await, (StatusCode::OK, done));
    let (_, session) = host.get("/sessions/s").await;
    assert_eq!((&session["runtime"]["isLoaded"], &session["sessionOptions"]), (&json!(false), &json!({"depth": 3})));
}

#[tokio::test]
async fn profiles_are_written_listed_read_and_deleted() {
    let host = Host::start(Options::default()).await;
    let profile = json!({"id": "p", "name": "P", "systemPrompt": "be brief", "skills": [{"name": "s", "description": "", "skillMd": "#"}]});
    let (status, saved) = answer(host.request(Method::PUT, "/agent-profiles/p", Some(profile.clone())).await).await;
    assert_eq!(status, StatusCode::OK);
    serde_json::from_value::<Profile>(saved).unwrap();
    assert_eq!(host.get("/agent-profiles").await.1, json!({"profiles": [{"id": "default", "name": "Default"}, {"id": "p", "name": "P"}]}));
    assert_eq!(host.get("/agent-profiles/p").await.1, profile);
    let (status, _) = answer(host.request(Method::DELETE, "/agent-profiles/p", None).await).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(host.get("/agent-profiles/p").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_running_request_ends_before_the_host_does() {
    let host = Host::start(Options::default()).await;
    let body = create("late").to_string();
    let head =
        format!("POST /sessions/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n", body.len());
    let mut stream = host.raw(head.as_bytes()).await;
    let mut continued = [0; 25];
    within("the host to ask for the body", stream.read_exact(&mut continued)).await.unwrap();
    assert!(continued.starts_with(b"HTTP/1.1 100 Continue"));
    host.shutdown.cancel();
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = read_all(stream).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
    within("the host's end", host.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_write_goes_on_when_its_client_goes_away() {
    let world = World::new(Settings::default()).await;
    let host = Host::over(world, Options::default()).await;
    host.create("s").await;
    let mut changes = host.world.manager.watch_list();
    let stream = host.raw(b"DELETE /sessions/s HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    drop(stream);
    let change = within("the deletion", changes.recv()).await.unwrap();
    assert!(matches!(change, agent_host_session::manager::ListChange::Deleted(_)));
}
