//! Where agents run: providers of sandboxes, one module folder each.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`local`] | sandboxes on this machine: directories and processes of their own, isolated by bubblewrap where it works |
//! | [`modal`] | sandboxes in the cloud, at Modal |
//! | `changes` | what both do with the news that files have changed |
//! | `projects` | bundled MCP servers, which both copy and install |
#![forbid(unsafe_code)]

mod changes;
mod found;
pub mod local;
pub mod modal;
mod projects;

pub use self::found::Found;
