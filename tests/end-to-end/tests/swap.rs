//! Another persistence adapter takes over while sessions go on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use agent_host_tests::{Host, Scene, Setup, eventually, rebuilt_adapter};
use serde_json::{Value, json};

/// The bytes of an adapter that is the one that ships, but for its version.
fn rebuilt(version: &str) -> Vec<u8> {
    fs::read(rebuilt_adapter(version)).unwrap()
}

fn version_of(version: &str) -> (String, String) {
    ("sql".to_owned(), version.to_owned())
}

/// Grants of a database file, as the admin API takes them.
fn database(path: &Path) -> Value {
    json!({"databases": {"main": format!("sqlite:{}", path.display())}})
}

#[tokio::test]
async fn a_turn_goes_on_while_the_adapter_is_exchanged_and_the_new_one_serves_after_a_restart() {
    let mut scene = Scene::echo().await;
    scene.turn("before").await;
    scene.client().set_options(&scene.session, &json!({"delayMs": 20})).await.expect(200);
    let words = vec!["word"; 60].join(" ");
    let message = scene.client().say(&scene.session, words.as_str()).await;
    scene.stream.next_event("session:block:delta").await;

    let report = scene.host.operator().swap(rebuilt("9.9.1"), "").await.expect(200);
    assert_eq!((&report["version"], &report["generation"], &report["previousGeneration"]), (&json!("9.9.1"), &json!(2), &json!(1)));
    assert_eq!(scene.host.operator().serving().await, version_of("9.9.1"));
    scene.stream.turn_end(&message).await;
    let streamed = scene.streamed();
    assert_eq!(streamed.answer(), words);
    assert_eq!(streamed, scene.stored().await);

    scene.restart().await;
    assert_eq!(scene.host.operator().serving().await, version_of("9.9.1"), "what an operator swapped in survives a restart");
    assert_eq!(streamed, scene.stored().await);

    let report = scene.host.operator().rollback("").await.expect(200);
    assert_eq!((&report["version"], &report["previousGeneration"]), (&json!("0.1.0"), &json!(2)));
    assert_eq!(streamed, scene.stored().await);
    scene.host.operator().rollback("").await.expect_error(409, "NOTHING_EARLIER");
    scene.turn("after").await;
}

#[tokio::test]
async fn what_is_no_working_adapter_is_refused_in_words_and_the_present_one_stays() {
    let mut scene = Scene::echo().await;
    scene.turn("before").await;
    let operator = scene.host.operator();
    let whole = rebuilt("9.9.1");
    let module = b"\0asm\x01\0\0\0".to_vec();
    let empty = b"\0asm\x0d\0\x01\0".to_vec();
    let damaged = [&whole[..whole.len() / 2], &[0xff; 64], &whole[whole.len() / 2 + 64..]].concat();
    for (component, phase, text) in [
        (b"not a component".to_vec(), "compile", ""),
        (whole[..whole.len() / 2].to_vec(), "compile", ""),
        (damaged, "compile", ""),
        (module, "compile", "module"),
        (empty, "open", "does not export"),
    ] {
        let problem = operator.swap(component, "").await.expect_error(422, "COMPONENT_REFUSED");
        assert_eq!(problem["phase"], phase, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(text), "{problem}");
    }
    for (request, phase, text) in [
        (json!({"path": "/nowhere/a.wasm"}), "read", "/nowhere/a.wasm"),
        (json!({"digest": "00"}), "read", ""),
        (json!({"builtin": "mongodb"}), "read", "there are sqlite, postgresql, memory"),
        (json!({"builtin": "sqlite", "config": {"colour": "red"}}), "open", "colour"),
        (json!({"builtin": "sqlite", "grants": {"database": {}}}), "open", "persistence.grants.database"),
        (json!({"builtin": "sqlite", "grants": {"databases": {"main": "mysql:x"}}}), "open", "sqlite:PATH"),
    ] {
        let problem = operator.swap_named(&request, "").await.expect_error(422, "COMPONENT_REFUSED");
        assert_eq!(problem["phase"], phase, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(text), "{problem}");
    }
    assert_eq!(operator.serving().await, version_of("0.1.0"));
    let events = operator.components().await["events"].clone();
    assert!(events.as_array().unwrap().iter().all(|event| event["event"] == "refused"), "{events}");
    assert_eq!(events.as_array().unwrap().len(), 10, "a name that is none never was a candidate");
    let blocks = scene.turn("after").await;
    assert_eq!(blocks, scene.stored().await);
    scene.restart().await;
    assert_eq!(scene.host.operator().serving().await, version_of("0.1.0"));
}

#[tokio::test]
async fn another_store_is_not_taken_for_the_same_and_everything_is_copied_there_if_that_is_wanted() {
    let mut scene = Scene::echo().await;
    scene.turn("write notes/a.txt some words").await;
    let before = scene.with_files().await;
    let operator = scene.host.operator();
    let other = scene.host.beside("other.db");
    let request = json!({"builtin": "sqlite", "grants": database(&other)});

    let problem = operator.swap_named(&request, "").await.expect_error(422, "COMPONENT_REFUSED");
    assert_eq!(problem["phase"], "same-store", "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("migrate"), "{problem}");

    let report = operator.swap_named(&request, "?migrate=true").await.expect(200);
    assert_eq!((&report["copied"]["sessions"], &report["copied"]["files"]), (&json!(1), &json!(1)));
    assert!(report["pauseMs"].as_f64().is_some(), "{report}");
    assert_eq!(scene.with_files().await, before);
    let blocks = scene.turn("after").await;

    scene.restart().await;
    assert_eq!(scene.stored().await, blocks);
    // What was written since is not in the old store.
    let operator = scene.host.operator();
    assert_eq!(operator.rollback("").await.expect_error(422, "COMPONENT_REFUSED")["phase"], "same-store");
    operator.rollback("?migrate=true").await.expect(200);
    assert_eq!(scene.stored().await, blocks);
    assert!(scene.turn("again").await.answer().contains("again"));
}

#[tokio::test]
async fn scratch_sessions_are_neither_seen_nor_left() {
    let scene = Scene::echo().await;
    scene.host.operator().swap(rebuilt("9.9.1"), "").await.expect(200);
    let listed = scene.client().sessions("").await.expect(200);
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1, "{listed}");
    let Some(sqlite) = agent_host_tests::require("sqlite3") else { return };
    assert!(!scene.host.database_dump(&sqlite).contains("agent-host.scratch"));
    let reserved = json!({"agentProfileRef": "default", "architecture": "echo", "sessionId": "agent-host.scratch.mine"});
    scene.client().create(&reserved).await.expect_error(422, "UNPROCESSABLE");
}

#[tokio::test]
async fn the_command_line_does_the_same() {
    let scene = Scene::echo().await;
    let host = &scene.host;
    let run = |arguments: &[&str]| run(host, arguments);
    let exported = host.beside("exported.wasm");
    let exported = exported.to_str().unwrap();

    let (_, listed) = run(&["components"]);
    assert!(listed.contains("persistence") && listed.contains("serving"), "{listed}");
    assert!(run(&["components", "export", "sqlite", exported]).0);
    let file = rebuilt_adapter("9.9.1");
    let (done, said) = run(&["swap", "persistence", file.to_str().unwrap()]);
    assert!(done && said.contains("\"version\": \"9.9.1\""), "{said}");
    assert_eq!(host.operator().serving().await, version_of("9.9.1"));
    assert!(run(&["rollback", "persistence"]).0);
    assert_eq!(host.operator().serving().await, version_of("0.1.0"));
    assert!(run(&["swap", "persistence", exported]).0, "what was exported is a component");
    let (done, said) = run(&["component", "inspect", exported]);
    assert!(done && said.contains("persistence"), "{said}");

    let (done, said) = run(&["swap", "persistence", "memory"]);
    assert!(!done && said.contains("same-store"), "{said}");
    let (done, said) = run(&["swap", "persistence", "no-such-file"]);
    assert!(!done && said.contains("sqlite, postgresql, memory"), "{said}");
    assert!(run(&["swap", "persistence", "--configured"]).0);
    let (_, listed) = run(&["components", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["persistence"]["origin"], "configured");
}

#[tokio::test]
async fn a_store_is_copied_while_no_host_runs() {
    let mut scene = Scene::echo().await;
    scene.turn("write notes/a.txt some words").await;
    let blocks = scene.turn("and more").await;
    scene.host.stop().await;
    let (from, to) = (scene.host.data_directory().join("agent-host.db"), scene.host.beside("copy.db"));
    let copy = |from: &Path| {
        let (from, to) = (format!("sqlite:{}", from.display()), format!("sqlite:{}", to.display()));
        let output = scene.host.command().args(["copy", "--from", &from, "--to", &to]).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (done, said) = copy(&from);
    assert!(done && said.contains("\"sessions\": 1") && said.contains("\"files\": 1"), "{said}");
    let (done, said) = copy(&from);
    assert!(done && said.contains("\"bytes\": 0"), "what is there is not copied again: {said}");
    let (done, said) = copy(&scene.host.beside("nothing.db"));
    assert!(!done && said.contains("there is no database"), "{said}");

    fs::rename(&to, &from).unwrap();
    scene.host.start_again().await;
    assert_eq!(scene.stored().await, blocks);
    scene.rejoin().await;
    assert!(scene.turn("on it goes").await.answer().contains("on it goes"));
}

/// Runs a command against the host; whether it succeeded, and what it said.
fn run(host: &Host, arguments: &[&str]) -> (bool, String) {
    let mut command = host.command();
    command.arg("--config").arg(host.write_config()).args(arguments).env("AGENT_HOST_LISTEN", host.address());
    let output = command.output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test]
async fn a_file_that_changes_is_swapped_in_when_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("adapter.wasm");
    fs::copy(rebuilt_adapter("9.9.1"), &file).unwrap();
    let setup = Setup::new()
        .set("persistence.component", file.to_str().unwrap())
        .set("persistence.grants.databases.main", format!("sqlite:{}", directory.path().join("main.db").display()))
        .set("components.watch", true);
    let mut scene = Scene::of(setup.start().await, "echo", None).await;
    scene.turn("before").await;
    assert_eq!(scene.host.operator().serving().await, version_of("9.9.1"));

    let next = rebuilt("9.9.2");
    fs::write(&file, &next[..next.len() / 2]).unwrap();
    let operator = scene.host.operator();
    eventually("half a component is refused", async || operator.components().await["events"][0]["event"] == "refused").await;
    assert_eq!(operator.serving().await, version_of("9.9.1"));

    fs::write(&file, &next).unwrap();
    eventually("the new component serves", async || operator.serving().await == version_of("9.9.2")).await;
    scene.turn("after").await;
    // Replaced by another file, as a package manager does.
    fs::copy(rebuilt_adapter("9.9.1"), directory.path().join("new")).unwrap();
    fs::rename(directory.path().join("new"), &file).unwrap();
    eventually("the old component serves", async || operator.serving().await == version_of("9.9.1")).await;
    let blocks = scene.turn("at last").await;
    assert_eq!(blocks, scene.stored().await);
}

#[tokio::test]
async fn the_configuration_can_win_over_what_was_swapped_in() {
    let mut host = Setup::new().set("components.on_start", "configured").start().await;
    host.operator().swap(rebuilt("9.9.1"), "").await.expect(200);
    assert_eq!(host.operator().serving().await, version_of("9.9.1"));
    host.restart().await;
    assert_eq!(host.operator().serving().await, version_of("0.1.0"));
}
