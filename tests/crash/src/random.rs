//! What is drawn: the same for the same seed, as far as it does not depend on when things happen.

use std::time::Duration;

/// A source of what is drawn.
pub type Random = fastrand::Rng;

/// A source for one of several that draw at the same time.
pub fn of(seed: u64, number: u64) -> Random {
    // Neighbouring seeds must not give runs that have sources in common.
    Random::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number))
}

/// Whether what happens so many times in a hundred happens now.
pub fn percent(random: &mut Random, percent: u32) -> bool {
    random.u32(0..100) < percent
}

/// A time up to `longest`, short ones being the more frequent: most of what can be hit lasts for milliseconds.
pub fn time(random: &mut Random, longest: Duration) -> Duration {
    longest.mul_f64(random.f64().powi(2))
}
