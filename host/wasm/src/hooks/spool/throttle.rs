//! What goes on failing is said at first, and then once a minute.

use std::time::{Duration, Instant};

/// Often enough to be seen, and few enough lines to see anything else.
const PAUSE: Duration = Duration::from_secs(60);

/// Says when something may be said.
#[derive(Debug, Default)]
pub(in crate::hooks) struct Throttle {
    last: Option<Instant>,
}

impl Throttle {
    /// Whether it may be said now; if so, not again for a minute.
    pub(in crate::hooks) fn allows(&mut self) -> bool {
        let is_allowed = self.last.is_none_or(|last| last.elapsed() >= PAUSE);
        if is_allowed {
            self.last = Some(Instant::now());
        }
        is_allowed
    }
}
