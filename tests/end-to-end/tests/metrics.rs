//! What the host tells Prometheus: the metrics that a turn, an exchange of the adapter and a slow client move.

use agent_host_tests::{Metrics, Scene, Setup};
use serde_json::json;

const KEY: &str = "a-key-of-the-test";

/// How much a sum has grown.
fn grown(before: &Metrics, after: &Metrics, name: &str, labels: &[(&str, &str)]) -> f64 {
    after.sum(name, labels) - before.sum(name, labels)
}

#[tokio::test]
async fn a_turn_moves_what_it_must() {
    let mut scene = Scene::echo().await;
    let before = scene.host.metrics().await;
    assert_eq!(before.sum("agent_host_sessions", &[("state", "idle")]), 1.0, "{before:?}");
    assert_eq!(before.sum("agent_host_subscribers", &[]), 1.0, "{before:?}");

    scene.turn("write notes/a.txt four words are written").await;
    let after = scene.host.metrics().await;

    let turn = [("architecture", "echo"), ("outcome", "completed")];
    assert_eq!(grown(&before, &after, "agent_host_turns_total", &turn), 1.0, "{after:?}");
    for histogram in ["agent_host_turn_duration_seconds_count", "agent_host_turn_first_delta_seconds_count"] {
        assert_eq!(grown(&before, &after, histogram, &[("architecture", "echo")]), 1.0, "{histogram}");
    }
    let told = |event: &str| scene.stream.frames().iter().filter(|frame| frame.event == event).count() as f64;
    for event in ["session:block:delta", "session:block:complete", "session:file:created"] {
        assert_eq!(grown(&before, &after, "agent_host_events_total", &[("event", event)]), told(event), "{event}");
        assert!(told(event) > 0.0, "{event}");
    }
    assert_eq!(grown(&before, &after, "agent_host_sandbox_starts_total", &[("provider", "local"), ("outcome", "started")]), 1.0);
    assert_eq!(after.sum("agent_host_sandboxes", &[("provider", "local"), ("state", "ready")]), 1.0);
    for kind in ["events", "file"] {
        assert!(grown(&before, &after, "agent_host_stored_bytes_total", &[("kind", kind)]) > 0.0, "{kind}");
    }
    let append = [("component", "persistence"), ("function", "append")];
    assert!(grown(&before, &after, "agent_host_component_call_duration_seconds_count", &append) >= 3.0, "{after:?}");
    assert_eq!(after.sum("agent_host_component_call_failures_total", &[]), 0.0);
    assert!(after.sum("agent_host_component_instances", &[("component", "persistence")]) >= 1.0);
    assert_eq!(after.sum("agent_host_component_instances_max", &[("component", "persistence")]), 8.0);
    assert_eq!(after.sum("agent_host_sessions", &[]), 1.0);

    scene.client().unload(&scene.session).await.expect(200);
    let unloaded = scene.host.metrics().await;
    assert_eq!(unloaded.sum("agent_host_sandbox_ends_total", &[("provider", "local"), ("reason", "stopped")]), 1.0);
    for gauge in ["agent_host_sessions", "agent_host_sandboxes", "agent_host_subscribers"] {
        assert_eq!(unloaded.sum(gauge, &[]), 0.0, "{gauge}");
    }
}

#[tokio::test]
async fn names_are_those_of_the_readme_and_labels_are_few() {
    let mut scene = Scene::echo().await;
    scene.turn("hello").await;
    let metrics = scene.host.metrics().await;
    let readme = include_str!("../../../README.md");
    for (name, kind) in metrics.types() {
        assert!(name.starts_with("agent_host_"), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(readme.contains(&format!("`{name}`")), "the README does not know {name}");
    }
    let known = [
        "architecture",
        "component",
        "event",
        "function",
        "hook",
        "kind",
        "le",
        "outcome",
        "phase",
        "provider",
        "reason",
        "state",
        "version",
    ];
    for label in metrics.labels() {
        assert!(known.contains(&label), "{label} is a label");
        let values = metrics.label_values(label);
        assert!(!values.iter().any(|value| value.contains(&scene.session)), "a session is a label: {values:?}");
        assert!(values.len() <= 100, "{label} has {} values", values.len());
    }
}

#[tokio::test]
async fn exchanges_of_the_adapter_are_counted() {
    let scene = Scene::echo().await;
    let operator = scene.host.operator();
    operator.swap_named(&json!({"builtin": "sqlite"}), "").await.expect(200);
    operator.swap("no component", "").await.expect_error(422, "COMPONENT_REFUSED");
    let metrics = scene.host.metrics().await;
    let swaps = |outcome| metrics.sum("agent_host_component_swaps_total", &[("component", "persistence"), ("outcome", outcome)]);
    assert_eq!((swaps("swapped"), swaps("refused"), swaps("rolled-back")), (1.0, 1.0, 0.0), "{metrics:?}");
    assert_eq!(metrics.sum("agent_host_component_swap_refusals_total", &[("phase", "compile")]), 1.0, "{metrics:?}");
    assert_eq!(metrics.sum("agent_host_component_swap_duration_seconds_count", &[("component", "persistence")]), 1.0);
}

#[tokio::test]
async fn the_metrics_are_for_those_who_have_a_key() {
    let host = Setup::new().with_key(KEY).start().await;
    host.client().with_key(None).get("/metrics").await.expect_error(401, "AUTH_REQUIRED");
    host.client().with_key(Some("wrong")).get("/metrics").await.expect_error(401, "INVALID_API_KEY");
    assert!(host.metrics().await.types().contains_key("agent_host_build_info"));
    assert!(host.operator().metrics().await.types().contains_key("agent_host_build_info"));
}
