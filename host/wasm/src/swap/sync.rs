//! What calls, exchanges and migrations meet at. `tests/model` builds the files beside this one with primitives of its own, at which a scheduler decides who goes on.

pub(super) use arc_swap::ArcSwap;
pub(super) use parking_lot::Mutex;
pub(super) use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub(super) use tokio::time::{sleep, timeout};
