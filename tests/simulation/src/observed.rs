//! What the store has of a session's events, read as they are stored.

use std::collections::{BTreeMap, BTreeSet};

use agent_host_session::block::Block;
use agent_host_session::event::{Event, RecordLine, TurnOutcome};
use agent_host_session::id::MessageId;
use serde_json::Value;

/// What the store has of a session's events.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// How many bytes of the record were read.
    read: usize,
    pub(crate) accepted: BTreeMap<MessageId, u32>,
    pub(crate) started: BTreeMap<MessageId, u32>,
    pub(crate) ended: BTreeMap<MessageId, Vec<TurnOutcome>>,
    /// Turns that were begun again, as the record says.
    pub(crate) resumed: BTreeMap<MessageId, u32>,
    /// Values of the option `model`, by which updates are told apart.
    pub(crate) models: BTreeSet<String>,
    /// Whether the agent's own name for the session is known, without which nobody finds its transcripts.
    pub(crate) has_agent_session: bool,
    /// Lines that cannot be read, which a store that tears appends leaves.
    pub(crate) unreadable: u32,
}

impl Observed {
    /// Takes in what was added to the record.
    pub(crate) fn take_in(&mut self, record: &[u8]) {
        let added = record.get(self.read..).unwrap_or_default();
        let Some(end) = added.iter().rposition(|byte| *byte == b'\n') else { return };
        for line in added[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice::<RecordLine>(line) {
                Ok(line) => self.event(line.event),
                Err(_) => self.unreadable += 1,
            }
        }
        self.read += end + 1;
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::MessageAccepted { message } => *self.accepted.entry(message.id).or_default() += 1,
            Event::TurnStarted { message_id } => *self.started.entry(message_id).or_default() += 1,
            Event::TurnEnded { message_id, outcome } => self.ended.entry(message_id).or_default().push(outcome),
            Event::MetadataUpdated { metadata, .. } => self.has_agent_session |= metadata.agent_session_id.is_some(),
            Event::OptionsUpdated { options } => self.models.extend(options.get("model").and_then(Value::as_str).map(str::to_owned)),
            Event::BlockCompleted { block, .. } => {
                if let Block::System(block) = block.as_ref()
                    && let Some(id) = block.metadata.as_ref().and_then(|metadata| metadata.get("resumedMessageId")?.as_str())
                    && let Ok(id) = MessageId::new(id)
                {
                    *self.resumed.entry(id).or_default() += 1;
                }
            }
            _ => {}
        }
    }
}
