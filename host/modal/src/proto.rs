//! What `build.rs` generates from `proto`.
#![allow(warnings, reason = "it is generated")]

pub(crate) mod client {
    tonic::include_proto!("modal.client");
}

pub(crate) mod task_command_router {
    tonic::include_proto!("modal.task_command_router");
}

/// What holds secrets shows nothing.
macro_rules! hide {
    ($($message:path),* $(,)?) => {
        $(impl std::fmt::Debug for $message {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.debug_struct(stringify!($message)).finish_non_exhaustive()
            }
        })*
    };
}

hide!(
    client::AuthTokenGetResponse,
    client::CommandRouterAccess,
    client::MountPutFileRequest,
    client::SandboxCreateV2Response,
    client::SandboxGetCommandRouterAccessResponse,
    client::TaskGetCommandRouterAccessResponse,
    client::SecretGetOrCreateRequest,
    client::StringMap,
    task_command_router::TaskExecStartRequest,
);
