//! An adapter and a hook in each language, as somebody begins one: written by `agent-host adapter new` or `hook new` in an empty directory, and built. The adapter is tried by the kit
//! in SQLite and in PostgreSQL, and swapped into a running host, which stores a session by it; the hook is added to one, where it denies a tool.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use agent_host_test_programs::{clang_for_components, postgres};
use agent_host_tests::{Blocks, Host, Kit, Scene, Setup, require, text_of};
use serde_json::{Value, json};

/// What a project is called.
const NAME: &str = "my-adapter";

/// Runs a command of somebody's shell, with nothing of this build in its environment.
fn shell(directory: &Path, line: &str) -> Output {
    let mut command = Command::new("bash");
    command.args(["-euc", line]).current_dir(directory);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["CARGO_", "RUST", "NEXTEST"].iter().any(|prefix| name.starts_with(prefix)) && !["CARGO_HOME", "RUSTUP_HOME"].contains(&&*name) {
            command.env_remove(name);
        }
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Begins a project (`kind` is `adapter` or `hook`) and builds it by the commands that `new` prints. Gives the component.
fn project(host: &Host, directory: &Path, kind: &str, language: &str) -> PathBuf {
    let output = host.command().args([kind, "new", NAME, "--lang", language]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let next = String::from_utf8(output.stdout).unwrap();
    let mut commands: Vec<&str> = next.lines().skip_while(|line| !line.is_empty()).skip(1).collect();
    // What comes behind the build is for a host.
    let first = commands.iter().position(|command| command.starts_with("agent-host ")).unwrap();
    let component = commands[first].split_whitespace().find(|word| word.ends_with(".wasm")).unwrap();
    commands.truncate(first);
    let built = shell(directory, &commands.join("\n"));
    assert!(built.status.success(), "{language}: {}", said(&built));
    directory.join(NAME).join(component)
}

/// `tests` are what tries the project by itself.
async fn begins_and_ends_with_a_stored_session(language: &str, tests: &str) {
    let Some(server) = postgres() else { return };
    let password = server.url_and_password("postgres").1;
    let directory = tempfile::tempdir().unwrap();
    let mut scene = Scene::of(Setup::new().with_variable("PGPASSWORD", password).start().await, "echo", None).await;
    scene.turn("before").await;
    let component = project(&scene.host, directory.path(), "adapter", language);
    let tested = shell(&directory.path().join(NAME), tests);
    assert!(tested.status.success(), "{language}: {}", said(&tested));
    let sqlite = |name: &str| json!({"databases": {"main": format!("sqlite:{}", directory.path().join(name).display())}});
    let postgresql = json!({"databases": {"main": {"url": server.url_and_password("postgres").0, "password": "env:PGPASSWORD"}}});
    for grants in [sqlite("kit.db"), postgresql] {
        Kit::new(&scene.host, &component).granted(&grants).with_variable("PGPASSWORD", password).run().await.assert_kept_but(0);
    }

    // Nobody has read the stream for minutes.
    scene.rejoin().await;
    let operator = scene.host.operator();
    let request = json!({"path": component, "grants": sqlite("live.db")});
    operator.swap_named(&request, "?migrate=true").await.expect(200);
    assert_eq!(operator.serving().await.0, NAME);
    let blocks = scene.turn("write notes/a.txt by the new adapter").await;
    let files = scene.with_files().await;
    scene.restart().await;
    assert_eq!(scene.host.operator().serving().await.0, NAME);
    assert_eq!(scene.stored().await, blocks);
    assert_eq!(scene.with_files().await["workspaceFiles"], files["workspaceFiles"]);
}

#[tokio::test]
async fn rust() {
    begins_and_ends_with_a_stored_session("rust", "cargo test --quiet --workspace").await;
}

#[tokio::test]
async fn python() {
    let Some(_) = require("python3") else { return };
    begins_and_ends_with_a_stored_session("python", "./check.sh").await;
}

#[tokio::test]
async fn typescript() {
    let Some(_) = require("npm") else { return };
    begins_and_ends_with_a_stored_session("typescript", "npm test").await;
}

#[tokio::test]
async fn c() {
    let (Some(_), Some(())) = (require("make"), clang_for_components()) else { return };
    begins_and_ends_with_a_stored_session("c", "make test").await;
}

/// `tests` are what tries the project by itself.
async fn denies_the_tools_that_it_is_told(language: &str, tests: &str) {
    let Some(mut scene) = Scene::claude().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let component = project(&scene.host, directory.path(), "hook", language);
    let tested = shell(&directory.path().join(NAME), tests);
    assert!(tested.status.success(), "{language}: {}", said(&tested));

    // Nobody has read the stream for minutes.
    scene.rejoin().await;
    let operator = scene.host.operator();
    let with = |config: Value| json!({"path": component, "config": config});
    let report = operator.put_hook_named(NAME, &with(json!({"tools": "WebFetch"}))).await.expect(200);
    assert_eq!((&report["called"], &report["generation"]), (&json!(NAME), &json!(1)), "{report}");
    for (config, key) in [(json!({}), "tools"), (json!({"tools": ""}), "tools"), (json!({"tools": "Bash", "colour": "red"}), "colour")] {
        let problem = operator.put_hook_named(NAME, &with(config)).await.expect_error(422, "COMPONENT_REFUSED");
        assert!(problem["phase"] == "open" && problem["detail"].as_str().unwrap().contains(key), "{language}: {problem}");
    }
    let blocks = scene.turn("bash echo allowed").await;
    assert!(text_of(blocks.all("tool_result")[0]).contains("allowed"), "{language}: another tool is named: {blocks:?}");
    assert!(notes(&blocks).is_empty(), "{language}: {blocks:?}");

    operator.put_hook_named(NAME, &with(json!({"tools": "WebFetch, Bash"}))).await.expect(200);
    let blocks = scene.turn("bash echo never").await;
    let result = blocks.all("tool_result")[1];
    assert_eq!(result["isError"], true, "{language}: {result}");
    let text = text_of(result);
    assert!(text.contains("Bash is not allowed here") && !text.contains("never"), "{language}: {result}");
    assert_eq!(notes(&blocks), ["The agent wanted to use Bash, which is not allowed here."], "{language}");
    assert_eq!(scene.stored().await, blocks);
}

/// What the hook has said in the conversation.
fn notes(blocks: &Blocks) -> Vec<String> {
    blocks.texts("system").into_iter().filter(|text| text.contains("wanted to use")).collect()
}

#[tokio::test]
async fn a_hook_in_rust() {
    denies_the_tools_that_it_is_told("rust", "cargo test --quiet --workspace").await;
}

#[tokio::test]
async fn a_hook_in_python() {
    let Some(_) = require("python3") else { return };
    denies_the_tools_that_it_is_told("python", "./check.sh").await;
}

#[tokio::test]
async fn a_hook_in_typescript() {
    let Some(_) = require("npm") else { return };
    denies_the_tools_that_it_is_told("typescript", "npm test").await;
}

#[tokio::test]
async fn a_hook_in_c() {
    let (Some(_), Some(())) = (require("make"), clang_for_components()) else { return };
    denies_the_tools_that_it_is_told("c", "make test").await;
}

#[tokio::test]
async fn the_contract_is_had_from_the_program_and_from_a_running_host() {
    let host = Setup::new().start().await;
    let directory = tempfile::tempdir().unwrap();
    let written = host.command().args(["wit", "deps"]).current_dir(directory.path()).output().unwrap();
    assert!(written.status.success(), "{}", said(&written));
    let response = host.client().request(reqwest::Method::GET, "/wit").send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["content-type"].as_bytes()), (200, &b"application/x-tar".as_slice()));
    std::fs::write(directory.path().join("wit.tar"), response.bytes().await.unwrap()).unwrap();
    let compared = shell(directory.path(), "mkdir got && tar -xf wit.tar -C got && diff -r deps got && ls got");
    assert!(compared.status.success(), "{}", said(&compared));
    let packages = ["agent-host-hooks-0.1.0", "agent-host-persistence-0.1.0", "agent-host-types-0.1.0", "wasi-logging-0.1.0-draft"];
    assert!(packages.iter().all(|package| said(&compared).contains(package)), "{}", said(&compared));
    let page = host.command().args(["adapter", "doc"]).output().unwrap();
    assert!(page.status.success() && said(&page).contains("offset-mismatch"), "{}", said(&page));

    for (name, expected) in [("My_Adapter", "is no name of a project"), ("deps", "is not empty")] {
        let refused = host.command().args(["adapter", "new", name, "--lang", "rust"]).current_dir(directory.path()).output().unwrap();
        assert!(!refused.status.success() && said(&refused).contains(expected), "{}", said(&refused));
    }
}
