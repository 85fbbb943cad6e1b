//! A stand-in for Modal: its control plane and its router, over real sockets, after facts about the real one. Its sandboxes are process trees on this machine, each
//! with a root directory and processes of its own (bubblewrap). What it answers is scripted by [`Options`] and [`Faults`], and what it was asked is noted.
//!
//! That the official Python client can work with it keeps it honest.

mod control;
mod exec;
mod fault;
mod image;
mod mount;
mod proto;
mod root;
mod router;
mod sandbox;
mod world;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

pub use self::fault::{Call, Fault, Faults};
use self::proto::client::generic_result::GenericStatus;
use self::proto::client::modal_client_server::ModalClientServer;
use self::proto::task_command_router::task_command_router_server::TaskCommandRouterServer;
pub use self::sandbox::Sandbox;
pub use self::world::{BuildEnd, Options, World};
pub use tonic::Code;

/// What a message may have.
const MAX_MESSAGE_BYTES: usize = 100 * 1024 * 1024;

/// A fake that serves until it is dropped, when all its sandboxes end.
pub struct FakeModal {
    world: Arc<World>,
    faults: Faults,
    server: JoinHandle<()>,
    /// Where it serves, if not where it was started.
    runtime: Option<Runtime>,
}

impl Options {
    /// A quick and obliging one. `fs_tools` is the program `modal-fs-tools` of this crate.
    pub fn new(fs_tools: impl Into<PathBuf>) -> Self {
        Self {
            token_id: "ak-fake".to_owned(),
            token_secret: "as-fake".to_owned(),
            accepts_in: std::time::Duration::ZERO,
            build_step: std::time::Duration::ZERO,
            mounts: Vec::new(),
            fs_tools: fs_tools.into(),
        }
    }
}

impl FakeModal {
    /// Serves at a free port of this machine.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        Self::start_at(options, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Serves at an address.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn start_at(options: Options, address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let world = Arc::new(World::new(options, url)?);
        let faults = Faults::default();
        let control = ModalClientServer::new(control::Control(Arc::clone(&world)));
        let router = TaskCommandRouterServer::new(router::Router(Arc::clone(&world)));
        let server = Server::builder()
            .layer(faults.clone())
            .add_service(control.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
            .add_service(router.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move {
            // It ends with the task.
            let _ = server.await;
        });
        Ok(Self { world, faults, server, runtime: None })
    }

    /// Serves on threads of its own, so that it answers while whoever started it blocks.
    ///
    /// # Errors
    /// If it cannot.
    pub fn start_apart(options: Options) -> anyhow::Result<Self> {
        // A runtime cannot be entered from within another.
        let apart = std::thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            let mut fake = runtime.block_on(Self::start(options))?;
            fake.runtime = Some(runtime);
            Ok(fake)
        });
        apart.join().map_err(|_| anyhow::anyhow!("the fake's thread panicked"))?
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.world.url
    }

    /// What there is.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// What goes wrong, and what was called.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl std::fmt::Debug for FakeModal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FakeModal").field("url", &self.world.url).finish_non_exhaustive()
    }
}

impl Drop for FakeModal {
    fn drop(&mut self) {
        self.server.abort();
        for sandbox in self.world.running() {
            sandbox.end(GenericStatus::Terminated, "the fake ends");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Sandbox {
    /// Modal takes its machine away.
    pub fn preempt(&self) {
        self.end(GenericStatus::InternalFailure, "the worker was preempted");
    }
}

/// The program that does the work on files in sandboxes, where cargo puts what it builds with the test's profile.
///
/// # Panics
/// If it is not there.
#[expect(clippy::expect_used, reason = "this is how a test fails")]
pub fn fs_tools() -> PathBuf {
    let executable = std::env::current_exe().expect("failed to find the test's own executable");
    let tools = executable.ancestors().skip(1).map(|directory| directory.join("modal-fs-tools")).find(|path| path.is_file());
    tools.expect("modal-fs-tools is not built: cargo build -p fake-modal")
}

/// Copies a directory with all that is in it.
pub(crate) async fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copied = tokio::process::Command::new("cp").arg("-a").arg(from).arg(to).status().await.context("failed to run cp")?;
    ensure!(copied.success(), "cp failed: {copied}");
    Ok(())
}
