//! REST, WebSocket and server-sent events over the session manager.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`options`] | how the API is run: keys, origins, limits |
//! | `server` | the listener, its connections, and how they end |
//! | `layers` | what happens to each request: request id, log line, access, panics |
//! | `access` | who may use the API |
//! | `problem` | errors as clients see them |
//! | `rest`, `body` | the calls, and how their bodies are read |
//! | `session_store` | the calls by which programs outside of the host keep their sessions in its store |
//! | [`admin`] | the calls of operators |
//! | `metrics`, `trace` | what is counted, for Prometheus; requests in traces |
//! | `session`, `wire` | sessions and events as JSON |
//! | `feed` | a session as its clients follow it |
//! | `socket`, `events` | WebSockets, and server-sent events |
//!
//! Requests are answered by the [`Manager`](agent_host_session::manager::Manager); nothing is kept here but connections.
#![forbid(unsafe_code)]

mod access;
pub mod admin;
mod body;
mod events;
mod feed;
mod layers;
mod metrics;
pub mod options;
mod problem;
mod rest;
mod server;
mod session;
mod session_store;
mod shared;
mod socket;
mod stall;
mod trace;
mod wire;

pub use crate::admin::{Admin, AdminError};
pub use crate::options::{InvalidOrigin, Options, Origin, SocketOptions};
pub use crate::problem::Code;
pub use crate::server::{Error, serve};
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use crate::socket::fuzzing;
