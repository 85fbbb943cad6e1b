//! One session as its clients follow it, whatever brings them: first what they begin with, then the events, across unloads.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `presence` | whether the session is in memory, and what follows when that changes |
//! | `snapshot` | whole sessions as frames, within a common bound of memory |
//!
//! Nothing is queued for a client: its task takes events from the session's own bounded log when the client has taken those before. So a
//! slow client costs no memory, and falls out of the log if it stays slow.

mod presence;
mod snapshot;

use std::pin::Pin;
use std::sync::Arc;

use agent_host_session::id::{Sequence, SessionId};
use agent_host_session::log::{Ended, Published, Subscription};
use agent_host_session::manager::{Manager, Subscribed};
use agent_host_session::state::View;
use futures_util::{Stream, stream};

pub(crate) use self::presence::{Presence, Then};
pub(crate) use self::snapshot::{Frame, SNAPSHOT, Snapshots};
use crate::problem::Problem;

/// What a followed session gives to its client, in this order: one of the first two, and after `Joined` events until it ends.
pub(crate) enum Delivery {
    /// It cannot be followed.
    Refused(Problem),
    /// It is followed.
    Joined {
        /// What to start from, if not from where the client was, and whether the client had asked for that.
        snapshot: Option<(Box<View>, bool)>,
    },
    /// What happened.
    Events(Vec<Arc<Published>>),
    /// There is no more to read.
    Ended {
        /// Why.
        why: Ended,
        /// The last event that was read.
        cursor: Sequence,
    },
}

pub(crate) type Feed = Pin<Box<dyn Stream<Item = Delivery> + Send>>;

enum State {
    Joining { manager: Arc<Manager>, session: SessionId, since: Option<Sequence> },
    Joined(Subscription),
    Over,
}

/// Follows a session from where it is now, or from where the client was.
pub(crate) fn feed(manager: Arc<Manager>, session: SessionId, since: Option<Sequence>) -> Feed {
    Box::pin(stream::unfold(State::Joining { manager, session, since }, next))
}

async fn next(state: State) -> Option<(Delivery, State)> {
    match state {
        State::Joining { manager, session, since } => Some(match manager.subscribe(&session, since).await {
            Ok(Subscribed::Snapshot { view, subscription, resync }) => {
                (Delivery::Joined { snapshot: Some((view, resync)) }, State::Joined(subscription))
            }
            Ok(Subscribed::Continued(subscription)) => (Delivery::Joined { snapshot: None }, State::Joined(subscription)),
            Err(error) => (Delivery::Refused(error.into()), State::Over),
        }),
        State::Joined(mut subscription) => Some(match subscription.next().await {
            Ok(events) => (Delivery::Events(events), State::Joined(subscription)),
            Err(why) => (Delivery::Ended { why, cursor: subscription.cursor() }, State::Over),
        }),
        State::Over => None,
    }
}
