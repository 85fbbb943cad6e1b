//! Databases: what a statement may do, what its errors are called, and that connections always come back.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use agent_host_wasm::sql::{Error, Statement, Value};
use agent_host_wasm::{Database, SqliteOptions};

/// Bytes that a result may take in these tests.
const LIMIT: usize = 1_000_000;

struct Scratch {
    database: Database,
    directory: tempfile::TempDir,
}

fn scratch() -> Scratch {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions { busy_timeout: Duration::from_millis(500), ..SqliteOptions::default() };
    let database = Database::open_sqlite(&directory.path().join("db"), &options).unwrap();
    Scratch { database, directory }
}

impl Scratch {
    async fn execute(&self, sql: &str, params: Vec<Value>) -> Result<u64, Error> {
        self.database.execute(sql.to_owned(), params).await
    }

    async fn query(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Vec<Value>>, Error> {
        self.database.query(sql.to_owned(), params, LIMIT).await.map(|found| found.rows)
    }

    async fn with_table() -> Self {
        let scratch = scratch();
        scratch.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, data)", vec![]).await.unwrap();
        scratch
    }

    async fn names(&self) -> Vec<String> {
        let rows = self.query("SELECT name FROM t ORDER BY name", vec![]).await.unwrap();
        rows.into_iter().map(|row| if let [Value::Text(name)] = &row[..] { name.clone() } else { panic!("{row:?}") }).collect()
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn statement(sql: &str, params: Vec<Value>) -> Statement {
    Statement { sql: sql.to_owned(), params }
}

#[tokio::test]
async fn values_of_every_type_come_back_as_they_were() {
    let scratch = Scratch::with_table().await;
    let values = vec![
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Real(-0.1),
        text("ünï'\"; DROP TABLE t\0💡"),
        text(""),
        Value::Blob((0..=255).collect()),
        Value::Blob(vec![]),
    ];
    for (index, value) in values.iter().enumerate() {
        let changed = scratch.execute("INSERT INTO t (name, data) VALUES (?1, ?2)", vec![text(&index.to_string()), value.clone()]).await;
        assert_eq!(changed.unwrap(), 1);
    }
    let found = scratch.query("SELECT data FROM t ORDER BY id", vec![]).await.unwrap();
    let found: Vec<Value> = found.into_iter().flatten().collect();
    assert_eq!(format!("{found:?}"), format!("{values:?}"));
}

#[tokio::test]
async fn errors_have_their_kinds() {
    let scratch = Scratch::with_table().await;
    scratch.execute("INSERT INTO t (name) VALUES ('a')", vec![]).await.unwrap();
    assert!(matches!(scratch.execute("INSERT INTO t (name) VALUES ('a')", vec![]).await, Err(Error::Constraint(_))));
    assert!(matches!(scratch.execute("INSERT INTO t (name) VALUES (NULL)", vec![]).await, Err(Error::Constraint(_))));
    for (sql, params) in [
        ("SELEC 1", vec![]),
        ("SELECT * FROM nowhere", vec![]),
        ("SELECT ?1", vec![]),
        ("SELECT 1", vec![Value::Null]),
        ("SELECT 1; SELECT 2", vec![]),
    ] {
        let result = scratch.query(sql, params).await;
        assert!(matches!(result, Err(Error::Syntax(_))), "{sql}: {result:?}");
    }
    let result = scratch.execute("INSERT INTO t (name) VALUES ('b') RETURNING id", vec![]).await;
    assert!(matches!(result, Err(Error::Syntax(_))), "{result:?}");
    assert_eq!(scratch.names().await, ["a"], "a statement that was refused has changed nothing");
    let nowhere = Database::open_sqlite(&scratch.directory.path().join("no/such/directory/db"), &SqliteOptions::default());
    assert!(matches!(nowhere, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn other_files_pragmas_extensions_and_transactions_by_hand_are_denied() {
    let scratch = Scratch::with_table().await;
    let other = scratch.directory.path().join("other");
    let other = other.display();
    for sql in [
        format!("ATTACH '{other}' AS other"),
        format!("VACUUM INTO '{other}'"),
        "VACUUM".to_owned(),
        "PRAGMA journal_mode = DELETE".to_owned(),
        "PRAGMA synchronous = OFF".to_owned(),
        "PRAGMA writable_schema = ON".to_owned(),
        "PRAGMA query_only = OFF".to_owned(),
        format!("PRAGMA temp_store_directory = '{other}'"),
        format!("SELECT load_extension('{other}')"),
        "BEGIN".to_owned(),
        "COMMIT".to_owned(),
        "SAVEPOINT a".to_owned(),
        "CREATE TEMP TABLE x (a)".to_owned(),
        "UPDATE sqlite_schema SET sql = ''".to_owned(),
    ] {
        for result in [scratch.execute(&sql, vec![]).await.map(drop), scratch.query(&sql, vec![]).await.map(drop)] {
            assert!(result.is_err(), "{sql} was allowed");
            let refused = matches!(&result, Err(Error::Denied(_) | Error::Syntax(_) | Error::Other(_)));
            assert!(refused, "{sql}: {result:?}");
        }
    }
    let files = std::fs::read_dir(scratch.directory.path()).unwrap().count();
    assert!(files <= 3, "there are files besides the database, its log and its index");
    scratch.query("PRAGMA table_info(t)", vec![]).await.unwrap();
    scratch.query("SELECT name FROM pragma_table_info('t')", vec![]).await.unwrap();
}

#[tokio::test]
async fn a_statement_cannot_make_the_host_allocate_without_bound() {
    let scratch = Scratch::with_table().await;
    assert!(scratch.query("SELECT zeroblob(1000000000)", vec![]).await.is_err());
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    let Err(Error::Other(error)) = scratch.query(rows, vec![]).await else { panic!("rows without end were given") };
    assert!(error.contains("LIMIT"), "{error}");
    assert_eq!(scratch.query("SELECT 1", vec![]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let scratch = Scratch::with_table().await;
    let insert = |name: &str| statement("INSERT INTO t (name) VALUES (?1)", vec![text(name)]);
    let changed = scratch.database.batch(vec![insert("a"), insert("b"), statement("UPDATE t SET data = 1", vec![])]).await.unwrap();
    assert_eq!(changed, [1, 1, 2]);
    for failing in ["INSERT INTO t (name) VALUES ('a')", "INSERT OR ROLLBACK INTO t (name) VALUES ('a')", "COMMIT", "SELECT 1"] {
        let result = scratch.database.batch(vec![insert("c"), statement(failing, vec![]), insert("d")]).await;
        assert!(result.is_err(), "{failing}");
        assert_eq!(scratch.names().await, ["a", "b"], "{failing}");
    }
    assert_eq!(scratch.database.batch(vec![]).await.unwrap(), Vec::<u64>::new());
}

#[tokio::test]
async fn statements_with_rows_that_write_go_to_the_writer() {
    let scratch = Scratch::with_table().await;
    let rows = scratch.query("INSERT INTO t (name) VALUES ('a'), ('b') RETURNING name", vec![]).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(scratch.names().await, ["a", "b"]);
    let too_many = scratch.database.query("UPDATE t SET data = 1 RETURNING name".to_owned(), vec![], 10).await;
    assert!(too_many.is_err());
    let changed = scratch.query("SELECT count(*) FROM t WHERE data = 1", vec![]).await.unwrap();
    assert!(matches!(changed[0][0], Value::Integer(0)), "rows that were too many were changed all the same");
}

#[tokio::test]
async fn a_transaction_sees_itself_and_others_see_it_when_it_is_committed() {
    let scratch = Scratch::with_table().await;
    let mut transaction = scratch.database.begin().await.unwrap();
    transaction.execute("INSERT INTO t (name) VALUES ('a')".to_owned(), vec![]).await.unwrap();
    let inside = transaction.query("SELECT name FROM t".to_owned(), vec![], LIMIT).await.unwrap();
    assert_eq!((inside.rows.len(), scratch.names().await.len()), (1, 0));
    transaction.commit().await.unwrap();
    assert_eq!(scratch.names().await, ["a"]);
}

#[tokio::test]
async fn one_writes_at_a_time_and_who_waits_too_long_is_told() {
    let scratch = Scratch::with_table().await;
    let transaction = scratch.database.begin().await.unwrap();
    assert!(matches!(scratch.execute("INSERT INTO t (name) VALUES ('a')", vec![]).await, Err(Error::Busy(_))));
    assert!(matches!(scratch.database.begin().await.map(drop), Err(Error::Busy(_))));
    assert!(scratch.names().await.is_empty(), "readers do not wait");
    transaction.rollback().await.unwrap();
    scratch.execute("INSERT INTO t (name) VALUES ('b')", vec![]).await.unwrap();
}

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back_at_once_for_other_programs_too() {
    let scratch = Scratch::with_table().await;
    let other = rusqlite::Connection::open(scratch.directory.path().join("db")).unwrap();
    other.busy_timeout(Duration::ZERO).unwrap();
    let mut transaction = scratch.database.begin().await.unwrap();
    transaction.execute("INSERT INTO t (name) VALUES ('a')".to_owned(), vec![]).await.unwrap();
    let insert = "INSERT INTO t (name) VALUES ('other')";
    assert!(other.execute(insert, []).is_err(), "the transaction has the lock");
    drop(transaction);
    other.execute(insert, []).unwrap();
    assert_eq!(scratch.names().await, ["other"]);
    // And the other way: another program's lock is waited for, and told.
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(scratch.execute(insert, vec![]).await, Err(Error::Busy(_))));
    other.execute_batch("ROLLBACK").unwrap();
}

#[tokio::test]
async fn a_transaction_that_the_database_ended_does_not_go_on_without_one() {
    let scratch = Scratch::with_table().await;
    scratch.execute("INSERT INTO t (name) VALUES ('a')", vec![]).await.unwrap();
    let mut transaction = scratch.database.begin().await.unwrap();
    let ended = transaction.execute("INSERT OR ROLLBACK INTO t (name) VALUES ('a')".to_owned(), vec![]).await;
    assert!(matches!(ended, Err(Error::Constraint(_))));
    assert!(transaction.execute("INSERT INTO t (name) VALUES ('b')".to_owned(), vec![]).await.is_err());
    assert!(transaction.commit().await.is_err());
    assert_eq!(scratch.names().await, ["a"]);
}

#[tokio::test]
async fn a_statement_that_nobody_waits_for_is_ended_and_hits_no_other() {
    let scratch = Scratch::with_table().await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO t (name) SELECT i FROM n";
    let abandoned = tokio::time::timeout(Duration::from_millis(50), scratch.execute(endless, vec![])).await;
    assert!(abandoned.is_err());
    // The next in line waits at most 500 ms for the writer, and is not what was cancelled.
    for index in 0..50 {
        scratch.execute("INSERT INTO t (name) VALUES (?1)", vec![text(&index.to_string())]).await.unwrap();
    }
    assert_eq!(scratch.names().await.len(), 50);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_alone_and_any_tool_can_read_it_meanwhile() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::with_table().await;
    scratch.execute("INSERT INTO t (name) VALUES ('a')", vec![]).await.unwrap();
    for entry in std::fs::read_dir(scratch.directory.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others can read it");
    }
    let other = rusqlite::Connection::open(scratch.directory.path().join("db")).unwrap();
    let name: String = other.query_row("SELECT name FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(name, "a");
}
