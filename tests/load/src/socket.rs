//! A WebSocket client that reads as fast as it can and looks at no more than it must.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// For anything: a host that is so slow is broken.
const DEADLINE: Duration = Duration::from_secs(120);

/// A client that has joined a session.
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The number of the session's last event.
    last: u64,
    /// Events that came.
    pub(crate) events: usize,
    /// Events whose number is not the next one: something before them was lost, or they came twice.
    pub(crate) gaps: usize,
}

impl Socket {
    /// Connects, joins, and reads until the snapshot is there.
    pub(crate) async fn join(address: &str, session: &str) -> anyhow::Result<Self> {
        let mut socket = Self::connect(address, session, None).await?;
        socket.until(|frame| frame.contains("\"session:snapshot\"")).await?;
        Ok(socket)
    }

    /// Connects and joins from now on, or from behind the event with that number.
    pub(crate) async fn connect(address: &str, session: &str, since: Option<u64>) -> anyhow::Result<Self> {
        let (socket, _) = connect_async(format!("ws://{address}/ws")).await.context("failed to connect")?;
        let mut socket = Self { stream: socket, last: 0, events: 0, gaps: 0 };
        let join = serde_json::json!({"type": "session:join", "id": "1", "sessionId": session, "since": since});
        socket.stream.send(Message::text(join.to_string())).await?;
        Ok(socket)
    }

    /// The next frame that is of the session, and its number.
    pub(crate) async fn next_of_session(&mut self) -> anyhow::Result<(String, Option<u64>)> {
        loop {
            let frame = self.next().await?;
            if !frame.starts_with(r#"{"type":"ack""#) && !frame.starts_with(r#"{"event":"sessions:list""#) {
                let number = number_of(&frame);
                return Ok((frame.as_str().to_owned(), number));
            }
        }
    }

    /// Reads until a frame fits, and gives how many deltas came before it.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&str) -> bool) -> anyhow::Result<usize> {
        let mut count = 0;
        let reading = async {
            loop {
                let frame = self.next().await?;
                count += usize::from(frame.starts_with(r#"{"event":"session:block:delta""#));
                if wanted(&frame) {
                    return Ok(count);
                }
            }
        };
        tokio::time::timeout(DEADLINE, reading).await.context("a frame did not come in time")?
    }

    /// Reads until the turn of the message has ended, and gives how many deltas it had.
    pub(crate) async fn turn_end(&mut self, message: &str) -> anyhow::Result<usize> {
        let running = format!("\"runningMessageId\":\"{message}\"");
        self.until(|frame| frame.contains("\"session:status\"") && frame.contains(&running)).await?;
        self.until(|frame| frame.contains("\"session:status\"") && !frame.contains(&running)).await
    }

    async fn next(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            match self.stream.next().await.context("the host closed the connection")?? {
                Message::Text(text) => {
                    if let Some(number) = number_of(&text) {
                        self.gaps += usize::from(self.last != 0 && number != self.last + 1);
                        self.events += 1;
                        self.last = number;
                    }
                    return Ok(text);
                }
                Message::Close(frame) => anyhow::bail!("the host closed the connection: {frame:?}"),
                _ => {}
            }
        }
    }
}

/// The `seq` of a frame, which stands at its end.
fn number_of(frame: &str) -> Option<u64> {
    frame.rsplit_once(",\"seq\":")?.1.strip_suffix('}')?.parse().ok()
}
