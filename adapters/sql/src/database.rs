//! The granted database, spoken to in its dialect.

use agent_host_adapter::Result;
use agent_host_adapter::sql::{Begin, Commit, Dialect, Executor, Param, Row, Rows, Statement};

use crate::dialect;

/// A granted database, or a transaction in it. Statements are written with SQLite's parameters.
pub(crate) struct Database<E> {
    executor: E,
    dialect: Dialect,
}

/// A statement of a batch, with its parameters.
pub(crate) type Step<'a> = (&'a str, &'a [Param<'a>]);

impl<E: Executor> Database<E> {
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Runs a statement and gives the number of rows that it changed.
    pub(crate) fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64> {
        Ok(self.executor.execute(&dialect::statement(self.dialect, sql), params)?)
    }

    pub(crate) fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Rows> {
        Ok(self.executor.query(&dialect::statement(self.dialect, sql), params)?)
    }

    /// For a query that gives one row at most.
    pub(crate) fn query_one(&self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>> {
        Ok(self.query(sql, params)?.only())
    }
}

impl<E: Begin> Database<E> {
    pub(crate) fn new(executor: E) -> Self {
        let dialect = executor.dialect();
        Self { executor, dialect }
    }

    /// Runs the steps in one transaction, by one call into the host, and gives the number of rows that each changed.
    pub(crate) fn batch(&self, steps: &[Step<'_>]) -> Result<Vec<u64>> {
        let texts: Vec<_> = steps.iter().map(|(sql, _)| dialect::statement(self.dialect, sql)).collect();
        let statements: Vec<_> = texts.iter().zip(steps).map(|(sql, (_, params))| Statement { sql, params }).collect();
        Ok(self.executor.batch(&statements)?)
    }

    pub(crate) fn begin(&self) -> Result<Database<E::Transaction>> {
        Ok(Database { executor: self.executor.begin()?, dialect: self.dialect })
    }
}

impl<E: Commit> Database<E> {
    pub(crate) fn commit(self) -> Result<()> {
        Ok(self.executor.commit()?)
    }
}
