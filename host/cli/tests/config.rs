//! The configuration as a user meets it: the program's commands, what they print and their exit codes.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test")]

use std::path::Path;
use std::process::{Command, Output};

/// Where the README's configuration reference begins and ends.
const MARKERS: (&str, &str) = ("<!-- configuration reference: begin -->\n", "<!-- configuration reference: end -->");

/// Runs the program in `dir` with nothing but these variables.
fn run(dir: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-host"));
    command.current_dir(dir).env_clear().envs(variables.iter().copied()).args(arguments);
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn check_config_shows_what_is_in_force_and_from_where() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("agent-host.toml"),
        "[auth]\napi_keys = ['env:KEY']\n[agents.claude-agent-sdk]\nenv = { A = 'sk-TOP' }\n",
    )
    .unwrap();
    let variables = [("KEY", "sk-TOP"), ("AGENT_HOST_SESSION_SYNC_INTERVAL", "5s")];
    let output = run(dir.path(), &variables, &["check-config", "--session.idle-timeout", "1m"]);
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(text.ends_with("configuration is valid\n"), "{text}");
    for line in [
        "listen = \"127.0.0.1:7878\"  # default\n",
        "api_keys = [\"env:KEY\"]  # agent-host.toml:2:12\n",
        "idle_timeout = \"1m\"  # flag --session.idle-timeout\n",
        "sync_interval = \"5s\"  # environment variable AGENT_HOST_SESSION_SYNC_INTERVAL\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(!text.contains("sk-TOP") && !stderr(&output).contains("sk-TOP"), "{text}");
}

#[test]
fn check_config_fails_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("agent-host.toml"), "[session]\nidle_timeout = 'soon'\n").unwrap();
    let output = run(dir.path(), &[], &["check-config"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(r#"agent-host.toml:2:16: session.idle_timeout = "soon": expected a duration"#), "{}", stderr(&output));
    assert!(!stdout(&output).contains("configuration is valid"));
}

#[test]
fn check_config_looks_into_the_profiles() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("broken.json"), r#"{"id": "p", "nam": "P"}"#).unwrap();
    let output = run(dir.path(), &[], &["check-config", "--profiles.dir", "."]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("broken.json:1:17: not an agent profile: nam: unknown field"), "{}", stderr(&output));
}

#[test]
fn a_wrong_configuration_keeps_the_host_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &[], &["--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("without keys the host listens on loopback only"), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it made something before it looked");
}

#[test]
fn the_readme_has_the_configuration_reference() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let output = run(Path::new("/"), &[], &["config-reference"]);
    let (_, rest) = readme.split_once(MARKERS.0).unwrap_or_else(|| panic!("README.md has no {}", MARKERS.0));
    let (section, _) = rest.split_once(MARKERS.1).unwrap_or_else(|| panic!("README.md has no {}", MARKERS.1));
    assert!(section == stdout(&output), "README.md is not up to date: put what `agent-host config-reference` prints between the markers");
}
