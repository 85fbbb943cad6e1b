//! Sandboxes on this machine: directories and processes of their own, and bubblewrap around them where it works.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`options`] | what can be configured |
//! | [`provider`] | the [`Local`] provider: prepares the machine once, then makes sandboxes |
//! | `sandbox` | one sandbox: what the port asks of it, handed on to the parts below |
//! | `directory` | its directories on this machine, and that they are removed |
//! | `files` | writing and reading below a directory that an agent fills with links as it likes |
//! | `program` | where a command is installed, and what has to be readable for it to run |
//! | `launch` | what is run: environment, `PATH`, and bubblewrap's arguments |
//! | `bubblewrap` | what the agent sees of this machine, and whether bubblewrap works here |
//! | `spawner` | the thread that starts processes |
//! | `process` | a running process, from its start until it is reaped |
//! | `tree` | all processes that came from one, and signals to them |
//! | `watch` | which workspace files changed |

mod bubblewrap;
mod directory;
mod files;
mod install;
mod launch;
pub mod options;
mod process;
mod program;
pub mod provider;
mod sandbox;
mod spawner;
mod tree;
mod watch;

pub use directory::{end_all, find};
pub use options::{Isolation, Options};
pub use provider::{Error, Local};
