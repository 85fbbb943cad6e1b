//! The main job with the `echo` agent: a message goes in, blocks stream out, and everything is there after a restart.

use agent_host_tests::{Scene, Setup, require};
use serde_json::{Value, json};

#[tokio::test]
async fn a_message_is_answered_word_by_word() {
    let mut scene = Scene::echo().await;
    let blocks = scene.turn("hello from the test").await;

    assert_eq!(blocks.types().first(), Some(&"user_message"));
    assert_eq!(blocks.texts("user_message"), ["hello from the test"]);
    assert!(blocks.answer().contains("hello from the test"), "{blocks:?}");
    let deltas: Vec<&str> = scene.stream.frames().iter().filter_map(|frame| frame.delta()).collect();
    assert!(deltas.len() >= 4, "the answer did not come word by word: {deltas:?}");
}

#[tokio::test]
async fn blocks_are_the_same_streamed_and_shown_and_after_a_restart() {
    let mut scene = Scene::echo().await;
    scene.turn("write notes/a.txt some words").await;
    let streamed = scene.turn("a second turn").await;
    assert!(streamed.types().contains(&"tool_use") && streamed.types().contains(&"tool_result"), "{:?}", streamed.types());

    assert_eq!(streamed, scene.stored().await);
    scene.restart().await;
    assert_eq!(streamed, scene.stored().await);
    assert_eq!(streamed, scene.streamed(), "the snapshot differs from GET");

    let third = scene.turn("a third turn").await;
    assert_eq!(third.main()[..streamed.main().len()], *streamed.main());
    assert_eq!(third, scene.stored().await);
}

#[tokio::test]
async fn block_ids_are_unique_and_times_do_not_go_back() {
    let mut scene = Scene::echo().await;
    scene.turn("one").await;
    let blocks = scene.turn("two").await;

    let mut ids: Vec<&str> = blocks.main().iter().map(|block| block["id"].as_str().unwrap()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "two blocks have one id");
    let times: Vec<&str> = blocks.main().iter().map(|block| block["timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn a_written_file_is_an_event_and_in_the_session() {
    let mut scene = Scene::echo().await;
    scene.turn("write notes/a.txt some words").await;

    let created = scene.stream.next_event("session:file:created").await;
    assert_eq!(created.data["file"]["path"], "notes/a.txt");
    let files = scene.with_files().await["workspaceFiles"].clone();
    assert_eq!(files.as_array().unwrap().len(), 1, "{files}");
    assert_eq!(files[0]["path"], "notes/a.txt");
    assert_eq!(files[0]["content"].as_str().unwrap().trim_end(), "some words");
    let index = scene.client().session(&scene.session).await.expect(200);
    assert_eq!(index["workspaceFiles"][0]["content"], Value::Null, "the index has contents");
}

#[tokio::test]
async fn sqlite_finds_the_session_in_the_database_of_the_running_host() {
    let Some(sqlite) = require("sqlite3") else { return };
    let mut scene = Scene::echo().await;
    scene.turn("hello").await;

    let dump = scene.host.database_dump(&sqlite);
    assert!(dump.contains(&scene.session), "the database does not have the session");
}

#[tokio::test]
async fn the_session_survives_a_kill_between_turns() {
    let mut scene = Scene::echo().await;
    let before = scene.turn("one").await;
    scene.host.kill().await;
    scene.host.start_again().await;
    scene.rejoin().await;
    assert_eq!(before, scene.stored().await);
    assert!(scene.turn("two").await.answer().contains("two"));
}

#[tokio::test]
async fn a_session_is_shown_as_its_clients_expect() {
    let host = Setup::new().start().await;
    let client = host.client();
    let request = json!({"agentProfileRef": "default", "architecture": "echo", "sessionId": "chosen.id-1", "name": "A name"});
    let created = client.create(&request).await.expect(201);
    assert_eq!(created["sessionId"], "chosen.id-1");
    assert_eq!(created["sessionOptions"], json!({}));
    assert!(created["createdAt"].is_u64() && created["runtime"].is_object(), "{created}");

    let session = client.session("chosen.id-1").await.expect(200);
    assert_eq!(
        (&session["type"], &session["agentProfileReference"], &session["name"]),
        (&json!("echo"), &json!("default"), &json!("A name"))
    );
    for (member, value) in [("blocks", json!([])), ("workspaceFiles", json!([])), ("subagents", json!([]))] {
        assert_eq!(session[member], value, "{member}");
    }
    assert!(session["seq"].is_u64(), "{session}");
    assert_eq!(session["runtime"]["isLoaded"], false);

    let listed = client.sessions("").await.expect(200);
    assert_eq!(listed["sessions"][0]["sessionId"], "chosen.id-1");
    assert!(listed["sessions"][0]["runtime"].is_object(), "{listed}");
    assert_eq!(listed["nextCursor"], Value::Null);
}
