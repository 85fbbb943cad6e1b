//! What stands between sessions and a persistence adapter that fails.
//!
//! A write of a loaded session that the adapter cannot take now (it is unavailable, too slow, or traps) is put into the *journal*: a file for each such session, to which records with checksums are
//! appended, and which is brought to the disk before the write counts as done. From then on all writes of that session go there, in order, until the journal has given all of them to the adapter again.
//! So sessions go on while the store is away, nothing that was acknowledged is lost, and nothing is written in another order than it happened. Reads are tried again for a while.
//!
//! - `record`: what the files look like
//! - `lane`: one session's file, and what of it is still to be given to the adapter
//! - `disk`: all of them, with their bounds
//! - `store`: the Store port in front of another one
//! - `replay`: giving it back
//! - `metrics`
//!
//! A session whose epoch the adapter has not seen yet cannot write into the journal: nobody could tell whether another host writes to it as well.

#![forbid(unsafe_code)]

mod disk;
mod lane;
mod metrics;
pub mod record;
mod replay;
mod store;

pub use self::disk::{OpenError, Options};
pub use self::store::JournaledStore;
