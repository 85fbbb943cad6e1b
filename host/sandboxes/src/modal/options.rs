//! What can be configured of the sandboxes at Modal.

use std::path::PathBuf;
use std::time::Duration;

use agent_host_modal::{Client, Network};

/// How sandboxes are made at Modal.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who asks Modal.
    pub client: Client,
    /// The app that all sandboxes and images of this host belong to.
    pub app: String,
    /// What this host is called in the tags of its sandboxes. **All of them are this host's alone: those that an earlier process left there are taken up or terminated.**
    pub host: String,
    /// What tells this process of the host from earlier ones.
    pub process: String,
    /// How long a sandbox that no session uses is kept.
    pub orphan_grace: Duration,
    /// How many sandboxes of each image are ready before a session asks for one.
    pub warm: usize,
    /// The image to begin with: a tag of a registry, or the id (`im-…`) of one that is there and has the agent programs.
    pub image: String,
    /// npm packages with the agent programs, with their versions.
    pub agents: Vec<String>,
    /// How long a sandbox lives at most, in whole seconds.
    pub lifetime: Duration,
    /// After how long without a running program Modal ends it, in whole seconds.
    pub idle_timeout: Duration,
    /// Thousandths of a core that are set aside for it.
    pub milli_cpu: u32,
    /// Memory that is set aside for it, in MiB.
    pub memory_mib: u32,
    /// What its programs can reach.
    pub network: Network,
    /// The directory of this machine from which bundled MCP servers are copied.
    pub projects: Option<PathBuf>,
    /// Workspace files that are not watched, in the syntax of `.gitignore`.
    pub ignore: Vec<String>,
}
