//! `agent-host:sql` as a component sees it: resources over the databases that it was granted.

#![expect(unreachable_pub, reason = "`bindgen!` re-exports the resources, so they have to be `pub`")]

use std::collections::HashMap;

use wasmtime::Result;
use wasmtime::component::Resource;

use super::rows::value_bytes;
use super::{Database, Error, RowSet, Transaction as Open};
use crate::bindings::agent_host::sql::sql::{self as wit, Dialect, Statement, Value};
use crate::grants::Denial;
use crate::state::State;

/// Bytes of results that the host holds for one instance at a time: what the contract promises for one result.
const RESULT_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of rows after which a page ends, so that neither side copies much at once.
const PAGE_BYTES: usize = 1024 * 1024;

/// What one instance has to do with databases.
#[derive(Default)]
pub(crate) struct Databases {
    /// The transactions that are open. They end with the call that began them: one that was forgotten would keep everybody else waiting.
    open: HashMap<u64, (Database, Open)>,
    begun: u64,
    /// Bytes of results that are held.
    held: usize,
}

/// A database that an instance has opened.
pub struct Connection(Database);

/// The rows of a query that an instance has not yet taken.
pub struct Rows {
    columns: Vec<String>,
    rest: std::vec::IntoIter<Vec<Value>>,
    bytes: usize,
}

/// The number of a transaction.
pub struct Transaction(u64);

impl Databases {
    /// Rolls back what is open, and gives how many transactions that were.
    pub(crate) fn end_transactions(&mut self) -> usize {
        let forgotten = self.open.len();
        self.open.clear();
        forgotten
    }

    /// Refuses what could only wait for itself.
    fn check_writable(&self, database: &Database) -> Result<(), Error> {
        if self.open.values().any(|(other, _)| other.is(database)) {
            return Err(Error::Busy("this instance has a transaction open on the database: use it, or end it first".to_owned()));
        }
        Ok(())
    }
}

/// What is said of a transaction that was committed, rolled back, or begun in an earlier call.
fn over() -> wit::Error {
    wit::Error::Other("the transaction is over".to_owned())
}

impl State {
    fn hold(&mut self, rows: RowSet) -> Result<Resource<Rows>> {
        self.databases.held += rows.bytes;
        Ok(self.table.push(Rows { columns: rows.columns, rest: rows.rows.into_iter(), bytes: rows.bytes })?)
    }

    fn room(&self) -> usize {
        RESULT_BYTES.saturating_sub(self.databases.held)
    }

    fn transaction(&mut self, resource: &Resource<Transaction>) -> Result<Option<&mut Open>> {
        let number = self.table.get(resource)?.0;
        Ok(self.databases.open.get_mut(&number).map(|(_, open)| open))
    }

    fn end(&mut self, resource: &Resource<Transaction>) -> Result<Option<Open>> {
        let number = self.table.get(resource)?.0;
        Ok(self.databases.open.remove(&number).map(|(_, open)| open))
    }
}

impl wit::Host for State {}

impl wit::HostConnection for State {
    async fn open(&mut self, name: String) -> Result<Result<Resource<Connection>, wit::Error>> {
        let capabilities = self.capabilities();
        let Some(database) = capabilities.grants.databases.get(&name) else {
            let name: String = name.chars().take(100).collect();
            capabilities.denials.record(Denial::Database, &name);
            return Ok(Err(wit::Error::Denied(format!("no database is granted to this component under the name {name:?}"))));
        };
        Ok(Ok(self.table.push(Connection(database.clone()))?))
    }

    async fn dialect(&mut self, connection: Resource<Connection>) -> Result<Dialect> {
        Ok(self.table.get(&connection)?.0.dialect())
    }

    async fn execute(&mut self, connection: Resource<Connection>, sql: String, params: Vec<Value>) -> Result<Result<u64, wit::Error>> {
        let database = self.table.get(&connection)?.0.clone();
        if let Err(error) = self.databases.check_writable(&database) {
            return Ok(Err(error.into()));
        }
        Ok(database.execute(sql, params).await.map_err(Into::into))
    }

    async fn query(
        &mut self,
        connection: Resource<Connection>,
        sql: String,
        params: Vec<Value>,
    ) -> Result<Result<Resource<Rows>, wit::Error>> {
        let database = self.table.get(&connection)?.0.clone();
        match database.query(sql, params, self.room()).await {
            Ok(rows) => Ok(Ok(self.hold(rows)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    async fn batch(&mut self, connection: Resource<Connection>, statements: Vec<Statement>) -> Result<Result<Vec<u64>, wit::Error>> {
        let database = self.table.get(&connection)?.0.clone();
        if let Err(error) = self.databases.check_writable(&database) {
            return Ok(Err(error.into()));
        }
        Ok(database.batch(statements).await.map_err(Into::into))
    }

    async fn begin(&mut self, connection: Resource<Connection>) -> Result<Result<Resource<Transaction>, wit::Error>> {
        let database = self.table.get(&connection)?.0.clone();
        if let Err(error) = self.databases.check_writable(&database) {
            return Ok(Err(error.into()));
        }
        let open = match database.begin().await {
            Ok(open) => open,
            Err(error) => return Ok(Err(error.into())),
        };
        self.databases.begun += 1;
        let number = self.databases.begun;
        let resource = self.table.push(Transaction(number))?;
        self.databases.open.insert(number, (database, open));
        Ok(Ok(resource))
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

impl wit::HostRows for State {
    async fn columns(&mut self, rows: Resource<Rows>) -> Result<Vec<String>> {
        Ok(self.table.get(&rows)?.columns.clone())
    }

    async fn next(&mut self, rows: Resource<Rows>, max: u32) -> Result<Vec<Vec<Value>>> {
        let rest = &mut self.table.get_mut(&rows)?.rest;
        let mut page = Vec::new();
        let mut bytes = 0;
        while page.len() < max as usize && bytes < PAGE_BYTES {
            let Some(row) = rest.next() else { break };
            bytes += row.iter().map(value_bytes).sum::<usize>();
            page.push(row);
        }
        Ok(page)
    }

    async fn drop(&mut self, rows: Resource<Rows>) -> Result<()> {
        let rows = self.table.delete(rows)?;
        self.databases.held = self.databases.held.saturating_sub(rows.bytes);
        Ok(())
    }
}

impl wit::HostTransaction for State {
    async fn execute(&mut self, transaction: Resource<Transaction>, sql: String, params: Vec<Value>) -> Result<Result<u64, wit::Error>> {
        let Some(open) = self.transaction(&transaction)? else { return Ok(Err(over())) };
        Ok(open.execute(sql, params).await.map_err(Into::into))
    }

    async fn query(
        &mut self,
        transaction: Resource<Transaction>,
        sql: String,
        params: Vec<Value>,
    ) -> Result<Result<Resource<Rows>, wit::Error>> {
        let room = self.room();
        let Some(open) = self.transaction(&transaction)? else { return Ok(Err(over())) };
        match open.query(sql, params, room).await {
            Ok(rows) => Ok(Ok(self.hold(rows)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    async fn commit(&mut self, transaction: Resource<Transaction>) -> Result<Result<(), wit::Error>> {
        let Some(open) = self.end(&transaction)? else { return Ok(Err(over())) };
        Ok(open.commit().await.map_err(Into::into))
    }

    async fn rollback(&mut self, transaction: Resource<Transaction>) -> Result<Result<(), wit::Error>> {
        let Some(open) = self.end(&transaction)? else { return Ok(Err(over())) };
        Ok(open.rollback().await.map_err(Into::into))
    }

    async fn drop(&mut self, transaction: Resource<Transaction>) -> Result<()> {
        drop(self.end(&transaction)?);
        self.table.delete(transaction)?;
        Ok(())
    }
}
