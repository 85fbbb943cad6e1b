//! Blocks, folded from events as a client does it, so that what was streamed can be compared with what GET shows.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::frame::{Frame, text_of};

/// The blocks of a session, by conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blocks(BTreeMap<String, Vec<Value>>);

/// The state of a client that has joined a session. It checks what every client relies on: no event is missing or comes twice, and each names its block.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    session: String,
    seq: Option<u64>,
    blocks: Blocks,
}

/// A sequence number has the epoch in its upper bits, and counts without gaps in the lower 32.
const COUNTER_BITS: u32 = 32;

impl Blocks {
    /// The blocks of a session as GET and snapshots show it.
    pub fn of_session(session: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut blocks = BTreeMap::from([("main".to_owned(), list(&session["blocks"]))]);
        for subagent in list(&session["subagents"]) {
            let id = subagent["id"].as_str().expect("a subagent has no id").to_owned();
            blocks.insert(id, list(&subagent["blocks"]));
        }
        Self(blocks)
    }

    /// Those of the main conversation.
    pub fn main(&self) -> &[Value] {
        self.of("main")
    }

    /// Those of a conversation.
    pub fn of(&self, conversation: &str) -> &[Value] {
        self.0.get(conversation).map_or(&[], Vec::as_slice)
    }

    /// The conversations of subagents.
    pub fn subagents(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).filter(|id| *id != "main").collect()
    }

    /// The types of the blocks of the main conversation.
    pub fn types(&self) -> Vec<&str> {
        self.main().iter().filter_map(|block| block["type"].as_str()).collect()
    }

    /// The blocks of a type of the main conversation.
    pub fn all(&self, kind: &str) -> Vec<&Value> {
        self.main().iter().filter(|block| block["type"] == kind).collect()
    }

    /// The texts of the blocks of a type of the main conversation.
    pub fn texts(&self, kind: &str) -> Vec<String> {
        self.all(kind).into_iter().map(text_of).collect()
    }

    /// What the agent said last in the main conversation.
    pub fn answer(&self) -> String {
        self.texts("assistant_text").pop().unwrap_or_default()
    }
}

impl Fold {
    /// Begins with a snapshot: the data of `session:snapshot`.
    pub fn of_snapshot(snapshot: &Value) -> Self {
        let session = snapshot["sessionId"].as_str().expect("a snapshot names no session").to_owned();
        let seq = snapshot["session"]["seq"].as_u64().or(snapshot["seq"].as_u64());
        Self { session, seq, blocks: Blocks::of_session(&snapshot["session"]) }
    }

    /// The number of the last event in it.
    pub fn seq(&self) -> u64 {
        self.seq.expect("nothing with a number has come yet")
    }

    /// The blocks as they are now.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Takes an event over; one of another session is ignored.
    pub fn apply(&mut self, frame: &Frame) {
        if !frame.is_of(&self.session) {
            return;
        }
        if frame.event == "session:snapshot" {
            *self = Self::of_snapshot(&frame.data);
            return;
        }
        self.count(frame);
        let Some(what) = frame.event.strip_prefix("session:block:") else { return };
        let data = &frame.data;
        let conversation = data["conversationId"].as_str().unwrap_or_else(|| panic!("no conversation: {}", frame.summary()));
        let list = self.blocks.0.entry(conversation.to_owned()).or_default();
        let id = data["block"]["id"].as_str().or(data["blockId"].as_str()).filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| panic!("no block id: {}", frame.summary()));
        let position = list.iter().position(|block| block["id"] == id);
        let Some(position) = position else {
            assert_eq!(what, "start", "an event of a block that has not begun: {}", frame.summary());
            list.push(data["block"].clone());
            return;
        };
        match what {
            "delta" => append(&mut list[position], &data["delta"], frame),
            "update" => update(&mut list[position], &data["updates"]),
            "complete" => {
                assert_eq!(list[position]["timestamp"], data["block"]["timestamp"], "a block's time changed: {}", frame.summary());
                list[position] = data["block"].clone();
            }
            "removed" => drop(list.remove(position)),
            _ => panic!("a block begins twice, or an unknown event: {}", frame.summary()),
        }
    }

    fn count(&mut self, frame: &Frame) {
        let Some(seq) = frame.seq else { return };
        if let Some(last) = self.seq {
            let same_epoch = seq >> COUNTER_BITS == last >> COUNTER_BITS;
            let follows = if same_epoch { seq == last + 1 } else { seq > last };
            assert!(follows, "event {seq} follows {last}: {}", frame.summary());
        }
        self.seq = Some(seq);
    }
}

fn append(block: &mut Value, delta: &Value, frame: &Frame) {
    let (Some(content), Some(delta)) = (block["content"].as_str(), delta.as_str()) else {
        panic!("a delta of a block without text: {}", frame.summary());
    };
    block["content"] = Value::from(format!("{content}{delta}"));
}

fn update(block: &mut Value, updates: &Value) {
    for (name, value) in updates.as_object().into_iter().flatten() {
        // How long a tool has been running is told, and is no part of the block.
        if name != "elapsedMs" {
            block[name] = value.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn frame(event: &str, seq: u64, data: Value) -> Frame {
        let mut data = data;
        data["sessionId"] = json!("s");
        data["conversationId"] = json!("main");
        Frame { event: format!("session:{event}"), data, seq: Some(seq) }
    }

    fn fold() -> Fold {
        Fold::of_snapshot(&json!({"sessionId": "s", "seq": 10, "session": {"blocks": [], "subagents": []}}))
    }

    fn text(content: &str) -> Value {
        json!({"id": "a", "type": "assistant_text", "timestamp": "t", "content": content})
    }

    #[test]
    fn a_block_grows_and_is_completed() {
        let mut fold = fold();
        fold.apply(&frame("block:start", 11, json!({"block": text("")})));
        fold.apply(&frame("block:delta", 12, json!({"blockId": "a", "delta": "one "})));
        fold.apply(&frame("block:delta", 13, json!({"blockId": "a", "delta": "two"})));
        assert_eq!(fold.blocks().answer(), "one two");
        fold.apply(&frame("block:complete", 14, json!({"blockId": "a", "block": text("one two.")})));
        assert_eq!(fold.blocks().answer(), "one two.");
        fold.apply(&frame("block:removed", 15, json!({"blockId": "a"})));
        assert_eq!((fold.blocks().types().len(), fold.seq()), (0, 15));
    }

    #[test]
    #[should_panic(expected = "event 12 follows 10")]
    fn a_gap_is_noticed() {
        fold().apply(&frame("status", 12, json!({})));
    }

    #[test]
    #[should_panic(expected = "event 10 follows 10")]
    fn an_event_that_comes_twice_is_noticed() {
        fold().apply(&frame("status", 10, json!({})));
    }

    #[test]
    fn another_epoch_may_begin_anywhere_above() {
        let mut fold = fold();
        fold.apply(&frame("status", (1 << 32) + 7, json!({})));
        assert_eq!(fold.seq(), (1 << 32) + 7);
    }

    #[test]
    #[should_panic(expected = "no block id")]
    fn a_delta_without_a_block_is_noticed() {
        fold().apply(&frame("block:delta", 11, json!({"blockId": "", "delta": "x"})));
    }
}
