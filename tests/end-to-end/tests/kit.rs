//! `agent-host adapter`: the conformance kit, with adapters that keep the contract and with some that each break a promise of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests report by panicking")]

use std::fs;
use std::path::Path;
use std::process::Output;

use agent_host_tests::{Host, Kit, Setup, broken_adapter, shipped_adapter};
use serde_json::{Value, json};

async fn adapter(host: &Host, arguments: &[&str]) -> Output {
    let mut command = host.command();
    command.arg("adapter").args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

#[tokio::test]
async fn the_adapters_in_the_host_keep_the_contract() {
    let host = Setup::new().start().await;
    for (name, skipped) in [("sqlite", 0), ("memory", 8)] {
        let junit = host.beside(&format!("{name}.xml"));
        let report = Kit::new(&host, name).with(&["--junit", &junit.to_string_lossy()]).run().await;
        report.assert_kept_but(skipped);
        let junit = fs::read_to_string(junit).unwrap();
        assert_eq!(junit.matches("<testcase").count(), report.kept.len() + skipped, "{junit}");
        assert!(junit.contains("failures=\"0\""), "{junit}");
    }
}

#[tokio::test]
async fn files_in_a_directory_keep_the_contract() {
    let host = Setup::new().start().await;
    let directory = host.beside("sessions");
    fs::create_dir(&directory).unwrap();
    let grants = json!({"dirs": [{"host": directory, "guest": "/data", "write": true}]});
    // It has no leases.
    Kit::new(&host, shipped_adapter("filesystem")).with(&["--durable"]).granted(&grants).run().await.assert_kept_but(5);
}

#[cfg(unix)]
#[tokio::test]
async fn the_sql_adapter_keeps_the_contract_in_postgresql() {
    let Some(server) = agent_host_test_programs::postgres() else { return };
    let host = Setup::new().start().await;
    let (url, password) = server.url_and_password("postgres");
    let grants = json!({"databases": {"main": {"url": url, "password": "env:PGPASSWORD"}}});
    Kit::new(&host, "postgresql")
        .with(&["--durable"])
        .granted(&grants)
        .with_variable("PGPASSWORD", password)
        .run()
        .await
        .assert_kept_but(0);
}

/// What an adapter breaks, the checks that are made, and the one that must find it.
const BROKEN: [(&str, &[&str], &str); 10] = [
    ("tail", &["streams.bytes"], "streams.bytes_come_back"),
    ("epochs", &["epochs"], "epochs.older_is_refused"),
    ("lists", &["lists"], "lists.stable_under_changes"),
    ("deletes", &["sessions"], "sessions.delete_leaves_nothing"),
    ("bytes", &["streams.bytes"], "streams.bytes_come_back"),
    ("length", &["streams.are_apart"], "streams.are_apart_and_counted"),
    ("durability", &["durability"], "durability.outlasts_the_instance"),
    ("deadlock", &["instances.lose"], "instances.lose_nothing_at_once"),
    ("error-kind", &["sessions"], "sessions.writes_need_a_session"),
    ("memory", &["instances.memory"], "instances.memory_does_not_grow"),
];

#[tokio::test]
async fn each_broken_promise_is_found_and_named() {
    let host = Setup::new().start().await;
    let component = broken_adapter();
    let checks: Vec<Value> = serde_json::from_slice(&adapter(&host, &["checks", "--json"]).await.stdout).unwrap();
    for (breaks, only, finds) in BROKEN {
        let output = test_broken(&host, &component, breaks, only).await;
        let said = said(&output);
        assert!(!output.status.success(), "an adapter that breaks {breaks} passes: {said}");
        let broken = said.lines().any(|line| line.trim_start().starts_with("BROKEN") && line.ends_with(finds));
        assert!(broken, "an adapter that breaks {breaks} is not found by {finds}: {said}");
        let promise = checks.iter().find(|check| check["name"] == finds).unwrap()["promise"].as_str().unwrap();
        assert!(said.contains(promise), "{promise:?} is not named: {said}");
    }
    // What makes the difference is what it is told to break.
    let names: Vec<&str> = BROKEN.iter().flat_map(|(_, only, _)| only.iter().copied()).collect();
    let output = test_broken(&host, &component, "nothing", &names).await;
    assert!(output.status.success(), "{}", said(&output));
}

async fn test_broken(host: &Host, component: &Path, breaks: &str, only: &[&str]) -> Output {
    let directory = host.beside(breaks);
    fs::create_dir_all(directory.join("locks")).unwrap();
    let grants = json!({
        "databases": {"main": format!("sqlite:{}", directory.join("main.db").display())},
        "dirs": [{"host": directory.join("locks"), "guest": "/locks", "write": true}],
    });
    let (breaks, grants) = (format!("breaks={breaks}"), grants.to_string());
    // A leak is found sooner in less memory, and whoever waits for ever is given up sooner.
    let mut arguments = vec![
        "test",
        component.to_str().unwrap(),
        "--set",
        &breaks,
        "--grants",
        &grants,
        "--persistence.limits.memory=64 MiB",
        "--persistence.limits.call-timeout=3s",
    ];
    arguments.extend(only.iter().flat_map(|name| ["--only", name]));
    adapter(host, &arguments).await
}

#[tokio::test]
async fn what_cannot_be_tried_is_said() {
    let host = Setup::new().start().await;
    for (arguments, complaint) in [
        (&["test", "no-such-file.wasm"][..], "there is no component no-such-file.wasm"),
        (&["test", "sqlite", "--only", "nonsense"], "no check has such a name"),
        (&["test", "sqlite", "--grants", "{"], "--grants is not valid JSON"),
        (&["test", "sqlite", "--grants", r#"{"database": {}}"#], "database"),
    ] {
        let output = adapter(&host, arguments).await;
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said(&output).contains(complaint), "{arguments:?}: {}", said(&output));
    }
    let seeded = ["test", "sqlite", "--only", "sequences", "--sequences", "3", "--seed", "7", "--json"];
    assert_eq!(report(&adapter(&host, &seeded).await)["seed"], 7);
}

#[tokio::test]
async fn an_adapter_is_measured_by_function() {
    let host = Setup::new().start().await;
    let output = adapter(&host, &["test", "memory", "--bench", "--json"]).await;
    assert!(output.status.success(), "{}", said(&output));
    let figures = report(&output);
    let figures = figures.as_array().unwrap();
    assert!(figures.iter().all(|figure| figure["callsPerSecond"].as_f64().unwrap() > 0.0), "{figures:?}");
    for function in ["append 1 MiB", "load-session", "list-sessions, 100"] {
        assert_eq!(figures.iter().filter(|figure| figure["function"] == function).count(), 2, "{figures:?}");
    }
}
