//! What ended the server before, or made it slow: the host answers or closes, and goes on.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests report by panicking")]

use std::time::Duration;

use agent_host_tests::{DEADLINE, Host, Scene, Setup};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends bytes, closes its half, and gives what came until the host closed.
async fn raw(host: &Host, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(host.address()).await.unwrap();
    // The host may close before all is written.
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut answer)).await.expect("the host kept a broken connection open");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn broken_http_ends_a_connection_and_nothing_else() {
    let host = Setup::new().start().await;
    let process = host.process_id();
    let broken: &[&[u8]] = &[
        b"TRACE / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: [::bad::\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a b c\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"POST /sessions/create HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"agent",
        b"POST /sessions/create HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGVzdA==\r\n\r\n\xff\xff\xff\xff",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n\r\n",
    ];
    for bytes in broken {
        raw(&host, bytes).await;
        host.client().health().await.expect(200);
    }
    assert_eq!(host.process_id(), process);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let scene = Scene::echo().await;
    let client = scene.client();
    let large = "x".repeat(50 * 1024 * 1024);
    // The host may close the connection while the client still writes: either way it says no, and stores nothing.
    for (path, body) in [
        (format!("/sessions/{}/message", scene.session), json!({"content": large})),
        ("/sessions/create".to_owned(), json!({"agentProfileRef": "default", "architecture": "echo", "sessionOptions": {"x": large}})),
    ] {
        if let Ok(response) = client.request(Method::POST, &path).json(&body).send().await {
            assert_eq!(response.status(), 413, "{path}");
        }
    }
    let head = "POST /sessions/create HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 52428800\r\n\r\n";
    assert!(raw(&scene.host, head.as_bytes()).await.starts_with("HTTP/1.1 413"));
    assert_eq!(client.sessions("").await.expect(200)["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(scene.stored().await.types(), Vec::<&str>::new());
}

#[tokio::test]
async fn options_that_are_too_large_are_refused() {
    let host = Setup::new().start().await;
    let options = json!({"x": "y".repeat(100 * 1024)});
    let request = json!({"agentProfileRef": "default", "architecture": "echo", "sessionOptions": options});
    host.client().create(&request).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    let session = host.client().new_session("echo").await;
    host.client().set_options(&session, &options).await.expect_error(413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_message_of_a_megabyte_reaches_the_agent() {
    let Some(mut scene) = Scene::claude().await else { return };
    // More than an argument of a process may have.
    let text = format!("text {}end", "w".repeat(1024 * 1024));
    let blocks = scene.turn(text.as_str()).await;
    assert_eq!(blocks.answer(), text["text ".len()..]);
    let seen = scene.api().last_request().unwrap();
    assert_eq!(seen.prompt(), Some(text.as_str()));
}

#[tokio::test]
async fn wrong_requests_get_a_clear_error() {
    let host = Setup::new().start().await;
    let client = host.client();
    let create = |body: serde_json::Value| {
        let client = client.clone();
        async move { client.create(&body).await }
    };
    create(json!({"agentProfileRef": "nobody", "architecture": "echo"})).await.expect_error(422, "UNKNOWN_PROFILE");
    create(json!({"agentProfileRef": "default", "architecture": "none"})).await.expect_error(422, "UNKNOWN_ARCHITECTURE");
    create(json!({"architecture": "echo"})).await.expect_error(400, "INVALID_REQUEST");
    create(json!({"agentProfileRef": "default", "architecture": "echo", "sessionId": "../../etc"}))
        .await
        .expect_error(400, "INVALID_REQUEST");
    create(json!({"agentProfileRef": "default", "architecture": "echo", "sessionOptions": {"noSuchOption": 1}}))
        .await
        .expect_error(422, "UNPROCESSABLE");
    let broken = client.request(Method::POST, "/sessions/create").header("content-type", "application/json").body("{");
    client.send(broken).await.expect_error(400, "INVALID_REQUEST");
    client.session("unknown").await.expect_error(404, "SESSION_NOT_FOUND");
    client.get("/nothing").await.expect_error(404, "NOT_FOUND");
    client.send(client.request(Method::PUT, "/sessions")).await.expect_error(405, "METHOD_NOT_ALLOWED");
    client.sessions("?limit=0").await.expect_error(400, "INVALID_REQUEST");
    client.sessions("?cursor=nonsense").await.expect_error(400, "INVALID_REQUEST");
    assert_eq!(client.sessions("").await.expect(200)["sessions"], json!([]));
}

#[tokio::test]
async fn the_same_session_again_is_the_same_and_with_other_content_a_conflict() {
    let host = Setup::new().start().await;
    let request = json!({"agentProfileRef": "default", "architecture": "echo", "sessionId": "s", "name": "one"});
    let first = host.client().create(&request).await.expect(201);
    let again = host.client().create(&request).await;
    assert!(matches!(again.status, 200 | 201), "{again:?}");
    assert_eq!((&again.body["sessionId"], &again.body["createdAt"]), (&first["sessionId"], &first["createdAt"]));
    let other = json!({"agentProfileRef": "default", "architecture": "echo", "sessionId": "s", "name": "two"});
    host.client().create(&other).await.expect_error(409, "CONFLICT");
}

#[tokio::test]
async fn a_page_of_the_list_does_not_grow_with_what_is_stored() {
    let host = Setup::new().start().await;
    for _ in 0..25 {
        host.client().new_session("echo").await;
    }
    let mut ids = Vec::new();
    let mut query = "?limit=10".to_owned();
    loop {
        let page = host.client().sessions(&query).await.expect(200);
        let sessions = page["sessions"].as_array().unwrap();
        assert!(sessions.len() <= 10);
        ids.extend(sessions.iter().map(|session| session["sessionId"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = reqwest::Url::parse_with_params("http://x/", [("limit", "10"), ("cursor", cursor)])
            .unwrap()
            .query()
            .map(|text| format!("?{text}"))
            .unwrap();
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), count), (25, 25));
}

#[tokio::test]
async fn a_slow_client_does_not_hold_the_others_up() {
    let host = Setup::new().start().await;
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let mut socket = TcpStream::connect(host.address()).await.unwrap();
        socket
            .write_all(
                b"POST /sessions/create HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
            )
            .await
            .unwrap();
        sockets.push(socket);
    }
    let health = tokio::time::timeout(Duration::from_secs(10), host.client().health()).await.expect("the host is held up");
    health.expect(200);
}
