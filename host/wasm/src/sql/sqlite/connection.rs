//! One SQLite connection: how it is opened, what a component may do on it, and how a statement is run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, OpenFlags};

use crate::sql::{Error, RowSet, Value};

/// Prepared statements that a connection keeps. An adapter has a few dozen.
const CACHED_STATEMENTS: usize = 128;

/// Longest text, blob or row in bytes. Without a limit `randomblob(1000000000)` would allocate a gigabyte in the host, outside of the component's own memory limit.
const MAX_VALUE_BYTES: i32 = 128 * 1024 * 1024;

/// Longest statement in bytes: far beyond what an adapter writes.
const MAX_SQL_BYTES: i32 = 1024 * 1024;

/// A WAL that grew beyond this in bytes is cut back after its checkpoint.
const WAL_BYTES_KEPT: i32 = 64 * 1024 * 1024;

/// Virtual machine instructions between two looks at whether the statement is still wanted: some tens of microseconds.
const INSTRUCTIONS_PER_LOOK: i32 = 1000;

/// What a pooled connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Reader,
}

/// A connection, used by one job at a time.
pub(super) struct Connection {
    connection: rusqlite::Connection,
    /// Whether the host itself speaks, who alone may begin and end transactions.
    host_speaks: Arc<AtomicBool>,
    jobs: Arc<Jobs>,
}

/// Which job runs, and which one is not wanted any more. Jobs are numbered, so that a late cancellation cannot hit the next one.
struct Jobs {
    running: AtomicU64,
    cancelled: AtomicU64,
}

impl Default for Jobs {
    /// No job has number 0, so none is cancelled.
    fn default() -> Self {
        Self { running: AtomicU64::new(1), cancelled: AtomicU64::new(0) }
    }
}

/// Ends the job that it was made for, and no other.
pub(super) struct Cancel {
    jobs: Arc<Jobs>,
    job: u64,
}

impl Cancel {
    pub(super) fn cancel(&self) {
        self.jobs.cancelled.store(self.job, Ordering::Relaxed);
    }
}

impl Connection {
    /// Opens the file, which is created if it is not there.
    pub(super) fn open(path: &Path, role: Role, busy_timeout: Duration) -> Result<Self, Error> {
        let failed = |error: rusqlite::Error| Error::open(path, error);
        // A connection is used by one thread at a time, so SQLite need not lock it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = rusqlite::Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(busy_timeout).map_err(failed)?;
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
        if mode != "wal" {
            return Err(Error::open(
                path,
                format_args!("the write-ahead log is not available there (journal mode {mode}); is it a network file system?"),
            ));
        }
        // FULL: a commit is on the disk when it returns, not only in the log's unsynced end.
        connection
            .execute_batch(&format!("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = {WAL_BYTES_KEPT}"))
            .map_err(failed)?;
        if role == Role::Reader {
            // Reads are routed here because SQLite calls the statement read-only; this holds it to its word.
            connection.execute_batch("PRAGMA query_only = ON").map_err(failed)?;
        }
        for (config, value) in [(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true), (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)] {
            connection.set_db_config(config, value).map_err(failed)?;
        }
        for (limit, value) in [
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
            (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES),
            (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_SQL_BYTES),
            (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        ] {
            connection.set_limit(limit, value).map_err(failed)?;
        }
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);

        let jobs = Arc::new(Jobs::default());
        let seen = Arc::clone(&jobs);
        let unwanted = move || seen.running.load(Ordering::Relaxed) == seen.cancelled.load(Ordering::Relaxed);
        connection.progress_handler(INSTRUCTIONS_PER_LOOK, Some(unwanted)).map_err(failed)?;
        let host_speaks = Arc::new(AtomicBool::new(false));
        let host = Arc::clone(&host_speaks);
        connection.authorizer(Some(move |context: AuthContext<'_>| authorize(&context, host.load(Ordering::Relaxed)))).map_err(failed)?;
        Ok(Self { connection, host_speaks, jobs })
    }

    /// Numbers the job that comes next, and gives what ends it.
    pub(super) fn next_job(&self) -> Cancel {
        let job = self.jobs.running.fetch_add(1, Ordering::Relaxed) + 1;
        Cancel { jobs: Arc::clone(&self.jobs), job }
    }

    fn as_host(&self, sql: &str) -> Result<(), Error> {
        self.host_speaks.store(true, Ordering::Relaxed);
        // Not from the cache of statements: what is prepared there is not authorized again, so a component could run it too.
        let result = self.connection.execute_batch(sql);
        self.host_speaks.store(false, Ordering::Relaxed);
        Ok(result?)
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, Error> {
        self.connection.prepare_cached(sql).map_err(Error::of_preparing)
    }

    pub(super) fn begin(&self) -> Result<(), Error> {
        self.as_host("BEGIN IMMEDIATE")
    }

    pub(super) fn commit(&self) -> Result<(), Error> {
        self.as_host("COMMIT")
    }

    pub(super) fn rollback(&self) -> Result<(), Error> {
        // A job that is not wanted any more is undone, not the undoing.
        self.next_job();
        self.as_host("ROLLBACK")
    }

    /// SQLite ends a transaction by itself on some errors (a full disk, `ON CONFLICT ROLLBACK`).
    pub(super) fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// Runs a statement that has no rows, and gives the number of rows that it changed.
    pub(super) fn execute(&self, sql: &str, params: &[Value]) -> Result<u64, Error> {
        let mut statement = self.prepare(sql)?;
        // Refused before it is run: with rows left unread it would have taken effect and still be an error.
        if statement.column_count() > 0 {
            return Err(Error::Syntax("the statement gives rows: use `query`".to_owned()));
        }
        bind(&mut statement, params)?;
        let before = self.connection.total_changes();
        statement.raw_execute()?;
        // After a statement that changes no rows, such as CREATE TABLE, `changes` still tells of the one before.
        Ok(if self.connection.total_changes() == before { 0 } else { self.connection.changes() })
    }

    /// Whether the statement writes nothing.
    pub(super) fn is_read_only(&self, sql: &str) -> Result<bool, Error> {
        Ok(self.prepare(sql)?.readonly())
    }

    /// Runs a statement and gives its rows, which may take at most `limit` bytes in memory.
    pub(super) fn query(&self, sql: &str, params: &[Value], limit: usize) -> Result<RowSet, Error> {
        let mut statement = self.prepare(sql)?;
        bind(&mut statement, params)?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut set = RowSet::new(columns);
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            let mut values = Vec::with_capacity(set.columns.len());
            for (index, column) in set.columns.iter().enumerate() {
                let value =
                    owned(row.get_ref(index)?).map_err(|_| Error::Other(format!("the column {column:?} holds text that is not UTF-8")))?;
                values.push(value);
            }
            set.push(values, limit)?;
        }
        Ok(set)
    }
}

fn owned(value: ValueRef<'_>) -> Result<Value, std::str::Utf8Error> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => Value::Integer(integer),
        ValueRef::Real(real) => Value::Real(real),
        ValueRef::Text(text) => Value::Text(str::from_utf8(text)?.to_owned()),
        ValueRef::Blob(blob) => Value::Blob(blob.to_owned()),
    })
}

struct Param<'a>(&'a Value);

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Integer(integer) => ValueRef::Integer(*integer),
            Value::Real(real) => ValueRef::Real(*real),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(blob) => ValueRef::Blob(blob),
        }))
    }
}

fn bind(statement: &mut rusqlite::Statement<'_>, params: &[Value]) -> Result<(), Error> {
    let wanted = statement.parameter_count();
    if wanted != params.len() {
        return Err(Error::Syntax(format!("the statement has {wanted} parameters, {} were given", params.len())));
    }
    for (index, value) in params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, Param(value))?;
    }
    Ok(())
}

/// Pragmas that tell about the schema, and the two numbers in the file's header that are the application's own.
const ALLOWED_PRAGMAS: [&str; 16] = [
    "application_id",
    "collation_list",
    "compile_options",
    "data_version",
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "optimize",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
];

/// What is not named here is denied: other files (ATTACH, which VACUUM needs too), other pragmas, extensions, transactions by hand,
/// and what belongs to one connection only, since the next statement may run on another.
fn authorize(context: &AuthContext<'_>, host_speaks: bool) -> Authorization {
    let allowed = match context.action {
        AuthAction::Transaction { .. } => host_speaks,
        AuthAction::Pragma { pragma_name, .. } => ALLOWED_PRAGMAS.iter().any(|allowed| pragma_name.eq_ignore_ascii_case(allowed)),
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        AuthAction::AlterTable { .. }
        | AuthAction::Analyze { .. }
        | AuthAction::CreateIndex { .. }
        | AuthAction::CreateTable { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::Delete { .. }
        | AuthAction::DropIndex { .. }
        | AuthAction::DropTable { .. }
        | AuthAction::DropTrigger { .. }
        | AuthAction::DropView { .. }
        | AuthAction::Insert { .. }
        | AuthAction::Read { .. }
        | AuthAction::Recursive
        | AuthAction::Reindex { .. }
        | AuthAction::Select
        | AuthAction::Update { .. } => true,
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}
