//! A client of server-sent events that looks at no more than it must.

use anyhow::{Context as _, bail};
use reqwest::Response;

/// An open stream of a session's events.
pub(crate) struct Events {
    response: Response,
    received: Vec<u8>,
    /// What is before it was given.
    begin: usize,
}

impl Events {
    /// Opens a stream from now on, or from behind the event with that number.
    pub(crate) async fn open(http: &reqwest::Client, address: &str, session: &str, last: Option<u64>) -> anyhow::Result<Self> {
        let mut request = http.get(format!("http://{address}/sessions/{session}/events"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.context("failed to connect")?.error_for_status()?;
        Ok(Self { response, received: Vec::new(), begin: 0 })
    }

    /// The data of the next event, which is the frame that a WebSocket has, and its number where the stream has one.
    pub(crate) async fn next(&mut self) -> anyhow::Result<(String, Option<u64>)> {
        loop {
            let rest = self.received.get(self.begin..).unwrap_or_default();
            if let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
                let block = std::str::from_utf8(rest.get(..end).unwrap_or_default())?;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                let event = field("data: ").map(|data| (data.to_owned(), field("id: ").and_then(|id| id.parse().ok())));
                self.begin += end + 2;
                match event {
                    Some(event) => return Ok(event),
                    // A heartbeat.
                    None => continue,
                }
            }
            self.received.drain(..self.begin);
            self.begin = 0;
            match self.response.chunk().await? {
                Some(chunk) => self.received.extend_from_slice(&chunk),
                None => bail!("the host ended the stream"),
            }
        }
    }
}
