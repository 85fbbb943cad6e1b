//! An adapter in front of another one: `examples/adapter-encrypting`, composed by `agent-host adapter compose`.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use agent_host_tests::{Host, Kit, Scene, Setup, encrypting_adapter, require};
use serde_json::{Value, json};

/// What is said in a session, and in no other place of these tests.
const SECRET: &str = "the treasure is under the old oak";

/// Keys as an operator has them in the environment.
const OLD: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222222222222222222222222222";

/// A host with these keys in its environment, by their names.
fn setup() -> Setup {
    Setup::new().with_variable("OLD", OLD).with_variable("NEW", NEW).with_variable("ROTATED", &format!("{NEW}\n{OLD}\n"))
}

fn run(host: &Host, arguments: &[&str]) -> Output {
    host.command().arg("adapter").args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The component that encrypts what the inner one stores.
fn compose(host: &Host, outer: &Path, inner: &str) -> PathBuf {
    let file = host.beside(&format!("encrypting-{inner}.wasm"));
    let output = run(host, &["compose", outer.to_str().unwrap(), inner, "--output", file.to_str().unwrap()]);
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
    file
}

/// What an adapter around `sqlite` is granted.
fn grants(database: &Path, keys: &str) -> Value {
    json!({"databases": {"main": format!("sqlite:{}", database.display())}, "env": {"ENCRYPTION_KEYS": format!("env:{keys}")}})
}

#[tokio::test]
async fn it_keeps_the_contract_around_sqlite() {
    let host = setup().start().await;
    let component = compose(&host, &encrypting_adapter(true), "sqlite");
    Kit::new(&host, component).granted(&grants(&host.beside("kit.db"), "OLD")).run().await.assert_kept_but(0);
}

#[tokio::test]
async fn it_keeps_the_contract_around_memory_as_that_does() {
    let host = setup().start().await;
    let component = compose(&host, &encrypting_adapter(false), "memory");
    Kit::new(&host, component).granted(&json!({"env": {"ENCRYPTION_KEYS": "env:OLD"}})).run().await.assert_kept_but(8);
}

/// A host whose adapter encrypts, and what its database is.
async fn encrypting() -> (Scene, PathBuf, PathBuf) {
    let first = setup().start().await;
    let component = compose(&first, &encrypting_adapter(true), "sqlite");
    let mut host = first;
    let database = host.beside("encrypted.db");
    host.stop().await;
    let file = component.to_str().unwrap().to_owned();
    let main = format!("sqlite:{}", database.display());
    host.configure(|setup| {
        setup
            .set("persistence.component", file)
            .set("persistence.grants.databases.main", main)
            .set("persistence.grants.env.ENCRYPTION_KEYS", "env:OLD")
            .set("components.on_start", "configured")
    });
    host.start_again().await;
    assert_eq!(host.operator().serving().await.0, "encrypting+sql");
    (Scene::of(host, "echo", None).await, component, database)
}

/// All bytes of the database, those that are not yet in its file included.
fn bytes(database: &Path) -> Vec<u8> {
    let beside = |suffix: &str| fs::read(format!("{}{suffix}", database.display())).unwrap_or_default();
    [beside(""), beside("-wal")].concat()
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Runs SQL in the database while nobody uses it.
fn sqlite3(program: &Path, database: &Path, sql: &str) -> String {
    let output = Command::new(program).arg(database).arg(sql).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn nothing_that_was_said_is_in_the_database_and_keys_can_be_rotated() {
    let Some(sqlite) = require("sqlite3") else { return };
    let (mut scene, component, database) = encrypting().await;
    scene.turn(format!("write notes/a.txt {SECRET}")).await;
    let blocks = scene.turn(SECRET).await;
    let files = scene.with_files().await;
    scene.restart().await;
    assert_eq!(scene.stored().await, blocks);
    assert_eq!(scene.with_files().await["workspaceFiles"], files["workspaceFiles"]);
    assert!(files["workspaceFiles"].to_string().contains(SECRET));
    let stored = bytes(&database);
    assert!(has(&stored, &scene.session) && has(&stored, "notes/a.txt"), "ids and paths are not hidden");
    for said in [SECRET, "treasure", "user_message", "assistant_text"] {
        assert!(!has(&stored, said), "{said:?} is in the database");
    }

    // A wrong key, in the running host and at a start.
    let dump = || sqlite3(&sqlite, &database, ".dump");
    let (before, operator) = (dump(), scene.host.operator());
    let wrong = json!({"path": component, "grants": grants(&database, "NEW")});
    let refused = operator.swap_named(&wrong, "").await.expect_error(422, "COMPONENT_REFUSED");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("ENCRYPTION_KEYS") && detail.contains("encrypted with the key"), "{refused}");
    assert!(!detail.contains(NEW) && !detail.contains(OLD), "{refused}");
    let without = json!({"path": component, "grants": {"databases": grants(&database, "NEW")["databases"]}});
    let refused = operator.swap_named(&without, "").await.expect_error(422, "COMPONENT_REFUSED");
    assert!(refused["detail"].as_str().unwrap().contains("ENCRYPTION_KEYS is not granted"), "{refused}");
    assert_eq!(dump(), before);
    assert_eq!(scene.stored().await, blocks, "the host goes on as before");

    // The new key first, the old one behind it.
    let rotated = json!({"path": component, "grants": grants(&database, "ROTATED")});
    operator.swap_named(&rotated, "").await.expect(200);
    scene.host.configure(|setup| setup.set("persistence.grants.env.ENCRYPTION_KEYS", "env:ROTATED"));
    scene.rejoin().await;
    let blocks = scene.turn("with another key").await;
    scene.restart().await;
    assert_eq!(scene.stored().await, blocks);
    assert_eq!(scene.with_files().await["workspaceFiles"], files["workspaceFiles"]);
}

#[tokio::test]
async fn what_was_damaged_or_put_elsewhere_is_corrupt() {
    let Some(sqlite) = require("sqlite3") else { return };
    let (mut scene, _, database) = encrypting().await;
    let blocks = scene.turn(SECRET).await;
    let other = scene.client().new_session("echo").await;
    let mut stream = scene.host.stream().await;
    stream.join(&other).await;
    let message = scene.client().say(&other, "something else").await;
    stream.turn_end(&message).await;
    scene.client().sync(&other).await.expect(200);

    let id = |session: &str| format!("(SELECT id FROM streams WHERE session = '{session}' AND name = 'events')");
    let (one, two) = (id(&scene.session), id(&other));
    let largest = format!("(SELECT max(start) FROM stream_chunks WHERE stream = {one})");
    let changes = [
        // The event records of two sessions.
        format!(
            "CREATE TEMP TABLE ids AS SELECT {one} AS one, {two} AS two;
             UPDATE streams SET session = 'nobody' WHERE id = (SELECT one FROM ids);
             UPDATE streams SET session = '{0}' WHERE id = (SELECT two FROM ids);
             UPDATE streams SET session = '{other}' WHERE id = (SELECT one FROM ids)",
            scene.session
        ),
        // A byte in the middle of the first frame, and one at the end of the last.
        format!(
            "UPDATE stream_chunks SET data = CAST(substr(data, 1, 60) || X'00' || substr(data, 62) AS BLOB) WHERE stream = {one} AND start = 0"
        ),
        format!(
            "UPDATE stream_chunks SET data = CAST(substr(data, 1, length(data) - 1) || X'00' AS BLOB) WHERE stream = {one} AND start = {largest}"
        ),
    ];
    let whole = scene.host.beside("whole.db");
    for (number, change) in changes.iter().enumerate() {
        scene.host.stop().await;
        if number == 0 {
            sqlite3(&sqlite, &database, "PRAGMA wal_checkpoint(TRUNCATE)");
            fs::copy(&database, &whole).unwrap();
        }
        sqlite3(&sqlite, &database, &format!("{change}; PRAGMA wal_checkpoint(TRUNCATE)"));
        scene.host.start_again().await;
        scene.client().session(&scene.session).await.expect_error(500, "INTERNAL");
        let log = scene.host.log();
        assert!(log.contains("corrupt") && log.contains("not those that were written"), "change {number}: {log}");
        // Nothing was made worse by that.
        scene.host.stop().await;
        fs::copy(&whole, &database).unwrap();
        scene.host.start_again().await;
        assert_eq!(scene.stored().await, blocks);
    }
}

#[tokio::test]
async fn what_does_not_fit_is_said() {
    let host = setup().start().await;
    let (with, without) = (encrypting_adapter(true), encrypting_adapter(false));
    let (with, without) = (with.to_str().unwrap(), without.to_str().unwrap());
    let made = host.beside("made.wasm");
    fs::write(host.beside("text.wasm"), "no component").unwrap();
    for (outer, inner, complaint) in [
        ("sqlite", "memory", "sqlite is not made to be put in front of another adapter"),
        (with, "memory", "imports agent-host:persistence/leases@0.1.0, which memory does not export; it exports"),
        (with, with, "itself: it is to be composed with the adapter behind it first"),
        (
            with,
            "mysql",
            "there is no component mysql: it is a file, one of a registry (oci://HOST/REPOSITORY@sha256:DIGEST), or one of sqlite, postgresql, memory",
        ),
        ("text.wasm", "sqlite", "text.wasm is no component"),
    ] {
        let output = run(&host, &["compose", outer, inner, "-o", made.to_str().unwrap()]);
        assert!(!output.status.success() && said(&output).contains(complaint), "{}", said(&output));
        assert!(!made.exists());
    }
    let output = run(&host, &["compose", without, "sqlite", "-o", made.to_str().unwrap()]);
    assert!(output.status.success() && said(&output).contains("does not pass on agent-host:persistence/leases@0.1.0"), "{}", said(&output));
    // What was composed can be composed again.
    let twice = host.beside("twice.wasm");
    let output = run(&host, &["compose", without, made.to_str().unwrap(), "-o", twice.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    let grants = grants(&host.beside("twice.db"), "OLD").to_string();
    let output = run(&host, &["test", twice.to_str().unwrap(), "--only", "streams.replace", "--grants", &grants]);
    assert!(output.status.success(), "{}", said(&output));
}
