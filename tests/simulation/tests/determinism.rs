//! A seed is a schedule: played again, it is the same to the last line.

use agent_host_simulation::play;

#[test]
fn the_same_seed_is_the_same_schedule_and_another_seed_another() {
    let mut before = Vec::new();
    for seed in 0..25 {
        let (once, again) = (play(seed, None), play(seed, None));
        let differs = once.trace.iter().zip(&again.trace).find(|(once, again)| once != again);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(once, again, "seed {seed}");
        assert!(once.trace.len() > 10, "seed {seed} plays nothing: {:?}", once.trace);
        assert_ne!(once.trace, before, "seed {seed} is the one before it");
        before = once.trace;
    }
}

#[test]
fn a_schedule_does_not_depend_on_the_thread_that_plays_it() {
    let here = play(7, None);
    let there = std::thread::spawn(|| play(7, None)).join().unwrap();
    assert_eq!(here, there);
}
