//! Traces: one follows a message from its request through the calls of components to the end of its turn.

use std::collections::BTreeMap;
use std::net::TcpListener;

use agent_host_tests::{Collector, Scene, Setup, Span, eventually};
use reqwest::Method;
use serde_json::json;

/// Nothing like it is anywhere else.
const SECRET: &str = "wombat-in-the-message";

async fn scene(collector: &Collector) -> Scene {
    let setup = Setup::new().set("telemetry.otlp_endpoint", collector.url()).set("telemetry.service_name", "host-under-test");
    // Milliseconds until spans are sent, of which the standard has 5,000.
    let setup = setup.with_variable("OTEL_BSP_SCHEDULE_DELAY", "50");
    Scene::of(setup.start().await, "echo", None).await
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// The names of a span and of those that it is a part of.
fn path<'a>(spans: &'a [Span], span: &'a Span) -> Vec<&'a str> {
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    std::iter::successors(Some(span), |span| by_id.get(span.parent.as_str()).copied()).map(|span| span.name.as_str()).collect()
}

#[tokio::test]
async fn one_trace_follows_a_message_from_its_request_to_the_end_of_its_turn() {
    let collector = Collector::start().await;
    let mut scene = scene(&collector).await;
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let client = scene.client();
    let request = client
        .request(Method::POST, &format!("/sessions/{}/message", scene.session))
        .header("traceparent", format!("00-{trace}-{parent}-01"))
        .json(&json!({"content": format!("{SECRET} and more words"), "messageId": "followed"}));
    client.send(request).await.expect(202);
    scene.stream.turn_end("followed").await;
    // What was not sent yet is sent at the end.
    assert!(scene.host.stop().await.success());

    let all = collector.spans();
    let spans: Vec<Span> = all.iter().filter(|span| span.trace == trace).cloned().collect();
    let [post] = named(&spans, "POST /sessions/{id}/message")[..] else { panic!("not one request: {all:#?}") };
    assert_eq!((post.parent.as_str(), post.service.as_str()), (parent, "host-under-test"));
    assert_eq!(post.attributes["http.response.status_code"], "202");
    let [turn] = named(&spans, "turn")[..] else { panic!("not one turn: {spans:#?}") };
    assert_eq!(turn.parent, post.id);
    assert_eq!((&*turn.attributes["outcome"], &*turn.attributes["message.id"]), ("completed", "followed"));
    assert!(turn.began >= post.began && turn.ended > post.ended, "the turn outlives the request");

    let [(first, first_at), (last, last_at)] = &turn.events[..] else { panic!("not two events: {turn:#?}") };
    assert_eq!((first.as_str(), last.as_str()), ("first delta", "last delta"));
    assert!(turn.began <= *first_at && first_at <= last_at && *last_at <= turn.ended, "{turn:#?}");
    let deltas = scene.stream.frames().iter().filter(|frame| frame.delta().is_some()).count();
    assert_eq!(turn.attributes["deltas"], deltas.to_string());

    let appends = named(&spans, "persistence append");
    let of = |what| appends.iter().filter(|append| path(&spans, append).contains(&what)).count();
    assert!(of("turn") >= 2, "the turn stored less than its beginning and its end: {spans:#?}");
    let accepting = appends.iter().filter(|append| path(&spans, append)[1..] == ["write", "POST /sessions/{id}/message"]).count();
    assert_eq!(accepting, 1, "{spans:#?}");
    assert!(appends.iter().all(|append| append.attributes["outcome"] == "ended" && append.ended >= append.began));
    let [start] = named(&spans, "sandbox start")[..] else { panic!("not one sandbox: {spans:#?}") };
    assert_eq!(start.parent, turn.id);
    assert!(named(&spans, "persistence load-profile").iter().any(|call| call.parent == start.id), "{spans:#?}");

    assert!(!format!("{all:?}").contains("wombat"), "a span holds what was said");
}

#[tokio::test]
async fn requests_that_come_from_nowhere_begin_traces_and_those_that_watch_the_host_none() {
    let collector = Collector::start().await;
    let mut scene = scene(&collector).await;
    scene.client().health().await.expect(200);
    scene.host.metrics().await;
    scene.turn("one").await;
    scene.turn("two").await;
    eventually("both turns are exported", async || named(&collector.spans(), "turn").len() == 2).await;
    let spans = collector.spans();
    let turns = named(&spans, "turn");
    assert_ne!(turns[0].trace, turns[1].trace, "two messages are two traces");
    for span in &spans {
        assert!(!["GET /health", "GET /metrics", "persistence health"].contains(&span.name.as_str()), "{span:#?}");
        assert!(!span.parent.is_empty() || span.name.contains(" /"), "a trace begins without a request: {span:#?}");
    }
}

#[tokio::test]
async fn a_message_that_is_run_after_a_restart_begins_a_trace() {
    let collector = Collector::start().await;
    let mut scene = scene(&collector).await;
    scene.client().set_options(&scene.session, &json!({"delayMs": 500})).await.expect(200);
    scene.client().say(&scene.session, "cut off after one of these words").await;
    scene.stream.next_event("session:block:delta").await;
    let waiting = scene.client().say(&scene.session, "later").await;
    scene.host.kill().await;
    scene.host.start_again().await;
    scene.rejoin().await;
    scene.stream.turn_end(&waiting).await;
    assert!(scene.host.stop().await.success());
    let spans = collector.spans();
    let turn = named(&spans, "turn").into_iter().find(|turn| turn.attributes["message.id"] == waiting).unwrap();
    assert_eq!(turn.parent, "", "{turn:#?}");
    assert!(spans.iter().any(|span| span.trace == turn.trace && span.name == "persistence append"), "{spans:#?}");
}

#[tokio::test]
async fn a_receiver_that_is_away_costs_a_warning_and_nothing_else() {
    let collector = Collector::start().await;
    let url = collector.url().to_owned();
    drop(collector);
    let setup = Setup::new().with_variable("OTEL_BSP_SCHEDULE_DELAY", "50").with_variable("OTEL_EXPORTER_OTLP_ENDPOINT", &url);
    let mut scene = Scene::of(setup.start().await, "echo", None).await;
    for text in ["one", "two", "three"] {
        assert!(scene.turn(text).await.answer().contains(text));
    }
    eventually("the host says so", async || scene.host.log().contains("traces cannot be sent")).await;
    assert!(scene.host.stop().await.success());
    assert_eq!(scene.host.log().matches("traces cannot be sent").count(), 1, "{}", scene.host.log());
}

#[tokio::test]
async fn a_receiver_that_never_answers_does_not_keep_the_host_from_ending() {
    // Connections to it are made by the operating system, and nobody takes them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = Setup::new().set("telemetry.otlp_endpoint", format!("http://{}", silent.local_addr().unwrap()));
    let mut scene = Scene::of(setup.start().await, "echo", None).await;
    scene.turn("hello").await;
    assert!(scene.host.stop().await.success());
    assert!(scene.host.log().contains("the last traces could not be sent"), "{}", scene.host.log());
}
