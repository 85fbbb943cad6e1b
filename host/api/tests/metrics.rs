//! The metrics: who gets them, and what moves them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use agent_host_api::{Options, Origin};
use reqwest::{Method, StatusCode};
use support::{Host, answer, within};

/// The value of a sample, which is the rest of its line; 0 if there is none.
async fn value(host: &Host, series: &str) -> f64 {
    let response = host.request(Method::GET, "/metrics", None).await;
    assert_eq!(response.status(), StatusCode::OK);
    let text = within("the metrics", response.text()).await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
    value.map_or(0.0, |value| value.parse().unwrap())
}

fn with_keys() -> Options {
    Options {
        api_keys: vec!["user".to_owned().into()],
        admin_keys: vec!["operator".to_owned().into()],
        allowed_origins: vec![Origin::new("https://app.example.com").unwrap()],
        ..Options::default()
    }
}

#[tokio::test]
async fn they_are_text_for_prometheus() {
    let host = Host::start(Options::default()).await;
    let response = host.request(Method::GET, "/metrics", None).await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.unwrap();
    assert!(text.contains("# TYPE agent_host_sessions gauge\nagent_host_sessions{state=\"loading\"} 0\n"), "{text}");
    assert_eq!(answer(host.request(Method::POST, "/metrics", None).await).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn any_key_of_the_host_opens_them_and_nothing_else_does() {
    let mut host = Host::start(with_keys()).await;
    for key in ["user", "operator"] {
        host.key = Some(key);
        assert_eq!(host.request(Method::GET, "/metrics", None).await.status(), StatusCode::OK, "{key}");
    }
    for (key, code) in [(None, "AUTH_REQUIRED"), (Some(""), "AUTH_REQUIRED"), (Some("wrong"), "INVALID_API_KEY")] {
        host.key = key;
        let (status, problem) = host.get("/metrics").await;
        assert_eq!((status, problem["code"].as_str()), (StatusCode::UNAUTHORIZED, Some(code)), "{key:?}");
    }
    host.key = Some("operator");
    assert_eq!(host.get("/sessions").await.0, StatusCode::UNAUTHORIZED, "an operator's key opens nothing but that");
}

#[tokio::test]
async fn pages_of_others_see_them_no_more_than_the_rest_of_the_api() {
    let open = Host::start(Options::default()).await;
    for (header, value, code) in [("origin", "https://evil.example", "ORIGIN_NOT_ALLOWED"), ("host", "evil.example", "HOST_NOT_ALLOWED")] {
        let request = open.client.get(format!("http://{}/metrics", open.address)).header(header, value);
        let (status, problem) = answer(within("a response", request.send()).await.unwrap()).await;
        assert_eq!((status, problem["code"].as_str()), (StatusCode::FORBIDDEN, Some(code)), "{header}");
    }
    let locked = Host::start(with_keys()).await;
    for (origin, is_allowed) in [("https://app.example.com", true), ("https://evil.example", false)] {
        for key in ["user", "operator"] {
            let request = locked.client.get(format!("http://{}/metrics", locked.address)).header("origin", origin).bearer_auth(key);
            let response = within("a response", request.send()).await.unwrap();
            assert_eq!(response.headers().contains_key("access-control-allow-origin"), is_allowed, "{origin} with the key {key}");
        }
    }
}

#[tokio::test]
async fn what_happens_moves_them() {
    let host = Host::start(Options::default()).await;
    host.create("s").await;
    assert_eq!(value(&host, "agent_host_sessions{state=\"idle\"}").await, 0.0, "a session that is not loaded is none");
    let mut socket = host.socket().await;
    socket.join("s").await;
    assert_eq!(value(&host, "agent_host_sessions{state=\"idle\"}").await, 1.0);
    assert_eq!(value(&host, "agent_host_subscribers").await, 1.0);

    host.say("s", "hang").await;
    socket.until("session:block:delta").await;
    assert_eq!(value(&host, "agent_host_sessions{state=\"running\"}").await, 1.0);
    assert_eq!(value(&host, "agent_host_sandboxes{provider=\"fake\",state=\"ready\"}").await, 1.0);
    host.say("s", "and then").await;
    assert_eq!(value(&host, "agent_host_queued_messages").await, 1.0);
    assert!(value(&host, "agent_host_events_total{event=\"session:block:delta\"}").await >= 1.0);
    assert!(value(&host, "agent_host_stored_bytes_total{kind=\"events\"}").await > 0.0);

    assert_eq!(host.request(Method::POST, "/sessions/s/interrupt", None).await.status(), StatusCode::OK);
    socket.rest_of_turn().await;
    // The end of the first turn was told before that of the second.
    assert_eq!(value(&host, "agent_host_turns_total{architecture=\"fake\",outcome=\"interrupted\"}").await, 1.0);
    assert_eq!(value(&host, "agent_host_sandbox_starts_total{provider=\"fake\",outcome=\"started\"}").await, 1.0);
    assert_eq!(host.request(Method::DELETE, "/sessions/s", None).await.status(), StatusCode::OK);
    assert_eq!(value(&host, "agent_host_sandbox_ends_total{provider=\"fake\",reason=\"stopped\"}").await, 1.0);
}
