//! A persistence component that fails as a test says: the one that ships, on a bad day.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use toml::{Table, Value};

use crate::setup::Setup;

/// What the component is told, and its database. Removed when dropped.
#[derive(Debug)]
pub struct Faults {
    directory: TempDir,
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

impl Faults {
    /// None yet.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("agent-host-faults-").tempdir().expect("failed to make a directory for faults");
        Self { directory }
    }

    /// Makes the component the host's.
    pub fn configure(&self, setup: Setup) -> Setup {
        let mut grant = Table::new();
        grant.insert("host".to_owned(), self.directory.path().to_string_lossy().into_owned().into());
        grant.insert("guest".to_owned(), "/faults".into());
        setup
            .set("persistence.component", crate::faulty_adapter().to_string_lossy().into_owned())
            .set("persistence.grants.databases.main", format!("sqlite:{}", self.directory.path().join("main.db").display()))
            .set("persistence.grants.dirs", vec![Value::Table(grant)])
            .set("persistence.limits.call_timeout", "2s")
    }

    /// How it fails from now on: `unavailable 30 hang 5`, in percent of its calls. The component itself has the list of what it can.
    pub fn are(&self, faults: &str) {
        let path: PathBuf = self.directory.path().join("faults");
        // In one step: the component reads it all the time.
        fs::write(path.with_extension("new"), faults).expect("failed to write how the component fails");
        fs::rename(path.with_extension("new"), path).expect("failed to write how the component fails");
    }
}
