//! Many at once, and how fast.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use agent_host_session::event::Event;
use agent_host_session::id::{BlockId, ConversationId, SessionId};
use agent_host_session::log::{Ended, EventLog};

use super::world::{World, since};
use crate::Limits;

const EVENTS: u64 = 20_000;

fn delta() -> Event {
    Event::BlockDelta {
        conversation: ConversationId::main(),
        block_id: BlockId::new("b").unwrap(),
        delta: "some words of an answer ".into(),
    }
}

/// Comes back again and again, from anywhere, and reads as far as it likes; in the end everything.
async fn client(log: Arc<EventLog>, published: Arc<AtomicU64>, seed: u64) -> (u64, u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut lags, mut reads) = (0, 0);
    loop {
        let known = published.load(Ordering::Acquire);
        let mut cursor = random.u64(..=known);
        let end = if known == EVENTS {
            cursor = 0;
            EVENTS
        } else {
            random.u64(cursor..=known)
        };
        let mut subscription = log.resume(since(cursor)).unwrap();
        while cursor < end {
            match subscription.next().await {
                Ok(events) => {
                    for event in events {
                        cursor += 1;
                        reads += 1;
                        assert_eq!(event.sequence, since(cursor), "seed {seed}");
                        assert!(matches!(&event.event, Event::BlockDelta { .. }), "seed {seed}");
                    }
                }
                // It was up to date, and overtaken.
                Err(Ended::Lagged) => {
                    lags += 1;
                    subscription = log.resume(since(cursor)).unwrap();
                }
                Err(Ended::Unloaded) => panic!("seed {seed}: the session is loaded"),
            }
        }
        if end == EVENTS {
            return (lags, reads);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn each_of_many_readers_gets_each_event_once_while_publishing_goes_on() {
    for seed in [1, 2, 3] {
        let world = World::new(Limits::default());
        let (log, published) = (Arc::new(world.log("s", 300)), Arc::new(AtomicU64::new(0)));
        let clients: Vec<_> =
            (0..12).map(|number| tokio::spawn(client(Arc::clone(&log), Arc::clone(&published), seed * 100 + number))).collect();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut count = 0;
        while count < EVENTS {
            let batch = random.u64(1..=40).min(EVENTS - count);
            log.publish((0..batch).map(|_| delta()));
            count += batch;
            published.store(count, Ordering::Release);
            if random.u8(..4) == 0 {
                tokio::task::yield_now().await;
            }
        }
        for client in clients {
            client.await.unwrap();
        }
    }
}

/// Prints how many events a second can be published without and with an archive, and be read again.
/// `cargo test --release -p agent-host-archive -- --ignored --nocapture --test-threads 1`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn measure_publishing() {
    const COUNT: u64 = 1_000_000;
    let session = || SessionId::new("s").unwrap();
    for round in 0..3 {
        for (name, limits) in
            [("none", Limits { events: 0, ..Limits::default() }), ("files", Limits { bytes: 1 << 30, ..Limits::default() })]
        {
            for batch in [1, 16] {
                let world = World::new(limits);
                let log = world.log("s", 10_000);
                let mut slowest = std::time::Duration::ZERO;
                let began = Instant::now();
                for _ in 0..COUNT / batch {
                    let one = Instant::now();
                    log.publish((0..batch).map(|_| delta()));
                    slowest = slowest.max(one.elapsed());
                }
                let published = began.elapsed();
                world.settled().await;
                let written = began.elapsed();
                let bytes = world.bytes();
                let began = Instant::now();
                let mut read = 0;
                if let Some(mut subscription) = log.resume(since(0)) {
                    while read < COUNT {
                        for event in subscription.next().await.unwrap() {
                            read += u64::from(!event.frame(&session()).text().is_empty());
                        }
                    }
                }
                println!(
                    "round {round}, archive {name}, {batch} at once: published {:.0}/s (slowest {slowest:?}), written after {written:?}, {bytes} bytes; read {read}: {:.0}/s; {}",
                    COUNT as f64 / published.as_secs_f64(),
                    read as f64 / began.elapsed().as_secs_f64(),
                    world.metrics().lines().filter(|line| line.contains("failure=")).collect::<String>(),
                );
            }
        }
    }
}

/// Prints what publishing 200,000 events a second costs, which is the fastest that the load test does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn measure_a_fast_stream() {
    /// Of the whole process, in hundredths of a second.
    fn processor_time() -> u64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
    }
    const PER_MILLISECOND: u64 = 200;
    const MILLISECONDS: u64 = 5_000;
    for round in 0..3 {
        for (name, limits) in [("none", Limits { events: 0, ..Limits::default() }), ("files", Limits::default())] {
            let world = World::new(limits);
            let log = world.log("s", 10_000);
            let (before, mut took) = (processor_time(), Vec::new());
            let mut tick = tokio::time::interval(std::time::Duration::from_millis(1));
            for _ in 0..MILLISECONDS {
                tick.tick().await;
                let began = Instant::now();
                log.publish((0..PER_MILLISECOND).map(|_| delta()));
                took.push(began.elapsed());
            }
            world.settled().await;
            took.sort_unstable();
            let [median, worst] = [50, 99].map(|percent| took[took.len() * percent / 100]);
            println!(
                "round {round}, archive {name}: {PER_MILLISECOND} events take {median:?}, in 1 of 100 cases {worst:?} or more; processor {} ms a second; {}",
                (processor_time() - before) * 10 * 1_000 / MILLISECONDS,
                world.metrics().lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(", "),
            );
        }
    }
}
