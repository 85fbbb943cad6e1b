//! An open connection's two directions: sending with a deadline, and receiving.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::metrics::Slowness;
use crate::problem::Problem;
use crate::shared::Shared;
use crate::wire::json;

/// How long the peer may take to answer a close frame. Closing the socket at once could destroy the frame on its way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer closed it, or the network did.
    Gone,
    /// The peer took nothing for too long, so that nothing can be said to it.
    Stalled,
    /// Nothing came from the peer for too long, not even the answer to a ping.
    Silent,
    /// The host closes it.
    Close(Close),
}

/// Why the host closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    GoingAway,
    FrameTooLarge,
    TooManyMistakes,
    SlowConsumer,
    Unauthenticated,
}

impl Close {
    /// The close codes of RFC 6455 and its registry; 4000 to 4999 are the application's own.
    fn frame(self) -> CloseFrame {
        let (code, reason) = match self {
            Self::GoingAway => (1001, "the host is shutting down"),
            Self::TooManyMistakes => (1008, "too many invalid frames"),
            Self::FrameTooLarge => (1009, "the frame is too large"),
            Self::SlowConsumer => (1013, "the client reads too slowly"),
            Self::Unauthenticated => (4401, "not authenticated"),
        };
        CloseFrame { code, reason: Utf8Bytes::from_static(reason) }
    }
}

impl End {
    /// How the peer was too slow, if that is why it is dropped.
    pub(super) fn slowness(self) -> Option<Slowness> {
        match self {
            Self::Stalled => Some(Slowness::Stalled),
            Self::Close(Close::SlowConsumer) => Some(Slowness::Lagged),
            Self::Gone | Self::Silent | Self::Close(_) => None,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => formatter.write_str("the peer is gone"),
            Self::Stalled => formatter.write_str("the peer takes nothing"),
            Self::Silent => formatter.write_str("the peer is silent"),
            Self::Close(close) => formatter.write_str(&close.frame().reason),
        }
    }
}

/// What came from a peer.
pub(super) enum Incoming {
    Text(Utf8Bytes),
    Binary,
    /// A ping (which is answered by itself) or a pong.
    Control,
}

#[derive(Serialize)]
struct Acknowledgement<'a> {
    r#type: &'static str,
    id: Value,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

/// An open connection.
pub(super) struct Outgoing {
    socket: WebSocket,
    shared: Arc<Shared>,
    /// When something last came from the peer.
    heard_at: Instant,
}

impl Outgoing {
    pub(super) fn new(socket: WebSocket, shared: Arc<Shared>) -> Self {
        Self { socket, shared, heard_at: Instant::now() }
    }

    /// Sends a text frame.
    pub(super) async fn send(&mut self, text: String) -> Result<(), End> {
        let deadline = self.shared.options.time_to_send(text.len());
        within(deadline, self.socket.send(Message::Text(text.into()))).await
    }

    /// Sends frames that others get as well, with one flush for all of them.
    pub(super) async fn send_all(&mut self, texts: &[Arc<str>]) -> Result<(), End> {
        let deadline = self.shared.options.time_to_send(texts.iter().map(|text| text.len()).sum());
        let socket = &mut self.socket;
        let sending = async {
            for text in texts {
                socket.feed(Message::Text(Utf8Bytes::from(&**text))).await?;
            }
            socket.flush().await
        };
        within(deadline, sending).await
    }

    /// Answers a request.
    pub(super) async fn acknowledge(&mut self, id: Value, result: Result<(), &Problem>) -> Result<(), End> {
        let problem = result.err();
        if let Some(problem) = problem {
            self.shared.metrics.answered(problem.code());
        }
        let acknowledgement = Acknowledgement {
            r#type: "ack",
            id,
            success: problem.is_none(),
            error: problem.map(Problem::detail),
            code: problem.map(|problem| problem.code().as_str()),
        };
        self.send(json(&acknowledgement)).await
    }

    pub(super) async fn ping(&mut self) -> Result<(), End> {
        let deadline = self.shared.options.time_to_send(0);
        within(deadline, self.socket.send(Message::Ping(bytes::Bytes::new()))).await
    }

    /// Waits for what the peer sends next. Can be dropped at any time without losing something.
    pub(super) async fn receive(&mut self) -> Result<Incoming, End> {
        let message = self.socket.recv().await;
        self.heard_at = Instant::now();
        match message {
            Some(Ok(Message::Text(text))) => Ok(Incoming::Text(text)),
            Some(Ok(Message::Binary(_))) => Ok(Incoming::Binary),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Incoming::Control),
            Some(Ok(Message::Close(_))) | None => Err(End::Gone),
            Some(Err(error)) if is_too_large(&error) => Err(End::Close(Close::FrameTooLarge)),
            Some(Err(_)) => Err(End::Gone),
        }
    }

    /// For how long nothing has come from the peer.
    pub(super) fn silence(&self) -> Duration {
        self.heard_at.elapsed()
    }

    /// Says why, and waits a moment for the peer to have read it.
    pub(super) async fn close(mut self, close: Close) {
        let closing = async {
            self.socket.send(Message::Close(Some(close.frame()))).await?;
            while let Some(Ok(_)) = self.socket.recv().await {}
            Ok(())
        };
        // It is over in any case.
        let _ = within(CLOSE_TIMEOUT, closing).await;
    }
}

async fn within(time: Duration, sending: impl Future<Output = Result<(), axum::Error>>) -> Result<(), End> {
    match tokio::time::timeout(time, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Stalled),
    }
}

/// axum hides the kind of its WebSocket errors; what it hides is tungstenite's, whose text for this one is part of its documentation.
fn is_too_large(error: &axum::Error) -> bool {
    error.to_string().starts_with("Space limit exceeded")
}
