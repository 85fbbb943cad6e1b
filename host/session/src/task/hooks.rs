//! What hooks do to a session.

use serde_json::json;

use super::{Reply, Task, Then};
use crate::block::{Block, System, SystemSubtype};
use crate::event::{Event, is_too_deep};
use crate::id::ConversationId;
use crate::manager::Error;
use crate::metadata::{HOOKS_BYTES, Metadata, OfHooks, merge_hooks};
use crate::record::{RecordChanges, StreamName};
use crate::recorder::Write;

impl Task {
    /// Changes what hooks keep in the metadata.
    pub(super) fn set_metadata(&mut self, update: OfHooks, reply: Reply<()>) {
        let mut hooks = self.hook_metadata.clone();
        merge_hooks(&mut hooks, &update);
        let size = serde_json::to_vec(&hooks).map_or(usize::MAX, |json| json.len());
        let too_large = Error::TooLarge { what: "what hooks keep in the session's metadata", size, limit: HOOKS_BYTES };
        let too_deep = update.values().flatten().any(|(_, value)| is_too_deep(value));
        let too_deep =
            too_deep.then(|| Error::Invalid("what hooks keep in the session's metadata is nested too deeply to be read again".to_owned()));
        let refused = self.can_write().err().or((size > HOOKS_BYTES).then_some(too_large)).or(too_deep);
        if let Some(error) = refused {
            drop(reply.send(Err(error)));
            return;
        }
        self.hook_metadata = hooks;
        let metadata = Metadata { hooks: update, ..Metadata::default() };
        self.record_and_tell(vec![Event::MetadataUpdated { conversation: ConversationId::main(), metadata }], reply);
    }

    /// Adds a block in which a hook says something to the people in the conversation.
    pub(super) fn add_note(&mut self, hook: String, text: String, reply: Reply<()>) {
        if let Err(error) = self.can_write() {
            drop(reply.send(Err(error)));
            return;
        }
        let block = Block::System(System {
            id: self.context.environment.uuid().into(),
            timestamp: self.context.environment.now(),
            subtype: SystemSubtype::Hook,
            message: text,
            metadata: Some(json!({"hook": hook})),
        });
        self.record_and_tell(Event::whole_block(ConversationId::main(), block).into(), reply);
    }

    /// Publishes an event that is not stored.
    pub(super) fn tell(&mut self, event: Event, reply: Reply<()>) {
        if self.recorder.epoch_taken {
            self.publish([event]);
            drop(reply.send(Ok(())));
            return;
        }
        if let Err(error) = self.can_write() {
            drop(reply.send(Err(error)));
            return;
        }
        // Its number is of an epoch that must be taken first. What is written changes nothing.
        self.repair();
        let changes = RecordChanges { last_activity: Some(self.state.record.last_activity), ..RecordChanges::default() };
        self.recorder.push(Write::Update { changes }, Some(Then::Told { events: vec![event], reply }));
    }

    /// Writes events and publishes them when the store has them.
    fn record_and_tell(&mut self, events: Vec<Event>, reply: Reply<()>) {
        self.touch();
        self.repair();
        let mut following = events.iter().skip(1);
        let recorded: Vec<Event> =
            events.iter().filter(|event| !following.next().is_some_and(|next| event.is_start_of(next))).cloned().collect();
        let data = self.record_lines(&recorded);
        self.recorder.push(Write::Append { stream: StreamName::Events, data }, Some(Then::Told { events, reply }));
    }
}
