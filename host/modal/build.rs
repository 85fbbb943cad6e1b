//! Generates the messages and the calls from `proto`, without needing `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["modal/client.proto", "modal/task_command_router.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        // Of what may be large, or is sent again, no copies are made.
        .bytes(".modal.task_command_router")
        .bytes(".modal.client.MountPutFileRequest")
        // What environments and files hold is secret, and so are JWTs: `src/proto.rs` says what of them is shown.
        .skip_debug([
            "modal.client.AuthTokenGetResponse",
            "modal.client.CommandRouterAccess",
            "modal.client.MountPutFileRequest",
            "modal.client.SandboxCreateV2Response",
            "modal.client.SandboxGetCommandRouterAccessResponse",
            "modal.client.TaskGetCommandRouterAccessResponse",
            "modal.client.SecretGetOrCreateRequest",
            "modal.client.StringMap",
            "modal.task_command_router.TaskExecStartRequest",
        ])
        .compile_fds(files)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
