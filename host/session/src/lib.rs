//! Sessions, blocks, events, turns, and the ports that they speak through: the domain of Agent Host.
//!
//! Nothing here knows of HTTP, WebAssembly, processes or any one agent program: those stand behind the traits of [`ports`].
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`block`], [`message`], [`metadata`], [`profile`], [`record`] | the words: what a conversation, a message, a session is made of |
//! | [`origin`] | sessions of programs outside of the host, and how their names become those of the store |
//! | [`id`], [`time`], [`path`] | names, times and paths that are valid by construction |
//! | [`event`] | everything that can happen to a session |
//! | [`frame`] | an event as clients and hooks get it |
//! | [`state`] | a session as the fold of its events: what clients see, what is stored and what a reload rebuilds |
//! | [`log`] | the numbered events of a loaded session, and subscriptions that resume exactly |
//! | [`ports`] | the store, the sandbox, the agent, the hooks and the outside world, as traits |
//! | [`recorder`] | the one writer of a session: writes in order, retries, and says when they are durable |
//! | [`run`] | one sandbox with one agent process in it |
//! | [`task`] | the task that owns a loaded session, and the handle that others hold |
//! | [`manager`] | all sessions: creating, finding, loading, listing, shutting down |
//! | [`metrics`] | what is counted of all that |
//! | [`trace`] | following one message through all that |
#![forbid(unsafe_code)]

pub mod block;
pub mod event;
pub mod frame;
mod hex;
pub mod id;
pub mod log;
pub mod manager;
pub mod message;
pub mod metadata;
pub mod metrics;
pub mod origin;
pub mod path;
pub mod ports;
pub mod profile;
pub mod record;
pub mod recorder;
pub mod run;
pub mod state;
pub mod task;
pub mod time;
pub mod trace;
