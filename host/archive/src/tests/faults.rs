//! Bad days: whatever the disk does, a client gets the right events or is told to take a snapshot, and nobody else suffers.

use std::time::Duration;

use agent_host_session::log::{Ended, EventLog};

use super::world::{self, World, read_to_end, since};
use crate::Limits;

/// Who asks for what is broken is told while reading it, and the next time before; what is newer is there.
async fn is_told_and_the_rest_is_there(log: &EventLog, newest: u64) {
    let (read, ended) = read_to_end(log.resume(since(0)).unwrap(), newest).await;
    assert_eq!(ended, Some(Ended::Lagged));
    assert!(read.iter().copied().eq(1..=read.len() as u64), "what came before that was right");
    assert!(log.resume(since(read.len() as u64)).is_none());
    let oldest = (0..newest).find(|number| log.resume(since(*number)).is_some()).unwrap();
    assert!(oldest < newest - 100, "nothing is left");
    let (rest, ended) = read_to_end(log.resume(since(oldest)).unwrap(), newest - oldest).await;
    assert_eq!((rest, ended), ((oldest + 1..=newest).collect(), None));
}

/// A session with several files.
async fn session(world: &World) -> EventLog {
    let log = world.log("s", 10);
    world::publish(&log, 2_000);
    world.settled().await;
    assert!(world.files() > 3);
    log
}

fn small() -> World {
    World::new(Limits { bytes: 4 << 20, ..Limits::default() })
}

#[tokio::test(start_paused = true)]
async fn no_wrong_event_comes_out_of_a_broken_file() {
    for seed in 0..16 {
        let world = small();
        let log = session(&world).await;
        let mut random = fastrand::Rng::with_seed(seed);
        let path = &world.paths()[1];
        let mut bytes = std::fs::read(path).unwrap();
        let place = random.usize(..bytes.len());
        if seed % 4 == 0 {
            bytes.truncate(place);
        } else {
            bytes[place] ^= 1 << random.u8(..8);
        }
        std::fs::write(path, bytes).unwrap();
        is_told_and_the_rest_is_there(&log, 2_000).await;
        assert!(world.metrics().contains("failures_total{failure=\"read\"} 1\n"), "{}", world.metrics());
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_somebody_deletes_is_a_resync() {
    let world = small();
    let log = session(&world).await;
    std::fs::remove_file(&world.paths()[1]).unwrap();
    is_told_and_the_rest_is_there(&log, 2_000).await;
}

#[tokio::test(start_paused = true)]
async fn files_that_were_exchanged_are_noticed() {
    let world = small();
    let log = session(&world).await;
    std::fs::copy(&world.paths()[2], &world.paths()[1]).unwrap();
    is_told_and_the_rest_is_there(&log, 2_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_somebody_deletes_is_made_again() {
    let world = small();
    let log = session(&world).await;
    std::fs::remove_dir_all(world.directory()).unwrap();
    world::publish(&log, 500);
    tokio::time::sleep(Duration::from_secs(6)).await;
    world.settled().await;
    assert!(world.files() > 0);
    assert_eq!(read_to_end(log.resume(since(0)).unwrap(), 2_500).await.1, Some(Ended::Lagged));
    assert_eq!(read_to_end(log.resume(since(2_100)).unwrap(), 400).await, ((2_101..=2_500).collect(), None));
}

#[tokio::test(start_paused = true)]
async fn when_the_disk_is_full_sessions_go_on_and_when_there_is_room_again_so_does_the_archive() {
    let world = World::new(Limits { waiting_bytes: 2 << 20, ..Limits::default() });
    let log = world.log("s", 10);
    for _ in 0..2 {
        world::publish(&log, 500);
        world.settled().await;
    }
    world.faults.fill();
    world::publish(&log, 500);
    world.until(|metrics| metrics.contains("failure=\"write\"")).await;
    let (read, ended) = read_to_end(log.resume(since(0)).unwrap(), 1_500).await;
    assert_eq!((read, ended), ((1..=1_500).collect(), None), "what cannot be written waits in memory");
    world::publish(&log, 1_000);
    assert!(world.waiting() <= 1 << 20, "{} bytes wait", world.waiting());
    assert!(log.resume(since(1_000)).is_none(), "there is a gap before what waits");
    assert_eq!(read_to_end(log.resume(since(2_000)).unwrap(), 500).await, ((2_001..=2_500).collect(), None));
    world.faults.free();
    tokio::time::sleep(Duration::from_secs(6)).await;
    for _ in 0..4 {
        world::publish(&log, 500);
        world.settled().await;
    }
    assert!(world.waiting() == 0 && world.bytes() > 2_000_000);
    assert_eq!(read_to_end(log.resume(since(2_000)).unwrap(), 2_500).await, ((2_001..=4_500).collect(), None));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_holds_nobody_up_and_costs_bounded_memory() {
    let limits = Limits { waiting_bytes: 4 << 20, ..Limits::default() };
    let world = World::new(limits);
    world.faults.stop();
    let logs: Vec<_> = (0..8).map(|number| world.log(&format!("s{number}"), 10)).collect();
    // It returns, though nothing is ever written.
    for _ in 0..100 {
        logs.iter().for_each(|log| world::publish(log, 50));
        assert!(world.waiting() <= limits.waiting_bytes, "{} bytes wait", world.waiting());
    }
    for log in &logs {
        assert!(log.resume(since(0)).is_none());
        assert_eq!(read_to_end(log.resume(since(4_950)).unwrap(), 50).await, ((4_951..=5_000).collect(), None));
    }
    assert!(world.metrics().contains("failure=\"overflow\""));
    world.faults.go_on();
    world.settled().await;
    assert_eq!(world.waiting(), 0);
    for log in &logs {
        assert_eq!(read_to_end(log.resume(since(4_900)).unwrap(), 100).await, ((4_901..=5_000).collect(), None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_leaves_memory_while_the_disk_does_not_answer_leaves_nothing() {
    let world = World::new(Limits::default());
    world.faults.stop();
    let log = world.log("s", 10);
    world::publish(&log, 2_000);
    drop(log);
    assert_eq!(world.waiting(), 0);
    world.faults.go_on();
    world.settled().await;
    assert_eq!(world.files(), 0);
}
