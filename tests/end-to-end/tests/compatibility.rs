//! Components that were built against the first version of the contract, and never since: each host runs them (`fixtures/wit-0.1.0`).

use std::path::{Path, PathBuf};
use std::process::Command;

use agent_host_tests::{Kit, Outcome, Receiver, Scene, Setup, require, text_of};
use serde_json::json;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wit-0.1.0")
}

#[test]
fn they_are_those_that_were_built_then() {
    let Some(sha256sum) = require("sha256sum") else { return };
    let output = Command::new(sha256sum).args(["--check", "--strict", "SHA256SUMS"]).current_dir(fixtures()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 3);
}

#[tokio::test]
async fn the_oldest_adapter_keeps_the_contract_of_this_host_and_takes_over_in_it() {
    let mut scene = Scene::echo().await;
    let adapter = fixtures().join("adapter-sql.wasm");
    let grants = json!({"databases": {"main": format!("sqlite:{}", scene.host.beside("kit.db").display())}});
    Kit::new(&scene.host, &adapter).granted(&grants).run().await.assert_kept_but(0);

    scene.rejoin().await;
    scene.turn("written by the adapter of this host").await;
    let request = json!({"path": adapter, "grants": {"databases": {"main": format!("sqlite:{}", scene.host.beside("old.db").display())}}});
    scene.host.operator().swap_named(&request, "?migrate=true").await.expect(200);
    let blocks = scene.turn("write notes/a.txt by the oldest one").await;
    scene.restart().await;
    assert_eq!(scene.stored().await, blocks);
}

#[tokio::test]
async fn the_oldest_hooks_are_told_and_decide() {
    let Some(mut scene) =
        Scene::claude_with(|setup: Setup| setup.with_variable("WEBHOOK_SECRET", "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw==")).await
    else {
        return;
    };
    let receiver = Receiver::start(|_| Outcome::Taken).await;
    let operator = scene.host.operator();
    let blocklist = json!({"path": fixtures().join("hook-blocklist.wasm"), "config": {"tools": "Bash"}});
    operator.put_hook_named("blocklist", &blocklist).await.expect(200);
    let webhook = json!({
        "path": fixtures().join("hook-webhook.wasm"),
        "config": {"url": receiver.url},
        "grants": {"http": [receiver.url], "env": {"WEBHOOK_SECRET": "env:WEBHOOK_SECRET"}},
    });
    operator.put_hook_named("webhook", &webhook).await.expect(200);
    let blocks = scene.turn("bash echo never").await;
    let result = blocks.all("tool_result")[0];
    assert_eq!(result["isError"], true, "the oldest hook denies a tool: {result}");
    assert!(!text_of(result).contains("never"), "{result}");
    operator.told("webhook").await;
    assert!(!receiver.events().is_empty(), "the oldest hook delivers events");
}
