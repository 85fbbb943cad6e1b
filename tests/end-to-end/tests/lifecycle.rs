//! How sessions come into memory and leave it, and how a host ends.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::time::{Duration, Instant};

use agent_host_tests::{Scene, Setup, eventually, require};
use serde_json::json;

#[tokio::test]
async fn an_idle_session_is_unloaded_and_comes_back() {
    let setup = Setup::new().set("session.idle_timeout", "500ms");
    let mut scene = Scene::of(setup.start().await, "echo", None).await;
    let before = scene.turn("one").await;
    let sandbox =
        |frame: &agent_host_tests::Frame| frame.event == "session:status" && frame.data["runtime"]["sandbox"]["status"] != "ready";
    scene.stream.next("the end of the sandbox", |frame| sandbox(frame) && frame.data["runtime"]["runningMessageId"].is_null()).await;

    scene.rejoin().await;
    assert_eq!(before, scene.stored().await);
    assert!(scene.turn("two").await.answer().contains("two"));
}

#[tokio::test]
async fn unload_ends_the_sandbox_and_loses_nothing() {
    let mut scene = Scene::echo().await;
    let before = scene.turn("write a.txt words").await;
    scene.client().unload(&scene.session).await.expect(200);
    let session = scene.with_files().await;
    assert_eq!(session["runtime"]["isLoaded"], false);
    assert_eq!(session["workspaceFiles"][0]["path"], "a.txt");
    assert_eq!(before, scene.stored().await);
    scene.rejoin().await;
    assert!(scene.turn("two").await.answer().contains("two"));
}

#[tokio::test]
async fn a_deleted_session_is_gone_with_its_sandbox() {
    let mut scene = Scene::echo().await;
    scene.turn("write a/b/c.txt words").await;
    let client = scene.client();
    let deleted = client.delete(&scene.session).await.expect(200);
    assert_eq!((&deleted["success"], &deleted["sessionId"]), (&json!(true), &json!(scene.session)));
    client.session(&scene.session).await.expect_error(404, "SESSION_NOT_FOUND");
    client.message(&scene.session, "hello").await.expect_error(404, "SESSION_NOT_FOUND");
    assert_eq!(client.sessions("").await.expect(200)["sessions"], json!([]));
    scene.host.restart().await;
    scene.client().session(&scene.session).await.expect_error(404, "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn deleting_in_the_middle_of_a_turn_ends_the_turn() {
    let Some(mut scene) = Scene::claude().await else { return };
    scene.client().say(&scene.session, "slow 1000").await;
    scene.stream.next("a delta", |frame| frame.delta().is_some()).await;
    scene.client().delete(&scene.session).await.expect(200);
    scene.client().session(&scene.session).await.expect_error(404, "SESSION_NOT_FOUND");
    assert_eq!(processes_of(&scene), Vec::<String>::new());
}

#[tokio::test]
async fn a_host_that_is_asked_to_stop_gives_the_running_turn_its_time() {
    let Some(mut scene) = Scene::claude().await else { return };
    scene.client().say(&scene.session, "slow 20 50").await;
    scene.stream.next("a delta", |frame| frame.delta().is_some()).await;
    assert!(scene.host.stop().await.success());
    scene.host.start_again().await;
    assert!(scene.stored().await.answer().contains("tick19"), "the turn was cut off");
}

#[tokio::test]
async fn a_turn_that_is_longer_than_the_grace_is_cut_off_and_what_was_said_is_kept() {
    let Some(mut scene) = Scene::claude_with(|setup| setup.set("session.shutdown_grace", "500ms")).await else { return };
    scene.client().say(&scene.session, "slow 1000 50").await;
    scene.stream.next("a delta", |frame| frame.delta().is_some()).await;
    let asked = Instant::now();
    assert!(scene.host.stop().await.success());
    assert!(asked.elapsed() < Duration::from_secs(20), "it took {:?} to stop", asked.elapsed());
    assert_eq!(processes_of(&scene), Vec::<String>::new());
    scene.host.start_again().await;
    scene.rejoin().await;
    let blocks = scene.stored().await;
    assert_eq!(blocks.texts("user_message"), ["slow 1000 50"]);
    assert!(blocks.answer().starts_with("tick0 "), "{blocks:?}");
    assert_eq!(scene.turn("text next").await.answer(), "next");
}

#[tokio::test]
async fn no_process_of_an_agent_is_left_when_the_host_has_stopped() {
    let Some(mut scene) = Scene::claude().await else { return };
    scene.turn("bash (setsid tail -f /dev/null >/dev/null 2>&1 &) ; echo started").await;
    scene.host.stop().await;
    assert_eq!(processes_of(&scene), Vec::<String>::new());
}

/// The commands of all processes that were given the address of this scene's model API, which every agent and its children are.
fn processes_of(scene: &Scene) -> Vec<String> {
    let mark = scene.api().base_url();
    let processes =
        std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    let agents = processes
        .filter(|entry| std::fs::read(entry.path().join("environ")).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&mark)));
    agents
        .map(|entry| String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).unwrap_or_default()).replace('\0', " "))
        .collect()
}

#[tokio::test]
async fn work_is_stored_at_the_sync_interval_while_a_turn_runs() {
    let Some(sqlite) = require("sqlite3") else { return };
    let Some(mut scene) = Scene::claude_with(|setup| setup.set("session.sync_interval", "300ms")).await else { return };
    scene.client().say(&scene.session, "bash printf kept > kept.txt; tail -f /dev/null").await;
    scene.stream.next_event("session:file:created").await;
    eventually("the file is stored", async || scene.host.database_dump(&sqlite).contains("kept.txt")).await;

    scene.host.kill().await;
    scene.host.start_again().await;
    assert_eq!(scene.with_files().await["workspaceFiles"][0]["content"], "kept");
}

#[tokio::test]
async fn sync_stores_what_is_not_stored_yet() {
    let Some(mut scene) = Scene::claude_with(|setup| setup.set("session.sync_interval", "1h")).await else { return };
    scene.client().say(&scene.session, "bash printf kept > kept.txt; tail -f /dev/null").await;
    scene.stream.next_event("session:file:created").await;
    scene.client().sync(&scene.session).await.expect(200);

    scene.host.kill().await;
    scene.host.start_again().await;
    assert_eq!(scene.with_files().await["workspaceFiles"][0]["content"], "kept");
}
