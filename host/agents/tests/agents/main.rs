//! The drivers as the session uses them: through the ports, fed with what the programs really print.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test says what it expects")]

mod claude_behaviour;
mod claude_captures;
mod claude_import;
mod claude_launch;
mod claude_tools;
mod echo;
mod support;
