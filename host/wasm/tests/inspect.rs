//! What can be told of a file before it is used.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use agent_host_wasm::inspect::{Inspection, Need, Problem, World, inspect};
use agent_host_wasm::{Engine, Source};
use support::{guest, options};

fn bytes(name: &str) -> Vec<u8> {
    let Source::File(path) = guest(name) else { panic!("it is not a file") };
    std::fs::read(path).unwrap()
}

async fn inspected(bytes: Vec<u8>) -> Inspection {
    inspect(&Engine::new(options()).unwrap(), bytes).await
}

/// Why it cannot be run, in words.
async fn problems(bytes: Vec<u8>) -> Vec<String> {
    let inspection = inspected(bytes).await;
    assert_eq!(inspection.can_run, inspection.problems.is_empty());
    inspection.problems.iter().map(Problem::to_string).collect()
}

#[tokio::test]
async fn an_adapter_that_ships_with_the_host_is_shown_with_all_that_it_may_use() {
    let bytes = std::fs::read(env!("AGENT_HOST_COMPONENT_SQL")).unwrap();
    let inspection = inspected(bytes.clone()).await;
    assert!(inspection.can_run, "{inspection}");
    assert_eq!(inspection.worlds, [World::Persistence]);
    assert_eq!(inspection.size, bytes.len());
    assert!(inspection.may_use.contains(&Need::Databases) && !inspection.may_use.contains(&Need::Http), "{inspection}");

    let text = inspection.to_string();
    for line in [
        "a persistence adapter",
        "agent-host:persistence/lifecycle@0.1.0",
        "agent-host:sql/sql@0.1.0",
        "grants.databases",
        "this host can run it",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!(json["worlds"][0], "persistence");
    assert_eq!(json["canRun"], true);
    assert_eq!(json["digest"].as_str().unwrap().len(), 64);
    assert!(json["exports"].as_array().unwrap().iter().any(|export| export == "agent-host:persistence/sessions@0.1.0"), "{json}");
}

#[tokio::test]
async fn what_a_component_would_need_is_told_by_what_it_imports() {
    let inspection = inspected(bytes("prober")).await;
    assert!(inspection.can_run, "{inspection}");
    assert_eq!(Vec::from_iter(inspection.may_use), [Need::Databases, Need::Dirs, Need::Env, Need::Http, Need::Net]);
}

#[tokio::test]
async fn a_file_that_is_no_component_is_told_from_one_that_is_damaged() {
    let whole = bytes("misbehaving");
    assert_eq!(problems(b"#!/bin/sh\nexit 1\n".to_vec()).await, ["it is not WebAssembly"]);
    assert_eq!(problems(Vec::new()).await, ["it is not WebAssembly"]);
    let module = problems(b"\0asm\x01\0\0\0".to_vec()).await;
    assert!(module[0].contains("core module") && module[0].contains("wasm-tools component new"), "{module:?}");
    for length in [5, 100, whole.len() / 2, whole.len() - 1] {
        let cut = problems(whole[..length].to_vec()).await;
        assert!(cut[0].contains("cut short") && cut[0].contains(&format!("{length} bytes")), "{length}: {cut:?}");
    }
    let mut damaged = whole;
    let middle = damaged.len() / 2;
    damaged[middle..middle + 100].fill(0xff);
    let damaged = problems(damaged).await;
    assert!(damaged[0].contains("cannot be compiled"), "{damaged:?}");
}

#[tokio::test]
async fn a_component_for_something_else_is_shown_with_what_it_is() {
    let inspection = inspected(bytes("stranger")).await;
    assert!(inspection.worlds.is_empty() && !inspection.can_run);
    let text = inspection.to_string();
    assert!(text.contains("neither a persistence adapter nor an event hook: it exports example:stranger/greeting"), "{text}");
}

#[tokio::test]
async fn a_component_for_another_version_is_refused_by_name_and_version() {
    let problems = problems(bytes("newer")).await.join("\n");
    for words in [
        "it exports agent-host:persistence/lifecycle@0.2.0, of which this host has 0.1",
        "it imports agent-host:persistence/futures@0.2.0, which this host does not give",
        "as a persistence adapter it would have to export agent-host:persistence/sessions@0.1.0",
    ] {
        assert!(problems.contains(words), "{words:?} is not in {problems}");
    }
}

#[tokio::test]
async fn names_that_fit_with_types_that_do_not_are_told_before_it_is_used() {
    let inspection = inspected(bytes("mistyped")).await;
    let [Problem::CannotStart { reason }] = &inspection.problems[..] else { panic!("{inspection}") };
    assert!(!reason.is_empty());
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!(json["problems"][0]["kind"], "cannot-start");
}
