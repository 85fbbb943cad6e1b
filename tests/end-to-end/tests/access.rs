//! Keys: without one nothing is told, on REST and on the WebSocket.

use agent_host_tests::{Scene, Setup, Stream};
use reqwest::Method;
use serde_json::json;

const KEY: &str = "a-key-of-the-test";

async fn scene() -> Scene {
    Scene::of(Setup::new().with_key(KEY).start().await, "echo", None).await
}

#[tokio::test]
async fn rest_wants_a_key() {
    let scene = scene().await;
    let session = format!("/sessions/{}", scene.session);
    for path in ["/sessions", &session, "/agent-profiles"] {
        scene.client().with_key(None).get(path).await.expect_error(401, "AUTH_REQUIRED");
        scene.client().with_key(Some("wrong")).get(path).await.expect_error(401, "INVALID_API_KEY");
        scene.client().get(path).await.expect(200);
    }
    let thief = scene.client().with_key(None);
    thief.message(&scene.session, "hello").await.expect_error(401, "AUTH_REQUIRED");
    thief.delete(&scene.session).await.expect_error(401, "AUTH_REQUIRED");
    assert_eq!(scene.stored().await.types(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_websocket_without_a_key_is_told_nothing() {
    let mut scene = scene().await;
    for key in [None, Some("wrong")] {
        let mut thief = Stream::connect(scene.host.base_url()).await;
        if let Some(key) = key {
            thief.authenticate(key).await;
        }
        thief.send(&json!({"type": "session:join", "id": "1", "sessionId": scene.session})).await;
        scene.turn("a secret").await;
        thief.closed().await;
        assert!(thief.frames().iter().all(|frame| frame.event == "error"), "it was told {:?}", thief.frames());
    }
}

#[tokio::test]
async fn a_websocket_takes_its_key_in_the_first_frame_or_in_a_header() {
    let mut scene = scene().await;
    assert!(scene.turn("by the first frame").await.answer().contains("by the first frame"));
    let mut stream = Stream::try_connect(scene.host.base_url(), &[("authorization", &format!("Bearer {KEY}"))]).await.unwrap();
    let snapshot = stream.join(&scene.session).await;
    assert!(snapshot["session"]["blocks"].to_string().contains("by the first frame"));
}

#[tokio::test]
async fn without_keys_pages_of_other_origins_and_other_host_names_are_refused() {
    let host = Setup::new().start().await;
    let client = host.client();
    let foreign = |name: &'static str, value: &'static str| client.request(Method::GET, "/sessions").header(name, value);
    client.send(foreign("origin", "https://evil.example")).await.expect_error(403, "ORIGIN_NOT_ALLOWED");
    client.send(foreign("host", "evil.example")).await.expect_error(403, "HOST_NOT_ALLOWED");
    assert!(Stream::try_connect(host.base_url(), &[("origin", "https://evil.example")]).await.is_err());
    client.sessions("").await.expect(200);
}

#[tokio::test]
async fn the_key_is_in_no_log_and_no_answer() {
    let mut scene = scene().await;
    scene.turn("hello").await;
    let shown = scene.client().session(&scene.session).await.expect(200).to_string();
    scene.host.stop().await;
    assert!(!shown.contains(KEY));
    assert!(!scene.host.log().contains(KEY));
}
