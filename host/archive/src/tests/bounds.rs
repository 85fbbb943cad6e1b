//! How much is kept, and for how long.

use std::time::Duration;

use agent_host_session::log::EventLog;
use agent_host_session::ports::archive::Archive as _;

use super::world::{self, World, read_to_end, since};
use crate::Limits;

/// The oldest event that can be resumed from.
fn oldest(log: &EventLog, newest: u64) -> u64 {
    (0..=newest).find(|number| log.resume(since(*number)).is_some()).unwrap()
}

/// What is kept is all that is after the oldest, without a gap.
async fn kept(log: &EventLog, newest: u64) -> u64 {
    let oldest = oldest(log, newest);
    let (read, ended) = read_to_end(log.resume(since(oldest)).unwrap(), newest - oldest).await;
    assert_eq!((read, ended), ((oldest + 1..=newest).collect(), None));
    newest - oldest
}

#[tokio::test(start_paused = true)]
async fn no_more_events_are_kept_than_may_be() {
    let world = World::new(Limits { events: 500, ..Limits::default() });
    let log = world.log("s", 10);
    world::publish(&log, 2_000);
    world.settled().await;
    let kept = kept(&log, 2_000).await;
    // Besides what is in the log, or too little to be written.
    assert!((450..=500 + 10 + 53).contains(&kept), "{kept} are kept");
}

#[tokio::test(start_paused = true)]
async fn no_more_bytes_are_on_disk_than_may_be() {
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    let world = World::new(limits);
    let log = world.log("s", 10);
    for _ in 0..40 {
        world::publish(&log, 100);
        world.settled().await;
        assert!(world.bytes() <= limits.bytes, "{} bytes are on disk", world.bytes());
    }
    assert!(world.bytes() > limits.bytes / 4 * 3, "only {} bytes are on disk", world.bytes());
    assert!(kept(&log, 4_000).await > 700);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_not_served_and_soon_not_there() {
    let world = World::new(Limits { age: Duration::from_secs(600), ..Limits::default() });
    let log = world.log("s", 10);
    world::publish(&log, 1_000);
    world.settled().await;
    tokio::time::advance(Duration::from_secs(400)).await;
    world::publish(&log, 1_000);
    world.settled().await;
    let late = log.resume(since(0)).unwrap();
    tokio::time::advance(Duration::from_secs(201)).await;
    assert!(log.resume(since(0)).is_none());
    assert_eq!(read_to_end(late, 1).await.0, Vec::<u64>::new());
    let remaining = kept(&log, 2_000).await;
    assert!((990..=1_064).contains(&remaining), "{remaining} are kept");
    let before = world.bytes();
    tokio::time::sleep(Duration::from_secs(75)).await;
    world.settled().await;
    assert!(world.bytes() <= before);
    tokio::time::sleep(Duration::from_secs(400)).await;
    world.settled().await;
    assert_eq!(world.files(), 0);
    let remaining = kept(&log, 2_000).await;
    assert!(remaining <= 10 + 53, "{remaining} are kept");
}

#[tokio::test(start_paused = true)]
async fn all_sessions_together_keep_no_more_than_may_be_and_the_oldest_goes_first() {
    let limits = Limits { total_bytes: 4 << 20, bytes: 2 << 20, ..Limits::default() };
    let world = World::new(limits);
    let logs = [world.log("a", 10), world.log("b", 10), world.log("c", 10), world.log("d", 10)];
    for log in &logs {
        world::publish(log, 1_500);
        world.settled().await;
        assert!(world.bytes() <= limits.total_bytes, "{} bytes are on disk", world.bytes());
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let [a, b, c, d] = &logs;
    assert!(a.resume(since(0)).is_none() && b.resume(since(0)).is_none());
    for log in [c, d] {
        assert_eq!(kept(log, 1_500).await, 1_500);
    }
    assert!(kept(a, 1_500).await < kept(b, 1_500).await);
}

#[tokio::test(start_paused = true)]
async fn a_session_with_events_that_are_too_large_for_the_disk_goes_on_without_them() {
    let world = World::new(Limits { bytes: 10_000, ..Limits::default() });
    let log = world.log("s", 10);
    world::publish(&log, 1_000);
    world.settled().await;
    assert_eq!((world.files(), world.waiting()), (0, 0));
    assert!(kept(&log, 1_000).await <= 10 + 53);
}

#[tokio::test]
async fn a_zero_switches_it_off() {
    for limits in [
        Limits { events: 0, ..Limits::default() },
        Limits { bytes: 0, ..Limits::default() },
        Limits { age: Duration::ZERO, ..Limits::default() },
        Limits { total_bytes: 0, ..Limits::default() },
    ] {
        let session = agent_host_session::id::SessionId::new("s").unwrap();
        assert!(World::new(limits).archive.open(&session).is_none());
    }
}
