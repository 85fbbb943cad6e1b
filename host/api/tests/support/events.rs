//! A client of server-sent events, which reads them by the letter.

use std::collections::VecDeque;

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use super::{Host, answer, within};

/// An open stream.
pub(crate) struct Events {
    response: Response,
    text: String,
    received: VecDeque<Option<Event>>,
}

/// An event. Its name and number are those in its data, which is looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<u64>,
    pub(crate) frame: Value,
}

impl Events {
    /// Opens a stream of the session.
    pub(crate) async fn open(host: &Host, path: &str, last: Option<u64>) -> Self {
        Self::try_open(host, path, last).await.unwrap_or_else(|(status, problem)| panic!("{status}: {problem}"))
    }

    pub(crate) async fn try_open(host: &Host, path: &str, last: Option<u64>) -> Result<Self, (StatusCode, Value)> {
        let mut request = host.client.request(Method::GET, format!("http://{}{path}", host.address));
        if let Some(key) = host.key {
            request = request.bearer_auth(key);
        }
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = within("a response", request.send()).await.unwrap();
        if response.status() != StatusCode::OK {
            return Err(answer(response).await);
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Ok(Self { response, text: String::new(), received: VecDeque::new() })
    }

    /// The next event, or `None` for a comment; an error at the end, which may be that of the connection.
    pub(crate) async fn any(&mut self) -> Result<Option<Event>, Option<reqwest::Error>> {
        loop {
            if let Some(received) = self.received.pop_front() {
                return Ok(received);
            }
            match within("an event", self.response.chunk()).await {
                Ok(Some(chunk)) => self.text.push_str(std::str::from_utf8(&chunk).unwrap()),
                Ok(None) => {
                    assert_eq!(self.text, "", "the stream ends within an event");
                    return Err(None);
                }
                Err(error) => return Err(Some(error)),
            }
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                self.received.push_back(parse(block));
                self.text = rest.to_owned();
            }
        }
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            match self.any().await {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(error) => panic!("the stream ended: {error:?}"),
            }
        }
    }

    /// The next events, as a WebSocket has them.
    pub(crate) async fn frames(&mut self, count: usize) -> Vec<Value> {
        let mut frames = Vec::new();
        while frames.len() < count {
            frames.push(self.next().await.frame);
        }
        frames
    }

    /// Reads until an event of the name.
    pub(crate) async fn until(&mut self, name: &str) -> Value {
        loop {
            let frame = self.next().await.frame;
            if frame["event"] == name {
                return frame;
            }
        }
    }

    /// Reads to the end, and gives the last event and the connection's error.
    pub(crate) async fn read_to_end(&mut self) -> (Option<Event>, Option<reqwest::Error>) {
        let mut last = None;
        loop {
            match self.any().await {
                Ok(event) => last = event.or(last),
                Err(error) => return (last, error),
            }
        }
    }
}

fn parse(block: &str) -> Option<Event> {
    let (mut id, mut name, mut data) = (None, None, None);
    for line in block.split('\n') {
        let (field, value) = line.split_once(':').unwrap();
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => {}
            "id" => assert!(id.replace(value.parse::<u64>().unwrap()).is_none()),
            "event" => assert!(name.replace(value.to_owned()).is_none()),
            "data" => assert!(data.replace(serde_json::from_str::<Value>(value).unwrap()).is_none()),
            other => panic!("{other} in {block:?}"),
        }
    }
    let frame = data?;
    assert_eq!(frame["event"], name.unwrap());
    assert_eq!(frame["seq"].as_u64(), id, "{frame}");
    Some(Event { id, frame })
}
