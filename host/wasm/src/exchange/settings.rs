//! How components are exchanged.

use std::time::Duration;

/// Which is in force when the host starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStart {
    /// What an operator did last.
    Last,
    /// What is configured.
    Configured,
}

/// How components are exchanged.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a start begins with.
    pub on_start: OnStart,
    /// Generations of the persistence adapter, and of each hook, that can be gone back to, the present one not counted.
    pub keep: usize,
    /// How long the calls of a generation that is retired may go on before nobody waits for them any more.
    pub drain_timeout: Duration,
    /// First calls of a function that have to fail until the generation is rolled back; 0 for never.
    pub rollback_after: u64,
    /// For so long after it was published a generation can be rolled back by itself.
    pub probation: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            on_start: OnStart::Last,
            keep: 5,
            // Longer than a call may take.
            drain_timeout: Duration::from_secs(30),
            rollback_after: 5,
            probation: Duration::from_secs(10 * 60),
        }
    }
}
