//! What the earlier system did not survive: packets of strangers. After each, the host does its work, and nobody saw what is not theirs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use std::time::Duration;

use agent_host_api::{Options, Origin, SocketOptions, serve};
use agent_host_session::manager::Settings;
use fake_ports::World;
use futures_util::SinkExt;
use prometheus_client::registry::Registry;
use reqwest::{Method, StatusCode};
use serde_json::json;
use support::{Host, Next, answer, read_all, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

fn with_key() -> Options {
    Options { api_keys: vec!["right".into(), "other".into()], ..Options::default() }
}

#[tokio::test]
async fn no_packet_ends_the_server() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(1000));
    let chunk = "POST /sessions/s/message HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let packets: Vec<(Vec<u8>, &str)> = vec![
        (b"\0\x01\x02\xff\xfe garbage \r\n\r\n".to_vec(), "HTTP/1.1 400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), ""),
        (b"TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(), "HTTP/1.1 404"),
        (b"TRACE /sessions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(), "HTTP/1.1 405"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(), "HTTP/1.1 4"),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(), "HTTP/1.1 "),
        (b"GET /health HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n".to_vec(), "HTTP/1.1 200"),
        (b"GET /sessions HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n".to_vec(), "HTTP/1.1 403"),
        (b"GET /sessions HTTP/1.1\r\nHost: \xff\r\nConnection: close\r\n\r\n".to_vec(), "HTTP/1.1 403"),
        (b"GET /sessions HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(), "HTTP/1.1 403"),
        (b"GET /%00/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(), "HTTP/1.1 404"),
        (format!("{chunk}zz\r\nx\r\n0\r\n\r\n").into_bytes(), "HTTP/1.1 400"),
        (format!("{chunk}ffffffffffffffffff\r\n").into_bytes(), "HTTP/1.1 400"),
        (b"POST /sessions/s/message HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n".to_vec(), "HTTP/1.1 400"),
        (
            b"POST /sessions/s/message HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd".to_vec(),
            "HTTP/1.1 400",
        ),
        (long.into_bytes(), "HTTP/1.1 431"),
        (many.into_bytes(), "HTTP/1.1 431"),
        (b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n".to_vec(), "HTTP/1.1 400"),
    ];
    for (packet, expected) in packets {
        let mut stream = host.raw(&packet).await;
        drop(stream.shutdown().await);
        let answer = read_all(stream).await;
        assert!(answer.starts_with(expected), "{:?}: {answer}", String::from_utf8_lossy(&packet[..packet.len().min(80)]));
        host.assert_well().await;
    }
    assert_eq!(host.get("/sessions/s").await.1["blocks"], json!([]));
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_forgotten() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let head = b"POST /sessions/s/message HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{\"content\": \"half";
    drop(host.raw(head).await);
    let mut stream = host.raw(head).await;
    stream.shutdown().await.unwrap();
    assert!(read_all(stream).await.is_empty() || host.get("/sessions/s").await.0 == StatusCode::OK);
    host.assert_well().await;
    assert_eq!(host.get("/sessions/s").await.1["blocks"], json!([]));
}

#[tokio::test]
async fn garbage_frames_do_not_end_the_server() {
    let host = Host::start(Options::default()).await;
    for frame in [
        &b"\x81\x05abcde"[..],
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
        b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
        b"\x81\x82\0\0\0\0\xff\xfe",
    ] {
        let mut socket = host.socket().await;
        socket.stream.get_mut().write_all(frame).await.unwrap();
        socket.read_to_end().await;
        host.assert_well().await;
    }
    let mut socket = host.socket().await;
    socket.stream.send(Message::Ping(vec![0; 100].into())).await.unwrap();
    assert_eq!(socket.ask(json!({"type": "ping"})).await["success"], true);
}

#[tokio::test]
async fn a_message_of_50_megabytes_is_refused() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    let (status, problem) = host.post("/sessions/s/message", json!({"content": "x".repeat(50_000_000)})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("PAYLOAD_TOO_LARGE")));
    let (status, _) = host.post("/sessions/s/message", json!({"content": "x".repeat(1_000_000)})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "a message of 1 MB is taken");
}

#[tokio::test]
async fn without_a_key_there_is_nothing_to_see() {
    let mut host = Host::start(with_key()).await;
    host.key = Some("right");
    host.create("secret").await;
    for (key, code) in [(None, "AUTH_REQUIRED"), (Some("wrong"), "INVALID_API_KEY"), (Some(""), "AUTH_REQUIRED")] {
        host.key = key;
        for (method, path) in [
            (Method::GET, "/sessions"),
            (Method::GET, "/sessions/secret"),
            (Method::DELETE, "/sessions/secret"),
            (Method::POST, "/sessions/create"),
            (Method::POST, "/sessions/secret/message"),
            (Method::GET, "/agent-profiles"),
            (Method::GET, "/agent-profiles/default"),
            (Method::GET, "/nowhere"),
            (Method::GET, "/sessions?api_key=right"),
        ] {
            let response = host.request(method, path, None).await;
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            let (status, problem) = answer(response).await;
            assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!(code)), "{path}");
            assert!(!problem.to_string().contains("secret"));
        }
    }
    host.key = Some("other");
    assert_eq!(host.get("/sessions/secret").await.0, StatusCode::OK);
    host.key = None;
    host.assert_well().await;
}

#[tokio::test]
async fn a_socket_without_a_key_gets_nothing() {
    let host = Host::start(with_key()).await;
    for frame in [r#"{"type":"session:join","id":1,"sessionId":"s"}"#, r#"{"type":"ping","id":1}"#, "garbage", r#"{"type":"auth","id":1}"#]
    {
        let mut socket = host.socket().await;
        socket.send(frame).await;
        let answer = socket.frame().await;
        assert_eq!((&answer["success"], &answer["code"]), (&json!(false), &json!("AUTH_REQUIRED")), "{frame}");
        assert!(matches!(socket.next().await, Next::Closed(Some(4401))), "{frame}");
    }
    let mut socket = host.socket().await;
    socket.send(r#"{"type":"auth","id":1,"key":"wrong"}"#).await;
    assert_eq!(socket.frame().await["code"], "INVALID_API_KEY");
    assert!(matches!(socket.next().await, Next::Closed(Some(4401))));
    let refused = host.try_socket(&[("authorization", "Bearer wrong")]).await;
    assert!(matches!(refused, Err(Error::Http(response)) if response.status() == 401));
}

#[tokio::test]
async fn a_socket_is_opened_by_the_header_or_by_the_first_frame() {
    let mut host = Host::start(with_key()).await;
    host.key = Some("right");
    host.create("s").await;
    let mut socket = host.try_socket(&[("authorization", "Bearer other")]).await.unwrap();
    assert_eq!(socket.frame().await["event"], "sessions:list");
    socket.join("s").await;
    let mut socket = host.socket().await;
    socket.send(r#"{"type":"auth","id":"a","key":"right"}"#).await;
    assert_eq!(socket.frame().await, json!({"type": "ack", "id": "a", "success": true}));
    assert_eq!(socket.frame().await["event"], "sessions:list");
    socket.join("s").await;
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_closed() {
    let socket = SocketOptions { auth_timeout: Duration::from_millis(50), ..SocketOptions::default() };
    let host = Host::start(Options { socket, ..with_key() }).await;
    let mut socket = host.socket().await;
    assert!(matches!(socket.next().await, Next::Closed(Some(4401))), "and nothing else was said");
}

#[tokio::test]
async fn web_pages_of_others_are_kept_out_of_a_host_without_a_key() {
    let origin = Origin::new("https://app.example.com").unwrap();
    let host = Host::start(Options { allowed_origins: vec![origin], ..Options::default() }).await;
    for (headers, status) in [
        (vec![("origin", "https://evil.example")], Some(403)),
        (vec![("origin", "null")], Some(403)),
        (vec![("host", "evil.example")], Some(403)),
        (vec![("origin", "https://app.example.com")], None),
        (vec![("origin", "http://localhost:5173")], None),
    ] {
        let result = host.try_socket(&headers).await;
        match (result, status) {
            (Ok(_), None) => {}
            (Err(Error::Http(response)), Some(status)) => assert_eq!(response.status(), status, "{headers:?}"),
            _ => panic!("{headers:?}"),
        }
    }
    let request = host.client.post(format!("http://{}/sessions/create", host.address)).header("origin", "https://evil.example");
    let (status, problem) =
        answer(request.json(&json!({"agentProfileRef": "default", "architecture": "fake"})).send().await.unwrap()).await;
    assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("ORIGIN_NOT_ALLOWED")));
    assert_eq!(host.get("/sessions").await.1["sessions"], json!([]));
}

#[tokio::test]
async fn web_pages_of_allowed_origins_may_read_answers() {
    let origin = Origin::new("https://app.example.com").unwrap();
    let host = Host::start(Options { allowed_origins: vec![origin], ..with_key() }).await;
    for (origin, allowed) in [("https://app.example.com", true), ("https://evil.example", false)] {
        let preflight = host
            .client
            .request(Method::OPTIONS, format!("http://{}/sessions/create", host.address))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        let response = preflight.send().await.unwrap();
        assert_eq!(response.headers().contains_key("access-control-allow-origin"), allowed, "{origin}");
    }
}

#[tokio::test]
async fn a_host_without_a_key_is_not_served_to_others() {
    let world = World::new(Settings::default()).await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let admin = Arc::new(support::FakeAdmin::default());
    let served = serve(listener, world.manager, admin, Registry::default(), Options::default(), CancellationToken::new());
    let error = served.await.unwrap_err();
    assert!(error.to_string().contains("without an API key"), "{error}");
}

#[tokio::test]
async fn slow_heads_and_bodies_are_not_waited_for() {
    let timeout = Duration::from_millis(100);
    let host = Host::start(Options { head_timeout: timeout, body_timeout: timeout, max_connections: 2, ..Options::default() }).await;
    let head = host.raw(b"GET /health HTTP/1.1\r\nHost: loc").await;
    within("the end of a slow head", read_all(head)).await;
    let body = host.raw(b"POST /sessions/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{").await;
    let answer = within("the end of a slow body", read_all(body)).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    host.assert_well().await;
}

#[tokio::test]
async fn a_request_id_is_given_or_taken_over() {
    let host = Host::start(Options::default()).await;
    let given = host.request(Method::GET, "/health", None).await;
    assert_eq!(given.headers()["x-request-id"].len(), 36);
    let asked = |id: &'static str| host.client.get(format!("http://{}/health", host.address)).header("x-request-id", id).send();
    assert_eq!(asked("trace-1.a_b").await.unwrap().headers()["x-request-id"], "trace-1.a_b");
    assert_eq!(asked("a b<script>").await.unwrap().headers()["x-request-id"].len(), 36);
}
