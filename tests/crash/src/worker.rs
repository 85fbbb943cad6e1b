//! A client that uses one session after the other, as applications do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Answer, Api};
use crate::follower::Followers;
use crate::ledger::{Kind, Ledger, Sent};
use crate::random::{self, Random, percent};
use crate::report::Findings;
use crate::words::Work;

/// How long a client waits for the end of a turn before it goes on with something else.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at a session.
const LOOK_AGAIN: Duration = Duration::from_millis(40);

/// What all workers share.
#[derive(Clone)]
pub struct Workplace {
    /// The client.
    pub api: Api,
    /// Where it notes what it was told.
    pub ledger: Ledger,
    /// Where it notes what it should not have been told.
    pub findings: Findings,
    /// Who watches.
    pub followers: Followers,
    /// Whether the work is over.
    pub is_over: Arc<AtomicBool>,
    /// Messages of a session before its client turns to another one.
    pub messages: usize,
}

/// Uses one session after the other until the work is over.
pub async fn work(place: Workplace, number: usize, seed: u64) {
    let mut random = random::of(seed, number as u64);
    let mut sessions = 0;
    while !place.is_over.load(Ordering::Relaxed) {
        let kind = Kind { is_calm: number.is_multiple_of(2), is_lonely: number % 3 == 1, is_brief: number % 7 == 6 };
        let id = format!("s{number}-{sessions}");
        sessions += 1;
        let mut client = Client { place: &place, random: &mut random, id, kind, sent: 0 };
        client.live().await;
    }
}

struct Client<'a> {
    place: &'a Workplace,
    random: &'a mut Random,
    id: String,
    kind: Kind,
    sent: usize,
}

impl Client<'_> {
    async fn live(&mut self) {
        let request = json!({"sessionId": self.id, "agentProfileRef": "default", "architecture": "claude-agent-sdk"});
        self.place.ledger.note(&self.id, |told| told.kind = self.kind);
        let created = self.place.api.insist(Method::POST, "/sessions/create", Some(&request)).await;
        self.expect("create", &created);
        if !self.kind.is_lonely {
            self.place.followers.follow(&self.id, self.random.u64(..));
        }
        let messages = if self.kind.is_brief { 3 } else { self.place.messages };
        while self.sent < messages && !self.is_over() {
            match self.random.u32(0..100) {
                0..55 => self.message().await,
                55..65 if !self.kind.is_calm => self.disturb("interrupt").await,
                65..71 if !self.kind.is_calm => self.disturb("unload").await,
                71..79 => self.set_option().await,
                79..82 => self.ask(Method::POST, "/sync").await,
                82..90 => self.ask(Method::GET, "?include=files").await,
                90..95 => self.ask(Method::GET, "").await,
                _ => {
                    let pause = random::time(self.random, Duration::from_millis(300));
                    tokio::time::sleep(pause).await;
                }
            }
        }
        if self.kind.is_brief {
            self.delete().await;
        }
    }

    fn is_over(&self) -> bool {
        self.place.is_over.load(Ordering::Relaxed)
    }

    async fn message(&mut self) {
        self.sent += 1;
        let long = percent(self.random, 15);
        let work = Work {
            session: self.id.clone(),
            message: format!("{}-m{}", self.id, self.sent),
            deltas: if long { self.random.usize(20..60) } else { self.random.usize(1..8) },
            lines: self.random.usize(1..6),
            bytes: if percent(self.random, 10) { 20_000 } else { self.random.usize(10..400) },
            pause: if long { self.random.u64(2..30) } else { self.random.u64(0..4) },
            file: percent(self.random, 40).then(|| format!("file{}.txt", self.random.usize(0..4))),
            daemon: percent(self.random, 5),
            afterwards: if percent(self.random, 30) { self.random.usize(1..3) } else { 0 },
        };
        let message = work.message.clone();
        self.send(&work).await;
        if percent(self.random, 10) {
            // A client that did not hear the first answer.
            self.send(&work).await;
        }
        if percent(self.random, 65) {
            self.end_of(&message).await;
        }
    }

    /// Sends a message until it is acknowledged.
    async fn send(&self, work: &Work) {
        let content = serde_json::to_string(work).unwrap_or_default();
        let body = json!({"content": content, "messageId": work.message});
        let sent = || Sent { work: work.clone(), is_acknowledged: false };
        self.place.ledger.note(&self.id, |told| told.messages.entry(work.message.clone()).or_insert_with(sent).is_acknowledged);
        let answer = self.place.api.insist(Method::POST, &format!("/sessions/{}/message", self.id), Some(&body)).await;
        self.expect("message", &answer);
        if answer.is_success() {
            self.place.ledger.note(&self.id, |told| {
                if let Some(sent) = told.messages.get_mut(&work.message) {
                    sent.is_acknowledged = true;
                }
            });
        }
    }

    /// Waits for a while until the session has nothing to do.
    async fn end_of(&self, message: &str) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && !self.is_over() {
            if let Some(session) = self.place.api.session(&self.id).await
                && is_idle(&session)
                && session["blocks"].as_array().is_some_and(|blocks| blocks.iter().any(|block| block["id"] == message))
            {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn disturb(&self, how: &str) {
        self.place.ledger.note(&self.id, |told| told.disturbances += 1);
        self.ask(Method::POST, &format!("/{how}")).await;
    }

    async fn set_option(&mut self) {
        let value = format!("model-{}", self.random.u32(..));
        self.place.ledger.note(&self.id, |told| told.options_since.push(value.clone()));
        let body = json!({"sessionOptions": {"model": value}});
        let answer = self.place.api.insist(Method::PATCH, &format!("/sessions/{}/options", self.id), Some(&body)).await;
        self.expect("options", &answer);
        if answer.is_success() {
            self.place.ledger.note(&self.id, |told| {
                told.option = Some(value);
                told.options_since.clear();
            });
        }
    }

    async fn delete(&self) {
        self.place.ledger.note(&self.id, |told| told.is_deleted = true);
        let answer = self.place.api.insist(Method::DELETE, &format!("/sessions/{}", self.id), None).await;
        // The first try may have been heard.
        if !matches!(answer, Answer::Came { status: 404, .. }) {
            self.expect("delete", &answer);
        }
    }

    /// Asks once for something that no promise depends on.
    async fn ask(&self, method: Method, what: &str) {
        let answer = self.place.api.once(method, &format!("/sessions/{}{what}", self.id), None).await;
        if !answer.asks_to_try_again() {
            self.expect(what, &answer);
        }
    }

    fn expect(&self, what: &str, answer: &Answer) {
        if !answer.is_success() && !self.is_over() {
            self.place.findings.add("refused requests", format!("{what} of {}: {answer:?}", self.id));
        }
    }
}

/// Whether a session, as GET shows it, has nothing to do.
pub fn is_idle(session: &Value) -> bool {
    let runtime = &session["runtime"];
    runtime["runningMessageId"].is_null() && runtime["queuedMessages"].as_u64().unwrap_or(0) == 0
}
