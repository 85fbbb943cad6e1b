//! A session as the fold of its events. What a client sees, what is stored and what a reload rebuilds all come from [`State::apply`].

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde_json::json;

use crate::block::{Block, SystemSubtype};
use crate::event::{Event, Runtime, SubagentStatus, TurnOutcome};
use crate::id::{BlockId, ConversationId, MessageId, Sequence};
use crate::message::Message;
use crate::metadata::Metadata;
use crate::path::RelativePath;
use crate::ports::environment::Environment;
use crate::record::{FileInfo, SessionRecord};

/// In the metadata of the block that says so: the id of the message whose turn began again.
const RESUMED: &str = "resumedMessageId";

/// A session.
#[derive(Clone, Debug)]
pub struct State {
    /// Its row.
    pub record: SessionRecord,
    /// What it is doing.
    pub runtime: Runtime,
    main: Conversation,
    /// In the order of their discovery.
    subagents: Vec<(ConversationId, Conversation)>,
    /// Where each block is, so that a delta costs the same in any conversation.
    places: HashMap<BlockId, Place>,
    /// Blocks that began and are not complete.
    open: HashSet<BlockId>,
    files: BTreeMap<RelativePath, FileInfo>,
    queue: VecDeque<Message>,
    running: Option<MessageId>,
    /// The message of the turn that is running.
    begun: Option<Message>,
    /// Every message that was ever accepted, so that a repeated one sends nothing twice; with what was sent, where a hook replaced it.
    accepted: HashMap<MessageId, Option<String>>,
}

#[derive(Clone, Debug, Default)]
struct Conversation {
    name: Option<String>,
    status: Option<SubagentStatus>,
    blocks: Vec<Arc<Block>>,
    metadata: Metadata,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    conversation: Option<usize>,
    index: usize,
}

/// A session as it is at one moment, for reading. Blocks are shared with the state, so that taking it is cheap.
#[derive(Clone, Debug)]
pub struct View {
    /// Its row.
    pub record: SessionRecord,
    /// What it is doing.
    pub runtime: Runtime,
    /// The conversation with the user.
    pub blocks: Vec<Arc<Block>>,
    /// In the order of their discovery.
    pub subagents: Vec<SubagentView>,
    /// Sorted by path.
    pub files: Vec<FileInfo>,
    /// Of the conversation with the user.
    pub metadata: Metadata,
    /// The number of the last event that is in it.
    pub sequence: Sequence,
}

/// A subagent's conversation at one moment.
#[derive(Clone, Debug)]
pub struct SubagentView {
    /// Names the conversation.
    pub id: ConversationId,
    /// What kind of subagent it is.
    pub name: Option<String>,
    /// How it ended, if it did.
    pub status: Option<SubagentStatus>,
    /// Its blocks.
    pub blocks: Vec<Arc<Block>>,
    /// What else is known about it.
    pub metadata: Metadata,
}

impl State {
    /// A session to which nothing has happened yet.
    pub fn new(record: SessionRecord) -> Self {
        Self {
            record,
            runtime: Runtime::default(),
            main: Conversation::default(),
            subagents: Vec::new(),
            places: HashMap::new(),
            open: HashSet::new(),
            files: BTreeMap::new(),
            queue: VecDeque::new(),
            running: None,
            begun: None,
            accepted: HashMap::new(),
        }
    }

    /// Takes in an event. An event that does not fit (a delta of a block that is not there) changes nothing.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::BlockStarted { conversation, block } => {
                self.put(conversation, block);
                self.open.insert(block.id().clone());
            }
            Event::BlockCompleted { conversation, block } => {
                self.put(conversation, block);
                self.open.remove(block.id());
            }
            Event::BlockDelta { block_id, delta, .. } => {
                if let Some(block) = self.block_mut(block_id) {
                    block.push_text(delta);
                }
            }
            Event::BlockUpdated { block_id, update, .. } => {
                if let Some(block) = self.block_mut(block_id) {
                    block.update(update);
                }
            }
            Event::BlockRemoved { block_id, .. } => self.remove(block_id),
            Event::SubagentDiscovered { id, name } => {
                let conversation = self.conversation_mut(id);
                if name.is_some() {
                    conversation.name.clone_from(name);
                }
            }
            Event::SubagentCompleted { id, status } => self.conversation_mut(id).status = Some(*status),
            Event::MetadataUpdated { conversation, metadata } => self.conversation_mut(conversation).metadata.merge(metadata),
            Event::OptionsUpdated { options } => self.record.options.clone_from(options),
            Event::FileCreated { file, .. } | Event::FileModified { file, .. } => {
                self.files.insert(file.path.clone(), file.clone());
            }
            Event::FileDeleted { path } => {
                self.files.remove(path);
            }
            Event::MessageAccepted { message } => {
                if let Entry::Vacant(place) = self.accepted.entry(message.id.clone()) {
                    place.insert(message.sent_digest.clone());
                    self.queue.push_back(message.clone());
                }
            }
            Event::TurnStarted { message_id } => {
                let place = self.queue.iter().position(|message| message.id == *message_id);
                self.begun = place.and_then(|place| self.queue.remove(place));
                self.running = Some(message_id.clone());
            }
            Event::TurnEnded { .. } => (self.running, self.begun) = (None, None),
            Event::StatusChanged { runtime } => self.runtime.clone_from(runtime),
            Event::SandboxTaken | Event::Emitted { .. } | Event::Failed { .. } => {}
        }
    }

    /// What a host that takes the session over has to add to it when the one before it ended in the middle of a turn, which has ended with that, or `is_resumed`.
    pub fn repair(&self, environment: &dyn Environment, is_resumed: bool) -> Vec<Event> {
        let mut events = self.close_open_blocks();
        let unfinished = self.subagents.iter().filter(|(_, conversation)| conversation.status.is_none());
        events.extend(unfinished.map(|(id, _)| Event::SubagentCompleted { id: id.clone(), status: SubagentStatus::Failed }));
        let Some(message_id) = self.running.clone() else { return events };
        if let Some(message) = self.begun() {
            events.extend(Event::said(message, environment.now()));
        }
        let system = |subtype, message: &str, metadata| crate::block::System {
            id: environment.uuid().into(),
            timestamp: environment.now(),
            subtype,
            message: message.to_owned(),
            metadata,
        };
        if is_resumed {
            let metadata = Some(json!({RESUMED: message_id}));
            let block = system(SystemSubtype::Status, "the host stopped in the middle of this turn, which begins again", metadata);
            events.extend(Event::whole_block(ConversationId::main(), Block::System(block)));
        } else {
            let block = system(SystemSubtype::Error, "the host stopped before this turn had ended", None);
            events.extend(Event::whole_block(ConversationId::main(), Block::System(block)));
            events.push(Event::TurnEnded { message_id, outcome: TurnOutcome::Interrupted });
        }
        events
    }

    /// The message of the turn in whose middle the host before this one ended, if it was not begun again before: it may be what ends hosts.
    pub fn interrupted(&self) -> Option<Message> {
        let id = self.running.as_ref()?;
        let was_resumed = |block: &Arc<Block>| match block.as_ref() {
            Block::System(block) => block.metadata.as_ref().and_then(|metadata| metadata.get(RESUMED)?.as_str()) == Some(id.as_str()),
            _ => false,
        };
        if let Some(message) = self.begun() {
            return Some(message.clone());
        }
        let Some(Block::UserMessage(block)) = self.block(&BlockId::from(id.clone())) else { return None };
        // What was said about the turn comes after its message.
        let after = self.main.blocks.iter().rev().take_while(|block| block.id().as_str() != id.as_str());
        if after.into_iter().any(was_resumed) {
            return None;
        }
        Some(Message { id: id.clone(), content: block.content.clone(), sent_digest: self.sent_digest(id).map(str::to_owned) })
    }

    /// Completes what began and will not go on: texts as they are, tools and subagents as failed.
    pub(crate) fn close_open_blocks(&self) -> Vec<Event> {
        let conversations =
            std::iter::once((ConversationId::main(), &self.main)).chain(self.subagents.iter().map(|(id, c)| (id.clone(), c)));
        conversations
            .flat_map(|(id, conversation)| conversation.blocks.iter().map(move |block| (id.clone(), block)))
            .filter(|(_, block)| self.open.contains(block.id()))
            .map(|(conversation, block)| {
                let mut block = Block::clone(block);
                block.cut_off();
                Event::BlockCompleted { conversation, block: Arc::new(block) }
            })
            .collect()
    }

    /// The session as it is now; `sequence` is the number of the last event that was applied.
    pub fn view(&self, sequence: Sequence) -> View {
        View {
            record: self.record.clone(),
            runtime: self.runtime.clone(),
            blocks: self.main.blocks.clone(),
            subagents: self
                .subagents
                .iter()
                .map(|(id, conversation)| SubagentView {
                    id: id.clone(),
                    name: conversation.name.clone(),
                    status: conversation.status,
                    blocks: conversation.blocks.clone(),
                    metadata: conversation.metadata.clone(),
                })
                .collect(),
            files: self.files.values().cloned().collect(),
            metadata: self.main.metadata.clone(),
            sequence,
        }
    }

    /// What is known about the conversation with the user.
    pub fn metadata(&self) -> &Metadata {
        &self.main.metadata
    }

    /// The store has the contents of these files and of no others. Where a process ended between a file and the event that tells of it, this is right and the event record is not.
    pub(crate) fn has_stored(&mut self, files: Vec<FileInfo>) {
        self.files.retain(|_, file| file.sha256.is_none());
        self.files.extend(files.into_iter().map(|file| (file.path.clone(), file)));
    }

    /// Workspace files by path.
    pub fn files(&self) -> &BTreeMap<RelativePath, FileInfo> {
        &self.files
    }

    /// Messages that wait for their turn.
    pub fn queue(&self) -> &VecDeque<Message> {
        &self.queue
    }

    /// The digest of what the client had sent with an accepted message, if a hook replaced it.
    pub fn sent_digest(&self, id: &MessageId) -> Option<&str> {
        self.accepted.get(id)?.as_deref()
    }

    /// The message whose turn is running.
    pub fn running(&self) -> Option<&MessageId> {
        self.running.as_ref()
    }

    /// The message of the turn that is running, if there is no block of it: a store that is not atomic may have kept the beginning of the turn and not the message.
    pub fn begun(&self) -> Option<&Message> {
        self.begun.as_ref().filter(|message| self.block(&BlockId::from(message.id.clone())).is_none())
    }

    /// A block that began and is not complete, and where it is.
    pub fn open_block(&self, id: &BlockId) -> Option<(ConversationId, Arc<Block>)> {
        let place = self.places.get(id).filter(|_| self.open.contains(id))?;
        let (conversation, blocks) = match place.conversation {
            Some(number) => self.subagents.get(number).map(|(id, conversation)| (id.clone(), &conversation.blocks))?,
            None => (ConversationId::main(), &self.main.blocks),
        };
        blocks.get(place.index).map(|block| (conversation, Arc::clone(block)))
    }

    /// A block, wherever it is.
    pub fn block(&self, id: &BlockId) -> Option<&Block> {
        let place = self.places.get(id)?;
        let blocks = match place.conversation {
            Some(number) => &self.subagents.get(number)?.1.blocks,
            None => &self.main.blocks,
        };
        blocks.get(place.index).map(Arc::as_ref)
    }

    fn put(&mut self, conversation: &ConversationId, block: &Arc<Block>) {
        if let Some(place) = self.places.get(block.id()).copied() {
            if let Some(slot) = self.blocks_mut(place.conversation).get_mut(place.index) {
                *slot = Arc::clone(block);
            }
            return;
        }
        let number = self.conversation_number(conversation);
        let blocks = self.blocks_mut(number);
        blocks.push(Arc::clone(block));
        let index = blocks.len() - 1;
        self.places.insert(block.id().clone(), Place { conversation: number, index });
    }

    fn remove(&mut self, id: &BlockId) {
        self.open.remove(id);
        let Some(place) = self.places.remove(id) else { return };
        let blocks = self.blocks_mut(place.conversation);
        if place.index >= blocks.len() {
            return;
        }
        blocks.remove(place.index);
        // Only an abandoned block is removed, and that is among the last: what follows it is short.
        let moved: Vec<BlockId> = blocks.iter().skip(place.index).map(|block| block.id().clone()).collect();
        for (offset, id) in moved.into_iter().enumerate() {
            self.places.insert(id, Place { index: place.index + offset, ..place });
        }
    }

    fn block_mut(&mut self, id: &BlockId) -> Option<&mut Block> {
        let place = *self.places.get(id)?;
        // Copies the block only if a reader still holds it, and then once.
        self.blocks_mut(place.conversation).get_mut(place.index).map(Arc::make_mut)
    }

    /// `None` stands for the main conversation.
    fn conversation_number(&mut self, id: &ConversationId) -> Option<usize> {
        if id.is_main() {
            return None;
        }
        Some(self.subagents.iter().position(|(known, _)| known == id).unwrap_or_else(|| {
            self.subagents.push((id.clone(), Conversation::default()));
            self.subagents.len() - 1
        }))
    }

    fn conversation_mut(&mut self, id: &ConversationId) -> &mut Conversation {
        match self.conversation_number(id).and_then(|number| self.subagents.get_mut(number)) {
            Some((_, conversation)) => conversation,
            None => &mut self.main,
        }
    }

    fn blocks_mut(&mut self, conversation: Option<usize>) -> &mut Vec<Arc<Block>> {
        match conversation.and_then(|number| self.subagents.get_mut(number)) {
            Some((_, conversation)) => &mut conversation.blocks,
            None => &mut self.main.blocks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{AssistantText, ToolStatus, ToolUse};
    use crate::event::RecordLine;
    use crate::id::{Epoch, ProfileId, SessionId};
    use crate::message::Content;
    use crate::record::Options;
    use crate::time::Timestamp;

    fn state() -> State {
        State::new(SessionRecord {
            id: SessionId::new("s").unwrap(),
            created_at: Timestamp::from_millis(1),
            last_activity: Timestamp::from_millis(1),
            profile: ProfileId::new("default").unwrap(),
            architecture: "echo".into(),
            name: None,
            options: Options::new(),
            origin: None,
        })
    }

    fn text(id: &str, content: &str) -> Arc<Block> {
        let id = BlockId::new(id).unwrap();
        Arc::new(Block::AssistantText(AssistantText { id, timestamp: Timestamp::from_millis(5), content: content.into(), model: None }))
    }

    fn tool(id: &str, status: ToolStatus) -> Arc<Block> {
        Arc::new(Block::ToolUse(ToolUse {
            id: BlockId::new(id).unwrap(),
            timestamp: Timestamp::from_millis(6),
            tool_name: "Bash".into(),
            tool_use_id: "toolu".into(),
            input: serde_json::json!({"command": "true"}),
            status,
            display_name: None,
            description: None,
        }))
    }

    fn message(id: &str) -> Message {
        Message::new(MessageId::new(id).unwrap(), Content::Text("hi".into()))
    }

    fn turn() -> Vec<Event> {
        let main = ConversationId::main;
        let subagent = ConversationId::new("sub").unwrap();
        vec![
            Event::MessageAccepted { message: message("m1") },
            Event::TurnStarted { message_id: message("m1").id },
            Event::BlockStarted { conversation: main(), block: text("b1", "") },
            Event::BlockDelta { conversation: main(), block_id: BlockId::new("b1").unwrap(), delta: "Hel".into() },
            Event::BlockStarted { conversation: main(), block: tool("b2", ToolStatus::Pending) },
            Event::SubagentDiscovered { id: subagent.clone(), name: Some("helper".into()) },
            Event::BlockCompleted { conversation: subagent.clone(), block: text("b3", "inside") },
            Event::BlockStarted { conversation: main(), block: text("dropped", "") },
            Event::BlockRemoved { conversation: main(), block_id: BlockId::new("dropped").unwrap() },
            Event::BlockDelta { conversation: main(), block_id: BlockId::new("b1").unwrap(), delta: "lo".into() },
            Event::BlockCompleted { conversation: main(), block: tool("b2", ToolStatus::Success) },
            Event::BlockCompleted { conversation: main(), block: text("b1", "Hello") },
            Event::SubagentCompleted { id: subagent, status: SubagentStatus::Completed },
            Event::TurnEnded { message_id: message("m1").id, outcome: TurnOutcome::Completed },
        ]
    }

    #[test]
    fn what_is_stored_folds_to_what_was_seen() {
        let (mut seen, mut reloaded) = (state(), state());
        for event in turn() {
            seen.apply(&event);
            if event.is_durable() {
                let line = RecordLine { at: Timestamp::from_millis(7), epoch: Epoch(1), event };
                let line: RecordLine = serde_json::from_str(&serde_json::to_string(&line).unwrap()).unwrap();
                reloaded.apply(&line.event);
            }
        }
        let (seen, reloaded) = (seen.view(Sequence(0)), reloaded.view(Sequence(0)));
        assert_eq!(seen.blocks, reloaded.blocks);
        assert_eq!(seen.blocks, [text("b1", "Hello"), tool("b2", ToolStatus::Success)]);
        assert_eq!(seen.subagents[0].blocks, reloaded.subagents[0].blocks);
        assert_eq!(reloaded.subagents[0].status, Some(SubagentStatus::Completed));
    }

    #[test]
    fn a_view_is_not_changed_by_what_follows() {
        let mut state = state();
        state.apply(&Event::BlockStarted { conversation: ConversationId::main(), block: text("b", "a") });
        let view = state.view(Sequence(1));
        state.apply(&Event::BlockDelta { conversation: ConversationId::main(), block_id: BlockId::new("b").unwrap(), delta: "b".into() });
        assert_eq!(view.blocks, [text("b", "a")]);
        assert_eq!(state.view(Sequence(2)).blocks, [text("b", "ab")]);
    }

    #[test]
    fn a_turn_that_was_cut_off_is_closed_by_the_next_host() {
        for cut in 0..turn().len() {
            let mut state = state();
            for event in turn().iter().take(cut).filter(|event| event.is_durable()) {
                state.apply(event);
            }
            for event in state.repair(&crate::ports::environment::System, false) {
                state.apply(&event);
            }
            assert!(state.open.is_empty(), "cut at {cut}: blocks stay open");
            assert_eq!(state.block(&BlockId::new("m1").unwrap()).is_some(), cut >= 2, "cut at {cut}: what began a turn is to be seen");
            assert_eq!(state.running(), None, "cut at {cut}: the turn still runs");
            assert_eq!(state.queue().len(), usize::from(cut == 1), "cut at {cut}: an accepted message that did not begin must stay queued");
        }
    }

    #[test]
    fn a_message_is_accepted_once() {
        let mut state = state();
        for _ in 0..2 {
            state.apply(&Event::MessageAccepted { message: message("m") });
        }
        assert_eq!(state.queue().len(), 1);
    }
}
