//! What a component may use besides its own memory and time. What is not named here it does not have.
//!
//! Rules say what of the network it may reach: [`NetworkRule`] by sockets, [`HttpRule`] by HTTP requests that the host makes for it. What is refused is
//! counted in [`Denials`].

pub(crate) mod address;
pub(crate) mod denials;
pub(crate) mod host;
mod http;
mod network;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use denials::{Denial, Denials};
pub use host::RuleError;
pub use http::HttpRule;
pub use network::NetworkRule;

use crate::sql::Database;

/// What a component may use. The default is nothing.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Directories of the host.
    pub directories: Vec<Directory>,
    /// Environment variables, names with values.
    pub environment: BTreeMap<String, String>,
    /// Databases, under the names by which the component opens them.
    pub databases: BTreeMap<String, Database>,
    /// What it may connect to by TCP.
    pub network: Vec<NetworkRule>,
    /// What it may fetch by HTTP.
    pub http: Vec<HttpRule>,
}

/// A directory of the host that a component sees.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Where it is.
    pub host: PathBuf,
    /// Where the component sees it.
    pub guest: String,
    /// What it may do there.
    pub access: Access,
}

/// What a component may do in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read.
    ReadOnly,
    /// Read, write, create and delete.
    ReadWrite,
}
