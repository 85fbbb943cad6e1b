//! Thousands of schedules, in which no promise may be broken.
//!
//! `AGENT_HOST_SIMULATION_SEEDS=100000` plays more of them, `AGENT_HOST_SIMULATION_FIRST=123` begins elsewhere, and both together play one again.

use agent_host_simulation::play;

/// How many are played if nobody says.
const SEEDS: u64 = 10_000;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Plays one of so many parts of the seeds.
fn part(number: u64) {
    const PARTS: u64 = 8;
    let (first, seeds) = (variable("AGENT_HOST_SIMULATION_FIRST", 0), variable("AGENT_HOST_SIMULATION_SEEDS", SEEDS));
    let begun = std::time::Instant::now();
    let mut played = 0;
    for seed in (first..first + seeds).filter(|seed| seed % PARTS == number) {
        let outcome = play(seed, None);
        if let Some(violation) = outcome.violation {
            eprintln!("{}", outcome.trace.join("\n"));
            panic!("seed {seed}: {violation}\nagain: tests/simulation/run 1 {seed}");
        }
        played += 1;
    }
    println!("{played} schedules in {:.1} s", begun.elapsed().as_secs_f64());
}

macro_rules! parts {
    ($($name:ident $number:literal)*) => { $(#[test] fn $name() { part($number); })* };
}

parts! { part_0 0 part_1 1 part_2 2 part_3 3 part_4 4 part_5 5 part_6 6 part_7 7 }
