//! What is different where sandboxes are at Modal. That the rest is the same is shown by other tests with `AGENT_HOST_TEST_PROVIDER=modal`.

use agent_host_tests::{Scene, Setup, eventually};
use serde_json::json;

async fn scene() -> Scene {
    Scene::of(Setup::new().at_modal().start().await, "echo", None).await
}

#[tokio::test]
async fn a_session_has_one_sandbox_that_says_whose_it_is_and_ends_with_it() {
    let mut scene = scene().await;
    scene.turn("write notes/a.txt some words").await;
    scene.turn("two").await;
    let running = scene.host.modal().world().running();
    assert_eq!(running.len(), 1);
    let tags = running.first().unwrap().tags.lock().clone();
    let shown = scene.client().session(&scene.session).await.expect(200)["runtime"]["sandbox"].clone();
    assert_eq!(shown["sandboxId"], json!(running.first().unwrap().id));
    assert_eq!(tags.get("agent-host-session"), Some(&scene.session));
    assert!(tags.contains_key("agent-host") && tags.contains_key("agent-host-epoch"), "{tags:?}");
    scene.client().delete(&scene.session).await.expect(200);
    eventually("the end of the sandbox", async || scene.host.modal().world().running().is_empty()).await;
}

#[tokio::test]
async fn a_sandbox_that_modal_took_away_is_told_and_replaced_with_all_that_was_in_it() {
    let mut scene = scene().await;
    let before = scene.turn("write notes/a.txt some words").await;
    scene.client().sync(&scene.session).await.expect(200);
    scene.host.modal().world().running().first().unwrap().preempt();
    let status =
        |frame: &agent_host_tests::Frame| frame.event == "session:status" && frame.data["runtime"]["sandbox"]["status"] == "terminated";
    scene.stream.next("the end of the sandbox", status).await;
    let after = scene.turn("read notes/a.txt").await;
    assert_eq!(after.main().get(..before.main().len()), Some(before.main()));
    assert_eq!(scene.with_files().await["workspaceFiles"][0]["path"], "notes/a.txt");
    let all = scene.host.modal().world().sandboxes();
    assert_eq!((all.len(), scene.host.modal().world().running().len()), (2, 1));
    let restored = all.last().unwrap().root.join("agent/workspace/notes/a.txt");
    assert_eq!(std::fs::read_to_string(restored).unwrap().trim_end(), "some words");
}

#[tokio::test]
async fn what_modal_cannot_do_is_said_and_can_be_tried_again() {
    let mut scene = scene().await;
    scene.host.modal().world().fail_builds_with("FROM node:22-slim");
    let blocks = scene.turn("hello").await;
    let events = scene.stream.frames().iter().filter(|frame| frame.event == "error").map(|frame| frame.data["message"].to_string());
    let told = events.chain(blocks.texts("error")).collect::<String>();
    assert!(told.contains("could not be built"), "{told}");
    assert!(scene.host.modal().world().sandboxes().is_empty());
    scene.host.modal().world().fail_builds_with("nothing has this");
    assert!(scene.turn("again").await.answer().contains("again"));
}

#[tokio::test]
async fn a_host_that_ends_leaves_no_sandbox() {
    let mut scene = scene().await;
    scene.turn("one").await;
    assert_eq!(scene.host.modal().world().running().len(), 1);
    assert!(scene.host.stop().await.success());
    assert!(scene.host.modal().world().running().is_empty());
}

#[tokio::test]
async fn what_a_host_that_was_killed_has_left_ends_when_it_starts_again() {
    let mut scene = scene().await;
    let before = scene.turn("write notes/a.txt some words").await;
    let left = scene.host.modal().world().running().first().unwrap().id.clone();
    scene.host.kill().await;
    assert_eq!(scene.host.modal().world().running().len(), 1);
    scene.host.start_again().await;
    eventually("the end of what was left", async || scene.host.modal().world().running().is_empty()).await;
    scene.rejoin().await;
    let after = scene.turn("two").await;
    assert_eq!(after.main().get(..before.main().len()), Some(before.main()));
    let running: Vec<String> = scene.host.modal().world().running().iter().map(|sandbox| sandbox.id.clone()).collect();
    assert!(running.len() == 1 && !running.contains(&left), "{running:?}");
}

#[tokio::test]
async fn twenty_sessions_in_mid_turn_outlive_a_kill_and_no_sandbox_is_left() {
    const SESSIONS: usize = 20;
    let mut host = Setup::new().at_modal().start().await;
    let words = "word ".repeat(500);
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let request = json!({"agentProfileRef": "default", "architecture": "echo", "sessionOptions": {"delayMs": 100}});
        let session = host.client().create(&request).await.expect(201)["sessionId"].as_str().expect("it has an id").to_owned();
        let mut stream = host.stream().await;
        stream.join(&session).await;
        host.client().say(&session, words.as_str()).await;
        stream.next("a delta", |frame| frame.delta().is_some()).await;
        sessions.push(session);
    }
    let left: Vec<String> = host.modal().world().running().iter().map(|sandbox| sandbox.id.clone()).collect();
    assert_eq!(left.len(), SESSIONS);
    host.kill().await;
    host.start_again().await;
    for session in &sessions {
        let mut stream = host.stream().await;
        stream.join(session).await;
        host.client().interrupt(session).await;
        let message = host.client().say(session, "again").await;
        stream.turn_end(&message).await;
        let blocks = host.blocks(session).await;
        assert_eq!(blocks.texts("user_message").first().map(|text| text.trim_end().len()), Some(words.trim_end().len()));
        assert!(blocks.answer().contains("again"), "{blocks:?}");
    }
    let is_left = |id: &String| left.contains(id);
    eventually("the end of what was left", async || !host.modal().world().running().iter().any(|sandbox| is_left(&sandbox.id))).await;
    assert_eq!(host.modal().world().running().len(), SESSIONS);
}
