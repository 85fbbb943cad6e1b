//! Sandboxes at Modal.
//!
//! ```text
//! image (built once) ─> sandbox ─> one archive of files over stdin ─> the agent as one long exec
//!                          └────── one watch over the workspace; what changed is looked at and read by short execs
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | `options` | what can be configured |
//! | `image` | what is in the image: the agent programs, and the packages of the profile |
//! | `provider` | how sandboxes come to be |
//! | `sandbox` | what the port asks of one |
//! | `tags`, `keeper` | how this host knows its own, and which of them are in use |
//! | `left`, `warm` | what an earlier process has left; what is ready before it is asked for |
//! | `helper` | short programs of the host's own |
//! | `found` | what an operator sees of them |
//! | `archive`, `process`, `watch` | how files are laid down, how programs run and are killed, how changes are noticed |

mod archive;
mod found;
mod helper;
mod image;
mod keeper;
mod left;
mod options;
mod process;
mod provider;
mod sandbox;
mod tags;
mod warm;
mod watch;

pub use agent_host_modal::Network;

pub use self::found::{end_unless_used, find};
pub use self::options::Options;
pub use self::provider::{Error, Modal};

/// The agent's home directory.
const HOME: &str = "/agent/home";

/// The workspace.
const WORKSPACE: &str = "/agent/workspace";

/// Bundled MCP servers.
const PROJECTS: &str = "/agent/projects";
