//! Several hosts on one store: a session belongs to one of them at a time, and another one takes it over when that is gone.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::fs;
use std::path::Path;

use agent_host_tests::{Host, Setup, eventually};
use serde_json::json;

/// Where the hosts say that they are.
const ONE: &str = "http://one.example:7878";
const TWO: &str = "http://two.example:7878";

/// Long enough for a busy machine to prolong it, and short enough to wait for.
const TTL: &str = "3s";

async fn host(store: &Path, address: &str) -> Host {
    let database = format!("sqlite:{}", store.join("shared.db").display());
    Setup::new().set("persistence.grants.databases.main", database).set("leases.address", address).set("leases.ttl", TTL).start().await
}

async fn hosts() -> (tempfile::TempDir, Host, Host) {
    let store = tempfile::tempdir().unwrap();
    let (one, two) = (host(store.path(), ONE).await, host(store.path(), TWO).await);
    (store, one, two)
}

/// Runs a turn to its end.
async fn turn(host: &Host, session: &str, text: &str) {
    let mut stream = host.stream().await;
    stream.join(session).await;
    let message = host.client().say(session, text).await;
    stream.turn_end(&message).await;
}

#[tokio::test]
async fn a_session_belongs_to_one_host_which_the_others_name() {
    let (_store, one, two) = hosts().await;
    let session = one.client().new_session("echo").await;
    turn(&one, &session, "to the first").await;

    let response = two.client().request(reqwest::Method::POST, &format!("/sessions/{session}/message")).json(&json!({"content": "x"}));
    let response = response.send().await.unwrap();
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=4).contains(&wait), "{wait}");
    let problem: serde_json::Value = response.json().await.unwrap();
    assert_eq!((&problem["status"], &problem["code"], &problem["owner"]), (&json!(409), &json!("SESSION_OWNED"), &json!(ONE)));
    assert!(problem["detail"].as_str().unwrap().contains(ONE), "{problem}");
    two.client().set_options(&session, &json!({"delayMs": 1})).await.expect_error(409, "SESSION_OWNED");
    two.client().delete(&session).await.expect_error(409, "SESSION_OWNED");
    // What is stored can be read everywhere.
    assert_eq!(two.blocks(&session).await, one.blocks(&session).await);

    // It is given away, and taken.
    one.client().unload(&session).await.expect(200);
    turn(&two, &session, "to the second").await;
    let problem = one.client().message(&session, "x").await.expect_error(409, "SESSION_OWNED");
    assert_eq!(problem["owner"], TWO);
    assert_eq!(one.blocks(&session).await.texts("user_message"), ["to the first", "to the second"]);
    two.client().delete(&session).await.expect(200);
    one.client().message(&session, "x").await.expect_error(404, "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn a_host_that_was_paused_and_wakes_up_has_lost_its_session_and_harms_nothing() {
    let (_store, one, two) = hosts().await;
    let session = one.client().new_session("echo").await;
    turn(&one, &session, "before").await;
    one.client().set_options(&session, &json!({"delayMs": 50})).await.expect(200);
    let mut stream = one.stream().await;
    stream.join(&session).await;
    // It lasts longer than whatever comes before the second host has the session.
    let cut_off = one.client().say(&session, vec!["word"; 2000].join(" ")).await;
    stream.next_event("session:block:delta").await;

    one.pause();
    let is_taken = async || match two.client().message_with_id(&session, "after", "after").await.status {
        202 => true,
        // It was paused in the middle of a write, and holds SQLite's lock: paused at another moment, it does not.
        503 => {
            one.wake();
            one.client().health().await;
            one.pause();
            false
        }
        _ => false,
    };
    eventually("the second host has the session", is_taken).await;
    eventually("the turn has ended", async || two.blocks(&session).await.answer().trim_end() == "after").await;
    let before = two.blocks(&session).await;
    one.wake();

    eventually("the first host knows", async || {
        let answer = one.client().message(&session, "to the one that was paused").await;
        answer.status == 409 && answer.body["owner"] == TWO
    })
    .await;
    // It goes on with everything else.
    let other = one.client().new_session("echo").await;
    turn(&one, &other, "something else").await;
    let blocks = two.blocks(&session).await;
    assert_eq!(blocks, before, "the host that was paused has written");
    assert_eq!(blocks.texts("user_message").len(), 3);
    assert!(blocks.texts("system").iter().any(|text| text.contains("before this turn had ended")), "{blocks:?}");
    assert_eq!(one.blocks(&session).await, blocks);
    drop(cut_off);
}

#[tokio::test]
async fn sessions_of_a_host_that_was_killed_are_its_own_at_once_and_another_ones_when_its_lease_has_ended() {
    let (_store, mut one, two) = hosts().await;
    let (mine, free) = (one.client().new_session("echo").await, one.client().new_session("echo").await);
    turn(&one, &mine, "before").await;
    turn(&one, &free, "before").await;
    one.kill().await;
    two.client().message(&free, "too early").await.expect_error(409, "SESSION_OWNED");
    one.start_again().await;
    turn(&one, &mine, "after").await;
    one.kill().await;
    eventually("the lease has ended", async || two.client().message_with_id(&free, "taken", "taken").await.status == 202).await;
    eventually("the turn has ended", async || two.blocks(&free).await.answer().trim_end() == "taken").await;
    assert_eq!(two.blocks(&free).await.texts("user_message"), ["before", "taken"]);
}

#[tokio::test]
async fn a_component_that_keeps_no_leases_is_refused_in_words() {
    let host = Setup::new().start().await;
    let path = host.beside("without-leases.toml");
    fs::write(&path, format!("listen = '127.0.0.1:0'\ndata_dir = 'other'\nleases.address = '{ONE}'\npersistence.component = 'memory'\n"))
        .unwrap();
    let mut command = host.command();
    command.arg("--config").arg(&path);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("agent-host:persistence/leases"), "{error}");
}
