//! Databases as a capability of the host: `agent-host:sql` over natively opened databases.
//!
//! A [`Database`] is opened once and shared by all instances, and all generations, of the components that it is granted to. A component names it; what it may
//! do there is bounded; what it left open when its instance ended is rolled back.
//!
//! - `sqlite`: a file with a writer and a bounded pool of readers.
//! - `postgres`: a server with a bounded pool of connections.
//! - `database`: one of both. `registry`: those that are open. `host`: the resources that a component sees.

mod database;
mod error;
pub(crate) mod host;
mod postgres;
mod registry;
mod rows;
mod sqlite;

pub use database::{Database, Transaction};
pub use error::Error;
pub use postgres::PostgresOptions;
pub use registry::OpenDatabases;
pub use rows::RowSet;
pub use sqlite::SqliteOptions;
pub(crate) use sqlite::create_private;

pub use crate::bindings::agent_host::sql::sql::{Dialect, Statement, Value};
