//! What the fuzz targets share: a world without chance, a session that is folded twice, and changes to inputs that are made of lines.
//!
//! A target asserts what is promised of what it calls, so that a broken promise is found and not only a panic. `./run` runs them all.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`mutate`] | changes to lines of JSON that leave them lines of JSON |
//! | [`twice`] | a session as it is seen, and as it is read again from what was stored of it |

pub mod mutate;
pub mod twice;

use std::sync::atomic::{AtomicU64, Ordering};

use agent_host_session::ports::environment::Environment;
use agent_host_session::time::Timestamp;
use uuid::Uuid;

/// Counts: UUIDs from 1, and milliseconds from an arbitrary moment. So an input does the same each time.
#[derive(Debug, Default)]
pub struct Counting {
    uuids: AtomicU64,
    millis: AtomicU64,
}

impl Environment for Counting {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_795_330_000_000 + i64::try_from(self.millis.fetch_add(1, Ordering::Relaxed)).unwrap_or(i64::MAX))
    }

    fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.uuids.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}
