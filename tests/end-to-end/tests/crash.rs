//! A host that was killed goes on by itself with what was going on, and loses nothing that agents did meanwhile.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::fs;
use std::path::PathBuf;

use agent_host_tests::{Frame, Host, Scene, Setup, eventually, require};
use serde_json::{Value, json};

/// The directories of local sandboxes.
fn sandboxes(host: &Host) -> Vec<PathBuf> {
    let entries = fs::read_dir(host.data_directory().join("sandboxes")).unwrap().flatten().map(|entry| entry.path());
    entries.filter(|path| path.join("sandbox.json").is_file()).collect()
}

/// Sessions in which something goes on, as the next host will see it.
fn agenda(host: &Host) -> Vec<String> {
    let entries = fs::read_dir(host.data_directory().join("agenda")).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Says something that takes a while, and waits until the answer has begun.
async fn begin(scene: &mut Scene, words: &str) -> String {
    scene.client().set_options(&scene.session, &json!({"delayMs": 300})).await.expect(200);
    let message = scene.client().say(&scene.session, words).await;
    // Not an event of the turn before, of which nobody has asked for all: a host that is killed before this turn begins has nothing to report.
    let runs = |frame: &Frame| frame.data.pointer("/runtime/runningMessageId").is_some_and(|running| *running == message.as_str());
    scene.stream.next("the turn", runs).await;
    scene.stream.next_event("session:block:delta").await;
    message
}

#[tokio::test]
async fn a_turn_that_was_cut_off_begins_again_by_itself_and_once() {
    let setup = Setup::new().set("session.interrupted_turn", "resume");
    let mut scene = Scene::of(setup.start().await, "echo", None).await;
    let message = begin(&mut scene, "one two three four five six").await;
    let waiting = scene.client().say(&scene.session, "and then").await;
    assert_eq!(agenda(&scene.host), [scene.session.as_str()]);
    scene.host.kill().await;
    scene.host.start_again().await;
    // Nobody asks for it.
    let has_ended = async || {
        let blocks = scene.stored().await;
        blocks.texts("user_message").len() == 2 && blocks.answer().contains("and then")
    };
    eventually("both turns", has_ended).await;
    let blocks = scene.stored().await;
    assert_eq!(
        blocks.texts("user_message").iter().map(|text| text.trim_end().to_owned()).collect::<Vec<_>>(),
        ["one two three four five six", "and then"]
    );
    assert!(blocks.texts("system").iter().any(|text| text.contains("begins again")), "{blocks:?}");
    assert!(blocks.texts("assistant_text").iter().any(|text| text.trim_end() == "one two three four five six"), "{blocks:?}");
    assert!(blocks.texts("system").iter().all(|text| !text.contains("before this turn had ended")), "{blocks:?}");
    drop((message, waiting));

    // What ends the host each time does not do so for ever.
    scene.rejoin().await;
    begin(&mut scene, "seven eight nine ten eleven twelve").await;
    scene.host.kill().await;
    scene.host.start_again().await;
    let begun_again = async || scene.stored().await.texts("system").iter().filter(|text| text.contains("begins again")).count();
    // Once for the turn before.
    eventually("the turn begins again", async || begun_again().await == 2).await;
    scene.host.kill().await;
    scene.host.start_again().await;
    let is_reported = async || scene.stored().await.texts("system").iter().any(|text| text.contains("before this turn had ended"));
    eventually("the second time is reported", is_reported).await;
}

#[tokio::test]
async fn a_turn_that_was_cut_off_is_reported_by_itself_and_what_waited_goes_on() {
    let mut scene = Scene::echo().await;
    begin(&mut scene, "one two three four five six").await;
    scene.client().say(&scene.session, "and then").await;
    scene.host.kill().await;
    scene.host.start_again().await;
    eventually("the second turn", async || scene.stored().await.answer().contains("and then")).await;
    let blocks = scene.stored().await;
    assert!(blocks.texts("system").iter().any(|text| text.contains("before this turn had ended")), "{blocks:?}");
    assert_eq!(blocks.texts("user_message").len(), 2);
}

#[tokio::test]
async fn what_an_agent_did_to_its_files_before_a_kill_is_in_the_session_afterwards() {
    let mut scene = Scene::of(Setup::new().set("session.sync_interval", "1h").start().await, "echo", None).await;
    if !fs::read_dir(scene.host.data_directory().join("sandboxes")).is_ok_and(|entries| entries.count() > 0) {
        return;
    }
    scene.turn("write kept.txt some words").await;
    scene.turn("write gone.txt some words").await;
    let sandbox = sandboxes(&scene.host).into_iter().next().unwrap();
    begin(&mut scene, "one two three four five six").await;
    scene.host.kill().await;
    fs::write(sandbox.join("workspace/new.txt"), "new words").unwrap();
    fs::write(sandbox.join("workspace/kept.txt"), "other words").unwrap();
    fs::remove_file(sandbox.join("workspace/gone.txt")).unwrap();
    scene.host.start_again().await;
    let files = async || {
        let shown = scene.with_files().await["workspaceFiles"].clone();
        let mut files: Vec<_> = shown
            .as_array()
            .unwrap()
            .iter()
            .map(|file| (file["path"].as_str().unwrap().to_owned(), file["content"].as_str().unwrap_or_default().to_owned()))
            .collect();
        files.sort();
        files
    };
    let expected = [("kept.txt".to_owned(), "other words".to_owned()), ("new.txt".to_owned(), "new words".to_owned())];
    eventually("the files are stored", async || files().await == expected).await;
    // It is the same sandbox, and no other is there.
    assert_eq!(sandboxes(&scene.host), [sandbox]);
    scene.rejoin().await;
    assert!(scene.turn("hello").await.answer().contains("hello"));
    scene.client().unload(&scene.session).await.expect(200);
    eventually("nothing is left", async || sandboxes(&scene.host).is_empty() && agenda(&scene.host).is_empty()).await;
}

/// A host that was killed in the middle of a turn, and a file that the agent wrote after that. Gives the sandbox's directory.
async fn left_with_a_file(scene: &mut Scene) -> PathBuf {
    scene.turn("write kept.txt some words").await;
    let sandbox = sandboxes(&scene.host).into_iter().next().unwrap();
    begin(scene, "one two three four five six").await;
    scene.host.kill().await;
    fs::write(sandbox.join("workspace/new.txt"), "new words").unwrap();
    sandbox
}

async fn paths(scene: &Scene) -> Vec<String> {
    let shown = scene.with_files().await;
    let files = shown.get("workspaceFiles").and_then(Value::as_array).unwrap();
    files.iter().map(|file| file.get("path").and_then(Value::as_str).unwrap().to_owned()).collect()
}

fn is_modal() -> bool {
    std::env::var_os("AGENT_HOST_TEST_PROVIDER").is_some_and(|provider| provider == "modal")
}

#[tokio::test]
async fn a_host_that_is_killed_again_before_it_has_taken_up_a_sandbox_leaves_it_to_the_next() {
    if is_modal() {
        return;
    }
    let mut scene = Scene::of(Setup::new().set("session.sync_interval", "1h").start().await, "echo", None).await;
    let sandbox = left_with_a_file(&mut scene).await;
    // One that takes the session's epoch, and is killed before it has the sandbox.
    let aside = scene.host.beside("aside");
    fs::rename(&sandbox, &aside).unwrap();
    scene.host.start_again().await;
    let is_reported = async || scene.stored().await.texts("system").iter().any(|text| text.contains("before this turn had ended"));
    eventually("the turn is reported", is_reported).await;
    eventually("nothing goes on", async || agenda(&scene.host).is_empty()).await;
    scene.host.kill().await;
    fs::rename(&aside, &sandbox).unwrap();
    fs::write(scene.host.data_directory().join("agenda").join(&scene.session), "").unwrap();
    scene.host.start_again().await;
    scene.rejoin().await;
    scene.turn("hello").await;
    assert_eq!(paths(&scene).await, ["kept.txt", "new.txt"]);
    assert_eq!(sandboxes(&scene.host), [sandbox]);
}

#[tokio::test]
async fn a_sandbox_that_was_left_is_not_taken_up_when_the_session_had_another_since() {
    if is_modal() {
        return;
    }
    let mut scene = Scene::of(Setup::new().set("session.sync_interval", "1h").start().await, "echo", None).await;
    let sandbox = left_with_a_file(&mut scene).await;
    let aside = scene.host.beside("aside");
    fs::rename(&sandbox, &aside).unwrap();
    scene.host.start_again().await;
    scene.rejoin().await;
    scene.turn("write kept.txt other words").await;
    scene.host.restart().await;
    scene.host.stop().await;
    fs::rename(&aside, &sandbox).unwrap();
    scene.host.start_again().await;
    scene.rejoin().await;
    scene.turn("hello").await;
    let shown = scene.with_files().await;
    assert_eq!(shown["workspaceFiles"].as_array().unwrap().len(), 1, "{shown}");
    assert_eq!(shown["workspaceFiles"][0]["content"], "other words");
    eventually("the old one is removed", async || !sandbox.exists()).await;
}

#[tokio::test]
async fn a_session_that_is_unloaded_or_whose_host_ends_takes_in_what_was_left_first() {
    if is_modal() {
        return;
    }
    for ends in [false, true] {
        let mut scene = Scene::of(Setup::new().set("session.sync_interval", "1h").start().await, "echo", None).await;
        scene.turn("write kept.txt some words").await;
        let sandbox = sandboxes(&scene.host).into_iter().next().unwrap();
        // Nothing runs, so that nothing has to go on.
        scene.host.kill().await;
        fs::write(sandbox.join("workspace/new.txt"), "new words").unwrap();
        scene.host.start_again().await;
        let is_loaded = async || scene.client().session(&scene.session).await.expect(200)["runtime"]["isLoaded"] == true;
        eventually("the session is looked at", is_loaded).await;
        assert_eq!(sandboxes(&scene.host), [sandbox]);
        if ends {
            assert!(scene.host.stop().await.success());
            assert!(sandboxes(&scene.host).is_empty());
            scene.host.start_again().await;
        } else {
            scene.client().unload(&scene.session).await.expect(200);
            assert!(sandboxes(&scene.host).is_empty());
        }
        assert_eq!(paths(&scene).await, ["kept.txt", "new.txt"]);
        assert!(agenda(&scene.host).is_empty());
    }
}

#[tokio::test]
async fn a_session_that_is_deleted_takes_what_was_left_along() {
    if is_modal() {
        return;
    }
    let mut scene = Scene::echo().await;
    scene.turn("write kept.txt some words").await;
    let sandbox = sandboxes(&scene.host).into_iter().next().unwrap();
    let aside = scene.host.beside("aside");
    fs::rename(&sandbox, &aside).unwrap();
    scene.client().delete(&scene.session).await.expect(200);
    scene.host.kill().await;
    // A host that is killed when it has deleted a session, and before it has removed the sandbox.
    fs::rename(&aside, &sandbox).unwrap();
    scene.host.start_again().await;
    eventually("nothing is left", async || sandboxes(&scene.host).is_empty() && agenda(&scene.host).is_empty()).await;

    let session = scene.client().new_session("echo").await;
    scene.session = session;
    scene.rejoin().await;
    scene.turn("write kept.txt some words").await;
    scene.host.kill().await;
    scene.host.start_again().await;
    scene.client().delete(&scene.session).await.expect(200);
    eventually("nothing is left", async || sandboxes(&scene.host).is_empty() && agenda(&scene.host).is_empty()).await;
}

#[tokio::test]
async fn what_claude_wrote_into_its_transcript_before_a_kill_is_stored() {
    let Some(sqlite) = require("sqlite3") else { return };
    let Some(mut scene) = Scene::claude_with(|setup| setup).await else { return };
    scene.turn("text hello").await;
    scene.client().say(&scene.session, "bash tail -f /dev/null").await;
    scene.stream.next("the tool", |frame| frame.event == "session:block:start" && frame.data["block"]["type"] == "tool_use").await;
    let sandbox = sandboxes(&scene.host).into_iter().next().unwrap();
    scene.host.kill().await;
    let projects = fs::read_dir(sandbox.join("home/.claude/projects"))
        .unwrap()
        .flatten()
        .flat_map(|entry| fs::read_dir(entry.path()).unwrap().flatten());
    let transcript =
        projects.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|extension| extension == "jsonl")).unwrap();
    let mut written = fs::read_to_string(&transcript).unwrap();
    written.push_str("{\"type\":\"mark\",\"text\":\"WRITTEN-ALONE\"}\n");
    fs::write(&transcript, &written).unwrap();
    scene.host.start_again().await;
    let hexadecimal = |text: &str| text.bytes().map(|byte| format!("{byte:02X}")).collect::<String>();
    let mark = hexadecimal("WRITTEN-ALONE");
    eventually("the transcript is stored", async || scene.host.database_dump(&sqlite).to_uppercase().contains(&mark)).await;
    scene.rejoin().await;
    assert!(scene.turn("text again").await.answer().contains("again"));
}
