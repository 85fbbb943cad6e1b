//! What a server says of itself, and whether this adapter can work with it.

use agent_host_adapter::{Error, Result, log};
use serde::Deserialize;

use crate::client::{Call, Client, Failure};
use crate::request::Request;
use crate::target::Target;
use crate::transport::Transport;

/// The protocol of this adapter.
const PROTOCOL: &str = "agent-host-store/1";

/// The least that a server must take at once: a record with all the options that a host allows.
const LEAST_BODY_BYTES: u64 = 256 * 1024;

/// The capability document.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    protocol: String,
    authentication: Vec<String>,
    leases: bool,
    max_body_bytes: u64,
    /// Unix milliseconds.
    now: u64,
}

/// What the adapter has to know of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) has_leases: bool,
    /// The most bytes of one request's body.
    pub(crate) body_bytes: usize,
    /// The most bytes of a stream or file that one request brings.
    pub(crate) piece_bytes: usize,
}

impl Server {
    /// Asks the server what it can, and whether it takes the credentials.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the configuration cannot work with this server, [`Error::Unavailable`] if the server does not say.
    pub(crate) fn meet<T: Transport>(client: &Client<T>, needs_leases: bool, piece_bytes: usize) -> Result<Self> {
        let call = client.call();
        let capabilities = capabilities(&call, client.origin())?;
        let refused = |why: String| Error::invalid(format!("the server at {} {why}", client.origin()));
        if capabilities.protocol != PROTOCOL {
            return Err(refused(format!("speaks {:?}, and this adapter speaks {PROTOCOL:?}", capabilities.protocol)));
        }
        if !capabilities.authentication.iter().any(|name| name == client.authentication()) {
            let (ours, theirs) = (client.authentication(), capabilities.authentication.join(", "));
            return Err(refused(format!(
                "does not take the authentication {ours:?}, which the configuration key \"auth\" says; it takes: {theirs}"
            )));
        }
        if capabilities.max_body_bytes < LEAST_BODY_BYTES {
            return Err(refused(format!("takes bodies of {} bytes; {LEAST_BODY_BYTES} are the least", capabilities.max_body_bytes)));
        }
        if needs_leases && !capabilities.leases {
            return Err(refused("keeps no leases, which the configuration key \"leases\" requires".to_owned()));
        }
        client.set_clock(capabilities.now);
        check_credentials(&call, client.origin())?;
        if !capabilities.leases {
            log::debug!("the server at {} keeps no leases: one host only may use it", client.origin());
        }
        let body_bytes = usize::try_from(capabilities.max_body_bytes).unwrap_or(usize::MAX);
        Ok(Self { has_leases: capabilities.leases, body_bytes, piece_bytes: piece_bytes.min(body_bytes) })
    }
}

fn capabilities<T: Transport>(call: &Call<'_, T>, origin: &str) -> Result<Capabilities> {
    let answer = call.send(&Request::get(Target::new("/"))).map_err(|failure| match failure {
        Failure::Denied(reason) => Error::invalid(format!("{reason}; the grant \"http\" must name the URL, with `/*` at its end")),
        failure => failure.into(),
    })?;
    let status = answer.status();
    answer.json().map_err(|error| match error {
        // A server that is well and says something else is another one.
        Error::Unavailable(reason) if status < 500 => {
            Error::invalid(format!("there is no store behind the configured URL of {origin}: {reason}"))
        }
        error => error,
    })
}

fn check_credentials<T: Transport>(call: &Call<'_, T>, origin: &str) -> Result<()> {
    let answer = call.send(&Request::get(Target::new("/health")))?;
    match answer.status() {
        401 | 403 => Err(Error::invalid(format!("the server at {origin} does not accept the credentials: {}", answer.reason()))),
        _ => answer.done(),
    }
}
