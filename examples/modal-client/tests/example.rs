//! The example does what it says, against the fake.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::Stdio;

use fake_modal::{FakeModal, Options};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

#[tokio::test]
async fn a_command_runs_in_a_sandbox_as_if_it_ran_here() {
    let fake = FakeModal::start(Options::new(fake_modal::fs_tools())).await.unwrap();
    let mut example = Command::new(env!("CARGO_BIN_EXE_modal-client"))
        .arg("tr a-z A-Z; pwd >&2; exit 5")
        .env_clear()
        .envs([("MODAL_SERVER_URL", fake.url()), ("MODAL_TOKEN_ID", "ak-fake"), ("MODAL_TOKEN_SECRET", "as-fake")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = example.stdin.take().unwrap();
    stdin.write_all(b"hello\n").await.unwrap();
    drop(stdin);
    let output = example.wait_with_output().await.unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((out.as_str(), output.status.code()), ("HELLO\n", Some(5)), "{err}");
    assert!(err.contains("RUN apt-get update") && err.ends_with("/work\n"), "{err}");
    assert!(fake.world().running().is_empty(), "it leaves nothing");
}
