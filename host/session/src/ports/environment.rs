//! The clock and the source of randomness, so that a test can fix both.

use uuid::Uuid;

use crate::time::Timestamp;

/// What time it is, and names that nobody else has.
pub trait Environment: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// A new UUID.
    fn uuid(&self) -> Uuid;
}

/// This machine's clock and the operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Environment for System {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn uuid(&self) -> Uuid {
        // Version 7 grows with time, which keeps a database's indexes compact.
        Uuid::now_v7()
    }
}
