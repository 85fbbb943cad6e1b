//! Generates the messages and the services from the client's `.proto` files.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const PROTO: &str = "../../../host/modal/proto";
    let files = protox::compile(["modal/client.proto", "modal/task_command_router.proto"], [PROTO])?;
    tonic_prost_build::configure().build_client(false).bytes(".modal.task_command_router").compile_fds(files)?;
    println!("cargo:rerun-if-changed={PROTO}");
    Ok(())
}
