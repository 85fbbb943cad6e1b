//! A session as clients see it come about, and as a reload folds it from what was stored. Both must be the same whenever nothing is open.

use agent_host_session::event::{Event, RecordLine};
use agent_host_session::id::{Epoch, ProfileId, Sequence, SessionId};
use agent_host_session::record::{Options, SessionRecord};
use agent_host_session::state::{State, View};
use agent_host_session::time::Timestamp;

/// Both folds of one session.
#[derive(Debug)]
pub struct Twice {
    seen: State,
    reloaded: State,
}

impl Default for Twice {
    fn default() -> Self {
        let record = SessionRecord {
            id: SessionId::new("s").expect("a valid id"),
            created_at: Timestamp::from_millis(1),
            last_activity: Timestamp::from_millis(1),
            profile: ProfileId::new("default").expect("a valid id"),
            architecture: "claude-agent-sdk".to_owned(),
            name: None,
            options: Options::new(),
            origin: None,
        };
        Self { seen: State::new(record.clone()), reloaded: State::new(record) }
    }
}

impl Twice {
    /// Applies an event to both, to one of them as it is read from the record.
    pub fn apply(&mut self, event: &Event) {
        self.seen.apply(event);
        let line = RecordLine { at: Timestamp::from_millis(7), epoch: Epoch(1), event: event.clone() };
        let text = serde_json::to_string(&line).expect("an event can be written");
        let read: RecordLine = serde_json::from_str(&text).unwrap_or_else(|error| panic!("what was recorded cannot be read: {error}"));
        assert_eq!(read, line, "what is read is not what was recorded");
        if event.is_durable() {
            self.reloaded.apply(&read.event);
        }
    }

    /// Nothing is open: asserts that a reload gives what was seen, and has nothing to repair.
    pub fn settle(&self) {
        let (seen, reloaded) = (self.view(), self.reloaded.view(Sequence(0)));
        assert_eq!(seen.blocks, reloaded.blocks);
        assert_eq!(seen.metadata, reloaded.metadata);
        assert_eq!(seen.subagents.len(), reloaded.subagents.len());
        for (seen, reloaded) in seen.subagents.iter().zip(&reloaded.subagents) {
            assert_eq!((&seen.id, &seen.name, seen.status), (&reloaded.id, &reloaded.name, reloaded.status));
            assert_eq!(seen.blocks, reloaded.blocks);
            assert_eq!(seen.metadata, reloaded.metadata);
        }
        assert_eq!(self.reloaded.repair(&crate::Counting::default(), false), []);
    }

    /// The session as it is seen.
    pub fn view(&self) -> View {
        self.seen.view(Sequence(0))
    }
}
