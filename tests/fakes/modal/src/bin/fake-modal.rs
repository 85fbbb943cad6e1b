//! Serves until it is killed, and says where.

use std::net::SocketAddr;

use anyhow::Context as _;
use fake_modal::{FakeModal, Options};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse()).context("usage: fake-modal [PORT]")?;
    let tools = std::env::current_exe()?.with_file_name("modal-fs-tools");
    let fake = FakeModal::start_at(Options::new(tools), SocketAddr::from(([127, 0, 0, 1], port))).await?;
    println!("{}", fake.url());
    std::future::pending::<()>().await;
    Ok(())
}
