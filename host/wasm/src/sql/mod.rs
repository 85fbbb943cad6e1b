//! Databases as a capability of the host: `agent-host:sql` over natively opened databases.
//!
//! A [`Database`] is opened once and shared by all instances, and all generations, of the components that it is granted to. It is a writer and a
//! bounded pool of readers. A component names it; what it may do there is bounded (`sqlite`); what it left open when its instance ended is rolled back.

mod database;
mod error;
pub(crate) mod host;
mod pool;
mod registry;
mod sqlite;

pub(crate) use database::create_private;
pub use database::{Database, SqliteOptions, Transaction};
pub use error::Error;
pub use registry::OpenDatabases;
pub use sqlite::RowSet;

pub use crate::bindings::agent_host::sql::sql::{Dialect, Statement, Value};
