//! Configuration: checked before anything starts, and explained.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::fs;
use std::process::Output;

use agent_host_tests::{Host, Setup};

async fn run(host: &Host, arguments: &[&str]) -> Output {
    let mut command = host.command();
    command.args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn check_config_says_what_is_wrong_and_where_without_starting() {
    let host = Setup::new().start().await;
    let good = host.write_config();
    assert!(run(&host, &["check-config", "--config", &good.to_string_lossy()]).await.status.success());

    let path = host.beside("wrong.toml");
    for (text, key, line) in [
        ("listen = \"127.0.0.1:0\"\nlisten_to = 1\n", "listen_to", "2"),
        ("\n[session]\nidle_timeout = \"soon\"\n", "idle_timeout", "3"),
        ("[sandbox]\nprovider = \"cloud\"\n", "provider", "2"),
    ] {
        fs::write(&path, text).unwrap();
        let output = run(&host, &["check-config", "--config", &path.to_string_lossy()]).await;
        let said = said(&output);
        assert!(!output.status.success(), "{text:?} was accepted");
        assert!(said.contains(key) && said.contains(line), "{text:?}: {said}");
        let started = run(&host, &["--config", &path.to_string_lossy()]).await;
        assert!(!started.status.success(), "the host started with {text:?}");
    }
}

#[tokio::test]
async fn a_host_that_others_can_reach_wants_a_key() {
    let host = Setup::new().start().await;
    let path = host.beside("open.toml");
    fs::write(&path, "listen = \"0.0.0.0:0\"\n").unwrap();
    let output = run(&host, &["check-config", "--config", &path.to_string_lossy()]).await;
    assert!(!output.status.success());
    assert!(said(&output).contains("auth.api_keys"), "{}", said(&output));
}

#[tokio::test]
async fn help_explains_the_command() {
    let host = Setup::new().start().await;
    let output = run(&host, &["--help"]).await;
    assert!(output.status.success());
    for word in ["--config", "check-config", "listen"] {
        assert!(said(&output).contains(word), "no {word} in {}", said(&output));
    }
}

#[tokio::test]
async fn profiles_of_a_directory_are_loaded_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("one.json"), r#"{"id": "one", "name": "One"}"#).unwrap();
    fs::write(directory.path().join("two.toml"), "id = \"two\"\nname = \"Two\"\n").unwrap();
    let host = Setup::new().set("profiles.dir", directory.path().to_string_lossy().into_owned()).start().await;
    for id in ["one", "two", "default"] {
        assert_eq!(host.client().profile(id).await.expect(200)["id"], id);
    }
}
