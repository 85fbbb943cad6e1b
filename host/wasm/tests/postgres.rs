//! PostgreSQL: what a statement may do, what its errors are called, and that connections always come back, also when the server went away.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(unix)]

use std::time::Duration;

use agent_host_test_programs::{PostgresServer, Stop, postgres};
use agent_host_wasm::sql::{Error, OpenDatabases, Statement, Value};
use agent_host_wasm::{Database, PostgresOptions};

/// Bytes that a result may take in these tests.
const LIMIT: usize = 1_000_000;

struct Scratch {
    database: Database,
    server: PostgresServer,
}

/// A database with the table `t`; `None` if this machine has no PostgreSQL.
async fn scratch() -> Option<Scratch> {
    let server = postgres()?;
    let options = PostgresOptions { wait: Duration::from_secs(2), connections: 3, ..PostgresOptions::new(server.url("postgres")) };
    let database = Database::open_postgres(&options).await.unwrap();
    let scratch = Scratch { database, server };
    scratch
        .execute("CREATE TABLE t (id BIGINT GENERATED ALWAYS AS IDENTITY, name TEXT UNIQUE NOT NULL, data BYTEA)", vec![])
        .await
        .unwrap();
    Some(scratch)
}

impl Scratch {
    async fn execute(&self, sql: &str, params: Vec<Value>) -> Result<u64, Error> {
        self.database.execute(sql.to_owned(), params).await
    }

    async fn query(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Vec<Value>>, Error> {
        self.database.query(sql.to_owned(), params, LIMIT).await.map(|found| found.rows)
    }

    async fn insert(&self, name: &str) -> Result<u64, Error> {
        self.execute("INSERT INTO t (name) VALUES ($1)", vec![text(name)]).await
    }

    async fn names(&self) -> Vec<String> {
        let rows = self.query("SELECT name FROM t ORDER BY name", vec![]).await.unwrap();
        rows.into_iter().map(|row| if let [Value::Text(name)] = &row[..] { name.clone() } else { panic!("{row:?}") }).collect()
    }

    /// Waits until the server says this, asked by another client.
    async fn eventually(&self, sql: &str, expected: &str) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let said = self.server.psql("postgres", sql);
            if said == expected {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{sql}: {said}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn statement(sql: &str, params: Vec<Value>) -> Statement {
    Statement { sql: sql.to_owned(), params }
}

fn insert(name: &str) -> Statement {
    statement("INSERT INTO t (name) VALUES ($1)", vec![text(name)])
}

fn debug(values: impl std::fmt::Debug) -> String {
    format!("{values:?}")
}

#[tokio::test]
async fn values_have_the_types_that_the_statement_gives_them() {
    let Some(scratch) = scratch().await else { return };
    let blob = Value::Blob((0..=255).collect());
    for (given, type_, back) in [
        (Value::Null, "BIGINT", Value::Null),
        (Value::Integer(i64::MIN), "BIGINT", Value::Integer(i64::MIN)),
        (Value::Integer(-7), "INTEGER", Value::Integer(-7)),
        (Value::Integer(7), "SMALLINT", Value::Integer(7)),
        (Value::Integer(7), "DOUBLE PRECISION", Value::Real(7.0)),
        (Value::Integer(1), "BOOLEAN", Value::Integer(1)),
        (text("off"), "BOOLEAN", Value::Integer(0)),
        (Value::Integer(12), "TEXT", text("12")),
        (Value::Real(-0.1), "DOUBLE PRECISION", Value::Real(-0.1)),
        (Value::Real(0.5), "REAL", Value::Real(0.5)),
        (text("ünï'\"; DROP TABLE t💡"), "TEXT", text("ünï'\"; DROP TABLE t💡")),
        (text(""), "VARCHAR", text("")),
        (text("{\"a\": [1]}"), "JSONB", text("{\"a\": [1]}")),
        (text("{\"a\":  [1]}"), "JSON", text("{\"a\":  [1]}")),
        (text("6B29FC40-CA47-1067-B31D-00DD010662DA"), "UUID", text("6b29fc40-ca47-1067-b31d-00dd010662da")),
        (blob.clone(), "BYTEA", blob),
        (Value::Blob(vec![]), "BYTEA", Value::Blob(vec![])),
    ] {
        let found = scratch.query(&format!("SELECT CAST($1 AS {type_})"), vec![given]).await;
        assert_eq!(debug(found.unwrap()), debug([[back]]), "{type_}");
    }
    let cast = scratch.query("SELECT CAST(CAST($1 AS TIMESTAMPTZ) AT TIME ZONE 'UTC' AS TEXT)", vec![text("2026-11-28T12:00:00Z")]).await;
    assert_eq!(debug(cast.unwrap()), debug([[text("2026-11-28 12:00:00")]]));
    for (sql, params) in [
        ("SELECT CAST($1 AS SMALLINT)", vec![Value::Integer(40_000)]),
        ("SELECT CAST($1 AS TEXT)", vec![Value::Blob(vec![1])]),
        ("SELECT CAST($1 AS BIGINT)", vec![text("seven")]),
        ("SELECT CAST($1 AS TEXT)", vec![text("a\0b")]),
        ("SELECT now()", vec![]),
    ] {
        let result = scratch.query(sql, params).await;
        assert!(matches!(result, Err(Error::Syntax(_))), "{sql}: {result:?}");
    }
    assert!(scratch.names().await.is_empty(), "the connections are usable");
}

#[tokio::test]
async fn errors_have_their_kinds_and_change_nothing() {
    let Some(scratch) = scratch().await else { return };
    scratch.insert("a").await.unwrap();
    assert!(matches!(scratch.insert("a").await, Err(Error::Constraint(_))));
    assert!(matches!(scratch.execute("INSERT INTO t (name) VALUES (NULL)", vec![]).await, Err(Error::Constraint(_))));
    for (sql, params) in [
        ("SELEC 1", vec![]),
        ("SELECT * FROM nowhere", vec![]),
        ("SELECT $1::TEXT", vec![]),
        ("SELECT 1", vec![Value::Null]),
        ("SELECT 1; SELECT 2", vec![]),
        ("SELECT 1/0", vec![]),
        ("", vec![]),
    ] {
        let result = scratch.query(sql, params).await;
        assert!(matches!(result, Err(Error::Denied(_) | Error::Syntax(_))), "{sql}: {result:?}");
    }
    let rows = scratch.execute("INSERT INTO t (name) VALUES ('b') RETURNING id", vec![]).await;
    assert!(matches!(rows, Err(Error::Syntax(_))), "{rows:?}");
    // What would stay with the connection when the next has it.
    for sql in [
        "BEGIN",
        "COMMIT",
        "SET search_path = x",
        "LISTEN a",
        "DECLARE a CURSOR WITH HOLD FOR SELECT 1",
        "COPY t TO STDOUT",
        "PREPARE a AS SELECT 1",
    ] {
        for result in [scratch.execute(sql, vec![]).await.map(drop), scratch.query(sql, vec![]).await.map(drop)] {
            assert!(matches!(result, Err(Error::Denied(_))), "{sql}: {result:?}");
        }
    }
    scratch.server.psql("postgres", "CREATE ROLE reader LOGIN PASSWORD 'x'; GRANT SELECT ON t TO reader");
    let url = scratch.server.url_and_password("postgres").0.replace("agent@", "reader@");
    let reader = Database::open_postgres(&PostgresOptions { password: Some("x".to_owned()), ..PostgresOptions::new(url) }).await.unwrap();
    let denied = reader.execute("INSERT INTO t (name) VALUES ('b')".to_owned(), vec![]).await;
    assert!(matches!(denied, Err(Error::Denied(_))), "{denied:?}");
    assert_eq!(scratch.names().await, ["a"]);
}

#[tokio::test]
async fn a_batch_is_all_or_nothing_and_keeps_its_order() {
    let Some(scratch) = scratch().await else { return };
    let changed = scratch.database.batch(vec![insert("a"), insert("b"), statement("UPDATE t SET data = '\\x01'", vec![])]).await.unwrap();
    assert_eq!(changed, [1, 1, 2]);
    let not_allowed = ["COMMIT", "SELECT 1", "INSERT INTO t (name) VALUES ('a')", "INSERT INTO nowhere VALUES (1)"];
    for failing in not_allowed {
        for extra in [None, Some("CREATE TABLE other (a BIGINT)")] {
            let mut batch = vec![insert("c"), statement(failing, vec![]), insert("d")];
            batch.extend(extra.map(|sql| statement(sql, vec![])));
            assert!(scratch.database.batch(batch).await.is_err(), "{failing}");
            assert_eq!(scratch.names().await, ["a", "b"], "{failing}");
        }
    }
    assert_eq!(scratch.database.batch(vec![]).await.unwrap(), Vec::<u64>::new());
    // Each statement sees what those before it did, however many there are.
    let mut batch = vec![statement("UPDATE t SET name = '0' WHERE name = 'a'", vec![])];
    let next = "UPDATE t SET name = CAST(CAST(name AS BIGINT) + 1 AS TEXT) WHERE name = $1";
    batch.extend((0..200).map(|number: i32| statement(next, vec![text(&number.to_string())])));
    assert_eq!(scratch.database.batch(batch).await.unwrap(), vec![1; 201]);
    assert_eq!(scratch.names().await, ["200", "b"]);
    let defining =
        vec![statement("CREATE TABLE made (a BIGINT)", vec![]), statement("INSERT INTO made VALUES ($1)", vec![Value::Integer(1)])];
    assert_eq!(scratch.database.batch(defining).await.unwrap(), [0, 1]);
}

#[tokio::test]
async fn a_transaction_sees_itself_and_ends_with_whoever_forgot_it() {
    let Some(scratch) = scratch().await else { return };
    let mut transaction = scratch.database.begin().await.unwrap();
    transaction.execute("INSERT INTO t (name) VALUES ('a')".to_owned(), vec![]).await.unwrap();
    let inside = transaction.query("SELECT name FROM t".to_owned(), vec![], LIMIT).await.unwrap();
    assert_eq!((inside.rows.len(), scratch.names().await.len()), (1, 0));
    transaction.commit().await.unwrap();
    assert_eq!(scratch.names().await, ["a"]);

    // After an error nothing of it can be committed.
    let mut failed = scratch.database.begin().await.unwrap();
    failed.execute("INSERT INTO t (name) VALUES ('b')".to_owned(), vec![]).await.unwrap();
    assert!(matches!(failed.execute("INSERT INTO t (name) VALUES ('a')".to_owned(), vec![]).await, Err(Error::Constraint(_))));
    assert!(failed.execute("INSERT INTO t (name) VALUES ('c')".to_owned(), vec![]).await.is_err());
    assert!(failed.commit().await.is_err());

    // Three connections, and each is forgotten with a lock: the fourth has what it needs all the same.
    for name in ["d", "e", "f", "g"] {
        let mut forgotten = scratch.database.begin().await.unwrap();
        forgotten.execute("DELETE FROM t".to_owned(), vec![]).await.unwrap();
        forgotten.execute("INSERT INTO t (name) VALUES ($1)".to_owned(), vec![text(name)]).await.unwrap();
    }
    let mut last = scratch.database.begin().await.unwrap();
    last.execute("UPDATE t SET name = 'z'".to_owned(), vec![]).await.unwrap();
    last.rollback().await.unwrap();
    assert_eq!(scratch.names().await, ["a"]);
}

#[tokio::test]
async fn who_waits_too_long_for_a_connection_or_a_lock_is_told() {
    let Some(scratch) = scratch().await else { return };
    let mut holders = Vec::new();
    for _ in 0..3 {
        holders.push(scratch.database.begin().await.unwrap());
    }
    assert!(matches!(scratch.insert("a").await, Err(Error::Busy(_))));
    holders.truncate(1);
    holders[0].execute("LOCK TABLE t".to_owned(), vec![]).await.unwrap();
    let locked = scratch.insert("a").await;
    assert!(matches!(&locked, Err(Error::Busy(text)) if text.contains("lock timeout")), "{locked:?}");
    drop(holders);
    scratch.insert("a").await.unwrap();
}

#[tokio::test]
async fn a_statement_that_nobody_waits_for_is_ended_at_the_server_and_answers_nobody_else() {
    let Some(scratch) = scratch().await else { return };
    for _ in 0..5 {
        let slow = tokio::time::timeout(Duration::from_millis(50), scratch.query("SELECT pg_sleep(600)", vec![])).await;
        assert!(slow.is_err());
        let rows = scratch.query("SELECT 7", vec![]).await.unwrap();
        assert_eq!(debug(rows), debug([[Value::Integer(7)]]));
    }
    let mut transaction = scratch.database.begin().await.unwrap();
    transaction.execute("INSERT INTO t (name) VALUES ('a')".to_owned(), vec![]).await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(50), transaction.query("SELECT pg_sleep(600)".to_owned(), vec![], LIMIT)).await.is_err()
    );
    drop(transaction);
    scratch.eventually("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'", "0").await;
    assert!(scratch.names().await.is_empty());
}

#[tokio::test]
async fn results_are_bounded_and_what_gave_too_many_rows_is_undone() {
    let Some(scratch) = scratch().await else { return };
    let rows = scratch.query("SELECT generate_series(1, 10000000)", vec![]).await;
    assert!(matches!(&rows, Err(Error::Other(text)) if text.contains("LIMIT")), "{rows:?}");
    // Rows without end keep neither the connection nor the server.
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    for sql in [endless.to_owned(), format!("SELECT * FROM ({endless}) AS endless")] {
        for _ in 0..3 {
            assert!(matches!(scratch.query(&sql, vec![]).await, Err(Error::Other(_))), "{sql}");
        }
    }
    let mut transaction = scratch.database.begin().await.unwrap();
    assert!(transaction.query(endless.to_owned(), vec![], LIMIT).await.is_err());
    drop(transaction);
    scratch.eventually("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%RECURSIVE n%' AND query NOT LIKE '%pg_stat%'", "0").await;
    let written = scratch.query("INSERT INTO t (name) VALUES ('a'), ('b') RETURNING name", vec![]).await.unwrap();
    assert_eq!(debug(written), debug([[text("a")], [text("b")]]));
    let too_many = scratch.database.query("UPDATE t SET name = name || 'x' RETURNING name".to_owned(), vec![], 10).await;
    assert!(too_many.is_err());
    assert_eq!(scratch.names().await, ["a", "b"]);
}

#[tokio::test]
async fn statements_are_prepared_once_and_anew_when_their_table_has_changed() {
    let Some(server) = postgres() else { return };
    let options = PostgresOptions { connections: 1, ..PostgresOptions::new(server.url("postgres")) };
    let database = Database::open_postgres(&options).await.unwrap();
    let scratch = Scratch { database, server };
    scratch.execute("CREATE TABLE t (name TEXT)", vec![]).await.unwrap();
    for name in ["a", "b", "c"] {
        scratch.insert(name).await.unwrap();
        scratch.query("SELECT * FROM t", vec![]).await.unwrap();
    }
    let prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%t%' AND statement NOT LIKE '%pg_prepared%'";
    let count = scratch.query(prepared, vec![]).await.unwrap();
    assert_eq!(debug(count), debug([[Value::Integer(3)]]), "CREATE, INSERT and SELECT");
    scratch.server.psql("postgres", "ALTER TABLE t ADD COLUMN more BIGINT DEFAULT 5");
    let rows = scratch.query("SELECT * FROM t WHERE name = 'a'", vec![]).await.unwrap();
    assert_eq!(debug(rows), debug([[text("a"), Value::Integer(5)]]));
    let rows = scratch.query("SELECT * FROM t", vec![]).await.unwrap();
    assert_eq!(rows[0].len(), 2, "the statement is older than the column");
    for number in 0..1000 {
        scratch.query(&format!("SELECT {number}"), vec![]).await.unwrap();
    }
    let kept = scratch.query("SELECT count(*) < 300 FROM pg_prepared_statements", vec![]).await.unwrap();
    assert_eq!(debug(kept), debug([[Value::Integer(1)]]), "statements without end are not kept");
}

#[tokio::test]
async fn the_server_may_restart_or_be_killed() {
    let Some(mut scratch) = scratch().await else { return };
    for (round, how) in [Stop::Fast, Stop::Kill].into_iter().enumerate() {
        scratch.insert(&format!("before {round}")).await.unwrap();
        let mut open = scratch.database.begin().await.unwrap();
        open.execute("INSERT INTO t (name) VALUES ('never')".to_owned(), vec![]).await.unwrap();
        scratch.server.stop(how);
        let away = scratch.insert("never").await;
        assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
        assert!(matches!(scratch.query("SELECT 1", vec![]).await, Err(Error::Unavailable(_))));
        scratch.server.resume();
        assert!(open.commit().await.is_err(), "a transaction does not outlive its connection");
        scratch.insert(&format!("after {round}")).await.unwrap();
    }
    assert_eq!(scratch.names().await, ["after 0", "after 1", "before 0", "before 1"]);
}

#[tokio::test]
async fn a_commit_is_on_the_disk_whatever_the_servers_default() {
    let Some(mut scratch) = scratch().await else { return };
    scratch.server.restart_with(&["synchronous_commit=off", "lock_timeout=77"]);
    let set = "SELECT current_setting('synchronous_commit') || ' ' || current_setting('lock_timeout')";
    // The first may still be on a connection of the server that is gone.
    let rows = match scratch.query(set, vec![]).await {
        Err(Error::Unavailable(_)) => scratch.query(set, vec![]).await,
        answer => answer,
    };
    assert_eq!(debug(rows.unwrap()), debug([[text("on 77ms")]]), "the operator's own bound holds");
}

#[tokio::test]
async fn tls_is_checked_as_the_url_says() {
    let Some(mut scratch) = scratch().await else { return };
    let certificate = scratch.server.certify();
    scratch.server.restart_with(&["ssl=on"]);
    let url = scratch.server.url("postgres");
    let open = async |query: String| Database::open_postgres(&PostgresOptions::new(format!("{url}?{query}"))).await;
    let encrypted = "SELECT ssl::INT FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let root = format!("sslrootcert={}", certificate.display());
    for (query, expected) in [
        ("sslmode=disable".to_owned(), 0),
        ("sslmode=require".to_owned(), 1),
        (format!("sslmode=verify-full&{root}"), 1),
        (root.clone(), 1),
    ] {
        let database = open(query.clone()).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        let rows = database.query(encrypted.to_owned(), vec![], LIMIT).await.unwrap().rows;
        assert_eq!(debug(rows), debug([[Value::Integer(expected)]]), "{query}");
        // A cancelled statement goes the same way.
        let slow = tokio::time::timeout(Duration::from_millis(50), database.query("SELECT pg_sleep(600)".to_owned(), vec![], LIMIT)).await;
        assert!(slow.is_err());
    }
    scratch.eventually("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'", "0").await;
    // This machine does not believe who signed it.
    let Err(Error::Unavailable(error)) = open("sslmode=verify-full".to_owned()).await else { panic!("an unknown certificate was taken") };
    assert!(error.to_lowercase().contains("certificate"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_at_the_door_is_said_without_the_password() {
    let Some(server) = postgres() else { return };
    let (url, password) = server.url_and_password("postgres");
    let wrong = PostgresOptions { password: Some("not the password".to_owned()), ..PostgresOptions::new(&url) };
    let Err(Error::Unavailable(error)) = Database::open_postgres(&wrong).await else { panic!("a wrong password was taken") };
    assert!(error.contains("password authentication failed") && !error.contains("not the password"), "{error}");
    let nowhere = PostgresOptions::new(server.url("nowhere"));
    let Err(Error::Unavailable(error)) = Database::open_postgres(&nowhere).await else { panic!("there is no such database") };
    assert!(error.contains("nowhere"), "{error}");

    // The same options are the same pool, for as long as somebody has it.
    let databases = OpenDatabases::default();
    let options = PostgresOptions { password: Some(password.to_owned()), connections: 1, ..PostgresOptions::new(url) };
    let one = databases.postgres(&options).await.unwrap();
    let other = databases.postgres(&options).await.unwrap();
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'agent-host'";
    one.execute("CREATE TABLE t (a BIGINT)".to_owned(), vec![]).await.unwrap();
    other.execute("INSERT INTO t VALUES (1)".to_owned(), vec![]).await.unwrap();
    assert_eq!(server.psql("postgres", connections), "1");
    drop((one, other));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while server.psql("postgres", connections) != "0" {
        assert!(tokio::time::Instant::now() < deadline, "the pool is closed with the last who has it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
