//! What clients that come back late get out of an archive on disk, on good days and on bad ones.

mod bounds;
mod faults;
mod load;
mod world;

use agent_host_session::log::Ended;

use self::world::{World, read_to_end, since};
use crate::Limits;

#[tokio::test(start_paused = true)]
async fn who_comes_back_gets_each_event_once_from_disk_from_memory_and_from_the_log() {
    let world = World::new(Limits::default());
    let log = world.log("s", 10);
    world::publish(&log, 1_005);
    world.settled().await;
    assert!(world.files() > 0);
    for after in [0, 1, 51, 52, 53, 500, 936, 980, 994, 995, 996, 1_004, 1_005] {
        let (read, ended) = read_to_end(log.resume(since(after)).unwrap(), 1_005 - after).await;
        assert_eq!((read, ended), ((after + 1..=1_005).collect(), None), "after {after}");
    }
    assert!(log.resume(since(1_006)).is_none(), "the future cannot be resumed");
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_to_the_disk_is_read_from_memory() {
    let world = World::new(Limits::default());
    world.faults.stop();
    let log = world.log("s", 10);
    world::publish(&log, 2_000);
    let (read, ended) = read_to_end(log.resume(since(0)).unwrap(), 2_000).await;
    assert_eq!((read, ended), ((1..=2_000).collect(), None));
    assert_eq!(world.files(), 0);
    world.faults.go_on();
    world.settled().await;
    let (read, ended) = read_to_end(log.resume(since(0)).unwrap(), 2_000).await;
    assert_eq!((read, ended), ((1..=2_000).collect(), None));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_on_disk_before_it_is_worth_a_file() {
    let world = World::new(Limits::default());
    let log = world.log("s", 100);
    world::publish(&log, 100);
    world.settled().await;
    assert!(!world.directory().exists(), "everything is in the log");
    world::publish(&log, 20);
    world.settled().await;
    assert!(!world.directory().exists(), "what has left it is so little that it stays in memory");
    assert_eq!(read_to_end(log.resume(since(0)).unwrap(), 120).await.0.len(), 120);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_leaves_memory_takes_its_files_along() {
    let world = World::new(Limits::default());
    let (log, other) = (world.log("s", 10), world.log("other", 10));
    world::publish(&log, 1_000);
    world::publish(&other, 1_000);
    world.settled().await;
    let late = log.resume(since(0)).unwrap();
    let both = world.files();
    drop(log);
    world.settled().await;
    assert_eq!(world.files(), both, "somebody is reading");
    let (read, ended) = read_to_end(late, 1_001).await;
    assert_eq!((read, ended), ((1..=1_000).collect(), Some(Ended::Unloaded)), "to the end");
    world.settled().await;
    assert_eq!(world.files(), both / 2);
    drop(other);
    world.settled().await;
    assert_eq!((world.files(), world.bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_starts_empties_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("left"), "by one that was killed").unwrap();
    crate::FileArchive::open(&path, Limits::default()).unwrap();
    assert!(!path.exists());
}

#[tokio::test(start_paused = true)]
async fn everything_is_counted_for_those_who_watch_the_host() {
    let world = World::new(Limits::default());
    let log = world.log("s", 10);
    world::publish(&log, 1_000);
    world.settled().await;
    let written = world.bytes();
    world.faults.fill();
    world::publish(&log, 100);
    world.until(|metrics| metrics.contains("failures")).await;
    let text = world.metrics();
    for line in [
        "host_log_archive_events_total 954\n",
        &format!("host_log_archive_bytes {written}\n"),
        "host_log_archive_failures_total{failure=\"write\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}
