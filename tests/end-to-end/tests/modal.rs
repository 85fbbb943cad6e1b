//! What is different where sandboxes are at Modal. That the rest is the same is shown by other tests with `AGENT_HOST_TEST_PROVIDER=modal`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use agent_host_tests::{Frame, Host, Scene, Setup, eventually, session_with};
use fake_modal::{Code, Fault};
use serde_json::json;

async fn scene() -> Scene {
    Scene::of(Setup::new().at_modal().start().await, "echo", None).await
}

fn only_sandbox(scene: &Scene) -> Arc<fake_modal::Sandbox> {
    let running = scene.host.modal().world().running();
    assert_eq!(running.len(), 1);
    running.into_iter().next().unwrap()
}

fn is_terminated(frame: &Frame) -> bool {
    frame.event == "session:status" && frame.data["runtime"]["sandbox"]["status"] == "terminated"
}

/// What the sandbox has in `notes/a.txt`.
fn note(scene: &Scene) -> String {
    let content = std::fs::read_to_string(only_sandbox(scene).root.join("agent/workspace/notes/a.txt")).unwrap();
    content.trim_end().to_owned()
}

/// How many agents run in a sandbox, whose processes have its root directory as theirs.
fn agents_in(sandbox: &fake_modal::Sandbox) -> usize {
    let root = std::fs::metadata(&sandbox.root).unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_in = |path: &PathBuf| std::fs::metadata(path.join("root/")).is_ok_and(|own| (own.dev(), own.ino()) == (root.dev(), root.ino()));
    let marks = processes.filter(is_in).filter_map(|path| {
        let environment = std::fs::read(path.join("environ")).ok()?;
        environment.split(|byte| *byte == 0).find(|variable| variable.starts_with(b"AGENT_HOST_PROGRAM=")).map(<[u8]>::to_vec)
    });
    marks.collect::<BTreeSet<_>>().len()
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
    scene.stream.next("the end of the sandbox", is_terminated).await;
    let after = scene.turn("hello").await;
    assert_eq!(after.main().get(..before.main().len()), Some(before.main()));
    assert_eq!(scene.with_files().await["workspaceFiles"][0]["path"], "notes/a.txt");
    assert_eq!(scene.host.modal().world().sandboxes().len(), 2);
    assert_eq!(note(&scene), "some words");
    // All files of a session come in one archive, however many they are.
    let has =
        |call: &fake_modal::Call, text: &[u8]| call.messages.iter().any(|message| message.windows(text.len()).any(|part| part == text));
    let calls = scene.host.modal().faults().take_calls();
    assert_eq!(calls.iter().filter(|call| call.method == "TaskExecStart" && has(call, b"tar --extract")).count(), 2);
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
async fn a_host_that_was_killed_finds_its_sandbox_again_and_what_the_agent_did_meanwhile() {
    let mut scene = scene().await;
    scene.turn("write notes/gone.txt some words").await;
    let before = scene.turn("write notes/kept.txt some words").await;
    scene.client().sync(&scene.session).await.expect(200);
    let sandbox = only_sandbox(&scene);
    let epoch = sandbox.tags.lock().get("agent-host-epoch").cloned();
    scene.host.kill().await;
    let notes = sandbox.root.join("agent/workspace/notes");
    std::fs::remove_file(notes.join("gone.txt")).unwrap();
    std::fs::write(notes.join("new one.txt"), "other words").unwrap();
    scene.host.start_again().await;
    scene.rejoin().await;
    let after = scene.turn("hello").await;
    assert_eq!(after.main().get(..before.main().len()), Some(before.main()));
    let same = only_sandbox(&scene);
    assert_eq!(same.id, sandbox.id);
    assert_ne!(same.tags.lock().get("agent-host-epoch").cloned(), epoch);
    let shown = scene.with_files().await["workspaceFiles"].clone();
    let mut paths: Vec<&str> = shown.as_array().unwrap().iter().filter_map(|file| file["path"].as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["notes/kept.txt", "notes/new one.txt"]);
    // The first agent has ended, and is not in the second one's way.
    assert_eq!(agents_in(&same), 1);
    scene.client().delete(&scene.session).await.expect(200);
    eventually("the end of the sandbox", async || scene.host.modal().world().running().is_empty()).await;
}

#[tokio::test]
async fn a_sandbox_that_is_not_as_it_should_be_is_replaced_after_a_kill() {
    let mut scene = scene().await;
    scene.turn("write notes/a.txt some words").await;
    scene.client().sync(&scene.session).await.expect(200);

    // One to which the session's files never came: it would look as if the agent had removed them.
    let left = only_sandbox(&scene);
    scene.host.kill().await;
    std::fs::remove_file(left.root.join("agent/laid-down")).unwrap();
    std::fs::remove_dir_all(left.root.join("agent/workspace/notes")).unwrap();
    scene.host.start_again().await;
    scene.rejoin().await;
    scene.turn("hello").await;
    eventually("the end of what was left", async || left.result().is_some()).await;
    assert_eq!(note(&scene), "some words");
    assert_eq!(scene.with_files().await["workspaceFiles"][0]["path"], "notes/a.txt");

    // One that could reach what it is not to reach any more.
    let left = only_sandbox(&scene);
    scene.host.kill().await;
    scene.host.configure(|setup| setup.set("sandbox.modal.network", "blocked"));
    scene.host.start_again().await;
    scene.rejoin().await;
    scene.turn("hello").await;
    assert_eq!(note(&scene), "some words");
    eventually("the end of what was left", async || left.result().is_some()).await;
    assert_ne!(only_sandbox(&scene).id, left.id);
}

#[tokio::test]
async fn what_was_stored_since_is_not_undone_by_a_sandbox_that_was_left() {
    // One that is found only when its session has another one already.
    let mut scene = scene().await;
    scene.turn("write notes/a.txt old words").await;
    let left = only_sandbox(&scene);
    scene.host.kill().await;
    scene.host.modal().faults().next("SandboxListV2", 1, Fault::Status(Code::PermissionDenied));
    scene.host.start_again().await;
    scene.rejoin().await;
    scene.turn("write notes/a.txt new words").await;
    eventually("the end of what was left", async || left.result().is_some()).await;
    let second = only_sandbox(&scene);
    second.preempt();
    scene.stream.next("the end of the sandbox", is_terminated).await;
    scene.turn("hello").await;
    assert_eq!(note(&scene), "new words");

    // One whose session went on elsewhere.
    let left = only_sandbox(&scene);
    scene.host.kill().await;
    scene.host.configure(|setup| setup.set("sandbox.provider", "local"));
    scene.host.start_again().await;
    scene.rejoin().await;
    scene.turn("write notes/a.txt newest words").await;
    assert!(scene.host.stop().await.success());
    assert!(left.result().is_none());
    scene.host.configure(|setup| setup.set("sandbox.provider", "modal"));
    scene.host.start_again().await;
    scene.rejoin().await;
    scene.turn("hello").await;
    assert_eq!(note(&scene), "newest words");
    assert!(left.result().is_some());
}

#[tokio::test]
async fn what_an_agent_prints_asks_nothing_of_modal() {
    let mut scene = scene().await;
    scene.turn("one").await;
    drop(scene.host.modal().faults().take_calls());
    let words = "word ".repeat(500);
    scene.turn(words.as_str()).await;
    let calls = scene.host.modal().faults().take_calls();
    let waits = calls.iter().filter(|call| call.method.ends_with("Wait") || call.method.ends_with("WaitV2")).count();
    assert!(waits <= 20, "{waits} of {} calls wait for something", calls.len());
}

#[tokio::test]
async fn a_sandbox_that_nobody_comes_for_ends() {
    let mut scene = Scene::of(Setup::new().at_modal().set("sandbox.modal.orphan_grace", "1s").start().await, "echo", None).await;
    scene.turn("write notes/a.txt some words").await;
    scene.client().sync(&scene.session).await.expect(200);
    scene.host.kill().await;
    assert_eq!(scene.host.modal().world().running().len(), 1);
    scene.host.start_again().await;
    eventually("the end of what was left", async || scene.host.modal().world().running().is_empty()).await;
    scene.rejoin().await;
    scene.turn("hello").await;
    assert_eq!(note(&scene), "some words");
    // The one that is used is older than that soon, and stays.
    let used = only_sandbox(&scene);
    let faults = scene.host.modal().faults();
    for _ in 0..3 {
        drop(faults.take_calls());
        eventually("another look", async || faults.take_calls().iter().any(|call| call.method == "SandboxListV2")).await;
    }
    assert!(used.result().is_none());
}

#[tokio::test]
async fn an_operator_sees_the_sandboxes_and_ends_those_that_nobody_uses() {
    let mut scene = scene().await;
    scene.turn("one").await;
    let sandbox = only_sandbox(&scene);
    let run = |scene: &Scene, arguments: &[&str]| {
        let mut command = scene.host.command();
        let output = command.arg("--config").arg(scene.host.write_config()).arg("sandboxes").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = |scene: &Scene, arguments: &[&str]| -> serde_json::Value { serde_json::from_str(&run(scene, arguments)).unwrap() };
    let shown = listed(&scene, &["--json"]);
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!((&shown[0]["id"], &shown[0]["session"]), (&json!(sandbox.id), &json!(scene.session)));
    assert_eq!((&shown[0]["state"], shown[0]["ageSeconds"].is_u64()), (&json!("used"), true));
    let table = run(&scene, &[]);
    assert!(table.lines().nth(1).is_some_and(|line| line.starts_with(&sandbox.id) && line.contains(&scene.session)), "{table}");
    assert_eq!(run(&scene, &["prune"]), "");

    scene.host.kill().await;
    let shown = listed(&scene, &["--all", "--json"]);
    assert_eq!((&shown[0]["id"], &shown[0]["state"]), (&json!(sandbox.id), &json!("left")));
    assert_eq!(run(&scene, &["prune"]), format!("{}\n", sandbox.id));
    assert!(sandbox.result().is_some());
    assert_eq!(listed(&scene, &["--json"]), json!([]));
}

#[tokio::test]
async fn sessions_get_sandboxes_that_were_ready_each_its_own() {
    let mut host = Setup::new().at_modal().set("sandbox.modal.warm", 2).start().await;
    let is_ready = |sandbox: &fake_modal::Sandbox| !sandbox.tags.lock().contains_key("agent-host-session");
    let ready = |host: &Host| {
        let running = host.modal().world().running();
        running.iter().filter(|sandbox| is_ready(sandbox)).map(|sandbox| sandbox.id.clone()).collect::<Vec<_>>()
    };
    let said = |host: &Host| host.log().matches("a sandbox is ready for whoever comes").count();
    eventually("sandboxes that are ready", async || said(&host) == 2).await;
    let first = ready(&host);
    let mut scenes = Vec::new();
    for _ in 0..2 {
        scenes.push(session_with(&host, "default", "echo").await);
    }
    let turns = scenes.iter_mut().map(async |(session, stream)| {
        let message = host.client().say(session, "write notes/a.txt some words").await;
        stream.turn_end(&message).await;
        host.client().session(session).await.expect(200)["runtime"]["sandbox"]["sandboxId"].as_str().unwrap().to_owned()
    });
    let used = futures_util::future::join_all(turns).await;
    assert_ne!(used.first(), used.last());
    eventually("others in their place", async || said(&host) == 4).await;
    assert_eq!(ready(&host).len(), 2);
    let in_use = |id: &String| used.contains(id);
    assert!(first.iter().all(in_use), "{first:?} were ready, {used:?} are used");
    assert_eq!(host.modal().world().running().len(), 4);

    // Those that Modal takes away are not given to anybody.
    for sandbox in host.modal().world().running().iter().filter(|sandbox| is_ready(sandbox)) {
        sandbox.preempt();
    }
    let (session, mut stream) = session_with(&host, "default", "echo").await;
    let message = host.client().say(&session, "hello").await;
    stream.turn_end(&message).await;
    assert!(host.blocks(&session).await.answer().contains("hello"));
    assert!(host.stop().await.success());
    assert_eq!(host.modal().world().running().len(), 0);
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
    let mut left: Vec<String> = host.modal().world().running().iter().map(|sandbox| sandbox.id.clone()).collect();
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
    // Each has found its own again.
    let mut running: Vec<String> = host.modal().world().running().iter().map(|sandbox| sandbox.id.clone()).collect();
    running.sort();
    left.sort();
    assert_eq!(running, left);
}
