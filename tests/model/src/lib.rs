//! Tries the orders in which threads can meet, by [shuttle](https://docs.rs/shuttle): the README says what is looked at.

use std::panic;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// Orders that each of the two schedulers tries, if nobody says how many.
const ORDERS: usize = 20_000;

/// Switches of priority by which the second scheduler gets to where it wants: enough for any bug that takes so many unlucky moments.
const DEPTH: usize = 3;

fn orders() -> usize {
    match std::env::var("AGENT_HOST_MODEL_ORDERS") {
        Ok(orders) => orders.parse().unwrap_or_else(|_| panic!("AGENT_HOST_MODEL_ORDERS is no number: {orders}")),
        Err(_) => ORDERS,
    }
}

/// Runs it in many orders: random ones, and those that favour some threads over others. Panics with what fails, and prints the order in which it did.
pub fn holds<F: Fn() + Send + Sync + Clone + 'static>(model: F) {
    let orders = orders();
    Runner::new(RandomScheduler::new(orders), Config::new()).run(model.clone());
    Runner::new(PctScheduler::new(DEPTH, orders), Config::new()).run(model);
    println!("held in {orders} random orders, and in {orders} of priorities");
}

/// Runs a model with a bug in it, which has to be found by an assertion that says `expected`.
pub fn is_found<F: Fn() + Send + Sync + panic::UnwindSafe + 'static>(expected: &str, model: F) {
    let failed = panic::catch_unwind(|| Runner::new(RandomScheduler::new(orders()), Config::new()).run(model));
    let panicked = failed.expect_err("the bug was not found");
    let said = panicked.downcast_ref::<String>().cloned().or_else(|| panicked.downcast_ref::<&str>().map(|said| (*said).to_owned()));
    let said = said.expect("what panicked says why");
    assert!(said.contains(expected), "{said}");
    println!("found: {said}");
}
