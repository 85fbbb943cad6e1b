//! Whether a followed session is in memory. Its clients stay when it leaves, and go on when it is loaded again.

use agent_host_session::id::Sequence;

/// What is known of one session, from the end of its events and from the list of sessions, which come in any order.
#[derive(Debug)]
pub(crate) struct Presence {
    /// Whether it was in memory when last heard of.
    is_loaded: bool,
    is_deleted: bool,
    /// If it was unloaded: from where to go on when it is loaded again.
    waiting: Option<Sequence>,
}

/// What is to be done for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing for now.
    Wait,
    /// Follow it again, from behind the event with that number.
    Follow(Sequence),
    /// Tell that it was deleted.
    Deleted,
}

impl Presence {
    /// Of a session that is being loaded to be followed.
    pub(crate) fn new() -> Self {
        Self { is_loaded: true, is_deleted: false, waiting: None }
    }

    /// Its events have ended, since it left memory. What the list said before that must have been told.
    pub(crate) fn unloaded(&mut self, cursor: Sequence) -> Then {
        if self.is_deleted {
            Then::Deleted
        } else if self.is_loaded {
            // It was loaded again already.
            Then::Follow(cursor)
        } else {
            self.waiting = Some(cursor);
            Then::Wait
        }
    }

    /// The list says whether it is in memory.
    pub(crate) fn updated(&mut self, is_loaded: bool) -> Then {
        self.is_loaded = is_loaded;
        match self.waiting.take_if(|_| is_loaded) {
            Some(cursor) => Then::Follow(cursor),
            None => Then::Wait,
        }
    }

    /// The list says that it was deleted.
    pub(crate) fn deleted(&mut self) -> Then {
        self.is_deleted = true;
        // If there are last events, they come first.
        if self.waiting.is_some() { Then::Deleted } else { Then::Wait }
    }

    /// The list missed something: the session may have been loaded or deleted, which following it again tells.
    pub(crate) fn missed(&mut self) -> Then {
        self.updated(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURSOR: Sequence = Sequence(7);

    #[test]
    fn an_unloaded_session_is_followed_again_when_it_is_loaded() {
        let mut presence = Presence::new();
        assert_eq!(presence.updated(false), Then::Wait);
        assert_eq!(presence.unloaded(CURSOR), Then::Wait);
        assert_eq!(presence.updated(false), Then::Wait);
        assert_eq!(presence.updated(true), Then::Follow(CURSOR));
        assert_eq!(presence.updated(true), Then::Wait, "it is followed once");
    }

    #[test]
    fn a_session_that_is_back_before_its_events_end_is_followed_at_once() {
        let mut presence = Presence::new();
        assert_eq!((presence.updated(false), presence.updated(true)), (Then::Wait, Then::Wait));
        assert_eq!(presence.unloaded(CURSOR), Then::Follow(CURSOR));
    }

    #[test]
    fn a_deletion_is_told_after_the_last_events() {
        let mut presence = Presence::new();
        assert_eq!(presence.deleted(), Then::Wait);
        assert_eq!(presence.unloaded(CURSOR), Then::Deleted);
        let mut unloaded = Presence::new();
        unloaded.updated(false);
        unloaded.unloaded(CURSOR);
        assert_eq!(unloaded.deleted(), Then::Deleted);
    }

    #[test]
    fn what_was_missed_may_have_been_its_return() {
        let mut presence = Presence::new();
        presence.updated(false);
        presence.unloaded(CURSOR);
        assert_eq!(presence.missed(), Then::Follow(CURSOR));
    }
}
