//! A connection, made when it is needed and again when it is lost, on a runtime that runs while a call waits for it.

use std::cell::{Cell as Flag, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use agent_host_adapter::log;
use agent_host_adapter::sql::{Commit, Error, Executor, Param, Result, Rows, Statement, Value};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement as Prepared};

use crate::error;
use crate::settings::Settings;
use crate::value::{Cell, Parameter};

/// How long a connection may take: below the time that a host gives a call.
const CONNECT: Duration = Duration::from_secs(5);

/// After so long without use it is tried whether the connection is still there, before something is asked of it. The server may have been restarted.
const IDLE: Duration = Duration::from_secs(1);

/// Prepared statements of a connection; the adapter has fewer than that.
const STATEMENTS: usize = 200;

/// What the driver gives.
type Answer<T> = std::result::Result<T, tokio_postgres::Error>;

/// What an instance has of the server.
pub(crate) struct Session {
    runtime: Runtime,
    settings: Settings,
    open: RefCell<Option<Rc<Open>>>,
    used: Flag<Instant>,
}

/// A connection that was made.
struct Open {
    client: Client,
    prepared: RefCell<HashMap<String, Prepared>>,
}

impl Session {
    /// Connects.
    pub(crate) fn new(settings: Settings) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::Other(format!("failed to make a runtime: {error}")))?;
        let session = Self { runtime, settings, open: RefCell::new(None), used: Flag::new(Instant::now()) };
        session.run(async |_| Ok(()))?;
        Ok(session)
    }

    /// Does something with the connection, which is made again if it was lost. What is lost in the middle is not repeated: it may have been done.
    fn run<T>(&self, job: impl AsyncFnOnce(&Open) -> Answer<T>) -> Result<T> {
        self.runtime.block_on(async {
            let open = self.connection().await?;
            let done = job(&open).await;
            self.used.set(Instant::now());
            done.map_err(|error| error::of(&error))
        })
    }

    async fn connection(&self) -> Result<Rc<Open>> {
        let known = self.open.borrow().clone();
        if let Some(open) = known {
            let is_there = self.used.get().elapsed() < IDLE || matches!(timeout(CONNECT, open.client.check_connection()).await, Ok(Ok(())));
            if is_there && !open.client.is_closed() {
                return Ok(open);
            }
            log::debug!("the connection was lost, and is made again");
        }
        let open = Rc::new(self.connect().await?);
        *self.open.borrow_mut() = Some(Rc::clone(&open));
        Ok(open)
    }

    async fn connect(&self) -> Result<Open> {
        let Settings { driver, host, port } = &self.settings;
        let connecting = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => Error::Denied(format!("no grant names the address {host}:{port}")),
                _ => Error::Unavailable(format!("failed to connect to {host}:{port}: {error}")),
            })?;
            // A statement is one small packet, whose answer is waited for.
            stream.set_nodelay(true).map_err(|error| Error::Other(format!("failed to set up the connection: {error}")))?;
            driver.connect_raw(stream, NoTls).await.map_err(|error| error::of(&error))
        };
        let connected = timeout(CONNECT, connecting).await;
        let (client, connection) =
            connected.map_err(|_| Error::Unavailable(format!("{host}:{port} did not answer within {CONNECT:?}")))??;
        self.runtime.spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("the connection ended: {error}");
            }
        });
        Ok(Open { client, prepared: RefCell::default() })
    }

    pub(crate) fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64> {
        self.run(async |open| open.execute(sql, params).await)
    }

    pub(crate) fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Vec<Value>>> {
        self.run(async |open| open.query(sql, params).await)
    }

    /// All or nothing. What was prepared before goes to the server at once, with the transaction around it, so that it takes one round trip.
    pub(crate) fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>> {
        self.run(async |open| {
            let mut prepared = Vec::new();
            for statement in statements {
                prepared.push(open.prepare(statement.sql).await?);
            }
            let parameters: Vec<Vec<Parameter<'_>>> =
                statements.iter().map(|statement| statement.params.iter().map(Parameter).collect()).collect();
            let lists: Vec<Vec<&(dyn ToSql + Sync)>> =
                parameters.iter().map(|list| list.iter().map(|parameter| parameter as &(dyn ToSql + Sync)).collect()).collect();
            let mut requests = Requests::default();
            requests.ask(command(&open.client, "BEGIN")).await;
            for (statement, list) in prepared.iter().zip(&lists) {
                requests.ask(open.client.execute(statement, list)).await;
            }
            // The server commits nothing after a statement that failed there; one that could not be sent it does not know.
            let end = if requests.have_failed() { "ROLLBACK" } else { "COMMIT" };
            requests.ask(command(&open.client, end)).await;
            let mut answers = requests.answers().await?.into_iter();
            Ok(answers.by_ref().skip(1).take(statements.len()).collect())
        })
    }

    /// Begins a transaction. Until it ends, what is asked of the session belongs to it.
    pub(crate) fn begin(self: &Rc<Self>) -> Result<Transaction> {
        self.run(async |open| open.client.batch_execute("BEGIN").await)?;
        let open = self.open.borrow().clone();
        let open = open.ok_or_else(|| Error::Unavailable("the connection was lost".to_owned()))?;
        Ok(Transaction { session: Rc::clone(self), open, is_over: false })
    }
}

async fn command(client: &Client, sql: &str) -> Answer<u64> {
    client.batch_execute(sql).await.map(|()| 0)
}

impl Open {
    async fn prepare(&self, sql: &str) -> Answer<Prepared> {
        let known = self.prepared.borrow().get(sql).cloned();
        if let Some(prepared) = known {
            return Ok(prepared);
        }
        let prepared = self.client.prepare(sql).await?;
        let mut all = self.prepared.borrow_mut();
        if all.len() >= STATEMENTS {
            all.clear();
        }
        all.insert(sql.to_owned(), prepared.clone());
        Ok(prepared)
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Answer<u64> {
        let parameters: Vec<_> = params.iter().map(Parameter).collect();
        let list: Vec<_> = parameters.iter().map(|parameter| parameter as &(dyn ToSql + Sync)).collect();
        self.client.execute(&self.prepare(sql).await?, &list).await
    }

    async fn query(&self, sql: &str, params: &[Param<'_>]) -> Answer<Vec<Vec<Value>>> {
        let parameters: Vec<_> = params.iter().map(Parameter).collect();
        let list: Vec<_> = parameters.iter().map(|parameter| parameter as &(dyn ToSql + Sync)).collect();
        let rows = self.client.query(&self.prepare(sql).await?, &list).await?;
        rows.iter().map(|row| (0..row.len()).map(|column| row.try_get(column).map(|Cell(value)| value)).collect()).collect()
    }
}

type Pending<'a> = Pin<Box<dyn Future<Output = Answer<u64>> + 'a>>;

/// Requests that are made one after the other, before the answer to any is waited for. A request is sent when its future is polled for the first time.
#[derive(Default)]
struct Requests<'a> {
    all: Vec<Request<'a>>,
}

enum Request<'a> {
    Asked(Pending<'a>),
    Answered(Answer<u64>),
}

impl Request<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        if let Self::Asked(answer) = self
            && let Poll::Ready(answer) = answer.as_mut().poll(context)
        {
            *self = Self::Answered(answer);
        }
        matches!(self, Self::Answered(_))
    }
}

impl<'a> Requests<'a> {
    /// Sends a request.
    async fn ask(&mut self, request: impl Future<Output = Answer<u64>> + 'a) {
        let mut request = Request::Asked(Box::pin(request));
        poll_fn(|context| {
            request.poll(context);
            Poll::Ready(())
        })
        .await;
        self.all.push(request);
    }

    /// Whether one has failed already, such as one that could not be sent.
    fn have_failed(&self) -> bool {
        self.all.iter().any(|request| matches!(request, Request::Answered(Err(_))))
    }

    /// Waits for all answers. The first error is the one that says what is wrong: those behind it are its consequences.
    async fn answers(mut self) -> Answer<Vec<u64>> {
        poll_fn(|context| {
            let waiting = self.all.iter_mut().filter_map(|request| (!request.poll(context)).then_some(())).count();
            if waiting == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let answered = |request| match request {
            Request::Answered(answer) => Some(answer),
            Request::Asked(_) => None,
        };
        self.all.into_iter().filter_map(answered).collect()
    }
}

/// A transaction. Dropping it without [`Transaction::commit`] rolls it back.
pub struct Transaction {
    session: Rc<Session>,
    open: Rc<Open>,
    is_over: bool,
}

impl Transaction {
    fn run<T>(&self, job: impl AsyncFnOnce(&Open) -> Answer<T>) -> Result<T> {
        let done = self.session.runtime.block_on(job(&self.open));
        self.session.used.set(Instant::now());
        done.map_err(|error| error::of(&error))
    }
}

impl Executor for Transaction {
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64> {
        self.run(async |open| open.execute(sql, params).await)
    }

    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Rows> {
        self.run(async |open| open.query(sql, params).await).map(Rows::from)
    }
}

impl Commit for Transaction {
    fn commit(mut self) -> Result<()> {
        self.is_over = true;
        self.run(async |open| open.client.batch_execute("COMMIT").await)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.is_over {
            // If it fails the connection is lost, which rolls back, too.
            let _ = self.run(async |open| open.client.batch_execute("ROLLBACK").await);
        }
    }
}
