//! One joined session as a stream: first the answer to the request to join, then the events.

use std::pin::Pin;
use std::sync::Arc;

use agent_host_session::id::{Sequence, SessionId};
use agent_host_session::log::{Ended, Published, Subscription};
use agent_host_session::manager::{Manager, Subscribed};
use agent_host_session::state::View;
use futures_util::{Stream, stream};

use crate::problem::Problem;

/// What a joined session gives to its connection, in this order: one of the first two, and after `Joined` events until it ends.
pub(super) enum Delivery {
    /// It cannot be joined.
    Refused(Problem),
    /// It is joined.
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

pub(super) type Feed = Pin<Box<dyn Stream<Item = Delivery> + Send>>;

enum State {
    Joining { manager: Arc<Manager>, session: SessionId, since: Option<Sequence> },
    Joined(Subscription),
    Over,
}

/// Joins a session from where it is now, or from where the client was.
pub(super) fn feed(manager: Arc<Manager>, session: SessionId, since: Option<Sequence>) -> Feed {
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
