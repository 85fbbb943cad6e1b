//! Components out of an OCI registry, a real one: named by digest, kept, and signed by whom the operator trusts.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::path::Path;

use agent_host_test_programs::{CosignKey, OciRegistry, cosign_key, oci_registry, rebuilt_adapter};
use agent_host_tests::{Host, Scene, Setup, encrypting_adapter, example_hook};
use serde_json::{Value, json};

fn setup(registry: &OciRegistry, signed_by: &[&CosignKey]) -> Setup {
    let keys: Vec<String> = signed_by.iter().map(|key| key.public().to_string_lossy().into_owned()).collect();
    Setup::new().set("components.registry.plain_http", vec![registry.address()]).set("components.registry.signed_by", keys)
}

/// What the command line says of a swap.
fn swap(host: &Host, component: &str) -> (bool, String) {
    let mut command = host.command();
    let output =
        command.arg("--config").arg(host.write_config()).args(["swap", "persistence", component, "--url", host.base_url()]).output();
    let output = output.unwrap();
    (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn a_configured_component_is_pulled_once_and_then_kept() {
    let Some(mut registry) = oci_registry() else { return };
    let adapter = registry.push("acme/adapter", &rebuilt_adapter("7.0.0")).await;
    let hook = registry.push("acme/hook", &example_hook("audit")).await;
    let log = tempfile::tempdir().unwrap();
    let setup = setup(&registry, &[]).set("persistence.component", adapter.as_str());
    let grants = toml::toml! { main = "sqlite:main.db" };
    let grant = toml::Table::from_iter([
        ("host".to_owned(), log.path().to_string_lossy().into_owned().into()),
        ("guest".to_owned(), "/audit".into()),
        ("write".to_owned(), true.into()),
    ]);
    let hook = toml::Table::from_iter([
        ("name".to_owned(), "audit".into()),
        ("component".to_owned(), hook.into()),
        ("config".to_owned(), toml::Value::Table(toml::toml! { file = "/audit/log.jsonl" })),
        ("grants".to_owned(), toml::Value::Table(toml::Table::from_iter([("dirs".to_owned(), vec![toml::Value::Table(grant)].into())]))),
    ]);
    let setup = setup.set("persistence.grants.databases", grants).set("hooks", vec![toml::Value::Table(hook)]);
    let mut scene = Scene::of(setup.start().await, "echo", None).await;
    assert_eq!(scene.host.operator().serving().await.1, "7.0.0");
    let blocks = scene.turn("kept by what was pulled").await;
    // What was pulled needs no registry any more.
    registry.stop();
    scene.restart().await;
    assert_eq!(scene.host.operator().serving().await.1, "7.0.0");
    assert_eq!(scene.stored().await, blocks);
}

#[tokio::test]
async fn only_what_a_trusted_key_has_signed_takes_over() {
    let (Some(mut registry), Some(trusted), Some(other)) = (oci_registry(), cosign_key(), cosign_key()) else { return };
    let adapter = registry.push("acme/adapter", &rebuilt_adapter("7.0.0")).await;
    let mut scene = Scene::of(setup(&registry, &[&trusted]).start().await, "echo", None).await;
    let before = scene.host.operator().serving().await;
    let blocks = scene.turn("written before").await;

    let (swapped, said) = swap(&scene.host, &adapter);
    assert!(
        !swapped && said.contains("is not signed by a key of components.registry.signed_by: the registry has no signature of it"),
        "{said}"
    );
    registry.sign(&adapter, &other).await;
    let (swapped, said) = swap(&scene.host, &adapter);
    assert!(!swapped && said.contains("the registry has one signature of it, by another key"), "{said}");
    assert_eq!(scene.host.operator().serving().await, before);

    registry.sign(&adapter, &trusted).await;
    let (swapped, said) = swap(&scene.host, &adapter);
    assert!(swapped, "{said}");
    assert_eq!(scene.host.operator().serving().await.1, "7.0.0");
    assert_eq!(scene.stored().await, blocks);
    // It is in force after a restart, without the registry, and by whatever says so later on.
    registry.stop();
    scene.restart().await;
    assert_eq!(scene.host.operator().serving().await.1, "7.0.0");
    let (swapped, said) = swap(&scene.host, &adapter);
    assert!(swapped, "what was pulled and accepted is kept: {said}");
}

#[tokio::test]
async fn keys_that_are_wanted_later_bind_what_was_pulled_before() {
    let (Some(registry), Some(trusted)) = (oci_registry(), cosign_key()) else { return };
    let (first, second) =
        (registry.push("acme/adapter", &rebuilt_adapter("7.0.0")).await, registry.push("acme/adapter", &rebuilt_adapter("8.0.0")).await);
    let mut host = setup(&registry, &[]).start().await;
    for adapter in [&first, &second] {
        let (swapped, said) = swap(&host, adapter);
        assert!(swapped, "{said}");
    }
    registry.sign(&second, &trusted).await;
    host.stop().await;
    let keys = vec![trusted.public().to_string_lossy().into_owned()];
    host.configure(|setup| setup.set("components.registry.signed_by", keys));
    host.start_again().await;
    assert_eq!(host.operator().serving().await.1, "8.0.0");
    let answer = host.operator().rollback("").await;
    let problem = answer.expect(422);
    assert!(problem["detail"].as_str().unwrap().contains("is not signed by a key of components.registry.signed_by"), "{problem}");
    assert_eq!(host.operator().serving().await.1, "8.0.0");
}

#[tokio::test]
async fn what_is_no_component_or_not_there_is_refused_in_words_that_help() {
    let Some(registry) = oci_registry() else { return };
    let host = setup(&registry, &[]).start().await;
    let before = host.operator().serving().await;
    let adapter = registry.push("acme/adapter", &rebuilt_adapter("7.0.0")).await;
    let (place, digest) = adapter.split_once('@').unwrap();
    let absent = format!("{place}@sha256:{}", "0".repeat(64));
    let elsewhere = format!("oci://127.0.0.1:1/acme/adapter@{digest}");
    for (reference, complaint) in [
        (format!("{place}:latest"), "it has no digest, and a tag may mean something else tomorrow"),
        (absent, "failed to pull"),
        (elsewhere, "failed to pull"),
        (registry.push("acme/no-component", &Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).await, "it is not WebAssembly"),
    ] {
        let (swapped, said) = swap(&host, &reference);
        assert!(!swapped && said.contains(complaint), "{reference}: {said}");
    }
    assert_eq!(host.operator().serving().await, before);
    // As an application that names it in JSON sees it.
    host.operator().swap_named(&json!({"reference": "oci://nothing"}), "").await.expect(400);

    let mut kit = host.command();
    kit.arg("--config").arg(host.write_config()).args(["adapter", "test", &adapter, "--only", "sessions.comes_back"]);
    let output = kit.args(["--grants", r#"{"databases": {"main": "sqlite:kit.db"}}"#]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn adapters_of_a_registry_are_composed() {
    let Some(registry) = oci_registry() else { return };
    let host = setup(&registry, &[]).start().await;
    let outer = registry.push("acme/encrypting", &encrypting_adapter(true)).await;
    let inner = registry.push("acme/adapter", &rebuilt_adapter("7.0.0")).await;
    let made = host.beside("made.wasm");
    let mut compose = host.command();
    compose.arg("--config").arg(host.write_config()).args(["adapter", "compose", &outer, &inner, "-o"]).arg(&made);
    let output = compose.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let inspected = host.command().args(["component", "inspect", "--json"]).arg(&made).output().unwrap();
    let inspected: Value = serde_json::from_slice(&inspected.stdout).unwrap();
    let names = |of: &str| inspected[of].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>();
    assert!(names("exports").contains(&"agent-host:persistence/sessions@0.1.0"), "{inspected}");
    assert!(names("imports").contains(&"agent-host:sql/sql@0.1.0"), "the inner one's: {inspected}");
    assert!(names("imports").iter().any(|name| name.starts_with("wasi:random/random@")), "the outer one's, for its nonces: {inspected}");
    assert!(!names("imports").iter().any(|name| name.starts_with("agent-host:persistence/")), "what the outer one had open: {inspected}");
}
