//! What a component may use besides its own memory and time. What is not named here it does not have.
//!
//! There is no network yet, not even by name: a policy that admits hosts by DNS name is a piece of its own, and its place is here.

use std::collections::BTreeMap;
use std::path::PathBuf;

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
