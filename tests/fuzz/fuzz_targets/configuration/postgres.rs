//! In the place of `agent-host-wasm`'s options for PostgreSQL, which bring the driver and its certificates: what the URL says is for the driver to read.

use std::convert::Infallible;
use std::fmt;

#[derive(Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    pub url: String,
    pub password: Option<String>,
    pub connections: usize,
}

impl PostgresOptions {
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), password: None, connections: 10 }
    }

    pub fn check(&self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl fmt::Debug for PostgresOptions {
    /// Both others may be secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PostgresOptions").field("connections", &self.connections).finish_non_exhaustive()
    }
}
