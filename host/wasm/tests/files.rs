//! Directories, databases and variables: a component has those that it was granted, and cannot leave them.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use agent_host_wasm::grants::{Access, Denial, Directory};
use agent_host_wasm::{Engine, Persistence, PersistenceOptions};
use support::{guest, options, probe, start, with_database};

async fn prober(options: PersistenceOptions) -> Persistence {
    start(&Engine::new(support::options()).unwrap(), guest("prober"), options).await
}

/// A directory beside a secret, with links of all kinds; and the prober, to whom the directory is granted.
async fn granted(access: Access) -> (tempfile::TempDir, Persistence) {
    let outside = tempfile::tempdir().unwrap();
    let inside = outside.path().join("inside");
    fs::create_dir_all(inside.join("deep")).unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    fs::write(inside.join("file"), "mine").unwrap();
    symlink("file", inside.join("link-in")).unwrap();
    symlink("../file", inside.join("deep/link-up")).unwrap();
    symlink("../secret", inside.join("link-out")).unwrap();
    symlink(outside.path().join("secret"), inside.join("link-absolute")).unwrap();
    symlink("..", inside.join("link-directory")).unwrap();
    symlink("link-out", inside.join("link-link")).unwrap();
    symlink("new-outside", outside.path().join("dangling")).unwrap();
    symlink("../new", inside.join("link-new")).unwrap();
    let mut options = PersistenceOptions::default();
    options.grants.directories.push(Directory { host: inside, guest: "/granted".to_owned(), access });
    let store = prober(options).await;
    (outside, store)
}

#[tokio::test]
async fn nothing_outside_a_granted_directory_can_be_read() {
    let (outside, store) = granted(Access::ReadWrite).await;
    for inside in ["file", "link-in", "deep/link-up", "deep/../file", "./deep/./link-up"] {
        assert_eq!(probe(&store, &format!("read /granted/{inside}")).await, "ok \"mine\"", "{inside}");
    }
    for path in
        ["../secret", "deep/../../secret", "link-out", "link-absolute", "link-link", "link-directory/secret", "deep/link-up/../../secret"]
    {
        let answer = probe(&store, &format!("read /granted/{path}")).await;
        assert!(answer.starts_with("error"), "{path}: {answer}");
    }
    for path in ["/etc/passwd", "/", "/granted/..", "/granted/link-directory", &outside.path().join("secret").display().to_string()] {
        for verb in ["read", "list"] {
            let answer = probe(&store, &format!("{verb} {path}")).await;
            assert!(answer.starts_with("error"), "{verb} {path}: {answer}");
        }
    }
}

#[tokio::test]
async fn nothing_outside_a_granted_directory_can_be_written() {
    let (outside, store) = granted(Access::ReadWrite).await;
    assert_eq!(probe(&store, "write /granted/deep/new").await, "ok ()");
    assert_eq!(fs::read_to_string(outside.path().join("inside/deep/new")).unwrap(), "written");
    for path in ["../secret", "link-out", "link-absolute", "link-directory/new", "link-new", "../new"] {
        let answer = probe(&store, &format!("write /granted/{path}")).await;
        assert!(answer.starts_with("error"), "{path}: {answer}");
    }
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    assert!(!outside.path().join("new").exists());
}

#[tokio::test]
async fn a_directory_that_is_read_only_cannot_be_written() {
    let (outside, store) = granted(Access::ReadOnly).await;
    assert_eq!(probe(&store, "read /granted/file").await, "ok \"mine\"");
    for path in ["file", "new", "deep/new", "link-in"] {
        let answer = probe(&store, &format!("write /granted/{path}")).await;
        assert!(answer.starts_with("error"), "{path}: {answer}");
    }
    assert_eq!(fs::read_to_string(outside.path().join("inside/file")).unwrap(), "mine");
    assert_eq!(fs::read_dir(outside.path().join("inside/deep")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_component_opens_the_databases_that_it_was_granted_and_every_other_try_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let store = prober(with_database(&directory.path().join("db"))).await;
    assert_eq!(probe(&store, "database main").await, "ok ()");
    assert_eq!(store.denials().count(Denial::Database), 0);
    for name in ["other", "Main", "main/../other", &directory.path().join("db").display().to_string(), ""] {
        let answer = probe(&store, &format!("database {name}")).await;
        assert!(answer.starts_with("error Error::Denied"), "{name}: {answer}");
    }
    assert_eq!(store.denials().count(Denial::Database), 5);
}

#[tokio::test]
async fn a_component_has_the_variables_that_it_was_granted() {
    let mut options = PersistenceOptions::default();
    options.grants.environment.insert("GRANTED".to_owned(), "value".to_owned());
    let store = prober(options).await;
    assert_eq!(probe(&store, "variable GRANTED").await, "ok \"value\"");
    for name in ["PATH", "HOME", "granted"] {
        assert_eq!(probe(&store, &format!("variable {name}")).await, "error NotPresent", "{name}");
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named_when_the_component_is_started() {
    let mut wrong = PersistenceOptions::default();
    wrong.grants.directories.push(Directory { host: "/nowhere/at/all".into(), guest: "/x".to_owned(), access: Access::ReadOnly });
    let engine = Engine::new(options()).unwrap();
    let component = engine.load(guest("prober")).await.unwrap();
    let Err(error) = Persistence::start(&engine, component, wrong).await else { panic!("it was started") };
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}
