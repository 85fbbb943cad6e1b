//! Parts of the load program that prove something, besides measuring it, at the scale that shows that they work.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::process::Command;

/// Runs a part; what it finds wrong fails it.
fn run(part: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-host-load"));
    let output = command.args(["--quick", "--only", part]).output().unwrap();
    let (table, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{log}", output.status);
    println!("{table}");
}

#[test]
fn clients_that_come_and_go_get_each_event_exactly_once() {
    run("reconnects");
}

#[test]
fn an_adapter_that_fails_hangs_is_swapped_and_goes_away_loses_nothing() {
    run("outage");
}

#[test]
fn a_store_moves_to_postgresql_and_back_under_load() {
    let Some(_) = agent_host_test_programs::postgres() else { return };
    run("migration-postgresql");
}

#[test]
fn adapters_are_compared_with_native_programs() {
    let (Some(_), Some(_)) = (agent_host_test_programs::postgres(), agent_host_test_programs::require("python3")) else { return };
    run("adapter");
}
