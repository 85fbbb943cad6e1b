//! Server-sent events: a client that follows one session and keeps all that comes.

use std::collections::VecDeque;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::DEADLINE;
use crate::client::Answer;
use crate::fold::Fold;
use crate::frame::Frame;
use crate::host::Host;

/// An open stream. Reading takes what has come; it keeps all of that, in its order.
pub struct Events {
    response: Response,
    text: Vec<u8>,
    /// What has come and was not asked for yet.
    received: VecDeque<Frame>,
    frames: Vec<Frame>,
    ended: Option<String>,
}

impl Host {
    /// A stream of a session's events, asked for with the host's key, if it has one.
    pub async fn events(&self, session: &str) -> Events {
        Events::open(self.client().stream_request(session)).await
    }

    /// The same from behind the event with that number.
    pub async fn events_since(&self, session: &str, last: u64) -> Events {
        Events::open(self.client().stream_request(session).header("last-event-id", last)).await
    }
}

impl Events {
    /// Opens a stream.
    pub async fn open(request: RequestBuilder) -> Self {
        Self::try_open(request).await.unwrap_or_else(|answer| panic!("failed to open a stream of events: {answer:?}"))
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// The answer of a host that refuses.
    pub async fn try_open(request: RequestBuilder) -> Result<Self, Answer> {
        let response = tokio::time::timeout(DEADLINE, request.send()).await.expect("the stream was not opened in time");
        let response = response.unwrap_or_else(|error| panic!("the host did not answer: {error:?}"));
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        if status != 200 {
            let body = response.json().await.unwrap_or_default();
            return Err(Answer { status, body });
        }
        assert_eq!(kind, "text/event-stream");
        Ok(Self { response, text: Vec::new(), received: VecDeque::new(), frames: Vec::new(), ended: None })
    }

    /// The next event.
    pub async fn next(&mut self) -> Frame {
        self.next_or_end().await.unwrap_or_else(|| {
            let last: Vec<String> = self.frames.iter().rev().take(20).map(Frame::summary).collect();
            panic!("no event came: {:?}; the last of {} were, backwards,\n{}", self.ended, self.frames.len(), last.join("\n"))
        })
    }

    /// Reads until the event with that number, and gives all that came.
    pub async fn until(&mut self, seq: u64) -> &[Frame] {
        while self.next().await.seq.is_none_or(|reached| reached < seq) {}
        &self.frames
    }

    /// Reads to the end, and gives what ended the stream: nothing, if it ended as it should.
    pub async fn end(&mut self) -> Option<String> {
        while self.next_or_end().await.is_some() {}
        self.ended.clone().filter(|reason| !reason.is_empty())
    }

    /// All events that were read.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// What a client knows of the session now, folded from the last snapshot on.
    pub fn fold(&self) -> Fold {
        let snapshot = self.frames.iter().rposition(|frame| frame.event == "session:snapshot").expect("no snapshot came");
        let mut fold = Fold::of_snapshot(&self.frames[snapshot].data);
        self.frames[snapshot + 1..].iter().for_each(|frame| fold.apply(frame));
        fold
    }

    async fn next_or_end(&mut self) -> Option<Frame> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(frame) = self.received.pop_front() {
                self.frames.push(frame.clone());
                return Some(frame);
            }
            if self.ended.is_some() {
                return None;
            }
            match timeout_at(deadline, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) => self.text.extend_from_slice(&chunk),
                Ok(Ok(None)) if self.text.is_empty() => self.ended = Some(String::new()),
                Ok(Ok(None)) => self.ended = Some("it ended within an event".to_owned()),
                Ok(Err(error)) => self.ended = Some(format!("{error:?}")),
                Err(_) => panic!("no event came within {DEADLINE:?}, after {:?}", self.frames.last().map(Frame::summary)),
            }
            while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                let block = String::from_utf8(block).expect("an event is no text");
                self.received.extend(parse(block.trim_end_matches('\n')));
            }
        }
    }
}

/// An event, whose name and number must be those in its data; nothing for a comment.
fn parse(block: &str) -> Option<Frame> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    if block.lines().all(|line| line.starts_with(':')) {
        return None;
    }
    let data = field("data").unwrap_or_else(|| panic!("an event without data: {block}"));
    let value: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("data that is not JSON ({error}): {data}"));
    let frame = Frame::parse(&value).unwrap_or_else(|| panic!("data that is no frame: {data}"));
    assert_eq!(field("event"), Some(frame.event.as_str()), "{block}");
    assert_eq!(field("id").map(str::to_owned), frame.seq.map(|seq| seq.to_string()), "{block}");
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_and_a_comment_is_not() {
        let frame = parse("id: 7\nevent: session:status\ndata: {\"event\":\"session:status\",\"data\":{\"a\":1},\"seq\":7}").unwrap();
        assert_eq!((frame.event.as_str(), frame.seq, &frame.data["a"]), ("session:status", Some(7), &Value::from(1)));
        assert_eq!(parse(":"), None);
    }

    #[test]
    #[should_panic(expected = "id: 8")]
    fn a_number_that_is_not_that_of_the_data_is_noticed() {
        parse("id: 8\nevent: error\ndata: {\"event\":\"error\",\"data\":{},\"seq\":7}");
    }
}
