//! The one task that reads and writes an open connection.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use agent_host_session::id::{Sequence, SessionId};
use agent_host_session::log::Ended;
use agent_host_session::manager::ListChange;
use agent_host_session::state::View;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::{StreamExt, StreamMap};

use super::check_key;
use super::list::{List, ListEvent};
use super::outgoing::{Close, End, Incoming, Outgoing};
use super::request::{Ask, Request};
use crate::feed::{Delivery, Feed, Presence, Then, feed};
use crate::problem::{Code, Problem};
use crate::shared::Shared;
use crate::wire::{error_frame, problem_frame};

/// A connection whose client is known.
pub(super) struct Connection<'a> {
    shared: Arc<Shared>,
    outgoing: &'a mut Outgoing,
    list: List,
    joined: HashMap<SessionId, Joined>,
    feeds: StreamMap<SessionId, Feed>,
    mistakes: u32,
}

/// A session that the client has joined.
struct Joined {
    /// The request to join, until it is answered.
    unanswered: Option<Value>,
    presence: Presence,
}

enum Step {
    Received(Result<Incoming, End>),
    Delivered(SessionId, Delivery),
    Listed(ListEvent),
    Heartbeat,
    Shutdown,
}

impl<'a> Connection<'a> {
    pub(super) fn new(shared: Arc<Shared>, outgoing: &'a mut Outgoing) -> Self {
        let list = List::new(Arc::clone(&shared.manager), &shared.options.socket);
        Self { shared, outgoing, list, joined: HashMap::new(), feeds: StreamMap::new(), mistakes: 0 }
    }

    /// Serves the client until the connection ends.
    pub(super) async fn run(mut self) -> End {
        let Err(end) = self.serve().await;
        end
    }

    async fn serve(&mut self) -> Result<Infallible, End> {
        let shutdown = self.shared.shutdown.clone();
        let period = self.shared.options.socket.heartbeat;
        let mut heartbeat = tokio::time::interval_at(Instant::now() + period, period);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                received = self.outgoing.receive() => Step::Received(received),
                Some((session, delivery)) = self.feeds.next(), if !self.feeds.is_empty() => Step::Delivered(session, delivery),
                event = self.list.next() => Step::Listed(event),
                _ = heartbeat.tick() => Step::Heartbeat,
                () = shutdown.cancelled() => Step::Shutdown,
            };
            match step {
                Step::Received(incoming) => self.received(incoming?).await?,
                Step::Delivered(session, delivery) => self.delivered(session, delivery).await?,
                Step::Listed(event) => self.listed(event).await?,
                Step::Heartbeat if self.outgoing.silence() > period * 2 => return Err(End::Silent),
                Step::Heartbeat => self.outgoing.ping().await?,
                Step::Shutdown => return Err(End::Close(Close::GoingAway)),
            }
        }
    }

    async fn received(&mut self, incoming: Incoming) -> Result<(), End> {
        let Request { id, ask } = match incoming {
            Incoming::Control => return Ok(()),
            Incoming::Binary => {
                Request { id: Value::Null, ask: Err(Problem::new(Code::InvalidRequest, "binary frames are not understood; send text")) }
            }
            Incoming::Text(text) => Request::parse(&text),
        };
        match ask {
            Ok(Ask::Ping) => self.outgoing.acknowledge(id, Ok(())).await,
            Ok(Ask::Auth { key }) => check_key(self.outgoing, &self.shared, id, &key).await,
            Ok(Ask::Join { session, since }) => self.join(id, session, since).await,
            Ok(Ask::Leave { session }) => self.leave(id, &session).await,
            Err(problem) => {
                self.outgoing.acknowledge(id, Err(&problem)).await?;
                self.mistakes += 1;
                if self.mistakes >= self.shared.options.socket.max_mistakes {
                    return Err(End::Close(Close::TooManyMistakes));
                }
                Ok(())
            }
        }
    }

    async fn join(&mut self, id: Value, session: SessionId, since: Option<Sequence>) -> Result<(), End> {
        let limit = self.shared.options.socket.max_joined;
        if self.joined.len() >= limit && !self.joined.contains_key(&session) {
            let problem = Problem::new(Code::TooManyJoined, format!("{limit} sessions are joined already; leave one"));
            return self.outgoing.acknowledge(id, Err(&problem)).await;
        }
        self.forget(&session, "another request to join the session took its place").await?;
        self.follow(session.clone(), since);
        self.joined.insert(session, Joined { unanswered: Some(id), presence: Presence::new() });
        Ok(())
    }

    async fn leave(&mut self, id: Value, session: &SessionId) -> Result<(), End> {
        self.forget(session, "the session was left before it was joined").await?;
        self.outgoing.acknowledge(id, Ok(())).await
    }

    /// Follows a session no more; a request to join it that is still without an answer is answered by `why`.
    async fn forget(&mut self, session: &SessionId, why: &str) -> Result<(), End> {
        self.feeds.remove(session);
        match self.joined.remove(session).and_then(|joined| joined.unanswered) {
            Some(id) => self.outgoing.acknowledge(id, Err(&Problem::new(Code::Conflict, why))).await,
            None => Ok(()),
        }
    }

    fn follow(&mut self, session: SessionId, since: Option<Sequence>) {
        self.feeds.insert(session.clone(), feed(Arc::clone(&self.shared.manager), session, since));
    }

    async fn delivered(&mut self, session: SessionId, delivery: Delivery) -> Result<(), End> {
        match delivery {
            Delivery::Events(events) => {
                let frames: Vec<Arc<str>> = events.iter().map(|event| Arc::clone(event.frame(&session).text())).collect();
                self.outgoing.send_all(&frames).await
            }
            Delivery::Joined { snapshot } => self.is_joined(&session, snapshot).await,
            Delivery::Refused(problem) => self.is_refused(session, problem).await,
            Delivery::Ended { why: Ended::Lagged, .. } => {
                let problem = Problem::new(Code::SlowConsumer, "events were missed because they were not read in time; join again");
                self.outgoing.send(problem_frame(Some(&session), &problem)).await?;
                Err(End::Close(Close::SlowConsumer))
            }
            Delivery::Ended { why: Ended::Unloaded, cursor } => self.was_unloaded(session, cursor).await,
        }
    }

    async fn is_joined(&mut self, session: &SessionId, snapshot: Option<(Box<View>, bool)>) -> Result<(), End> {
        if let Some(id) = self.joined.get_mut(session).and_then(|joined| joined.unanswered.take()) {
            self.outgoing.acknowledge(id, Ok(())).await?;
        }
        let Some((view, resync)) = snapshot else { return Ok(()) };
        match self.shared.snapshots.frame(session, *view, resync).await {
            Ok(frame) => {
                let sent = self.outgoing.send(frame.text).await;
                drop(frame.memory);
                sent
            }
            Err(error) => self.outgoing.send(problem_frame(Some(session), &error.into())).await,
        }
    }

    async fn is_refused(&mut self, session: SessionId, problem: Problem) -> Result<(), End> {
        let Some(joined) = self.joined.remove(&session) else { return Ok(()) };
        match joined.unanswered {
            Some(id) => self.outgoing.acknowledge(id, Err(&problem)).await,
            None if problem.code() == Code::SessionNotFound => self.tell_deleted(&session).await,
            // The client learns that it is not joined any more, and why.
            None => self.outgoing.send(problem_frame(Some(&session), &problem)).await,
        }
    }

    /// The session has left memory.
    async fn was_unloaded(&mut self, session: SessionId, cursor: Sequence) -> Result<(), End> {
        // What the list says about it was said before its events ended: all of that counts.
        while let Some(event) = self.list.try_next() {
            self.listed(event).await?;
        }
        let then = self.joined.get_mut(&session).map(|joined| joined.presence.unloaded(cursor));
        self.carry_out(session, then).await
    }

    async fn listed(&mut self, event: ListEvent) -> Result<(), End> {
        match event {
            ListEvent::Frame(text) => self.outgoing.send(text).await,
            ListEvent::Changed(ListChange::Updated(listed)) => {
                let session = &listed.record.id;
                let then = self.joined.get_mut(session).map(|joined| joined.presence.updated(listed.runtime.is_loaded));
                self.carry_out(session.clone(), then).await
            }
            ListEvent::Changed(ListChange::Deleted(session)) => {
                let then = self.joined.get_mut(&session).map(|joined| joined.presence.deleted());
                self.carry_out(session, then).await
            }
            ListEvent::Missed => {
                let all: Vec<_> = self.joined.iter_mut().map(|(session, joined)| (session.clone(), joined.presence.missed())).collect();
                for (session, then) in all {
                    self.carry_out(session, Some(then)).await?;
                }
                Ok(())
            }
        }
    }

    async fn carry_out(&mut self, session: SessionId, then: Option<Then>) -> Result<(), End> {
        match then {
            None | Some(Then::Wait) => Ok(()),
            Some(Then::Follow(cursor)) => {
                self.follow(session, Some(cursor));
                Ok(())
            }
            Some(Then::Deleted) => {
                self.joined.remove(&session);
                self.tell_deleted(&session).await
            }
        }
    }

    async fn tell_deleted(&mut self, session: &SessionId) -> Result<(), End> {
        self.outgoing.send(error_frame(Some(session), Code::SessionDeleted.as_str(), "the session was deleted")).await
    }
}
