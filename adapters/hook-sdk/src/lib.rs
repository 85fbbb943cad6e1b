//! Write an event hook for Agent Host by implementing one trait.
//!
//! A hook is a component that is told of what happens to sessions, and decides on new sessions, messages and uses of tools before these happen: the
//! world `hook` of `wit/0.1/hooks`. This crate is that world in Rust. Implement [`Hook`], export it with [`export_hook!`], and build for
//! `wasm32-wasip2` with `crate-type = ["cdylib"]`.
//!
//! What the crate does for a hook: it keeps the instance, refuses calls before `open`, says in each error what was being done, and sends the [`log`]
//! macros to the host's log. What a hook can do itself is in [`control`], [`http`] and [`sql`]; imports that it does not use are not in its component.
//!
//! # A complete hook
//!
//! It is `examples/blocklist.rs`: `cargo build --release --target wasm32-wasip2 --example blocklist` makes a component of it.
//!
//! ```
#![doc = include_str!("../examples/blocklist.rs")]
//! ```

#[doc(hidden)]
pub mod bindings;
// These four are the adapter SDK's own files. A crate that both SDKs depend on could not hold them: they are written against generated bindings, and
// whoever links the bindings of another world becomes a component of that world, too.
#[path = "../../sdk/src/config.rs"]
mod config;
pub mod control;
mod error;
#[doc(hidden)]
pub mod export;
mod hook;
/// ```no_run
/// # use agent_host_hook::{Result, http};
/// # fn example(url: &str, events: &[u8]) -> Result<()> {
/// let headers: [http::Header<'_>; 1] = [("content-type", b"application/json")];
/// let response = http::fetch(http::Request { headers: &headers, ..http::Request::post(url, events) })?;
/// # drop(response); Ok(())
/// # }
/// ```
#[path = "../../sdk/src/http.rs"]
pub mod http;
mod info;
#[path = "../../sdk/src/logging.rs"]
mod logging;
/// ```no_run
/// use agent_host_hook::{Result, params, sql::{Connection, Executor}};
///
/// fn denials(database: &Connection, session: &str) -> Result<Option<u64>> {
///     let mut rows = database.query("SELECT count(*) AS denials FROM denials WHERE session = ?1", params![session])?;
///     rows.next().map(|mut row| row.take("denials")).transpose()
/// }
/// ```
#[path = "../../sdk/src/sql.rs"]
pub mod sql;

pub use bindings::agent_host::types::types::{Epoch, Error, SessionRecord, Timestamp};
pub use bindings::exports::agent_host::hooks::event_hook::{
    Decisions, Event, HookInfo, MessageDraft, OnFailure, SessionDraft, ToolDraft, Verdict,
};
pub use config::Config;
pub use hook::Hook;
pub use log;

/// What a hook's functions give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Makes the crate's component out of a type that implements [`Hook`]. To be called once, in a crate of type `cdylib`.
///
/// Outside of WebAssembly it only checks the type, so that the hook's own tests can run on the developer's machine.
#[macro_export]
macro_rules! export_hook {
    ($hook:ty) => {
        const _: () = {
            struct Component;

            ::std::thread_local! {
                static SLOT: $crate::export::Slot<$hook> = const { $crate::export::Slot::empty() };
            }

            impl $crate::export::Instance for Component {
                type Hook = $hook;

                fn slot() -> &'static ::std::thread::LocalKey<$crate::export::Slot<$hook>> {
                    &SLOT
                }
            }

            // Names such as `agent-host:hooks/event-hook@0.1.0#on-events` are none to a native linker.
            #[cfg(target_family = "wasm")]
    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
