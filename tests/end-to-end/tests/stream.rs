//! The WebSocket: a snapshot and what follows it, or what was missed; each event once.

use agent_host_tests::{Fold, Frame, ModelApi, Scenarios, Scene, Setup, session_with};
use serde_json::json;

#[tokio::test]
async fn a_client_that_was_away_gets_what_it_missed_once() {
    let mut scene = Scene::echo().await;
    scene.turn("before").await;
    let mut fold = scene.stream.fold(&scene.session);

    let mut watcher = scene.host.stream().await;
    watcher.join(&scene.session).await;
    let message = scene.client().say(&scene.session, "while it was away").await;
    watcher.turn_end(&message).await;

    let mut returned = scene.host.stream().await;
    let ack = returned.join_since(&scene.session, fold.seq()).await;
    assert_eq!(ack["success"], true, "{ack}");
    let last = watcher.fold(&scene.session).seq();
    returned.next("the last event", |frame| frame.seq == Some(last)).await;
    assert!(returned.frames().iter().all(|frame| frame.event != "session:snapshot"), "a snapshot came, though nothing was lost");
    returned.frames().iter().for_each(|frame| fold.apply(frame));
    assert_eq!(*fold.blocks(), scene.stored().await);
}

#[tokio::test]
async fn a_client_whose_events_are_gone_is_told_and_gets_a_snapshot() {
    let scene = Scene::echo().await;
    let mut stream = scene.host.stream().await;
    // A number of an epoch that never was.
    let ack = stream.join_since(&scene.session, 1).await;
    assert_eq!(ack["success"], true, "{ack}");
    let snapshot = stream.snapshot_of(&scene.session).await;
    assert_eq!(snapshot["sessionId"], json!(scene.session));
    let told = ack["resync"] == true || stream.frames().iter().any(|frame| frame.event.contains("resync") || frame.data["resync"] == true);
    assert!(told, "nobody said that events were lost: {ack}, {:?}", stream.frames());
}

#[tokio::test]
async fn a_client_goes_on_after_a_restart_of_the_host() {
    let mut scene = Scene::echo().await;
    scene.turn("before").await;
    let seq = scene.stream.fold(&scene.session).seq();
    scene.host.restart().await;

    let mut stream = scene.host.stream().await;
    stream.join_since(&scene.session, seq).await;
    let message = scene.client().say(&scene.session, "after").await;
    stream.turn_end(&message).await;
    let snapshot = stream.frames().iter().find(|frame| frame.event == "session:snapshot").expect("no snapshot of the new epoch");
    let mut fold = Fold::of_snapshot(&snapshot.data);
    assert!(fold.seq() > seq, "numbers went back from {seq} to {}", fold.seq());
    stream.frames().iter().filter(|frame| frame.event != "session:snapshot").for_each(|frame| fold.apply(frame));
    assert_eq!(*fold.blocks(), scene.stored().await);
}

#[tokio::test]
async fn a_late_joiner_and_get_see_the_running_turn() {
    let Some(mut scene) = Scene::claude().await else { return };
    let message = scene.client().say(&scene.session, "hold these words").await;
    scene.stream.next("the last word", |frame| frame.delta().is_some_and(|delta| delta.contains("words"))).await;

    assert_eq!(scene.stored().await.answer(), "these words", "GET does not show what is being said");
    let mut late = scene.host.stream().await;
    let snapshot = late.join(&scene.session).await;
    assert_eq!(Fold::of_snapshot(&snapshot).blocks().answer(), "these words", "a late joiner misses what is being said");
    assert_eq!(snapshot["session"]["runtime"]["runningMessageId"], json!(message));

    scene.api().release();
    late.turn_end(&message).await;
    assert_eq!(late.fold(&scene.session).blocks().answer(), "these words (released)");
    assert_eq!(*late.fold(&scene.session).blocks(), scene.stored().await);
}

#[tokio::test]
async fn a_client_that_leaves_hears_no_more_of_the_session() {
    let mut scene = Scene::echo().await;
    let mut other = scene.host.stream().await;
    other.join(&scene.session).await;
    assert_eq!(other.leave(&scene.session).await["success"], true);
    let heard = other.frames().len();
    scene.turn("hello").await;
    // What was sent before the answer to the ping has come.
    assert_eq!(other.ask(json!({"type": "ping"})).await["success"], true);
    let later: Vec<_> = other.frames()[heard..].iter().filter(|frame| frame.event.starts_with("session:")).collect();
    assert!(later.is_empty(), "{later:?}");
}

#[tokio::test]
async fn wrong_frames_are_answered_and_harm_nothing() {
    let mut scene = Scene::echo().await;
    let mut stream = scene.host.stream().await;
    assert_eq!(stream.ask(json!({"type": "session:join", "sessionId": "unknown"})).await["success"], false);
    assert_eq!(stream.ask(json!({"type": "session:join"})).await["success"], false);
    assert_eq!(stream.ask(json!({"type": "session:join", "sessionId": "../x"})).await["success"], false);
    assert_eq!(stream.ask(json!({"type": "no-such-thing"})).await["success"], false);
    for text in ["", "{", "null", "[]", "{\"type\":7}", "{\"type\":\"session:leave\"}"] {
        stream.send_text(text).await;
    }
    stream.join(&scene.session).await;
    assert!(scene.turn("still well").await.answer().contains("still well"));
}

#[tokio::test]
async fn the_list_of_sessions_comes_once_and_then_only_changes() {
    let host = Setup::new().start().await;
    let first = host.client().new_session("echo").await;
    let mut stream = host.stream().await;
    let page = stream.next_event("sessions:list").await;
    assert!(page.data.to_string().contains(&first), "{page:?}");

    let second = host.client().new_session("echo").await;
    let change = stream.next("the new session", |frame| frame.event == "sessions:list" && frame.data.to_string().contains(&second)).await;
    assert!(!change.data.to_string().contains(&first), "the whole list was sent again: {change:?}");
    host.client().delete(&second).await.expect(200);
    let change = stream.next("the deletion", |frame| frame.event == "sessions:list" && frame.data.to_string().contains(&second)).await;
    assert!(!change.data.to_string().contains(&first), "the whole list was sent again: {change:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_hurts_nobody() {
    // More than the buffers of two sockets and the session's log hold.
    const KIBIBYTES: usize = 24 * 1024;
    let Some(program) = agent_host_tests::claude() else { return };
    let api = ModelApi::start(Scenarios).unwrap();
    let host = Setup::new().with_claude(&program, &api).start().await;
    let (session, mut lazy) = session_with(&host, "default", "claude-agent-sdk").await;
    // Sees the session in the list only, so that it need not take in all that the lazy one leaves.
    let mut observer = host.stream().await;

    let message = host.client().say(&session, format!("big {KIBIBYTES}")).await;
    let running = |frame: &Frame| {
        let changed = frame.data["changed"].as_array().cloned().unwrap_or_default();
        changed
            .iter()
            .find(|listed| listed["sessionId"] == session.as_str())
            .map(|listed| listed["runtime"]["runningMessageId"] == message.as_str())
    };
    observer.next("the turn in the list", |frame| running(frame) == Some(true)).await;
    observer.next("the end of the turn in the list", |frame| running(frame) == Some(false)).await;
    let stored = host.blocks(&session).await;
    assert_eq!(stored.answer().len(), KIBIBYTES * 1024);

    // It is told as long as it takes anything in; one that does not even that for the send timeout can only be cut off.
    let reason = lazy.closed().await;
    let told = lazy.frames().iter().any(|frame| frame.event == "error" && frame.data["code"] == "SLOW_CONSUMER");
    assert!(told || reason.contains("slow") || reason.contains("reset"), "it was dropped for another reason: {reason}");
    assert!(!lazy.frames().iter().any(|frame| frame.is_block("complete", "assistant_text")), "it got everything, so it was not slow");
    let mut again = host.stream().await;
    again.join(&session).await;
    let message = host.client().say(&session, "text next").await;
    again.turn_end(&message).await;
    assert!(host.blocks(&session).await.answer().contains("next"));
}
