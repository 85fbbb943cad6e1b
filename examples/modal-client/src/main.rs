//! Runs a shell command in a Modal sandbox of its own, as if it ran here: standard input goes in, output and exit status come back.
//!
//! ```sh
//! export MODAL_TOKEN_ID=ak-… MODAL_TOKEN_SECRET=as-…     # or ~/.modal.toml
//! echo hello | cargo run -p modal-client -- 'tr a-z A-Z; uname -a >&2'
//! ```

use std::process::ExitCode;
use std::time::Duration;

use agent_host_modal::{Client, Command, Exit, Image, Sandbox, SandboxOptions};
use anyhow::Context as _;
use tokio::io::{copy, stderr, stdin, stdout};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let script = std::env::args().nth(1).context("usage: modal-client COMMAND")?;
    let client = Client::from_env()?;
    let app = client.app("agent-host-modal-example").create_if_missing().await?;

    let mut build = Image::from_registry("debian:12-slim").dockerfile_commands(["RUN apt-get update"]).build(&app);
    while let Some(log) = build.next_log().await? {
        eprint!("{log}");
    }
    let image = build.finish().await?;

    let options = SandboxOptions::new().working_dir("/work").lifetime(Duration::from_secs(600)).tag("example", "modal-client");
    let sandbox = Sandbox::create(&app, &image, &options).await?;
    let exit = run(&sandbox, &script).await;
    // Whatever came of it: a sandbox that is dropped goes on, and costs.
    sandbox.terminate().await?;
    Ok(match exit? {
        Exit::Code(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Exit::Signal(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
    })
}

async fn run(sandbox: &Sandbox, script: &str) -> anyhow::Result<Exit> {
    let mut process = sandbox.exec(&Command::new("sh").args(["-c", script])).await?;
    // On its own: the program may end before the input does.
    let mut input = process.stdin;
    let typed = tokio::spawn(async move {
        copy(&mut stdin(), &mut input).await?;
        tokio::io::AsyncWriteExt::shutdown(&mut input).await
    });
    let (mut out, mut err) = (stdout(), stderr());
    tokio::try_join!(copy(&mut process.stdout, &mut out), copy(&mut process.stderr, &mut err))?;
    let exit = process.exec.wait().await?;
    typed.abort();
    Ok(exit)
}
