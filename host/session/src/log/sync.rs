//! What threads meet at in a log. Where the log is model-checked (`tests/model`) these are shuttle's, which decides at each of them who goes on.

#[cfg(not(shuttle))]
pub(super) use {
    parking_lot::{Mutex, MutexGuard},
    tokio::sync::watch,
};

#[cfg(shuttle)]
pub(super) use {
    shuttle_parking_lot::{Mutex, MutexGuard},
    shuttle_tokio::sync::watch,
};
