//! Coming to rest: everything that is under way ends, and what clients know is what a reload shows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent_host_tests::Blocks;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::Answer;
use crate::ledger::Sent;
use crate::processes;
use crate::scenario::{DIFFERENT, RESTLESS, Run};
use crate::words::Work;
use crate::worker::is_idle;

/// For anything: ten times what it takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Waits until all is at rest, and gives all sessions as GET shows them then.
pub(crate) async fn settle(run: &Run) -> anyhow::Result<BTreeMap<String, Value>> {
    let rest = Rest { run };
    let told = run.place.ledger.sessions();
    let sessions: Vec<&String> = told.iter().filter(|(_, told)| !told.is_deleted).map(|(id, _)| id).collect();
    rest.take_ups().await;
    for session in &sessions {
        rest.idle(session).await;
    }
    // What an agent did in the meantime is taken in with the next message of its session, or when it is unloaded.
    for (number, session) in sessions.iter().enumerate() {
        if number % 2 == 0 {
            rest.last_message(session).await;
        }
    }
    for session in &sessions {
        rest.idle(session).await;
    }
    for follower in run.place.followers.all() {
        if told.get(&follower.session).is_some_and(|told| !told.is_deleted) {
            rest.agrees(&follower).await;
        }
    }
    for session in &sessions {
        let answer = run.place.api.insist(Method::POST, &format!("/sessions/{session}/unload"), None).await;
        if !answer.is_success() {
            run.place.findings.add(RESTLESS, format!("{session} cannot be unloaded: {answer:?}"));
        }
    }
    let mut shown = BTreeMap::new();
    for session in sessions {
        let answer = run.place.api.insist(Method::GET, &format!("/sessions/{session}"), None).await;
        if let Answer::Came { status: 200, body } = answer {
            shown.insert(session.clone(), body);
        }
    }
    rest.sandboxes().await;
    Ok(shown)
}

struct Rest<'a> {
    run: &'a Run,
}

impl Rest<'_> {
    /// Waits until it is so; if it does not come true, that is found wrong.
    async fn until(&self, kind: &str, what: &str, mut is_so: impl AsyncFnMut() -> Result<(), String>) {
        let deadline = Instant::now() + DEADLINE;
        while let Err(why) = is_so().await {
            if Instant::now() >= deadline {
                self.run.place.findings.add(kind, format!("{what}: {why}"));
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// What the last host has left is taken up.
    async fn take_ups(&self) {
        let host = &self.run.hosts[self.run.serving];
        self.until(RESTLESS, "sessions are taken up", async || {
            let entries = std::fs::read_dir(host.data_directory().join("agenda")).into_iter().flatten().flatten();
            for session in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
                let shown = self.run.place.api.session(&session).await.unwrap_or_default();
                // One that was unloaded may have messages that wait.
                if shown["runtime"]["isLoaded"] != true && is_idle(&shown) {
                    return Err(format!("{session} is not: {}", shown["runtime"]));
                }
            }
            Ok(())
        })
        .await;
    }

    async fn idle(&self, session: &str) {
        self.until(RESTLESS, session, async || {
            let Some(shown) = self.run.place.api.session(session).await else { return Err("it cannot be read".to_owned()) };
            if is_idle(&shown) {
                return Ok(());
            }
            if shown["runtime"]["isLoaded"] != true {
                // Messages wait until somebody wants something of the session.
                let nothing = json!({"sessionOptions": {}});
                let options = format!("/sessions/{session}/options");
                drop(self.run.place.api.once(Method::PATCH, &options, Some(&nothing)).await);
            }
            Err(shown["runtime"].to_string())
        })
        .await;
    }

    async fn last_message(&self, session: &str) {
        let work = Work {
            session: session.to_owned(),
            message: format!("{session}-last"),
            deltas: 1,
            lines: 1,
            bytes: 10,
            pause: 0,
            file: None,
            daemon: false,
            afterwards: 0,
        };
        let body = json!({"content": serde_json::to_string(&work).unwrap_or_default(), "messageId": work.message});
        let answer = self.run.place.api.insist(Method::POST, &format!("/sessions/{session}/message"), Some(&body)).await;
        let sent = Sent { work: work.clone(), is_acknowledged: answer.is_success() };
        self.run.place.ledger.note(session, |told| told.messages.insert(work.message, sent));
    }

    async fn agrees(&self, follower: &crate::follower::Follower) {
        self.until(DIFFERENT, &follower.session, async || {
            let Some(shown) = self.run.place.api.session(&follower.session).await else { return Err("it cannot be read".to_owned()) };
            let Some((seq, blocks)) = follower.knows() else { return Err("nothing is known".to_owned()) };
            // What is not loaded has the number before its next epoch.
            if shown["runtime"]["isLoaded"] == true && shown["seq"].as_u64() != Some(seq) {
                return Err(format!("the client is at {seq}, the session at {}", shown["seq"]));
            }
            if blocks != Blocks::of_session(&shown) {
                return Err(format!("at {seq} the blocks are not the same: {blocks:?} and {}", shown["blocks"]));
            }
            Ok(())
        })
        .await;
    }

    /// All sandboxes go with their sessions, while the host runs.
    async fn sandboxes(&self) {
        self.until(RESTLESS, "all sandboxes end", async || {
            let left: Vec<String> = self.run.hosts.iter().flat_map(|host| processes::sandboxes(&host.data_directory())).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?} are there")) }
        })
        .await;
    }
}
