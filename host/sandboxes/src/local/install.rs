//! Bundled MCP servers: copied into each sandbox, and installed by a program in it.

use agent_host_session::path::RelativePath;
use agent_host_session::ports::sandbox::{Command, Error, File, Project, Root, Sandbox as _};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::sandbox::LocalSandbox;
use crate::projects::{ProjectFile, Projects, RUN_IN};

/// Where they are, below the home directory.
pub(super) const DIRECTORY: &str = ".agent-host/projects";

/// How much is told of what an installation that failed complained of.
const MAX_COMPLAINT: u64 = 2000;

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
    let (exit, complaint, _) = tokio::join!(process.control.wait(), beginning(process.stderr), beginning(process.stdout));
    let exit = exit?;
    if exit.code == Some(0) { Ok(()) } else { Err(failed(format!("{exit}: {}", complaint.trim()))) }
}

/// Reads to the end, and gives the beginning.
async fn beginning(mut output: Box<dyn AsyncRead + Send + Unpin>) -> String {
    let mut beginning = Vec::new();
    // An installation is judged by its exit, whatever becomes of its output.
    let _ = (&mut output).take(MAX_COMPLAINT).read_to_end(&mut beginning).await;
    let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&beginning).into_owned()
}
