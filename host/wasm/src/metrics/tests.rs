//! What whoever asks is told.

use agent_host_session::time::Timestamp;
use parking_lot::Mutex;
use prometheus_client::encoding::prometheus_text;

use super::*;
use crate::EngineOptions;
use crate::call::Error;
use crate::hooks::spool::Backlog;

struct Hooks(Mutex<Vec<Standing>>);

impl Inventory for Hooks {
    fn standings(&self) -> Vec<Standing> {
        self.0.lock().clone()
    }

    fn lost_events(&self) -> u64 {
        5
    }
}

fn shown(engine: &Engine, inventories: Vec<Arc<dyn Inventory>>) -> String {
    let mut registry = Registry::with_prefix("agent_host");
    register(engine, inventories, &mut registry);
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).unwrap();
    text
}

fn assert_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(&format!("{line}\n")), "{line} is not in {text}");
    }
}

#[test]
fn calls_are_counted_by_component_and_function_and_failures_by_kind() {
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let metrics = engine.metrics();
    let audit = Role::Hook("audit".into());
    metrics.call(&Role::Persistence, "append").ended(None);
    let trap = Error::Trap { component: "c".into(), operation: "append", reason: "unreachable".into() };
    metrics.call(&Role::Persistence, "append").ended(Some(&trap));
    let missing = Error::Guest {
        component: "c".into(),
        operation: "append",
        error: crate::bindings::agent_host::types::types::Error::OffsetMismatch(3),
    };
    metrics.call(&Role::Persistence, "append").ended(Some(&missing));
    drop(metrics.call(&audit, "on-events"));
    assert_has(
        &shown(&engine, Vec::new()),
        &[
            "# TYPE agent_host_component_call_duration_seconds histogram",
            "agent_host_component_call_duration_seconds_count{component=\"persistence\",function=\"append\"} 3",
            "agent_host_component_call_failures_total{component=\"persistence\",function=\"append\",kind=\"trap\"} 1",
            "agent_host_component_call_failures_total{component=\"hook:audit\",function=\"on-events\",kind=\"abandoned\"} 1",
        ],
    );
}

#[test]
fn exchanges_are_counted_by_what_came_of_them() {
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let metrics = engine.metrics();
    metrics.swapped(Role::Persistence, Duration::from_millis(70));
    metrics.refused(Role::Persistence, "smoke-test");
    metrics.rolled_back(Role::Persistence);
    metrics.drained(Role::Persistence, Duration::from_millis(2));
    assert_has(
        &shown(&engine, Vec::new()),
        &[
            "agent_host_component_swaps_total{component=\"persistence\",outcome=\"swapped\"} 1",
            "agent_host_component_swaps_total{component=\"persistence\",outcome=\"refused\"} 1",
            "agent_host_component_swaps_total{component=\"persistence\",outcome=\"rolled-back\"} 1",
            "agent_host_component_swap_refusals_total{component=\"persistence\",phase=\"smoke-test\"} 1",
            "agent_host_component_swap_duration_seconds_bucket{component=\"persistence\",le=\"0.1\"} 1",
            "agent_host_component_drain_duration_seconds_count{component=\"persistence\"} 1",
        ],
    );
}

#[test]
fn what_there_is_of_components_is_looked_at_when_it_is_asked() {
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let backlog = Backlog { events: 3, bytes: 400, skipped: 2, oldest_at: Some(Timestamp::from_millis(0)) };
    let hook = |name: &str, backlog| Standing { role: Role::Hook(name.into()), instances: 1, max_instances: 4, backlog };
    let hooks = Arc::new(Hooks(Mutex::new(vec![hook("audit", Some(backlog)), hook("guard", None)])));
    let text = shown(&engine, vec![Arc::clone(&hooks) as _]);
    assert_has(
        &text,
        &[
            "agent_host_component_instances{component=\"hook:audit\"} 1",
            "agent_host_component_instances_max{component=\"hook:guard\"} 4",
            "agent_host_hook_backlog_events{hook=\"audit\"} 3",
            "agent_host_hook_backlog_bytes{hook=\"audit\"} 400",
            "agent_host_hook_skipped_events_total{hook=\"audit\"} 2",
            "agent_host_hook_lost_events_total 5",
        ],
    );
    assert!(text.contains("agent_host_hook_backlog_age_seconds{hook=\"audit\"} "), "{text}");
    assert!(!text.contains("{hook=\"guard\"}"), "a hook that is told of nothing has no backlog: {text}");

    hooks.0.lock().clear();
    assert!(!shown(&engine, vec![hooks]).contains("audit"), "a hook that is gone is still there");
}
