//! Bugs that are put in on purpose are found, and by the promises that they break.

use agent_host_simulation::play;
use agent_host_simulation::world::{Bug, Promise};

/// Schedules within which each is found; most need fewer than ten.
const SEEDS: u64 = 300;

fn finds(bug: Bug, promises: &[Promise]) {
    let found = (0..SEEDS).find_map(|seed| play(seed, Some(bug)).violation.map(|violation| (seed, violation)));
    let Some((seed, violation)) = found else { panic!("{bug:?} was not found in {SEEDS} schedules") };
    println!("{bug:?} was found by seed {seed}: {violation}");
    assert!(promises.contains(&violation.promise), "{violation}");
}

#[test]
fn an_event_that_is_dropped_between_snapshot_and_subscription_is_found() {
    finds(Bug::DropsAtHandOver, &[Promise::StreamsResumeExactly]);
}

#[test]
fn a_write_without_its_epoch_is_found() {
    // Two hosts write one session, and number its events each in its own way.
    finds(Bug::WritesWithoutEpoch, &[Promise::OneWriter, Promise::StreamsResumeExactly]);
}

#[test]
fn a_message_that_is_acknowledged_before_the_store_has_it_is_found() {
    finds(Bug::AcknowledgesBeforeStored, &[Promise::AcknowledgedIsDurable]);
}
