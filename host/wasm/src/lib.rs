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
//! | [`grants`], [`sql`] | what a component may use: directories, environment variables, databases |
//! | `state`, `limits`, `output` | what the host keeps for one instance: its resources, its memory, what it says |
//! | `instance`, `pool`, [`call`] | how a call is made and bounded, and what is left of an instance after one that failed |
//! | [`persistence`] | the `Store` port over an adapter |
#![deny(unsafe_code)]

mod bindings;
pub mod builtin;
mod cache;
pub mod call;
pub mod component;
pub mod engine;
pub mod grants;
mod instance;
mod limits;
mod output;
pub mod persistence;
mod pool;
pub mod sql;
mod state;

pub use component::{Component, Source};
pub use engine::{Engine, EngineOptions};
pub use grants::Grants;
pub use persistence::{Persistence, PersistenceOptions};
pub use sql::{Database, SqliteOptions};
