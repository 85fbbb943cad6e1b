//! Deterministic simulation: a random schedule of messages, faults, crashes and restarts against the real session code, out of one number.
//!
//! One thread runs everything on a clock that jumps to the next thing that is due. All that is random in a schedule comes from its seed: what clients do and what
//! goes wrong, how long things take, which of several things that are ready comes first. So the same seed is the same schedule, and one that broke a promise
//! breaks it again.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`world`] | the seed, the trace, and the model of what was promised |
//! | `schedule` | what happens: clients, faults, crashes, restarts |
//! | `settle` | the end, and what is checked there |
//! | `client`, `request` | clients, and what they check all the time |
//! | `store`, `sandbox`, `program`, `hooks` | what hosts speak to, with its faults |
//! | `host`, `life` | a process of a host, which can be stopped and killed |
#![forbid(unsafe_code)]

#[cfg(not(tokio_unstable))]
compile_error!("run cargo in tests/simulation, whose .cargo/config.toml gives tokio a seed, and without RUSTFLAGS in the environment");

mod client;
mod hooks;
mod host;
mod hosts;
mod life;
mod observed;
mod program;
mod request;
mod sandbox;
mod schedule;
mod settle;
mod store;
pub mod world;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::runtime::{Builder, LocalOptions, RngSeed};

use crate::schedule::Schedule;
use crate::world::{Bug, Violation, World};

/// What came of a schedule.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What happened, line by line, with the time in seconds.
    pub trace: Vec<String>,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
}

/// Plays the schedule of a seed.
///
/// # Panics
/// If the session code does.
pub fn play(seed: u64, bug: Option<Bug>) -> Outcome {
    // What the session's retries wait varies with this thread's own generator.
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(RngSeed::from_bytes(&seed.to_be_bytes()))
        // A panic in a session's task would otherwise be seen by nobody.
        .unhandled_panic(tokio::runtime::UnhandledPanic::ShutdownRuntime)
        .build_local(LocalOptions::default())
        .expect("a runtime without I/O can be made");
    let world = runtime.block_on(async {
        let world = World::new(seed, bug);
        let playing = async {
            let mut schedule = Schedule::begin(&world).await;
            let steps = 10 + world.below(40);
            schedule.play(steps).await;
            if !world.is_violated() {
                schedule.settle().await;
            }
        };
        tokio::select! {
            biased;
            () = world.until_violated() => {}
            () = playing => {}
        }
        Arc::clone(&world)
    });
    let (trace, violation) = world.end();
    Outcome { trace, violation }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
