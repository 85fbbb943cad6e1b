//! A PostgreSQL database: a bounded pool of connections, which are made again when they break.

mod error;
mod lease;
mod server;
mod statement;
mod tls;
mod value;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::{fmt, iter};

use deadpool_postgres::{Pool, Timeouts};
use futures_util::future::{FutureExt as _, TryFutureExt as _, maybe_done};

use self::lease::{Failed, Lease, Waiting};
pub use self::server::PostgresOptions;
use self::server::Server;
use super::{Error, RowSet, Statement, Value};

/// A pool of connections to a server. Clones are the same.
#[derive(Clone)]
pub(super) struct Postgres(Arc<Inner>);

struct Inner {
    options: PostgresOptions,
    name: String,
    pool: Pool,
    waiting: Waiting,
}

/// A pool that may have been closed.
pub(super) struct WeakPostgres(Weak<Inner>);

impl WeakPostgres {
    pub(super) fn upgrade(&self) -> Option<Postgres> {
        self.0.upgrade().map(Postgres)
    }
}

impl Postgres {
    pub(super) async fn open(options: &PostgresOptions) -> Result<Self, Error> {
        let server = Server::new(options)?;
        let waiting = Waiting { runtime: tokio::runtime::Handle::current(), tls: server.tls.clone(), wait: options.wait };
        let name = server.name.clone();
        let pool = Pool::builder(server.into_manager(&waiting.runtime))
            .max_size(options.connections.max(1))
            .timeouts(Timeouts { wait: Some(options.wait), create: Some(options.wait), recycle: Some(options.wait) })
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .build()
            .map_err(|error| Error::Other(error.to_string()))?;
        let postgres = Self(Arc::new(Inner { options: options.clone(), name, pool, waiting }));
        // What is wrong with the address, the password or the certificate is known at once.
        postgres.lease().await?;
        Ok(postgres)
    }

    /// Whether it was opened with these options.
    pub(super) fn has(&self, options: &PostgresOptions) -> bool {
        self.0.options == *options
    }

    /// Names it without keeping it open.
    pub(super) fn downgrade(&self) -> WeakPostgres {
        WeakPostgres(Arc::downgrade(&self.0))
    }

    /// Whether both are the same pool.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    async fn lease(&self) -> Result<Lease, Error> {
        match self.0.pool.get().await {
            Ok(client) => Ok(Lease::new(client, self.0.waiting.clone())),
            Err(error) => Err(error::of_pool(error, &self.0.name, self.0.options.wait)),
        }
    }

    pub(super) async fn execute(&self, sql: &str, params: &[Value]) -> Result<u64, Error> {
        let mut lease = self.lease().await?;
        lease
            .work(async |client| {
                let prepared = lease::prepare_command(client, sql, params).await?;
                match prepared.execute(client).await {
                    // It was refused before it ran: the table is another one than when it was prepared.
                    Err(error) if error::is_stale_plan(&error) => {
                        prepared.forget(client);
                        Ok(lease::prepare_command(client, sql, params).await?.execute(client).await?)
                    }
                    result => Ok(result?),
                }
            })
            .await
    }

    pub(super) async fn query(&self, sql: &str, params: &[Value], limit: usize) -> Result<RowSet, Error> {
        let mut lease = self.lease().await?;
        lease
            .work(async |client| {
                let prepared = lease::prepare(client, sql, params).await?;
                match prepared.query_alone(client, limit).await {
                    Err(Failed::Stale) => {
                        prepared.forget(client);
                        let prepared = lease::prepare(client, sql, params).await?;
                        prepared.query_alone(client, limit).await
                    }
                    result => result,
                }
            })
            .await
    }

    pub(super) async fn batch(&self, statements: &[Statement]) -> Result<Vec<u64>, Error> {
        let mut lease = self.lease().await?;
        lease.work(async |client| Ok(batch(client, statements).await?)).await
    }

    pub(super) async fn begin(&self) -> Result<Transaction, Error> {
        let mut lease = self.lease().await?;
        lease.work(async |client| Ok(client.batch_execute("BEGIN").await?)).await?;
        lease.in_transaction = true;
        Ok(Transaction { lease, failed: false })
    }
}

async fn batch(client: &deadpool_postgres::Client, statements: &[Statement]) -> Result<Vec<u64>, Error> {
    if statements.iter().any(|statement| statement::defines(&statement.sql)) {
        return one_by_one(client, statements).await;
    }
    let mut prepared = Vec::with_capacity(statements.len());
    for statement in statements {
        prepared.push(lease::prepare_command(client, &statement.sql, &statement.params).await?);
    }
    let word = |sql| client.batch_execute(sql).map_ok(|()| 0).boxed();
    let statements = prepared.iter().map(|prepared| prepared.execute(client).boxed());
    let mut sent: Vec<_> = iter::once(word("BEGIN")).chain(statements).chain([word("COMMIT")]).map(maybe_done).collect();
    // The first poll sends. None waits for the answer to the one before it: after one that fails the server refuses all others, and COMMIT undoes what was done.
    poll_fn(|context| {
        for request in &mut sent {
            let _ = request.poll_unpin(context);
        }
        Poll::Ready(())
    })
    .await;
    let mut results = Vec::with_capacity(sent.len());
    for request in &mut sent {
        (&mut *request).await;
        results.extend(Pin::new(request).take_output());
    }
    drop(sent);
    match results.into_iter().collect::<Result<Vec<u64>, _>>() {
        Ok(mut changed) => {
            changed.pop();
            changed.drain(..1);
            Ok(changed)
        }
        Err(error) => {
            if error::is_stale_plan(&error) {
                prepared.iter().for_each(|prepared| prepared.forget(client));
            }
            Err(error::of(error))
        }
    }
}

/// A statement can name a table that one before it makes: it is prepared when that one has run.
async fn one_by_one(client: &deadpool_postgres::Client, statements: &[Statement]) -> Result<Vec<u64>, Error> {
    client.batch_execute("BEGIN").await.map_err(error::of)?;
    let mut changed = Vec::with_capacity(statements.len());
    for Statement { sql, params } in statements {
        let result = match lease::prepare_command(client, sql, params).await {
            Ok(prepared) => prepared.execute(client).await.map_err(error::of),
            Err(error) => Err(error),
        };
        match result {
            Ok(rows) => changed.push(rows),
            Err(error) => {
                client.batch_execute("ROLLBACK").await.map_err(error::of)?;
                return Err(error);
            }
        }
    }
    client.batch_execute("COMMIT").await.map_err(error::of)?;
    Ok(changed)
}

impl fmt::Debug for Postgres {
    /// Where it is, without the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Postgres").field(&self.0.name).finish()
    }
}

/// A transaction. Dropping it rolls it back.
pub(super) struct Transaction {
    lease: Lease,
    /// Whether a statement failed: the server refuses all others, and would answer COMMIT with a rollback that looks like success.
    failed: bool,
}

impl Transaction {
    pub(super) async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Error> {
        self.run(async |client| Ok(lease::prepare_command(client, sql, params).await?.execute(client).await?)).await
    }

    pub(super) async fn query(&mut self, sql: &str, params: &[Value], limit: usize) -> Result<RowSet, Error> {
        self.run(async |client| lease::prepare(client, sql, params).await?.query(client, limit).await).await
    }

    pub(super) async fn commit(mut self) -> Result<(), Error> {
        self.run(async |client| Ok(client.batch_execute("COMMIT").await?)).await?;
        self.lease.in_transaction = false;
        Ok(())
    }

    pub(super) async fn rollback(mut self) -> Result<(), Error> {
        self.lease.work(async |client| Ok(client.batch_execute("ROLLBACK").await?)).await?;
        self.lease.in_transaction = false;
        Ok(())
    }

    async fn run<T>(&mut self, job: impl AsyncFnOnce(&deadpool_postgres::Client) -> Result<T, Failed>) -> Result<T, Error> {
        if self.failed {
            return Err(Error::Other("the database has rolled the transaction back".to_owned()));
        }
        let result = self.lease.work(job).await;
        self.failed = result.is_err();
        result
    }
}
