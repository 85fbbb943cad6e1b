//! What all exchanges of components in a running host have in common, whatever the components are for: where a candidate comes from, what is done to it, why it may be
//! refused, and what is remembered.

mod candidate;
mod history;
mod refusal;
mod settings;
mod shelf;
mod watch;

use std::time::Duration;

pub use self::candidate::{Candidate, Origin, Plan};
pub(crate) use self::candidate::{Fetched, fetch};
pub use self::history::Occurrence;
pub(crate) use self::history::{History, Subject};
pub(crate) use self::refusal::refused;
pub use self::refusal::{Error, Phase};
pub use self::settings::{OnStart, Settings};
pub use self::shelf::Error as ShelfError;
pub(crate) use self::shelf::{Kept, Shelf};
pub(crate) use self::watch::{Change, watch};
pub use self::watch::{Watch, WatchError};

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
