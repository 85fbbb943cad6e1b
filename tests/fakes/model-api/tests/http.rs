//! The API as any client of HTTP sees it.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::time::Duration;

use fake_model_api::{ModelApi, Reply, Request, Scenarios};
use serde_json::{Value, json};

fn body(prompt: &str, stream: bool) -> Value {
    json!({"model": "claude-sonnet-4-6", "max_tokens": 100, "stream": stream, "messages": [{"role": "user", "content": prompt}]})
}

async fn post(api: &ModelApi, path: &str, body: &Value) -> reqwest::Response {
    agent_host_test_programs::http().build().unwrap().post(format!("{}{path}", api.base_url())).json(body).send().await.unwrap()
}

#[tokio::test]
async fn an_answer_comes_as_events_or_as_one_document() {
    let api = ModelApi::start(Scenarios).unwrap();
    let events = post(&api, "/v1/messages?beta=true", &body("text one two", true)).await;
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let events = events.text().await.unwrap();
    assert!(events.starts_with("event: message_start\n") && events.trim_end().ends_with(r#"{"type":"message_stop"}"#), "{events}");

    let document: Value = post(&api, "/v1/messages", &body("text one two", false)).await.json().await.unwrap();
    assert_eq!(document["content"], json!([{"type": "text", "text": "one two"}]));
    assert_eq!(document["stop_reason"], "end_turn");
    // 12 characters of prompt beyond the base, 7 of answer.
    assert_eq!((&document["usage"]["input_tokens"], &document["usage"]["output_tokens"]), (&json!(2003), &json!(2)));
}

#[tokio::test]
async fn side_requests_are_answered() {
    let api = ModelApi::start(Scenarios).unwrap();
    let client = agent_host_test_programs::http().build().unwrap();
    assert_eq!(client.head(api.base_url()).send().await.unwrap().status(), 200);
    let models: Value = client.get(format!("{}/v1/models", api.base_url())).send().await.unwrap().json().await.unwrap();
    assert!(models["data"].as_array().unwrap().iter().any(|model| model["id"] == "claude-sonnet-4-6"));
    let counted: Value = post(&api, "/v1/messages/count_tokens", &body("text one two", false)).await.json().await.unwrap();
    assert_eq!(counted, json!({"input_tokens": 2003}));
    let unknown = post(&api, "/v1/complete", &body("x", false)).await;
    assert_eq!(unknown.status(), 404);
    let broken = client.post(format!("{}/v1/messages", api.base_url())).body("{").send().await.unwrap();
    assert_eq!(broken.status(), 400);
}

#[tokio::test]
async fn a_closure_is_a_script_and_requests_can_be_waited_for() {
    let api = ModelApi::start(|request: &Request| Reply::text(format!("{} said {:?}", request.model(), request.prompt()))).unwrap();
    let (found, document) = tokio::join!(api.wait_for(Duration::from_secs(30), |request| request.prompt() == Some("second")), async {
        post(&api, "/v1/messages", &body("first", false)).await;
        post(&api, "/v1/messages", &body("second", false)).await.json::<Value>().await.unwrap()
    });
    assert_eq!(found.unwrap().attempt, 0);
    assert_eq!(document["content"][0]["text"], r#"claude-sonnet-4-6 said Some("second")"#);
    assert_eq!(api.requests().len(), 2);
    assert!(api.wait_for(Duration::from_millis(1), |request| request.prompt() == Some("third")).await.is_none());
}

#[tokio::test]
async fn a_repeated_conversation_is_another_attempt() {
    let api = ModelApi::start(Scenarios).unwrap();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(post(&api, "/v1/messages", &body("overloaded", true)).await.status().as_u16());
    }
    assert_eq!(statuses, [529, 529, 200]);
}

#[tokio::test]
async fn a_cut_answer_breaks_the_connection() {
    let api = ModelApi::start(Scenarios).unwrap();
    let cut = post(&api, "/v1/messages", &body("break", true)).await;
    assert_eq!(cut.status(), 200);
    assert!(cut.text().await.is_err());
    assert!(post(&api, "/v1/messages", &body("break", true)).await.text().await.unwrap().contains("message_stop"));
}

#[tokio::test]
async fn a_held_answer_waits_for_its_release() {
    let api = ModelApi::start(Scenarios).unwrap();
    let mut held = post(&api, "/v1/messages", &body("hold on", true)).await;
    let mut seen = String::new();
    while !seen.contains(r#""text":"on""#) {
        seen.push_str(&String::from_utf8_lossy(&held.chunk().await.unwrap().unwrap()));
    }
    assert!(!seen.contains("released"));
    api.release();
    assert!(held.text().await.unwrap().contains("released"));
}

#[tokio::test]
async fn an_api_that_is_dropped_breaks_off_what_it_was_saying() {
    let api = ModelApi::start(Scenarios).unwrap();
    let held = post(&api, "/v1/messages", &body("hold on", true)).await;
    let address = api.base_url();
    drop(api);
    assert!(held.text().await.is_err());
    assert!(agent_host_test_programs::http().build().unwrap().get(address).send().await.is_err());
}

#[tokio::test]
async fn ids_differ_among_instances() {
    let id = async || {
        let api = ModelApi::start(Scenarios).unwrap();
        let document: Value = post(&api, "/v1/messages", &body("text x", false)).await.json().await.unwrap();
        document["id"].clone()
    };
    assert_ne!(id().await, id().await);
}
