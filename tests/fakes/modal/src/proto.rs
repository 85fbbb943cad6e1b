//! What `build.rs` generates.
#![allow(warnings, reason = "it is generated")]

/// The control plane.
pub mod client {
    tonic::include_proto!("modal.client");
}

/// The router.
pub mod task_command_router {
    tonic::include_proto!("modal.task_command_router");
}
