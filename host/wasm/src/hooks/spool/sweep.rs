//! What no hook waits for any more is deleted when it is too old, or too much, to be kept for hooks to come.

use std::time::{Duration, Instant};

use agent_host_session::time::Timestamp;

use super::SpoolOptions;
use super::file::{Judgement, Writing};
use super::place::Place;

/// While there is not too much, only age counts, and that is looked after so often.
const PAUSE: Duration = Duration::from_secs(60);

/// Goes through the file from the oldest event on, some of it in each transaction.
pub(super) struct Sweeper {
    options: SpoolOptions,
    /// All up to this one were looked at; 0 before the first.
    swept: u64,
    /// When it begins again, if there is not too much before.
    next: Instant,
}

impl Sweeper {
    pub(super) fn new(options: SpoolOptions) -> Self {
        Self { options, swept: 0, next: Instant::now() }
    }

    /// Looks at no more than `limit` of the events up to the position `end`, and gives the bytes of those that it deleted. `bytes` is what all in the file take, and `places`
    /// are those of all hooks.
    pub(super) fn sweep(&mut self, writing: &Writing<'_>, places: &[&Place], bytes: u64, end: u64, limit: usize) -> rusqlite::Result<u64> {
        let SpoolOptions { keep_bytes, keep_for, .. } = self.options;
        // At least so much of it has to be there; two hooks may wait for the same.
        let needed = places.iter().map(|place| place.bytes()).max().unwrap_or(0);
        let mut excess = bytes.saturating_sub(needed).saturating_sub(keep_bytes);
        if excess == 0 && self.swept == 0 && Instant::now() < self.next {
            return Ok(0);
        }
        let kept_since = Timestamp::now().as_millis().saturating_sub(i64::try_from(keep_for.as_millis()).unwrap_or(i64::MAX));
        let (mut swept, mut looked_at, mut deleted) = (self.swept, 0, 0);
        writing.sweep(self.swept, |entry| {
            let is_too_much = excess > 0 || entry.at.as_millis() < kept_since;
            if looked_at == limit || !is_too_much || entry.position > end {
                return Judgement::Enough;
            }
            looked_at += 1;
            swept = entry.position;
            if places.iter().any(|place| place.needs(entry.position)) {
                return Judgement::Stays;
            }
            excess = excess.saturating_sub(entry.bytes);
            deleted += entry.bytes;
            Judgement::Goes
        })?;
        if looked_at == limit {
            self.swept = swept;
        } else {
            self.swept = 0;
            self.next = Instant::now() + PAUSE;
        }
        Ok(deleted)
    }
}
