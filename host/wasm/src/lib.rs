//! Components in the host: WebAssembly adapters behind the ports of the domain.
//!
//! ```text
//! Engine ── load(Source) ──> Component ── Persistence::start(PersistenceOptions) ──> dyn Store
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`engine`] | the one wasmtime engine, the threads that components run on, the epoch ticker |
//! | [`builtin`], [`component`] | where components come from, and what they must export |
//! | `cache` | machine code on disk |
//! | [`inspect`] | what can be told of a component before it is used |
//! | [`grants`], [`sql`], [`net`], `http` | what a component may use: directories, environment variables, databases, the network |
//! | [`limits`] | how much of it, and of memory, time and the log |
//! | `capabilities`, `state`, `output` | what the host keeps for a component and for one instance of it: its grants, its resources, what it says |
//! | `world`, `instance`, `pool`, [`call`] | what a component is to the host; how a call is made and bounded, and what is left of an instance after one that failed |
//! | [`persistence`] | the `Store` port over an adapter |
//! | [`hooks`] | the `Hooks` port over event hooks |
//! | [`exchange`] | what all exchanges of components in a running host have in common |
//! | [`metrics`] | what is counted of components |
//! | [`swap`], [`copy`], [`stats`] | which adapter serves, how another takes its place, and how everything is copied to another store |
#![deny(unsafe_code)]

mod bindings;
pub mod builtin;
mod cache;
pub mod call;
mod capabilities;
pub mod component;
pub mod copy;
pub mod engine;
pub mod exchange;
pub mod grants;
pub mod hooks;
mod http;
pub mod inspect;
mod instance;
pub mod limits;
pub mod metrics;
pub mod net;
mod output;
pub mod persistence;
mod pool;
pub mod sql;
mod state;
pub mod stats;
pub mod swap;
mod world;

pub use component::{Component, Source};
pub use engine::{Engine, EngineOptions};
pub use grants::Grants;
pub use hooks::{Hook, HookOptions, Hooks};
pub use limits::Limits;
pub use persistence::{Persistence, PersistenceOptions};
pub use sql::{Database, PostgresOptions, SqliteOptions};
