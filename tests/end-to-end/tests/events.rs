//! Server-sent events: the same as over a WebSocket, resumed by `Last-Event-ID`; each event once.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use agent_host_tests::{Events, Fold, Frame, Host, ModelApi, Scenarios, Scene, Setup, eventually, session_with};
use reqwest::Method;
use serde_json::json;

const KEY: &str = "a-key-of-the-test";

/// The events of the session that the WebSocket got from the last snapshot on, that included.
fn over_websocket(scene: &Scene) -> Vec<Frame> {
    scene.stream.frames().iter().filter(|frame| frame.is_of(&scene.session)).cloned().collect()
}

#[tokio::test]
async fn they_are_those_of_a_websocket() {
    let mut scene = Scene::echo().await;
    // Both begin with a session that has something in it.
    scene.turn("before").await;
    scene.rejoin().await;
    let mut events = scene.host.events(&scene.session).await;
    scene.turn("write notes/a.txt some words").await;
    scene.turn("and others").await;
    let last = scene.stream.fold(&scene.session).seq();
    assert_eq!(events.until(last).await, over_websocket(&scene));
    assert_eq!(*events.fold().blocks(), scene.stored().await);
}

#[tokio::test]
async fn a_client_goes_on_in_the_middle_of_a_turn() {
    let Some(mut scene) = Scene::claude().await else { return };
    let mut early = scene.host.events(&scene.session).await;
    let message = scene.client().say(&scene.session, "hold these words").await;
    while early.next().await.delta().is_none() {}
    let mut fold = early.fold();
    let seen = fold.seq();
    drop(early);
    scene.stream.next("the last word", |frame| frame.delta().is_some_and(|delta| delta.contains("words"))).await;

    let mut late = scene.host.events_since(&scene.session, seen).await;
    scene.api().release();
    scene.stream.turn_end(&message).await;
    let last = scene.stream.fold(&scene.session).seq();
    let missed: Vec<Frame> = over_websocket(&scene).into_iter().filter(|frame| frame.seq > Some(seen)).collect();
    assert_eq!(late.until(last).await, missed);
    late.frames().iter().for_each(|frame| fold.apply(frame));
    assert_eq!(*fold.blocks(), scene.stored().await);
}

#[tokio::test]
async fn a_client_goes_on_after_the_end_of_a_turn() {
    let mut scene = Scene::echo().await;
    let mut early = scene.host.events(&scene.session).await;
    let start = early.next().await.seq.unwrap_or_default();
    drop(early);
    scene.turn("while it was away").await;
    let last = scene.stream.fold(&scene.session).seq();
    let all = over_websocket(&scene);
    for seen in [start, start + 3, last - 1] {
        let missed: Vec<Frame> = all.iter().filter(|frame| frame.seq > Some(seen)).cloned().collect();
        assert_eq!(scene.host.events_since(&scene.session, seen).await.until(last).await, missed);
        let by_query = scene.client().stream_request(&scene.session).query(&[("since", seen)]);
        assert_eq!(Events::open(by_query).await.until(last).await, missed);
    }
    // Who missed nothing gets what comes next.
    let mut current = scene.host.events_since(&scene.session, last).await;
    scene.turn("next").await;
    assert_eq!(current.next().await.seq, Some(last + 1));
}

#[tokio::test]
async fn a_client_that_was_away_for_long_gets_what_memory_does_not_hold_any_more() {
    let host = Setup::new().set("limits.log_events", 500).start().await;
    let mut scene = Scene::of(host, "echo", None).await;
    let start = scene.host.events(&scene.session).await.next().await.seq.unwrap_or_default();
    for _ in 0..12 {
        // Fewer than the log holds, so that the client that is there keeps up.
        scene.turn("word ".repeat(300)).await;
    }
    let last = scene.stream.fold(&scene.session).seq();
    let missed: Vec<Frame> = over_websocket(&scene).into_iter().filter(|frame| frame.seq > Some(start)).collect();
    assert_eq!(scene.host.events_since(&scene.session, start).await.until(last).await, missed);
    let written = async || scene.host.metrics().await.sum("agent_host_log_archive_events_total", &[]) > 2_000.0;
    eventually("most of it is on disk", written).await;
    assert_eq!(scene.host.events_since(&scene.session, start).await.until(last).await, missed);

    let archive = scene.host.data_directory().join("archive");
    let files = || std::fs::read_dir(&archive).map_or(0, Iterator::count);
    assert!(files() > 0);
    scene.host.restart().await;
    assert_eq!(files(), 0, "the numbers of another epoch are of no use");
}

#[tokio::test]
async fn a_client_that_cannot_go_on_after_a_restart_is_told_and_gets_a_snapshot() {
    let mut scene = Scene::echo().await;
    scene.turn("before").await;
    let seen = scene.stream.fold(&scene.session).seq();
    scene.restart().await;
    let mut events = scene.host.events_since(&scene.session, seen).await;
    let snapshot = events.next().await;
    assert_eq!((snapshot.event.as_str(), &snapshot.data["resync"]), ("session:snapshot", &json!(true)));
    assert!(Fold::of_snapshot(&snapshot.data).seq() > seen);
    scene.turn("after").await;
    events.until(scene.stream.fold(&scene.session).seq()).await;
    assert_eq!(*events.fold().blocks(), scene.stored().await);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_told_and_dropped() {
    // More than the buffers of two sockets and the session's log hold.
    const KIBIBYTES: usize = 24 * 1024;
    let Some(program) = agent_host_tests::claude() else { return };
    let api = ModelApi::start(Scenarios).expect("failed to start the model API");
    let host = Setup::new().with_claude(&program, &api).start().await;
    let (session, watcher) = session_with(&host, "default", "claude-agent-sdk").await;
    drop(watcher);
    let mut lazy = host.events(&session).await;
    host.client().say(&session, format!("big {KIBIBYTES}")).await;
    let answered = async || host.blocks(&session).await.answer().len() == KIBIBYTES * 1024;
    eventually("the end of the turn", answered).await;

    // It is told as long as it takes anything in; one that does not even that for the send timeout can only be cut off.
    let broken_off = lazy.end().await;
    let told = lazy.frames().last().is_some_and(|frame| frame.event == "error" && frame.data["code"] == "SLOW_CONSUMER");
    assert!(told || broken_off.is_some(), "it was neither told nor cut off: {:?}", lazy.frames().last());
    assert!(!lazy.frames().iter().any(|frame| frame.is_block("complete", "assistant_text")), "it got everything, so it was not slow");
    let dropped = async || host.metrics().await.sum("agent_host_subscribers_dropped_total", &[]) == 1.0;
    eventually("the slow client is counted", dropped).await;
    let mut again = host.events(&session).await;
    assert_eq!(again.next().await.event, "session:snapshot");
}

#[tokio::test]
async fn a_host_that_stops_ends_them_in_order() {
    let mut scene = Scene::echo().await;
    let mut events = scene.host.events(&scene.session).await;
    let blocks = scene.turn("hello").await;
    assert!(scene.host.stop().await.success());
    assert_eq!(events.end().await, None, "it was broken off");
    let last = events.frames().last().expect("no event came");
    assert_eq!((last.event.as_str(), &last.data["code"], last.seq), ("error", &json!("SHUTTING_DOWN"), None));
    let fold = Fold::of_snapshot(&events.frames()[0].data);
    let fold = events.frames()[1..].iter().filter(|frame| frame.seq.is_some()).fold(fold, |mut fold, frame| {
        fold.apply(frame);
        fold
    });
    assert_eq!(*fold.blocks(), blocks);
}

#[tokio::test]
async fn without_a_key_nothing_is_told() {
    let scene = Scene::of(Setup::new().with_key(KEY).start().await, "echo", None).await;
    let refused = async |client: agent_host_tests::Client| match Events::try_open(client.stream_request(&scene.session)).await {
        Ok(_) => panic!("it was let in"),
        Err(answer) => answer,
    };
    refused(scene.client().with_key(None)).await.expect_error(401, "AUTH_REQUIRED");
    refused(scene.client().with_key(Some("wrong"))).await.expect_error(401, "INVALID_API_KEY");
    scene.host.events(&scene.session).await.next().await;
}

#[tokio::test]
async fn a_page_that_cannot_send_headers_shows_its_key_by_another_request() {
    let scene = Scene::of(Setup::new().with_key(KEY).start().await, "echo", None).await;
    let path = format!("/sessions/{}/events", scene.session);
    let mut events = Events::open(scene.client().with_key(None).request(Method::GET, &format!("{path}?auth=later"))).await;
    let auth = events.next().await;
    assert_eq!(auth.event, "auth");
    let admit = format!("{path}/{}", auth.data["stream"].as_str().unwrap_or_default());
    scene.client().with_key(None).command(&admit).await.expect_error(401, "AUTH_REQUIRED");
    scene.client().command(&admit).await.expect(200);
    assert_eq!(events.next().await.event, "session:snapshot");
}

#[tokio::test]
async fn what_cannot_be_followed_has_a_status() {
    let host: Host = Setup::new().start().await;
    let answer = Events::try_open(host.client().stream_request("unknown")).await.err();
    answer.expect("there was a stream").expect_error(404, "SESSION_NOT_FOUND");
}
