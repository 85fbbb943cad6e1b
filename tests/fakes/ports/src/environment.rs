//! The clock and the randomness.

use std::sync::atomic::{AtomicU64, Ordering};

use agent_host_session::ports::environment::Environment;
use agent_host_session::time::Timestamp;
use uuid::Uuid;

/// Time goes on by a millisecond whenever it is looked at. UUIDs are random, as several hosts on one store need them.
#[derive(Debug, Default)]
pub struct CountingEnvironment(AtomicU64);

impl Environment for CountingEnvironment {
    fn now(&self) -> Timestamp {
        const START: i64 = 1_795_330_000_000;
        Timestamp::from_millis(START + i64::try_from(self.0.fetch_add(1, Ordering::Relaxed)).unwrap_or(0))
    }

    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}
