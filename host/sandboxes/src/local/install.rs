//! Bundled MCP servers: copied into each sandbox, and installed by a program in it.

use std::sync::Arc;
use std::time::Duration;

use agent_host_session::path::RelativePath;
use agent_host_session::ports::sandbox::{Command, Error, File, Project, Root, Sandbox as _};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::task::AbortOnDropHandle;

use super::sandbox::LocalSandbox;
use crate::projects::{ProjectFile, Projects, RUN_IN};

/// Where they are, below the home directory.
pub(super) const DIRECTORY: &str = ".agent-host/projects";

/// How much is told of what an installation that failed complained of.
const MAX_COMPLAINT: usize = 2000;

/// How long output may still come after it has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// Copies a project into a sandbox, and runs its command there.
pub(super) async fn install(sandbox: &LocalSandbox, project: &Project, projects: &Projects) -> Result<(), Error> {
    let failed = |reason: String| Error::Failed(format!("the bundled MCP server {} cannot be installed: {reason}", project.name));
    let place = RelativePath::new(format!("{DIRECTORY}/{}", project.name)).map_err(|error| failed(error.to_string()))?;
    let mut files = Vec::new();
    for ProjectFile { path, content, executable } in projects.read(project).await? {
        let path = path.below(&place).map_err(|error| failed(error.to_string()))?;
        files.push(File { root: Root::Home, path, content, executable });
    }
    sandbox.write(files).await?;
    let directory = format!("{}/{}", sandbox.layout().projects, project.name);
    let args = ["-c", RUN_IN, "sh", &directory, &project.install].map(str::to_owned).to_vec();
    let mut process = sandbox.spawn(Command { program: "sh".to_owned(), args, env: Vec::new() }).await?;
    drop(process.stdin);
    let complaint = Arc::<Mutex<Vec<u8>>>::default();
    let readers = [
        tokio::spawn(keep_beginning(process.stderr, Arc::clone(&complaint))),
        tokio::spawn(keep_beginning(process.stdout, Arc::default())),
    ];
    let exit = process.control.wait().await?;
    // What it has left in the background may hold its output open for ever.
    for reader in readers {
        let mut reader = AbortOnDropHandle::new(reader);
        let _ = tokio::time::timeout(DRAIN, &mut reader).await;
    }
    let complaint = String::from_utf8_lossy(&complaint.lock()).trim().to_owned();
    if exit.code == Some(0) { Ok(()) } else { Err(failed(format!("{exit}: {complaint}"))) }
}

/// Reads to the end, and keeps the beginning. An installation is judged by its exit, whatever becomes of its output.
async fn keep_beginning(mut output: Box<dyn AsyncRead + Send + Unpin>, kept: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = output.read(&mut piece).await {
        let mut kept = kept.lock();
        let room = MAX_COMPLAINT.saturating_sub(kept.len());
        kept.extend(piece.iter().take(read.min(room)));
    }
}
