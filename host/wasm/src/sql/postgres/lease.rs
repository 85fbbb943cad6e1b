//! A connection on loan, and statements on it.

use std::pin::pin;
use std::time::Duration;

use deadpool_postgres::Client;
use futures_util::TryStreamExt as _;
use tokio::runtime::Handle;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::value::{Cell, Param};
use super::{error, statement};
use crate::sql::{Error, RowSet, Value};

/// Prepared statements that a connection keeps. An adapter has a few dozen.
const CACHED_STATEMENTS: usize = 256;

/// What is done with a connection that nobody waits for any more.
#[derive(Clone)]
pub(super) struct Waiting {
    /// Where that is done: whoever lent it may be gone.
    pub(super) runtime: Handle,
    pub(super) tls: MakeRustlsConnect,
    /// How long it may take.
    pub(super) wait: Duration,
}

/// A connection on loan. Wherever it is dropped, a statement that still runs is ended, what is open is rolled back, and the pool has a usable connection again.
pub(super) struct Lease {
    /// There until it is dropped.
    client: Option<Client>,
    /// Whether an answer is awaited.
    is_working: bool,
    pub(super) in_transaction: bool,
    waiting: Waiting,
}

impl Lease {
    pub(super) fn new(client: Client, waiting: Waiting) -> Self {
        Self { client: Some(client), is_working: false, in_transaction: false, waiting }
    }

    /// Does something with the connection. If this future is dropped, or leaves rows unread, that is ended with the loan, and so is the connection.
    pub(super) async fn work<T>(&mut self, job: impl AsyncFnOnce(&Client) -> Result<T, Failed>) -> Result<T, Error> {
        let Some(client) = self.client.as_ref().filter(|_| !self.is_working) else {
            return Err(Error::Other("the connection is closed".to_owned()));
        };
        self.is_working = true;
        let result = job(client).await;
        self.is_working = matches!(result, Err(Failed::Unread(_)));
        Ok(result?)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        let Waiting { runtime, tls, wait } = self.waiting.clone();
        if self.is_working {
            // Not for the next: it would have the answers to questions of this one.
            let client = Client::take(client);
            runtime.spawn(async move {
                // Without it the server would go on with a statement whose answer nobody reads.
                let cancelled = tokio::time::timeout(wait, client.cancel_token().cancel_query(tls)).await;
                if !matches!(cancelled, Ok(Ok(()))) {
                    tracing::debug!(?cancelled, "failed to cancel a statement at PostgreSQL; its connection is closed");
                }
            });
        } else if self.in_transaction {
            runtime.spawn(async move {
                let rolled_back = tokio::time::timeout(wait, client.batch_execute("ROLLBACK")).await;
                if !matches!(rolled_back, Ok(Ok(()))) {
                    // Closed, which rolls back too.
                    drop(Client::take(client));
                }
            });
        }
    }
}

/// Why something was not done.
pub(super) enum Failed {
    /// The table is another one than when the statement was prepared: it was not run.
    Stale,
    /// There were too many rows, of which the server may have more without end.
    Unread(Error),
    Other(Error),
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Stale => Self::Busy("the table was changed meanwhile".to_owned()),
            Failed::Unread(error) | Failed::Other(error) => error,
        }
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        if error::is_stale_plan(&error) { Self::Stale } else { Self::Other(error::of(error)) }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// A statement with its parameters.
pub(super) struct Prepared<'a> {
    sql: &'a str,
    statement: tokio_postgres::Statement,
    params: Vec<Param<'a>>,
}

/// Prepares a statement, unless the connection has it prepared, and checks its parameters.
pub(super) async fn prepare<'a>(client: &Client, sql: &'a str, params: &'a [Value]) -> Result<Prepared<'a>, Error> {
    statement::check(sql)?;
    if client.statement_cache.size() >= CACHED_STATEMENTS {
        client.statement_cache.clear();
    }
    let statement = client.prepare_cached(sql).await.map_err(error::of)?;
    let wanted = statement.params().len();
    if wanted != params.len() {
        return Err(Error::Syntax(format!("the statement has {wanted} parameters, {} were given", params.len())));
    }
    for (value, type_) in params.iter().zip(statement.params()) {
        Param(value).check(type_)?;
    }
    Ok(Prepared { sql, statement, params: params.iter().map(Param).collect() })
}

/// Prepares a statement that gives no rows.
pub(super) async fn prepare_command<'a>(client: &Client, sql: &'a str, params: &'a [Value]) -> Result<Prepared<'a>, Error> {
    let prepared = prepare(client, sql, params).await?;
    if prepared.statement.columns().is_empty() {
        Ok(prepared)
    } else {
        Err(Error::Syntax("the statement gives rows: use `query`".to_owned()))
    }
}

impl Prepared<'_> {
    /// Has the connection prepare it anew the next time.
    pub(super) fn forget(&self, client: &Client) {
        drop(client.statement_cache.remove(self.sql, &[]));
    }

    /// Runs it, and gives the number of rows that it changed. It is sent when this is first polled.
    pub(super) async fn execute(&self, client: &Client) -> Result<u64, tokio_postgres::Error> {
        client.execute_raw(&self.statement, &self.params).await
    }

    /// Runs it in a transaction of its own, and gives its rows.
    pub(super) async fn query_alone(&self, client: &Client, limit: usize) -> Result<RowSet, Failed> {
        if statement::only_reads(self.sql) {
            return self.query(client, limit).await;
        }
        // Without a transaction, rows that are too many would be found so after the change had been made.
        let begin = async { client.batch_execute("BEGIN").await.map_err(Failed::from) };
        let (begun, result) = tokio::join!(biased; begin, self.query(client, limit));
        let result = begun.and(result);
        if matches!(result, Err(Failed::Unread(_))) {
            // It ends with the connection.
            return result;
        }
        client.batch_execute(if result.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        result
    }

    /// Runs it, and gives its rows.
    pub(super) async fn query(&self, client: &Client, limit: usize) -> Result<RowSet, Failed> {
        let columns = self.statement.columns();
        let mut rows = RowSet::new(columns.iter().map(|column| column.name().to_owned()).collect());
        let mut found = pin!(client.query_raw(&self.statement, &self.params).await?);
        while let Some(row) = found.try_next().await? {
            let values = (0..columns.len()).map(|index| Ok(row.try_get::<_, Cell>(index).map_err(error::of)?.0));
            rows.push(values.collect::<Result<_, Error>>()?, limit).map_err(Failed::Unread)?;
        }
        Ok(rows)
    }
}
