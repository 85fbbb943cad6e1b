//! The one task that serves an open stream.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::sync::Arc;

use agent_host_session::id::{Sequence, SessionId};
use agent_host_session::log::Ended;
use agent_host_session::manager::ListChange;
use agent_host_session::state::View;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::outgoing::Outgoing;
use crate::feed::{Delivery, Feed, Frame, Presence, Then, feed};
use crate::metrics::Slowness;
use crate::problem::{Code, Problem};
use crate::server::Place;
use crate::shared::Shared;
use crate::wire::{frame, problem_frame};

/// Why a stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client closed it, or the network did.
    Gone,
    /// The client took nothing for too long, so that nothing can be said to it.
    Stalled,
    /// The host ends it, and says why with its last event.
    Told(Problem),
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => formatter.write_str("the client is gone"),
            Self::Stalled => formatter.write_str("the client takes nothing"),
            Self::Told(problem) => formatter.write_str(problem.detail()),
        }
    }
}

impl End {
    fn slowness(&self) -> Option<Slowness> {
        match self {
            Self::Stalled => Some(Slowness::Stalled),
            Self::Told(problem) if problem.code() == Code::SlowConsumer => Some(Slowness::Lagged),
            Self::Gone | Self::Told(_) => None,
        }
    }
}

/// What a client is told when the host stops.
pub(super) fn going_away() -> Problem {
    Problem::new(Code::ShuttingDown, "the host is shutting down")
}

/// What is told of a stream that waits for its key.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Waits<'a> {
    session_id: &'a SessionId,
    stream: Uuid,
}

/// A client that follows a session.
pub(super) struct Client {
    shared: Arc<Shared>,
    session: SessionId,
    outgoing: Outgoing,
    /// None while the session is not in memory.
    feed: Option<Feed>,
    /// What happens to any session. What happens to this one tells when it is loaded again.
    changes: Receiver<ListChange>,
    presence: Presence,
}

/// How far a stream is when its task begins.
pub(super) enum Start {
    /// The session is followed: from this snapshot on, or from where the client was.
    Followed(Option<Frame>),
    /// The client has shown no key yet.
    Unknown,
}

enum Step {
    Delivered(Delivery),
    Changed(Result<ListChange, RecvError>),
    Heartbeat,
    Gone,
    Shutdown,
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>, session: SessionId, since: Option<Sequence>, outgoing: Outgoing) -> Self {
        // Before the session is followed, so that no change falls between the two.
        let changes = shared.manager.watch_list();
        let feed = feed(Arc::clone(&shared.manager), session.clone(), since);
        Self { shared, session, outgoing, feed: Some(feed), changes, presence: Presence::new() }
    }

    /// Follows the session, and gives the snapshot to begin with, if it does not go on from where the client was.
    ///
    /// # Errors
    /// If the session cannot be followed.
    pub(super) async fn begin(&mut self) -> Result<Option<Frame>, Problem> {
        match next(&mut self.feed).await {
            Some(Delivery::Joined { snapshot }) => self.frame(snapshot).await,
            Some(Delivery::Refused(problem)) => Err(problem),
            Some(Delivery::Events(_) | Delivery::Ended { .. }) | None => {
                Err(Problem::internal("follow the session", &"it gave something else before it was followed"))
            }
        }
    }

    async fn frame(&mut self, snapshot: Option<(Box<View>, bool)>) -> Result<Option<Frame>, Problem> {
        let Some((view, resync)) = snapshot else { return Ok(None) };
        Ok(Some(self.shared.snapshots.frame(&self.session, *view, resync).await?))
    }

    /// Serves the client until the stream ends. One that takes nothing is cut off with its connection.
    pub(super) async fn run(mut self, start: Start, place: Place) {
        tracing::debug!("event stream opened");
        let Err(end) = self.serve(start).await;
        let end = if end == End::Gone && place.has_stalled() { End::Stalled } else { end };
        let is_stalled = match &end {
            End::Told(problem) => {
                let frame = problem_frame(Some(&self.session), problem);
                self.outgoing.send_other("error", &frame).await == Err(End::Stalled)
            }
            End::Stalled => true,
            End::Gone => false,
        };
        tracing::debug!(%end, "event stream ended");
        if let Some(slowness) = end.slowness() {
            self.shared.metrics.subscriber_dropped(slowness);
        }
        if is_stalled {
            place.connection().cancel();
            // Until then the stream must not end: the client, if it reads after all, would take that for an end in order.
            self.outgoing.gone().await;
        }
    }

    async fn serve(&mut self, start: Start) -> Result<Infallible, End> {
        let snapshot = match start {
            Start::Followed(snapshot) => snapshot,
            Start::Unknown => {
                self.authenticate().await?;
                self.begin().await.map_err(End::Told)?
            }
        };
        if let Some(frame) = snapshot {
            self.outgoing.send_snapshot(frame).await?;
        }
        let shutdown = self.shared.shutdown.clone();
        let period = self.shared.options.socket.heartbeat;
        let mut heartbeat = tokio::time::interval_at(Instant::now() + period, period);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                Some(delivery) = next(&mut self.feed) => Step::Delivered(delivery),
                change = self.changes.recv() => Step::Changed(change),
                _ = heartbeat.tick() => Step::Heartbeat,
                () = self.outgoing.gone() => Step::Gone,
                () = shutdown.cancelled() => Step::Shutdown,
            };
            match step {
                Step::Delivered(delivery) => self.delivered(delivery).await?,
                Step::Changed(Ok(change)) => self.changed(&change)?,
                Step::Changed(Err(RecvError::Lagged(_))) => self.missed()?,
                // The manager is gone only when the host is.
                Step::Changed(Err(RecvError::Closed)) | Step::Shutdown => return Err(End::Told(going_away())),
                Step::Heartbeat => self.outgoing.heartbeat().await?,
                Step::Gone => return Err(End::Gone),
            }
        }
    }

    /// Waits for the key, which comes by another request.
    async fn authenticate(&mut self) -> Result<(), End> {
        let shared = Arc::clone(&self.shared);
        let mut admission = shared.admissions.wait(self.session.clone());
        let waits = frame("auth", &Waits { session_id: &self.session, stream: admission.stream() });
        self.outgoing.send_other("auth", &waits).await?;
        tokio::select! {
            () = admission.admitted() => Ok(()),
            () = self.outgoing.gone() => Err(End::Gone),
            () = tokio::time::sleep(shared.options.socket.auth_timeout) => {
                Err(End::Told(Problem::new(Code::AuthRequired, "no API key was shown for this stream in time")))
            }
            () = shared.shutdown.cancelled() => Err(End::Told(going_away())),
        }
    }

    async fn delivered(&mut self, delivery: Delivery) -> Result<(), End> {
        match delivery {
            Delivery::Events(events) => self.outgoing.send_all(&self.session, &events).await,
            Delivery::Joined { snapshot } => match self.frame(snapshot).await.map_err(End::Told)? {
                Some(frame) => self.outgoing.send_snapshot(frame).await,
                None => Ok(()),
            },
            // It was there when the stream began.
            Delivery::Refused(problem) if problem.code() == Code::SessionNotFound => Err(End::Told(deleted())),
            Delivery::Refused(problem) => Err(End::Told(problem)),
            Delivery::Ended { why: Ended::Lagged, .. } => {
                let detail = "events were missed because they were not read in time; connect again";
                Err(End::Told(Problem::new(Code::SlowConsumer, detail)))
            }
            Delivery::Ended { why: Ended::Unloaded, cursor } => self.was_unloaded(cursor),
        }
    }

    /// The session has left memory.
    fn was_unloaded(&mut self, cursor: Sequence) -> Result<(), End> {
        self.feed = None;
        // What the list says about it was said before its events ended: all of that counts.
        loop {
            match self.changes.try_recv() {
                Ok(change) => self.changed(&change)?,
                Err(TryRecvError::Lagged(_)) => self.missed()?,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let then = self.presence.unloaded(cursor);
        self.carry_out(then)
    }

    fn changed(&mut self, change: &ListChange) -> Result<(), End> {
        let then = match change {
            ListChange::Updated(listed) if listed.record.id == self.session => self.presence.updated(listed.runtime.is_loaded),
            ListChange::Deleted(session) if *session == self.session => self.presence.deleted(),
            ListChange::Updated(_) | ListChange::Deleted(_) => Then::Wait,
        };
        self.carry_out(then)
    }

    fn missed(&mut self) -> Result<(), End> {
        let then = self.presence.missed();
        self.carry_out(then)
    }

    fn carry_out(&mut self, then: Then) -> Result<(), End> {
        match then {
            Then::Wait => Ok(()),
            Then::Follow(cursor) => {
                self.feed = Some(feed(Arc::clone(&self.shared.manager), self.session.clone(), Some(cursor)));
                Ok(())
            }
            Then::Deleted => Err(End::Told(deleted())),
        }
    }
}

fn deleted() -> Problem {
    Problem::new(Code::SessionDeleted, "the session was deleted")
}

/// What a feed gives next; nothing, ever, while there is none.
async fn next(feed: &mut Option<Feed>) -> Option<Delivery> {
    match feed {
        Some(feed) => feed.next().await,
        None => pending().await,
    }
}
