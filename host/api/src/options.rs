//! How the API is run: keys, origins and limits. Every default has its reason.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::http::Uri;
use bytes::Bytes;
use secrecy::SecretString;

/// How the API is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Keys that open the API; any one of them does. With none, only this machine is served: see [`serve`](crate::serve).
    pub api_keys: Vec<SecretString>,
    /// Keys that open the admin calls; any one of them does. With none, nobody gets in.
    pub admin_keys: Vec<SecretString>,
    /// Web pages of these origins may use the API (CORS), WebSockets and event streams included. Pages of this machine may, too, while there is no key.
    pub allowed_origins: Vec<Origin>,
    /// Largest body of a message or a profile, in bytes. 16 MiB hold the images that a model takes in one request.
    pub max_body_bytes: usize,
    /// Largest body of any other request, in bytes: twice what a session's options may take, which are the largest thing in them.
    pub max_small_body_bytes: usize,
    /// Largest component that is taken as a body, in bytes. Python's have 18 MB.
    pub max_component_bytes: usize,
    /// Longest time that a client may take to send the head of a request, idle time between two requests included. Longer than
    /// the usual pause of a person, shorter than a load balancer's idle time (60 s), so that the host's end is the one that closes.
    pub head_timeout: Duration,
    /// Longest time that a client may take to send a body: 16 MiB at 600 KiB/s.
    pub body_timeout: Duration,
    /// Longest time that an operator may take to send a component: 64 MiB at 600 KiB/s.
    pub upload_timeout: Duration,
    /// Connections at once, WebSockets and event streams included. A connection costs up to 100 KiB of memory and one descriptor, of which a process often has 1,024.
    pub max_connections: usize,
    /// Longest time that a send may make no progress before the peer is taken for gone.
    pub send_timeout: Duration,
    /// Longest time that a stopping host waits for running requests.
    pub drain_timeout: Duration,
    /// Responses with the contents of files at once: each holds one file (10 MiB by default) and its JSON form in memory.
    pub max_file_responses: usize,
    /// Memory that session snapshots on their way to clients that join may hold together, in bytes.
    pub snapshot_memory_bytes: usize,
    /// The contract with components, an archive (tar) of WIT packages, which `GET /wit` gives.
    pub contract: Bytes,
    /// WebSockets and event streams.
    pub socket: SocketOptions,
}

/// What a WebSocket may do, and an event stream, which is one of a single session that can only be read.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Longest time until a client has authenticated.
    pub auth_timeout: Duration,
    /// Largest frame from a client, in bytes. The longest valid frame names one session and one key.
    pub max_frame_bytes: usize,
    /// Sessions joined at once by one connection: a window of an application shows a few.
    pub max_joined: usize,
    /// Frames that are no valid request before the connection is closed: a client with a mistake gets to see it, an endless stream of them does not cost for ever.
    pub max_mistakes: u32,
    /// How often a ping is sent, or a comment into an event stream. A peer from which nothing came for two of these is dropped, where the system can
    /// tell also one that confirmed nothing. Below the idle time of usual proxies (60 s).
    pub heartbeat: Duration,
    /// Changes of the list of sessions are collected for so long: unnoticed by people, and a burst becomes one frame.
    pub list_interval: Duration,
    /// Sessions in the first page of the list.
    pub list_page: u32,
    /// Slowest rate, in bytes per second, at which a peer may take a large frame, on top of the send timeout.
    pub min_rate: usize,
}

impl Options {
    /// Longest time that a peer may take for so many bytes of events.
    pub(crate) fn time_to_send(&self, bytes: usize) -> Duration {
        self.send_timeout + Duration::from_secs((bytes / self.socket.min_rate.max(1)) as u64)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            admin_keys: Vec::new(),
            allowed_origins: Vec::new(),
            max_body_bytes: 16 * 1024 * 1024,
            max_small_body_bytes: 128 * 1024,
            max_component_bytes: 64 * 1024 * 1024,
            head_timeout: Duration::from_secs(50),
            body_timeout: Duration::from_secs(30),
            upload_timeout: Duration::from_secs(120),
            max_connections: 900,
            send_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            contract: Bytes::new(),
            max_file_responses: 8,
            snapshot_memory_bytes: 256 * 1024 * 1024,
            socket: SocketOptions::default(),
        }
    }
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            auth_timeout: Duration::from_secs(10),
            max_frame_bytes: 64 * 1024,
            max_joined: 64,
            max_mistakes: 64,
            heartbeat: Duration::from_secs(25),
            list_interval: Duration::from_millis(100),
            list_page: 100,
            min_rate: 64 * 1024,
        }
    }
}

/// Where a web page comes from: `https://app.example.com`, `http://localhost:5173`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

/// Why a text is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid origin {0:?}: it must be a scheme and a host as browsers send them, such as https://app.example.com, with a port if it is not the scheme's own"
)]
pub struct InvalidOrigin(String);

impl Origin {
    /// Checks `text` and brings it into the form in which browsers send it.
    ///
    /// # Errors
    /// [`InvalidOrigin`] if it has no scheme and host, or has a path, a query or a user.
    pub fn new(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(text.chars().take(256).collect());
        let text = text.strip_suffix('/').unwrap_or(text);
        let (scheme, authority) = text.split_once("://").ok_or_else(invalid)?;
        let uri = Uri::from_str(text).map_err(|_| invalid())?;
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', '*']) || uri.host().is_none_or(str::is_empty) {
            return Err(invalid());
        }
        Ok(Self(format!("{scheme}://{authority}").to_ascii_lowercase()))
    }

    /// The origin as text, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, without the port.
    pub(crate) fn host(&self) -> Option<String> {
        Uri::from_str(&self.0).ok()?.host().map(str::to_owned)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        assert_eq!(Origin::new("https://App.Example.com/").unwrap().as_str(), "https://app.example.com");
        assert_eq!(Origin::new("http://[::1]:80").unwrap().host().as_deref(), Some("[::1]"));
        for wrong in
            ["", "null", "*", "app.example.com", "https://", "https://a/b", "https://u@a", "https://*.a.com", "https://a?b", "https:// a"]
        {
            assert!(Origin::new(wrong).is_err(), "{wrong:?} was accepted");
        }
    }
}
