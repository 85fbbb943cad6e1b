//! How everything gets from one store to another while sessions go on.
//!
//! It is copied once, then what has changed meanwhile, again and again, until that takes no time to speak of. Then writes are held, for less than anybody notices, while the
//! last of it is copied.

use std::time::{Duration, Instant};

use agent_host_session::ports::store::Store;

use super::switch::{Changes, Switch};
use super::sync::{RwLockWriteGuard, sleep, timeout};
use crate::copy::{self, Copier, Totals, Writes};

/// Rounds in which a migration comes closer before it holds the writes, however much is written meanwhile.
const MAX_ROUNDS: usize = 20;

/// When a round has taken no longer than this, the rest is copied while writes are held: that takes about as long again.
const SHORT_ROUND: Duration = Duration::from_millis(150);

/// For so long writes are held in one go, the wait for those that run included: nobody takes it for an outage. What is not copied by then is copied while they go on.
const MAX_PAUSE: Duration = Duration::from_millis(900);

/// Between two times that writes are held, at first; twice as long each time, so that writes which wait are made meanwhile.
const BETWEEN_HOLDS: Duration = Duration::from_millis(250);

/// How often writes are held before a migration is given up: by then a call that hung has long ended.
const MAX_HOLDS: u32 = 8;

/// Why a migration was given up. What was copied stays in the target, and the next one begins with it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A store failed.
    #[error(transparent)]
    Copy(#[from] copy::Error),
    /// The last of it never was little enough.
    #[error("the last of it was not copied within {MAX_PAUSE:?}, {MAX_HOLDS} times: so much is written, or so slowly")]
    NeverDone,
}

/// Everything is in the target, and stays all that there is while writes are held.
pub(super) struct Copied<'a> {
    pub(super) held: RwLockWriteGuard<'a, ()>,
    pub(super) held_since: Instant,
    pub(super) totals: Totals,
    /// The longest time for which writes were held in vain, zero if they never were.
    pub(super) pause: Duration,
}

/// Copies everything to the target. Whoever calls it lets the switch [stop watching](Switch::stop_watching) when it is over, whatever came of it.
pub(super) async fn copy_all<'a>(
    switch: &'a Switch,
    target: &dyn Store,
    progress: &(dyn Fn(Totals) + Send + Sync),
) -> Result<Copied<'a>, Error> {
    let copier = Copier::new(switch, target, progress);
    copier.check_target().await?;
    switch.watch_changes();
    let sessions = copier.sessions().await?;
    copier.copy_sessions(sessions, Writes::GoOn).await?;
    copier.copy_profiles().await?;
    let mut pause = Duration::ZERO;
    for hold in 0..MAX_HOLDS {
        catch_up(switch, &copier).await?;
        let held_since = Instant::now();
        let mut taken = None;
        let rest = async {
            let held = switch.hold_writes().await;
            let Changes { sessions, replaced, profiles } = taken.insert(switch.take_changes());
            copier.copy_changes(sessions.iter().cloned(), replaced, Writes::Rest).await?;
            if *profiles {
                copier.copy_profiles().await?;
            }
            Ok::<_, copy::Error>(held)
        };
        if let Ok(held) = timeout(MAX_PAUSE, rest).await {
            return Ok(Copied { held: held?, held_since, totals: copier.totals(), pause });
        }
        pause = pause.max(held_since.elapsed());
        tracing::warn!(?pause, "the last of a migration takes too long to be copied at once; writes go on, and it is tried again");
        switch.give_back(taken.unwrap_or_default());
        sleep(BETWEEN_HOLDS.saturating_mul(1 << hold)).await;
    }
    Err(Error::NeverDone)
}

/// Copies what has changed meanwhile until that takes no time to speak of.
async fn catch_up(switch: &Switch, copier: &Copier<'_>) -> Result<(), copy::Error> {
    for round in 1..=MAX_ROUNDS {
        let began = Instant::now();
        let Changes { sessions, replaced, profiles } = switch.take_changes();
        tracing::info!(round, sessions = sessions.len(), copied = ?copier.totals(), "copying what has changed meanwhile");
        copier.copy_changes(sessions, &replaced, Writes::GoOn).await?;
        if profiles {
            copier.copy_profiles().await?;
        }
        if began.elapsed() <= SHORT_ROUND {
            break;
        }
    }
    Ok(())
}
