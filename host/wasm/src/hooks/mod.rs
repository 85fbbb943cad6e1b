//! Event hooks: components that are told of what happens to sessions, and decide before it happens.
//!
//! ```text
//! sessions ── port ──> Hooks ── in the configured order ──> Hook ──> an instance for events │ instances for decisions
//!     ^                  │ events                                             │
//!     │                  └──> Sink                                            │ session-control
//!     └───────────────────────── Control <────────────────────────────────────┘
//! ```
//!
//! Which hooks there are is up to the [`roster`]; what happened waits for each of them in the [`spool`], from where a [`delivery`] takes it.
//!
//! A hook that misbehaves costs itself: events wait for it where the sink keeps them, a decision that it misses is made by its policy, and whatever it does to
//! sessions has the bounds that clients have.

mod control;
mod decision;
pub mod delivery;
mod hook;
mod interests;
mod list;
pub mod roster;
mod session_control;
pub mod spool;
mod start;
mod world;

pub(crate) use self::control::Caller;
pub use self::control::{Control, Controller};
pub use self::hook::{Event, Hook, Info, OnFailure};
pub use self::interests::{Interests, InvalidPattern};
pub use self::list::{Hooks, Sink};
pub use self::roster::Roster;
pub use self::start::{HookOptions, InvalidName, Name, StartError};
