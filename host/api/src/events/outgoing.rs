//! The stream's form, and sending with a deadline.
//!
//! The response's body is the other end of a channel with one place. Its piece is taken when the one before it has gone to the operating system, but for what HTTP
//! buffers: so waiting until it is taken is waiting for the client.

use std::convert::Infallible;
use std::sync::Arc;

use agent_host_session::id::{Sequence, SessionId};
use agent_host_session::log::Published;
use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::client::End;
use crate::feed::{Frame, SNAPSHOT};
use crate::options::Options;

/// Events are sent together until they have this many bytes: a burst of deltas goes out in few system calls, and a slow client holds little more than that.
const PIECE_BYTES: usize = 32 * 1024;

/// A comment, which clients skip.
const HEARTBEAT: &str = ":\n\n";

/// The host's end of a stream.
pub(super) struct Outgoing {
    pieces: mpsc::Sender<Bytes>,
    options: Options,
    /// The size of the piece that was taken last, and may be on its way to the client yet.
    under_way: usize,
}

/// A snapshot's text, which counts until HTTP has no more use for it.
struct Counted(Frame);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        self.0.text.as_bytes()
    }
}

/// A stream: the host's end, and the body of the response.
pub(super) fn channel(options: &Options) -> (Outgoing, Body) {
    let (pieces, body) = mpsc::channel(1);
    let body = Body::from_stream(ReceiverStream::new(body).map(Ok::<_, Infallible>));
    (Outgoing { pieces, options: options.clone(), under_way: 0 }, body)
}

impl Outgoing {
    /// Sends events of the session.
    pub(super) async fn send_all(&mut self, session: &SessionId, events: &[Arc<Published>]) -> Result<(), End> {
        let mut piece = String::new();
        for event in events {
            write(&mut piece, Some(event.sequence), event.event.name(), event.frame(session).text());
            if piece.len() >= PIECE_BYTES {
                self.send(std::mem::take(&mut piece).into()).await?;
            }
        }
        if piece.is_empty() { Ok(()) } else { self.send(piece.into()).await }
    }

    /// Sends a snapshot of the session, from which there is no copy.
    pub(super) async fn send_snapshot(&mut self, frame: Frame) -> Result<(), End> {
        let mut head = String::new();
        begin(&mut head, Some(frame.sequence), SNAPSHOT);
        self.send(head.into()).await?;
        self.send(Bytes::from_owner(Counted(frame))).await?;
        self.send(Bytes::from_static(END.as_bytes())).await
    }

    /// Sends an event without a number, which leaves the client's place as it is.
    pub(super) async fn send_other(&mut self, name: &str, frame: &str) -> Result<(), End> {
        let mut piece = String::new();
        write(&mut piece, None, name, frame);
        self.send(piece.into()).await
    }

    pub(super) async fn heartbeat(&mut self) -> Result<(), End> {
        self.send(Bytes::from_static(HEARTBEAT.as_bytes())).await
    }

    /// Waits until the client is gone.
    pub(super) async fn gone(&self) {
        self.pieces.closed().await;
    }

    async fn send(&mut self, piece: Bytes) -> Result<(), End> {
        let time = self.options.time_to_send(self.under_way);
        self.under_way = piece.len();
        let pieces = &self.pieces;
        let taking = async {
            pieces.send(piece).await.map_err(|_| End::Gone)?;
            // There is a place again when it is taken.
            pieces.reserve().await.map(drop).map_err(|_| End::Gone)
        };
        tokio::time::timeout(time, taking).await.unwrap_or(Err(End::Stalled))
    }
}

/// What ends an event.
const END: &str = "\n\n";

/// `data` is the frame that a WebSocket gets. It is JSON in which nothing is broken into lines, so that it is one line here, too; and names of events are of letters and a few signs.
fn write(out: &mut String, id: Option<Sequence>, name: &str, frame: &str) {
    begin(out, id, name);
    out.push_str(frame);
    out.push_str(END);
}

fn begin(out: &mut String, id: Option<Sequence>, name: &str) {
    if let Some(id) = id {
        out.push_str("id: ");
        out.push_str(&id.to_string());
        out.push('\n');
    }
    out.push_str("event: ");
    out.push_str(name);
    out.push_str("\ndata: ");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_event_is_a_few_lines() {
        let mut out = String::new();
        write(&mut out, Some(Sequence(7)), "session:status", r#"{"seq":7}"#);
        write(&mut out, None, "error", "{}");
        assert_eq!(out, "id: 7\nevent: session:status\ndata: {\"seq\":7}\n\nevent: error\ndata: {}\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up_and_one_that_is_gone_at_once() {
        let options = Options { send_timeout: Duration::from_secs(10), ..Options::default() };
        let (mut outgoing, body) = channel(&options);
        assert_eq!(outgoing.heartbeat().await, Err(End::Stalled));
        drop(body);
        outgoing.gone().await;
        assert_eq!(outgoing.heartbeat().await, Err(End::Gone));
    }

    #[tokio::test]
    async fn what_is_sent_is_the_body() {
        let (mut outgoing, body) = channel(&Options::default());
        let reading = tokio::spawn(axum::body::to_bytes(body, 1000));
        outgoing.heartbeat().await.unwrap();
        outgoing.send_other("error", "{}").await.unwrap();
        drop(outgoing);
        assert_eq!(reading.await.unwrap().unwrap(), ":\n\nevent: error\ndata: {}\n\n");
    }
}
