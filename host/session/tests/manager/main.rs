//! Sessions over fake ports, with a clock that stands still unless everything waits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod hooks;
mod leases;
mod outside;
mod sessions;
mod support;
