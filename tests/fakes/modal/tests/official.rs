//! The official client for Python works with the fake; and what our client sends is what the official one sends, but for differences that are named here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use agent_host_modal::{Backend, Command, Exit, Files, Image, Sandbox, SandboxFilter, SandboxOptions};
use fake_modal::{Call, FakeModal};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use support::options;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Where our calls differ from the official client's, by method and field, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("ImageGetOrCreate", "namespace", "Python says where images are looked up, which is not needed: JavaScript does not"),
    ("MountGetOrCreate", "earliest_checked_at", "Python says when it asked for the files, which its source calls telemetry"),
    ("TaskExecStdinWrite", "offset", "Python ends the input with the last of it, and ours after it, as the end may come later"),
    ("control", "metadata:x-modal-libmodal-version", "only clients in other languages say which they are"),
    ("control", "metadata:x-modal-node", "only Python says on what it runs"),
    ("control", "metadata:x-modal-platform", "only Python says on what it runs"),
    ("control", "metadata:x-modal-python-version", "only Python says on what it runs"),
    ("control", "metadata:x-modal-timestamp", "only Python says when it calls"),
    ("router", "metadata:x-throttle-retry-attempt", "only Python says how often a router has put it off"),
];

/// Runs a script of this directory with the official client.
async fn python(python: &Path, packages: &Path, url: &str, script: &str, argument: impl AsRef<OsStr>) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let output = tokio::process::Command::new(python)
        .arg(script)
        .arg(argument)
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("HOME", "/nonexistent"), ("MODAL_CONFIG_PATH", "/nonexistent/modal.toml")])
        .envs([("MODAL_SERVER_URL", url), ("MODAL_TOKEN_ID", "ak-fake"), ("MODAL_TOKEN_SECRET", "as-fake")])
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The same as `official.py`, with our client.
async fn ours(fake: &FakeModal) {
    let client = support::client(fake);
    assert_eq!(client.config().backend, Backend::V2);
    let app = client.app("compared").create_if_missing().await.unwrap();
    let files =
        Files::new().executable("bin/greet", "#!/bin/sh\necho hello\n").file("deep/er/with space", "in a directory\n").file("empty", "");
    let image = Image::from_registry("debian:12-slim").copy(files, "/opt/copied").dockerfile_commands(["RUN true"]);
    let image = image.build(&app).await.unwrap();
    let options = SandboxOptions::new()
        .working_dir("/work")
        .lifetime(Duration::from_secs(300))
        .idle_timeout(Duration::from_secs(60))
        .cpu(0.5)
        .memory_mib(256)
        .env("SET", "sandbox")
        .name("compared");
    let sandbox = Sandbox::create(&app, &image, &options).await.unwrap();
    sandbox.set_tags(&BTreeMap::from([("for".to_owned(), "comparison".to_owned())])).await.unwrap();
    assert_eq!(sandbox.poll().await.unwrap(), None);

    let script = "pwd; echo $SET; cat; echo end >&2; exit 3";
    let command = Command::new("sh").args(["-c", script]).env("SET", "command").timeout(Duration::from_secs(30));
    let mut process = sandbox.exec(&command).await.unwrap();
    process.stdin.write_all(b"in\n").await.unwrap();
    process.stdin.shutdown().await.unwrap();
    let (mut output, mut errors) = (String::new(), String::new());
    process.stdout.read_to_string(&mut output).await.unwrap();
    process.stderr.read_to_string(&mut errors).await.unwrap();
    assert_eq!((output.as_str(), errors.as_str()), ("/work\ncommand\nin\n", "end\n"));
    assert_eq!(process.exec.wait().await.unwrap(), Exit::Code(3));

    let script = "cd /opt/copied && find . -type f -exec stat -c '%a %s %n' {} + | sort && cat 'deep/er/with space' && bin/greet";
    let mut copied = sandbox.exec(&Command::new("sh").args(["-c", script])).await.unwrap();
    let mut output = String::new();
    copied.stdout.read_to_string(&mut output).await.unwrap();
    assert_eq!(output, "644 0 ./empty\n644 15 ./deep/er/with space\n755 21 ./bin/greet\nin a directory\nhello\n");

    let mut large = sandbox.exec(&Command::new("sh").args(["-c", "head -c 10000000 /dev/zero"])).await.unwrap();
    let mut output = Vec::new();
    large.stdout.read_to_end(&mut output).await.unwrap();
    assert_eq!(output.len(), 10_000_000);
    assert_eq!(large.exec.wait().await.unwrap(), Exit::Code(0));

    let fs = sandbox.fs();
    fs.make_dir("/work/directory", true).await.unwrap();
    fs.write("/work/directory/file", "written").await.unwrap();
    assert_eq!(fs.read("/work/directory/file").await.unwrap(), "written");
    assert_eq!(fs.list("/work/directory").await.unwrap().len(), 1);
    assert_eq!(fs.stat("/work/directory/file").await.unwrap().size, 7);
    fs.remove("/work/directory", true).await.unwrap();

    let listed: Vec<_> = Sandbox::list(&app, &SandboxFilter::new().tag("for", "comparison")).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(Sandbox::from_name(&app, "compared").await.unwrap().id(), sandbox.id());
    sandbox.terminate().await.unwrap();
    sandbox.wait().await.unwrap();
    assert_eq!(sandbox.poll().await.unwrap().unwrap().code, Some(137));
}

/// The calls of a client, as the script that compares them wants them.
fn shown(calls: &[Call]) -> Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let call = |call: &Call| {
        let metadata: BTreeMap<_, _> =
            call.metadata.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default())).collect();
        json!({"method": call.method, "metadata": metadata, "messages": call.messages.iter().map(|message| hex(message)).collect::<Vec<_>>()})
    };
    calls.iter().map(call).collect()
}

#[tokio::test]
async fn the_official_client_works_with_the_fake_and_ours_sends_what_it_sends() {
    let Some((program, packages)) = agent_host_test_programs::official_modal() else { return };
    let mut calls = Vec::new();
    for is_official in [true, false] {
        let fake = FakeModal::start(options()).await.unwrap();
        if is_official {
            python(&program, &packages, fake.url(), "official.py", "compared").await;
        } else {
            ours(&fake).await;
        }
        assert!(fake.world().running().is_empty());
        calls.push(shown(&fake.faults().take_calls()));
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("calls.json");
    std::fs::write(&file, json!({"official": calls[0], "ours": calls[1]}).to_string()).unwrap();
    let differences = python(&program, &packages, "http://127.0.0.1:9", "compare.py", &file).await;
    let differences: Vec<Value> = serde_json::from_str(&differences).unwrap();
    let mut unexplained = Vec::new();
    for difference in &differences {
        let text = |name: &str| difference[name].as_str().unwrap();
        match DIFFERENCES.iter().find(|(method, field, _)| *method == text("method") && *field == text("field")) {
            Some((method, field, why)) => println!("{method}.{field}: {why}"),
            None => unexplained.push(difference.to_string()),
        }
    }
    assert!(unexplained.is_empty(), "our calls differ from the official client's:\n{}", unexplained.join("\n"));
    for (method, field, _) in DIFFERENCES {
        let is_seen = differences.iter().any(|difference| difference["method"] == *method && difference["field"] == *field);
        assert!(is_seen, "{method}.{field} does not differ any more");
    }
}

#[tokio::test]
async fn the_official_client_sends_the_same_files_once() {
    let Some((program, packages)) = agent_host_test_programs::official_modal() else { return };
    let fake = FakeModal::start(options()).await.unwrap();
    for sent in [3, 0] {
        python(&program, &packages, fake.url(), "official.py", "debian-slim").await;
        let calls = fake.faults().take_calls();
        assert_eq!(calls.iter().filter(|call| call.method == "MountPutFile").count(), sent);
        assert_eq!(calls.iter().any(|call| call.method == "ImageJoinStreaming"), sent > 0);
    }
}
