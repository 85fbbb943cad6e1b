//! What time it is at the server. Deadlines are given by its clock, so that it need not be right, and nor need the host's.

use std::cell::Cell;
use std::time::Duration;

/// The server's clock, read once and kept going by this machine's; put right whenever the server says that it is wrong.
#[derive(Debug, Default)]
pub(crate) struct ServerClock(Cell<Option<Reading>>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    /// By the transport.
    here: Duration,
    /// Unix milliseconds.
    there: u64,
}

impl ServerClock {
    /// The server has just said what time it is. Since then the answer was under way: what is kept is behind the server's clock by so much, never before it.
    pub(crate) fn set(&self, here: Duration, there: u64) {
        self.0.set(Some(Reading { here, there }));
    }

    /// Unix milliseconds; `None` if the server has not been asked yet.
    pub(crate) fn read(&self, here: Duration) -> Option<u64> {
        let reading = self.0.get()?;
        let since = here.saturating_sub(reading.here).as_millis();
        Some(reading.there.saturating_add(u64::try_from(since).unwrap_or(u64::MAX)))
    }
}
