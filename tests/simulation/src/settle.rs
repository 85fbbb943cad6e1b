//! The end of a schedule: the faults stop, everything settles, and the books are checked.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::hash;
use agent_host_session::event::TurnOutcome;
use agent_host_session::id::SessionId;
use agent_host_session::manager::Manager;
use agent_host_session::record::StreamName;
use agent_host_session::state::View;

use crate::client::Picture;
use crate::schedule::Schedule;
use crate::world::{Promise, note};

/// How often it is looked whether everything has settled, and how many times.
const LOOK: Duration = Duration::from_secs(20);
const LOOKS: u32 = 150;

/// Longer than a sandbox that was left is kept.
const GRACE: Duration = Duration::from_secs(11 * 60);

impl Schedule {
    /// Lets everything come to its end.
    pub(crate) async fn settle(&mut self) {
        note!(self.world, "the faults end");
        self.clear_up();
        self.wake().await;
        // What was going on is taken up by the machine on which it was. A host whose session another one has taken learns of it when it writes, and what it shows
        // until then is old: so the last one is asked anew.
        self.end_host().await;
        if self.has_failed_over {
            self.boot(1);
            self.come_to_rest().await;
            self.end_host().await;
            // What the one machine has left of a session that the other one has taken since is old.
            self.forgive();
        }
        self.boot(0);
        let sessions = self.come_to_rest().await;
        if self.world.is_violated() {
            return;
        }
        for session in &sessions {
            self.check_messages(session);
            self.check_clients(session).await;
        }
        if self.world.is_violated() {
            return;
        }
        self.end_hosts(&sessions).await;
    }

    fn broken(&self, promise: Promise, text: String) {
        self.world.violated(promise, text);
    }

    /// Waits until all questions are answered and no session has anything to do; gives those that there are.
    async fn come_to_rest(&mut self) -> Vec<SessionId> {
        let mut busy = String::new();
        for _ in 0..LOOKS {
            tokio::time::sleep(LOOK).await;
            while self.asked.try_join_next().is_some() {}
            busy.clear();
            if !self.asked.is_empty() {
                busy = format!("{} questions have no answer", self.asked.len());
            }
            let sessions = self.world.present();
            for session in &sessions {
                let Some(host) = self.main.clone() else { return Vec::new() };
                // Where nobody has the session, it waits for somebody who wants something of it.
                drop(host.manager.subscribe(session, None).await);
                match host.manager.get(session).await {
                    Ok(view) if view.runtime.running_message_id.is_some() || view.runtime.queued_messages > 0 => {
                        busy = format!("{session} is {:?}", view.runtime);
                        // It may wait for somebody to interrupt it.
                        drop(host.manager.interrupt(session).await);
                    }
                    Ok(_) => {}
                    Err(error) => busy = format!("{session} cannot be read: {error}"),
                }
            }
            if busy.is_empty() || self.world.is_violated() {
                return sessions;
            }
        }
        self.broken(Promise::GoesOn, format!("nothing has settled: {busy}"));
        Vec::new()
    }

    /// Each message is in the record once, has run once, and has come to an end.
    fn check_messages(&self, session: &SessionId) {
        let transcript = self.store.memory.stream(session, &StreamName::TranscriptMain);
        let transcript = String::from_utf8_lossy(&transcript).into_owned();
        let stored: Vec<&str> = transcript.lines().collect();
        self.check_transcript(session, &stored);
        self.store.observed(session, |observed| {
            self.world.known(session, |known| {
                for (id, sent) in &known.messages {
                    let accepted = observed.accepted.get(id).copied().unwrap_or(0);
                    let ended = observed.ended.get(id).map_or(&[][..], Vec::as_slice);
                    let resumed = observed.resumed.get(id).copied().unwrap_or(0);
                    let started = observed.started.get(id).copied().unwrap_or(0);
                    let what = format!(
                        "the message {id} of {session} was accepted {accepted} times, began {started} times, was resumed {resumed} times, \
                         ran {} times and ended {ended:?}",
                        sent.runs
                    );
                    let is_whole = accepted == 1 && started == 1 && ended.len() == 1 && sent.runs <= 1 + resumed;
                    let is_absent = accepted == 0 && started == 0 && ended.is_empty() && sent.runs == 0 && !sent.is_acknowledged;
                    let has_run = sent.runs > 0 || ended != [TurnOutcome::Completed];
                    if !(is_whole && has_run || is_absent) {
                        self.broken(Promise::AcknowledgedIsDurable, what);
                    } else if ended == [TurnOutcome::Completed] && !stored.iter().any(|line| line.starts_with(&format!("{id}-"))) {
                        self.broken(
                            Promise::AcknowledgedIsDurable,
                            format!("the transcript of {session} has nothing of {id}, which has ended"),
                        );
                    }
                }
            });
        });
    }

    /// The transcript is what agents wrote, in order, and nothing twice.
    fn check_transcript(&self, session: &SessionId, stored: &[&str]) {
        let distinct: BTreeSet<&str> = stored.iter().copied().collect();
        if distinct.len() != stored.len() {
            self.broken(Promise::AcknowledgedIsDurable, format!("the transcript of {session} has a line twice: {stored:?}"));
        }
        self.world.known(session, |known| {
            for lost in known.transcript.iter().filter(|written| written.is_owed && !distinct.contains(written.line.as_str())) {
                let text = format!("the line {} of {session}'s transcript, written in {}, was lost", lost.line, lost.sandbox);
                self.broken(Promise::AcknowledgedIsDurable, text);
            }
            if let Some(line) = stored.iter().find(|line| !known.transcript.iter().any(|written| written.line == **line)) {
                self.broken(Promise::AcknowledgedIsDurable, format!("no agent wrote the line {line:?} of {session}'s transcript"));
            }
        });
    }

    /// What clients saw is what there is.
    async fn check_clients(&self, session: &SessionId) {
        // Those that wait for their next try come back.
        tokio::time::sleep(LOOK * 2).await;
        let Some(host) = &self.main else { return };
        let Some(shown) = self.shown(&host.manager, session).await else { return };
        let shown = Picture::of(&shown);
        for client in self.clients.iter().filter(|client| client.session == *session) {
            let seen = client.picture.lock().clone();
            // One that saw the session as it was before it left memory is at rest.
            let is_same = seen.clone().is_some_and(|seen| seen == shown || seen.clone().at_rest() == shown.clone().at_rest());
            if !is_same {
                self.broken(Promise::StreamsResumeExactly, format!("a client of {session} sees {seen:#?}, and the host {shown:#?}"));
            }
        }
    }

    async fn shown(&self, manager: &Manager, session: &SessionId) -> Option<View> {
        match manager.get(session).await {
            Ok(view) => Some(view),
            Err(error) => {
                self.broken(Promise::GoesOn, format!("{session} cannot be read: {error}"));
                None
            }
        }
    }

    /// The hosts end, nothing is left of them, and a reload shows what was there.
    async fn end_hosts(&mut self, sessions: &[SessionId]) {
        let mut before = Vec::new();
        for session in sessions {
            let Some(host) = &self.main else { return };
            before.extend(self.shown(&host.manager, session).await.map(|view| (session.clone(), Picture::of(&view).at_rest())));
        }
        for site in [1, 0] {
            self.end_host().await;
            self.boot(site);
            tokio::time::sleep(GRACE).await;
        }
        for (session, before) in before {
            let Some(host) = &self.main else { return };
            let Some(after) = self.shown(&host.manager, &session).await else { return };
            let picture = Picture::of(&after).at_rest();
            if picture != before {
                let text = format!("{session} was {before:#?}, and is {picture:#?} when it is loaded again");
                self.broken(Promise::StreamsResumeExactly, text);
            }
            for file in &after.files {
                let content = self.store.memory.file(&session, file.path.as_str());
                if content.as_deref().map(hash) != file.sha256 {
                    let text = format!("the store has {content:?} for {file:?} of {session}");
                    self.broken(Promise::AcknowledgedIsDurable, text);
                }
            }
        }
        self.end_host().await;
        for left in self.cloud.alive() {
            self.broken(Promise::NothingIsLeftBehind, format!("{} of {} was left over", left.id, left.session));
        }
    }

    async fn end_host(&mut self) {
        let Some(host) = self.main.take() else { return };
        if tokio::time::timeout(Self::longest_end(), self.shut_down(&host)).await.is_err() {
            self.broken(Promise::GoesOn, format!("{} does not end", host.name));
        }
    }
}
