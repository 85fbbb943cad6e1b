//! The check as CI runs it: each way to end a host, a few times. `tests/crash/run` does the same at full size.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_host_crash::report::table;
use agent_host_crash::scenario::{Mode, Size, run};
use agent_host_tests::require;

/// How long hosts and clients work for each round at most: all rounds take half a minute on a busy machine.
const WORK: Duration = Duration::from_millis(1200);

/// Does it, and fails if anything was lost. Other moments are hit each time, which is what one wants of it: the seed that is printed draws the same again.
async fn check(mode: Mode, rounds: usize) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = std::env::var("CRASH_SEED").map_or(u64::from(now.subsec_nanos()), |seed| seed.parse().unwrap());
    println!("CRASH_SEED={seed}");
    let size = Size { seed, rounds, workers: 8, messages: 12, work: WORK, stop: Duration::from_secs(5) };
    let (counts, findings) = run(mode, size).await.unwrap();
    println!("{}", table(&[(format!("{mode:?}"), counts.clone())]));
    assert!(findings.is_empty(), "CRASH_SEED={seed}\n{}", findings.text());
    // A run in which nothing happened proves nothing.
    for what in ["messages acknowledged", "turns completed", "transcript bytes that agents wrote", "events that clients got"] {
        assert!(counts.of(what) > 0, "no {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_loses_nothing_and_runs_nothing_twice() {
    check(Mode::Kill, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_begins_turns_again_once() {
    check(Mode::KillAndResume, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_with_its_isolated_agents_loses_nothing() {
    if require("bwrap").is_some() {
        check(Mode::KillIsolated, 12).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_told_to_end_breaks_nothing_off() {
    check(Mode::Terminate, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_stopped_for_a_while_goes_on_as_if_nothing_had_been() {
    check(Mode::Stop, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_wakes_up_when_another_has_its_leases_changes_nothing() {
    check(Mode::TakeOverByLease, 6).await;
}
