//! Local sandboxes with real processes, files and bubblewrap.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;
mod isolation;
mod processes;
mod programs;
mod support;
mod watching;
