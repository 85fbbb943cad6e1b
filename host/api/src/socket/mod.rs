//! WebSockets: opening one, and proving who is at the other end.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `request` | what clients send |
//! | `connection` | the one task that reads and writes an open connection |
//! | `outgoing` | sending, with a deadline |
//! | `list` | the list of sessions as frames |
//!
//! A joined session is a [`feed`](crate::feed), which queues nothing for its client.

mod connection;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod list;
mod outgoing;
mod request;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::Response;
use serde_json::Value;

use self::connection::Connection;
use self::outgoing::{Close, End, Incoming, Outgoing};
use self::request::{Ask, Request};
use crate::access::Sender;
use crate::problem::{Code, Problem};
use crate::server::{ConnectionPlace, Place};
use crate::shared::Shared;

/// Buffer for what is read, in bytes: clients send little, and there may be many of them.
const READ_BUFFER: usize = 4 * 1024;

/// Buffer for what is written, in bytes: a burst of deltas goes out in few system calls.
const WRITE_BUFFER: usize = 32 * 1024;

/// Opens a WebSocket.
pub(crate) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Extension(sender): Extension<Sender>,
    Extension(place): ConnectionPlace,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade =
        upgrade.map_err(|error| Problem::new(Code::InvalidRequest, format!("this path is for WebSockets: {}", error.body_text())))?;
    let tracked = shared.connections.token();
    let limit = shared.options.socket.max_frame_bytes;
    let upgrade = upgrade.read_buffer_size(READ_BUFFER).write_buffer_size(WRITE_BUFFER).max_message_size(limit).max_frame_size(limit);
    Ok(upgrade.on_upgrade(async move |socket| {
        let abort = shared.abort.clone();
        abort.run_until_cancelled(run(socket, &shared, sender, &place)).await;
        drop((place, tracked));
    }))
}

async fn run(socket: WebSocket, shared: &Arc<Shared>, sender: Sender, place: &Place) {
    let mut outgoing = Outgoing::new(socket, Arc::clone(shared));
    tracing::debug!("WebSocket opened");
    let end = match authenticate(&mut outgoing, shared, sender).await {
        Ok(()) => Connection::new(Arc::clone(shared), &mut outgoing).run().await,
        Err(end) => end,
    };
    let end = if end == End::Gone && place.has_stalled() { End::Stalled } else { end };
    tracing::debug!(%end, "WebSocket closed");
    if let Some(slowness) = end.slowness() {
        shared.metrics.subscriber_dropped(slowness);
    }
    if let End::Close(close) = end {
        outgoing.close(close).await;
    }
}

/// Waits for the key, if the request that opened the connection had none. Nothing else is answered before.
async fn authenticate(outgoing: &mut Outgoing, shared: &Shared, sender: Sender) -> Result<(), End> {
    if sender == Sender::Known {
        return Ok(());
    }
    let first = async {
        loop {
            match outgoing.receive().await? {
                Incoming::Text(text) => return Ok(text),
                Incoming::Control => {}
                Incoming::Binary => return Err(End::Close(Close::Unauthenticated)),
            }
        }
    };
    let text = tokio::select! {
        text = first => text?,
        () = tokio::time::sleep(shared.options.socket.auth_timeout) => return Err(End::Close(Close::Unauthenticated)),
        () = shared.shutdown.cancelled() => return Err(End::Close(Close::GoingAway)),
    };
    let Request { id, ask } = Request::parse(&text);
    let key = match ask {
        Ok(Ask::Auth { key }) => key,
        Ok(_) | Err(_) => {
            let problem = Problem::new(Code::AuthRequired, "the first frame must be: {\"type\": \"auth\", \"key\": KEY}");
            outgoing.acknowledge(id, Err(&problem)).await?;
            return Err(End::Close(Close::Unauthenticated));
        }
    };
    check_key(outgoing, shared, id, &key).await
}

/// Answers an `auth` frame.
async fn check_key(outgoing: &mut Outgoing, shared: &Shared, id: Value, key: &str) -> Result<(), End> {
    if !shared.access.needs_key() || shared.access.accepts(key) {
        return outgoing.acknowledge(id, Ok(())).await;
    }
    let problem = Problem::new(Code::InvalidApiKey, "the API key is not one of this host's");
    outgoing.acknowledge(id, Err(&problem)).await?;
    Err(End::Close(Close::Unauthenticated))
}
