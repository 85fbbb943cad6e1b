//! Connections to Modal: HTTP/2, encrypted except where that was asked for.

use std::time::Duration;

use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use url::{Host, Url};

use crate::Error;

/// What a message may have: the official clients allow as much, and a chunk of output or a batch of a log may be large.
pub(crate) const MAX_MESSAGE_BYTES: usize = 100 * 1024 * 1024;

/// What may be under way of one answer without having been read, so that output is not slowed down by the way to Modal and back.
const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// The same for a connection: as much as there can be, so that output which nobody reads never holds up other answers.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// A connection that was lost without a word is found within these two.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// For how long one try to connect goes on.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a URL without encryption may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlainText {
    Anywhere,
    /// To this machine: a test's server.
    Loopback,
}

/// A channel that connects when it is needed, and again when the connection is lost.
pub(crate) fn channel(url: &str, plain_text: PlainText) -> Result<Channel, Error> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(Error::Config("a client of Modal is made within a Tokio runtime".to_owned()));
    }
    let invalid = |reason: &str| Error::Config(format!("the URL {url:?} of a Modal server {reason}"));
    let parsed = Url::parse(url).map_err(|error| invalid(&error.to_string()))?;
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| invalid(&error.to_string()))?;
    let endpoint = match parsed.scheme() {
        "https" => endpoint
            .tls_config(ClientTlsConfig::new().with_native_roots())
            .map_err(|error| Error::Config(format!("encryption cannot be set up: {error}")))?,
        "http" if plain_text == PlainText::Anywhere || is_loopback(&parsed) => endpoint,
        "http" => return Err(invalid("is not encrypted and leads to another machine")),
        _ => return Err(invalid("begins neither with https: nor with http:")),
    };
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tcp_nodelay(true)
        .connect_lazy())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The name that a URL's server goes by.
pub(crate) fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_encrypted_or_stays_here_is_connected_to() {
        for good in ["https://worker.modal.host:443", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
            channel(good, PlainText::Loopback).unwrap();
        }
        for bad in ["http://10.0.0.1:1", "http://localhost.example.org", "ftp://127.0.0.1", "worker:443", ""] {
            assert!(matches!(channel(bad, PlainText::Loopback), Err(Error::Config(_))), "{bad}");
        }
        channel("http://10.0.0.1:1", PlainText::Anywhere).unwrap();
    }
}
