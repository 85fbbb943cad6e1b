//! A host whose persistence component is away: loaded sessions go on, what they write is kept in the journal, and the component gets it when it is back.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_host_tests::{Faults, Frame, Host, Scene, Setup, eventually, require};
use serde_json::json;

/// A session on a component that fails as it is told.
struct Outage {
    scene: Scene,
    faults: Faults,
}

impl Outage {
    async fn new(configure: impl FnOnce(Setup) -> Setup) -> Self {
        let faults = Faults::new();
        let setup = configure(faults.configure(Setup::new()));
        Self { scene: Scene::of(setup.start().await, "echo", None).await, faults }
    }

    /// How the component fails from now on.
    fn faults(&self, faults: &str) {
        self.faults.are(faults);
    }

    fn host(&self) -> &Host {
        &self.scene.host
    }

    async fn waiting(&self) -> f64 {
        self.host().metrics().await.sum("agent_host_journal_waiting", &[])
    }

    async fn back(&self) {
        self.faults("");
        eventually("the journal is empty", async || self.waiting().await == 0.0).await;
        assert_eq!(journals(self.host()), Vec::<PathBuf>::new());
    }
}

fn journals(host: &Host) -> Vec<PathBuf> {
    let entries = fs::read_dir(host.data_directory().join("journal")).unwrap().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_file()).collect()
}

#[tokio::test]
async fn a_session_goes_on_while_its_store_is_away_and_the_host_says_so() {
    let mut outage = Outage::new(|setup| setup).await;
    outage.scene.turn("before").await;
    outage.faults("unavailable 100");
    let blocks = outage.scene.turn("in the middle").await;
    assert_eq!(blocks.texts("user_message"), ["before", "in the middle"]);
    let said = |frame: &Frame| frame.event == "error" && frame.data["code"] == "STORE_UNAVAILABLE";
    assert_eq!(outage.scene.stream.frames().iter().filter(|frame| said(frame)).count(), 1, "it is said, and once");
    // What is loaded is served, and what is not is worth another try.
    assert_eq!(outage.scene.stored().await, blocks);
    let client = outage.scene.client();
    client.set_options(&outage.scene.session, &json!({"delayMs": 0})).await.expect(200);
    client.sync(&outage.scene.session).await.expect(200);
    client.sessions("").await.expect_error(503, "STORE_UNAVAILABLE");
    client.create(&json!({"agentProfileRef": "default", "architecture": "echo"})).await.expect_error(503, "STORE_UNAVAILABLE");
    let health = client.health().await.expect(200);
    assert_eq!(health["status"], "degraded");
    assert!(health["reason"].as_str().unwrap().contains("journal"), "{health}");
    assert!(outage.waiting().await > 0.0);
    assert_eq!(journals(outage.host()).len(), 1);

    outage.back().await;
    eventually("the host is well", async || outage.scene.client().health().await.expect(200) == json!({"status": "ok"})).await;
    outage.scene.client().unload(&outage.scene.session).await.expect(200);
    assert_eq!(outage.scene.stored().await, blocks);
}

#[tokio::test]
async fn what_was_acknowledged_while_the_store_was_away_outlives_a_kill() {
    let mut outage = Outage::new(|setup| setup).await;
    outage.scene.turn("before").await;
    outage.faults("hang 100");
    outage.scene.turn("in the middle").await;
    outage.scene.turn("and once more").await;
    let blocks = outage.scene.streamed();
    outage.scene.host.kill().await;
    outage.faults("");
    // A copy would be without it.
    let mut copy = outage.host().command();
    copy.args(["copy", "--from"])
        .arg(outage.host().write_config())
        .arg("--to")
        .arg(format!("sqlite:{}", outage.host().beside("copy.db").display()));
    let refused = copy.output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("start the host"), "{said}");
    outage.scene.host.start_again().await;
    assert_eq!(outage.scene.stored().await, blocks);
    outage.back().await;
    outage.scene.rejoin().await;
    outage.scene.turn("after").await;
    assert_eq!(outage.scene.stored().await.texts("user_message"), ["before", "in the middle", "and once more", "after"]);
}

#[tokio::test]
async fn when_the_journal_is_full_messages_are_refused_and_none_is_lost() {
    let mut outage = Outage::new(|setup| setup.set("journal.max", "64 KiB")).await;
    outage.scene.turn("before").await;
    outage.faults("unavailable 100");
    let client = outage.scene.client();
    let text = "x".repeat(10_000);
    let mut accepted = Vec::new();
    let refused = loop {
        let id = format!("message-{}", accepted.len());
        let answer = client.message_with_id(&outage.scene.session, &id, text.as_str()).await;
        if answer.status != 202 {
            break answer;
        }
        accepted.push(id);
        assert!(accepted.len() < 20, "a journal of 64 KiB took 200 KB");
    };
    refused.expect_error(503, "STORE_UNAVAILABLE");
    assert!(!accepted.is_empty());
    client.health().await.expect_error(503, "STORE_UNAVAILABLE");
    assert!(outage.host().metrics().await.sum("agent_host_journal_refused_total", &[]) >= 1.0);

    outage.back().await;
    // The one that was refused may have been waiting in memory, and is taken as the same.
    let next = format!("message-{}", accepted.len());
    eventually("it is taken", async || client.message_with_id(&outage.scene.session, &next, text.as_str()).await.status == 202).await;
    accepted.push(next);
    let all_done = async || {
        let blocks = outage.scene.stored().await;
        blocks.texts("user_message").len() == accepted.len() + 1 && blocks.texts("assistant_text").len() == accepted.len() + 1
    };
    eventually("each has its turn, once", all_done).await;
}

#[tokio::test]
async fn a_damaged_journal_is_told_and_the_rest_is_used() {
    let mut outage = Outage::new(|setup| setup).await;
    outage.scene.turn("before").await;
    outage.faults("unavailable 100");
    outage.scene.turn("damaged-one").await;
    outage.scene.turn("whole-one").await;
    outage.scene.host.kill().await;
    let journal = journals(outage.host()).pop().unwrap();
    let mut bytes = fs::read(&journal).unwrap();
    let place = bytes.windows(11).position(|bytes| bytes == b"damaged-one").unwrap();
    bytes.splice(place..place + 1, *b"X");
    fs::write(&journal, bytes).unwrap();
    outage.faults("");
    outage.scene.host.start_again().await;
    let blocks = outage.scene.stored().await;
    assert!(blocks.texts("user_message").iter().any(|text| text == "whole-one"), "{blocks:?}");
    assert!(outage.host().log().contains("a part of a journal is damaged"), "it is not said");
    outage.back().await;
    outage.scene.rejoin().await;
    outage.scene.turn("after").await;
}

/// Fills what is left of the disk on which a file is.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [64 * 1024, 512] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[tokio::test]
async fn a_disk_that_is_full_is_survived_and_nothing_is_damaged_by_it() {
    if require("unshare").is_none() {
        return;
    }
    let setup = Setup::new().set("sandbox.local.isolation", "none").on_a_disk_of(48 * 1024 * 1024);
    let mut scene = Scene::of(setup.start().await, "echo", None).await;
    scene.turn("before").await;
    let filler = scene.host.data_directory_inside().join("filler");
    fill(&filler);

    // The database may have room for some of them in what it has taken before.
    let (is_full, client) = (AtomicBool::new(false), scene.client());
    let sending = async {
        let mut accepted = Vec::new();
        while !is_full.load(Ordering::Relaxed) {
            let id = format!("message-{}", accepted.len());
            // The last one waits until there is room.
            client.message_with_id(&scene.session, &id, "x".repeat(500_000)).await.expect(202);
            accepted.push(id);
        }
        accepted
    };
    let making_room = async {
        let refused = async || scene.host.metrics().await.sum("agent_host_journal_refused_total", &[]) >= 1.0;
        eventually("neither the store nor the journal has room", refused).await;
        is_full.store(true, Ordering::Relaxed);
        client.message(&scene.session, "too much").await.expect_error(503, "STORE_UNAVAILABLE");
        client.health().await.expect_error(503, "STORE_UNAVAILABLE");
        client.session(&scene.session).await.expect(200);
        fs::remove_file(&filler).unwrap();
    };
    let (accepted, ()) = tokio::join!(sending, making_room);
    let is_done = async || {
        let blocks = scene.stored().await;
        blocks.texts("assistant_text").len() == accepted.len() + 1
    };
    eventually("each message has its turn", is_done).await;
    eventually("the host is well", async || client.health().await.status == 200).await;
    scene.turn("after").await;

    // What is on the disk is whole.
    scene.client().unload(&scene.session).await.expect(200);
    let blocks = scene.stored().await;
    assert_eq!(blocks.texts("user_message").len(), accepted.len() + 2);
    let copied = Command::new("cp").arg("-a").arg(scene.host.data_directory_inside().join(".")).arg(scene.host.data_directory()).status();
    scene.host.kill().await;
    assert!(copied.unwrap().success());
    scene.host.configure(Setup::on_the_common_disk);
    scene.host.start_again().await;
    assert_eq!(scene.stored().await, blocks);
}
