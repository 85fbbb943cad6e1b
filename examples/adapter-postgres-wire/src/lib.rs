//! The persistence adapter [`adapter_sql`] over a PostgreSQL connection of its own: for a server that the host does not know, or must not.
//!
//! Tables, statements and all that is done with them are those of the adapter that ships. What is here is another [`Begin`]: a database that is spoken to by
//! `tokio-postgres` over a socket that was granted, and not by the host. The `README.md` says what is lost by that.
//!
//! - `settings`: where the server is.
//! - `session`: the connection, and transactions on it.
//! - `value`, `error`: what goes over it, as `agent-host:sql` calls it.
#![forbid(unsafe_code)]

mod error;
mod session;
mod settings;
mod value;

use std::rc::Rc;

use adapter_sql::{Open, Sql};
use agent_host_adapter::sql::{self, Begin, Dialect, Executor, Param, Rows, Statement};
use agent_host_adapter::{Config, Result, export_adapter};

use crate::session::{Session, Transaction};
use crate::settings::Settings;

/// A PostgreSQL database behind a socket. Each instance has one connection.
pub struct Wire(Rc<Session>);

export_adapter!(Sql<Wire>, leases);

impl Open for Wire {
    const NAME: &str = "postgres-wire";

    fn open(config: &Config) -> Result<Self> {
        Ok(Self(Rc::new(Session::new(Settings::new(config)?)?)))
    }
}

impl Executor for Wire {
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> sql::Result<u64> {
        self.0.execute(sql, params)
    }

    fn query(&self, sql: &str, params: &[Param<'_>]) -> sql::Result<Rows> {
        self.0.query(sql, params).map(Rows::from)
    }
}

impl Begin for Wire {
    type Transaction = Transaction;

    fn dialect(&self) -> Dialect {
        Dialect::Postgresql
    }

    fn batch(&self, statements: &[Statement<'_>]) -> sql::Result<Vec<u64>> {
        self.0.batch(statements)
    }

    fn begin(&self) -> sql::Result<Transaction> {
        self.0.begin()
    }
}
