//! Write a persistence adapter for Agent Host by implementing one trait.
//!
//! An adapter is a component that keeps sessions, streams, files and profiles: the world `persistence` of `wit/0.1/persistence`. This crate is
//! that world in Rust. Implement [`Adapter`], export it with [`export_adapter!`], and build for `wasm32-wasip2` with `crate-type = ["cdylib"]`.
//!
//! What the crate does for an adapter: it keeps the instance, refuses calls before `open`, checks arguments that can never succeed
//! (see [`Adapter`]), says in each error what was being done to what, and sends the [`log`] macros to the host's log.
//!
//! # A complete adapter
//!
//! It is `examples/minimal.rs`: `cargo build --release --target wasm32-wasip2 --example minimal` makes a component of it. One that keeps what it is
//! given, in a database that the host grants ([`sql`]), is `adapters/sql`; one that gives it to a server ([`http`]) is `adapters/http`.
//!
//! ```
#![doc = include_str!("../examples/minimal.rs")]
//! ```

mod adapter;
mod append;
#[doc(hidden)]
pub mod bindings;
mod config;
mod cursor;
mod error;
#[doc(hidden)]
pub mod export;
/// ```no_run
/// use agent_host_adapter::{Error, Result, http};
///
/// fn health(url: &str, token: &str) -> Result<()> {
///     let authorization = format!("Bearer {token}");
///     let headers = [("authorization", authorization.as_bytes())];
///     let response = http::fetch(http::Request { headers: &headers, ..http::Request::get(url) })?;
///     if response.is_success() { Ok(()) } else { Err(Error::unavailable(format!("the status is {}", response.status))) }
/// }
/// ```
pub mod http;
pub mod inner;
mod logging;
/// ```no_run
/// use agent_host_adapter::{Result, params, sql::{Connection, Executor}};
///
/// fn newest(database: &Connection, after: u64) -> Result<Vec<(String, Option<String>)>> {
///     let rows = database.query("SELECT id, name FROM sessions WHERE created_at > ?1 ORDER BY created_at", params![after])?;
///     rows.map(|mut row| Ok((row.take("id")?, row.take("name")?))).collect()
/// }
/// ```
pub mod sql;

pub use adapter::{Adapter, Leases, MAX_LEASE_MILLIS, MAX_LIST_SESSIONS, MAX_READ_BYTES, MAX_RENEW_SESSIONS};
pub use append::{Append, plan_append};
pub use bindings::agent_host::types::types::{
    Epoch, Error, FileInfo, Page, ProfileSummary, SessionChanges, SessionRecord, Snapshot, StreamInfo, Timestamp,
};
pub use bindings::exports::agent_host::persistence::lifecycle::{AdapterInfo, Concurrency};
pub use bindings::leases::exports::agent_host::persistence::leases::{Lease, Owner};
pub use config::Config;
pub use cursor::Cursor;
pub use log;

/// What an adapter's functions give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Makes the crate's component out of a type that implements [`Adapter`]. To be called once, in a crate of type `cdylib`.
///
/// With `, leases` behind it, a type that implements [`Leases`], too, exports them.
///
/// Outside of WebAssembly it only checks the type, so that the adapter's own tests can run on the developer's machine.
#[macro_export]
macro_rules! export_adapter {
    ($adapter:ty, leases) => {
        $crate::export_adapter!(@ $adapter, [leases]);
    };
    ($adapter:ty) => {
        $crate::export_adapter!(@ $adapter, []);
    };
    (@ $adapter:ty, [$($leases:ident)?]) => {
        const _: () = {
            struct Component;

            ::std::thread_local! {
                static SLOT: $crate::export::Slot<$adapter> = const { $crate::export::Slot::empty() };
            }

            impl $crate::export::Instance for Component {
                type Adapter = $adapter;

                fn slot() -> &'static ::std::thread::LocalKey<$crate::export::Slot<$adapter>> {
                    &SLOT
                }
            }

            // Names such as `agent-host:persistence/sessions@0.1.0#create-session` are none to a native linker.
            #[cfg(target_family = "wasm")]
            $crate::bindings::export!(Component with_types_in $crate::bindings);

            $(
                #[cfg(target_family = "wasm")]
                $crate::bindings::$leases::export!(Component with_types_in $crate::bindings::$leases);
            )?
        };
    };
}
