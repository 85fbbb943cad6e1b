//! Workspace files: bytes, seen as events, stored, and laid down again in the next sandbox.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests report by panicking")]

use agent_host_tests::Scene;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A file's bytes, as `?include=files` shows them.
fn bytes(session: &Value, path: &str) -> Option<Vec<u8>> {
    let file = session["workspaceFiles"].as_array()?.iter().find(|file| file["path"] == path)?;
    let content = file["content"].as_str().unwrap_or_else(|| panic!("{path} has no content: {file}"));
    match file["encoding"].as_str() {
        Some("base64") => Some(STANDARD.decode(content).unwrap()),
        _ => Some(content.as_bytes().to_vec()),
    }
}

#[tokio::test]
async fn a_file_that_claude_writes_is_an_event_and_is_stored() {
    let Some(mut scene) = Scene::claude().await else { return };
    scene.turn("write docs/hello.txt grüße 💡").await;
    let created = scene.stream.next_event("session:file:created").await;
    assert_eq!(created.data["file"]["path"], "docs/hello.txt");
    assert_eq!(bytes(&scene.with_files().await, "docs/hello.txt").unwrap(), "grüße 💡".as_bytes());
}

#[tokio::test]
async fn files_are_bytes_and_survive_a_restart_and_a_new_sandbox() {
    let Some(mut scene) = Scene::claude().await else { return };
    scene.turn("bash mkdir -p a/b empty && printf '\\000\\001\\377\\376' > a/b/raw.bin && printf text > a/plain.txt").await;
    let raw = [0, 1, 255, 254];
    assert_eq!(bytes(&scene.with_files().await, "a/b/raw.bin").unwrap(), raw);

    scene.restart().await;
    assert_eq!(bytes(&scene.with_files().await, "a/b/raw.bin").unwrap(), raw);
    let blocks = scene.turn("bash od -An -tx1 a/b/raw.bin && cat a/plain.txt").await;
    assert!(blocks.answer().contains("00 01 ff fe") && blocks.answer().contains("text"), "{}", blocks.answer());
    // The first sync of the new sandbox does not drop what it did not touch.
    scene.client().sync(&scene.session).await.expect(200);
    let session = scene.with_files().await;
    assert_eq!(bytes(&session, "a/b/raw.bin").unwrap(), raw);
    assert_eq!(bytes(&session, "a/plain.txt").unwrap(), b"text");
}

#[tokio::test]
async fn changes_and_deletions_are_told_and_stored() {
    let Some(mut scene) = Scene::claude().await else { return };
    scene.turn("bash printf one > a.txt && printf x > b.txt").await;
    scene.turn("bash printf three > a.txt && rm b.txt").await;
    assert_eq!(scene.stream.next_event("session:file:modified").await.data["file"]["path"], "a.txt");
    let deleted = |frame: &agent_host_tests::Frame| frame.event == "session:file:deleted" && frame.data["path"] == "b.txt";
    assert!(scene.stream.frames().iter().any(deleted), "the deletion was not told");

    scene.restart().await;
    let session = scene.with_files().await;
    assert_eq!(bytes(&session, "a.txt").unwrap(), b"three");
    assert_eq!(bytes(&session, "b.txt"), None);
    let blocks = scene.turn("bash ls").await;
    assert_eq!(blocks.answer(), "The command printed: a.txt");
}

#[tokio::test]
async fn files_are_told_while_the_turn_still_runs() {
    let Some(mut scene) = Scene::claude().await else { return };
    let message = scene.client().say(&scene.session, "bash printf now > now.txt; tail -f /dev/null").await;
    scene.stream.next_event("session:file:created").await;
    scene.client().interrupt(&scene.session).await.expect(200);
    scene.stream.turn_end(&message).await;
}

#[tokio::test]
async fn a_large_file_is_reported_and_not_stored_and_ignored_directories_are_not_seen() {
    let Some(mut scene) = Scene::claude_with(|setup| setup.set("limits.file", "64 KiB")).await else { return };
    scene.turn("bash mkdir -p .git node_modules/x && touch .git/a node_modules/x/b && head -c 100000 /dev/zero > large.bin && printf s > small.txt").await;
    let session = scene.with_files().await;
    let files = session["workspaceFiles"].as_array().unwrap();
    let paths: Vec<&str> = files.iter().filter_map(|file| file["path"].as_str()).collect();
    assert!(paths.contains(&"small.txt"), "{paths:?}");
    assert!(!paths.iter().any(|path| path.starts_with(".git") || path.starts_with("node_modules")), "{paths:?}");
    let large = files.iter().find(|file| file["path"] == "large.bin").expect("the large file is not reported");
    assert_eq!((&large["size"], &large["content"]), (&Value::from(100_000), &Value::Null));
}
