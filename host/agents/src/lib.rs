//! The agent programs that Agent Host can run, as state machines from native output to events.
//!
//! Nothing here does I/O: an architecture says what to lay down and run in the sandbox, and its driver turns each line that the program
//! prints into [outputs](agent_host_session::ports::agent::Output). So everything is tested by feeding lines.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`claude`] | `claude-agent-sdk`: the `claude` command over stream-json, and the import of bare Claude transcripts |
//! | [`echo`] | `echo`: a shell program that says what it is told, for trying the whole path without a key or a network |
#![forbid(unsafe_code)]

pub mod claude;
pub mod echo;

mod ledger;
mod place;
