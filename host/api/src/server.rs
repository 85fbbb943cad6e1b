//! The listener, its connections, and how they end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::manager::Manager;
use axum::body::Body;
use axum::{Extension, Router};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::admin::Admin;
use crate::layers;
use crate::options::Options;
use crate::shared::Shared;
use crate::stall::{Stall, Watched};

/// Largest head of a request in bytes. Servers and proxies commonly take 8 to 64 KiB.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long accepting rests after it failed: no descriptors are left, and some are given back soon.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener's address is not known.
    #[error("failed to find out the listener's address: {0}")]
    Address(#[source] io::Error),
    /// Anyone could use the host.
    #[error("refusing to serve {0} without an API key: configure one, or listen on 127.0.0.1 or [::1]")]
    NoKey(SocketAddr),
}

/// A connection's place among those that are allowed. A WebSocket keeps it beyond the HTTP connection that it came from.
#[derive(Clone)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
    connection: CancellationToken,
    stall: Stall,
}

impl Place {
    /// Cuts the HTTP connection off when it is cancelled, at whatever it is.
    pub(crate) fn connection(&self) -> CancellationToken {
        self.connection.clone()
    }

    /// Whether the other end took nothing for too long.
    pub(crate) fn has_stalled(&self) -> bool {
        self.stall.has_begun()
    }
}

/// Serves the API, with the metrics of the registry and its own, until `shutdown` is cancelled; then lets running requests end, ends event streams, closes WebSockets with 1001 (going away), and returns,
/// after [`Options::drain_timeout`] at the latest.
///
/// # Errors
/// If there is no API key and the listener is not on a loopback address.
pub async fn serve(
    listener: TcpListener,
    manager: Arc<Manager>,
    admin: Arc<dyn Admin>,
    registry: Registry,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let address = listener.local_addr().map_err(Error::Address)?;
    if options.api_keys.is_empty() && !address.ip().to_canonical().is_loopback() {
        return Err(Error::NoKey(address));
    }
    let shared = Shared::new(manager, admin, registry, options, shutdown);
    let router = layers::router(&shared);
    let places = Arc::new(Semaphore::new(shared.options.max_connections));
    accept(&listener, &shared, &router, &places).await;
    drop(listener);
    drain(&shared).await;
    Ok(())
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>, router: &Router, places: &Arc<Semaphore>) {
    let next = async || {
        // Whoever comes when all places are taken waits in the listener's backlog.
        let permit = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
        Ok::<_, io::Error>((listener.accept().await?, permit))
    };
    loop {
        let accepted = tokio::select! {
            () = shared.shutdown.cancelled() => return,
            accepted = next() => accepted,
        };
        match accepted {
            Ok(((stream, _), permit)) => {
                let abort = shared.abort.child_token();
                let place = Place { _permit: Arc::new(permit), connection: abort.clone(), stall: Stall::default() };
                let connection = connection(stream, Arc::clone(shared), router.clone(), place);
                shared.connections.spawn(async move { abort.run_until_cancelled(connection).await });
            }
            // The peer went away before it was accepted.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, router: Router, place: Place) {
    // Deltas are small and wanted at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
    give_up_unconfirmed(&stream, shared.options.socket.heartbeat * 2);
    let mut stream = TimeoutStream::new(stream);
    // Event streams and WebSockets see for themselves that a client takes nothing of what they have for it, unless that is so much that it may take longer. This is for all others.
    stream.set_write_timeout(Some(shared.options.send_timeout * 2));
    let stream = Watched::new(Box::pin(stream), place.stall.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(place.clone());
        router.clone().call(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(shared.options.head_timeout).max_buf_size(MAX_HEAD_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shared.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// Has the system give a connection up to whose other end nothing gets through any more. It would go on for a quarter of an hour, and an event stream, whose client says
/// nothing, would take up a place for as long.
fn give_up_unconfirmed(stream: &TcpStream, time: Duration) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(time)) {
        tracing::debug!(%error, "failed to set TCP_USER_TIMEOUT");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, time);
}

async fn drain(shared: &Shared) {
    shared.connections.close();
    shared.writes.close();
    let all = async {
        shared.connections.wait().await;
        shared.writes.wait().await;
    };
    if tokio::time::timeout(shared.options.drain_timeout, all).await.is_err() {
        tracing::warn!(connections = shared.connections.len(), requests = shared.writes.len(), "requests did not end in time");
    }
    shared.abort.cancel();
    shared.connections.wait().await;
}

/// The place of the connection that a request came by.
pub(crate) type ConnectionPlace = Extension<Place>;
