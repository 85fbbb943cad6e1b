//! What outlasts a process.

use anyhow::Context as _;

use super::checks;
use crate::victim;

/// How often a process is killed, and after how many acknowledged writes at most.
const KILLS: usize = 3;
const WRITES: usize = 60;

checks! { "durability", Process;
    /// What was acknowledged is there when the whole process is killed, and what was not is there as a whole or not at all.
    async fn outlasts_a_kill(scratch) {
        let id = scratch.session("s").await?;
        let start = scratch.subject.victim().context("there is no process to be killed")?;
        let mut random = fastrand::Rng::with_seed(scratch.seed);
        for round in 1..=KILLS {
            let acknowledged = victim::kill(start, &id, random.usize(1..=WRITES)).await?;
            let store = scratch.subject.open().await.context("opening the adapter again")?;
            victim::check(&store, &id, acknowledged).await.with_context(|| format!("after kill {round} of {KILLS}"))?;
        }
    }
}
