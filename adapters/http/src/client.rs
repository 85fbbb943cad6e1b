//! Sends requests: signed, each as often as it is worth it, all within the time that a call has.

use std::cell::Cell;
use std::time::Duration;

use agent_host_adapter::http::{self, Header, Response};
use agent_host_adapter::{Error, Result, log};

use crate::answer::Answer;
use crate::clock::ServerClock;
use crate::credentials::{Credentials, Signed, hexadecimal};
use crate::patience::{self, LEAST_TRY, Patience};
use crate::request::{Body, Request, WriteKey};
use crate::transport::Transport;

/// The longest `Retry-After` that is kept to between calls: a server's mistake must not stop its sessions for long.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The longest path and query. Servers take 8 to 64 KiB, Node's 16 with all headers; the longest path of a workspace has 6 KiB when it is encoded.
const TARGET_BYTES: usize = 14 * 1024;

const USER_AGENT: &[u8] = concat!("agent-host-http-adapter/", env!("CARGO_PKG_VERSION")).as_bytes();

/// Why a request has no answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// The host does not let so much pass, of the request or of its answer.
    TooLarge(String),
    /// The host does not let it go there.
    Denied(String),
    /// Anything else, in the contract's words.
    Error(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TooLarge(reason) => Self::other(format!("the host's limits for HTTP do not let it pass: {reason}")),
            // It was granted when the adapter was opened. What its name resolves to may be another address in a moment.
            Failure::Denied(reason) => Self::unavailable(format!("the host does not allow it: {reason}")),
            Failure::Error(error) => error,
        }
    }
}

/// Talks to one server.
pub(crate) struct Client<T> {
    pub(crate) transport: T,
    url: String,
    /// Scheme and host of it, which is what errors may show.
    origin: String,
    credentials: Credentials,
    patience: Patience,
    clock: ServerClock,
    /// Until when the server wants to be left alone.
    rests_until: Cell<Duration>,
}

/// The requests of one call of the host.
pub(crate) struct Call<'a, T> {
    client: &'a Client<T>,
    deadline: Duration,
}

impl<T: Transport> Client<T> {
    pub(crate) fn new(transport: T, url: String, origin: String, credentials: Credentials, patience: Patience) -> Self {
        let rests_until = Cell::new(Duration::ZERO);
        Self { transport, url, origin, credentials, patience, clock: ServerClock::default(), rests_until }
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// As capability documents call what requests are signed with.
    pub(crate) fn authentication(&self) -> &'static str {
        self.credentials.name()
    }

    pub(crate) fn set_clock(&self, there: u64) {
        self.clock.set(self.transport.now(), there);
    }

    /// Begins a call: from now on its time runs.
    pub(crate) fn call(&self) -> Call<'_, T> {
        Call { client: self, deadline: self.transport.now() + self.patience.call }
    }

    /// For one write.
    pub(crate) fn key(&self) -> Result<WriteKey> {
        Ok(WriteKey(hexadecimal(&self.transport.random()?)))
    }
}

/// What came of one try.
enum Tried<'a> {
    Answered(Answer<'a>),
    /// The next one may be answered otherwise: why, and how long the server wants to be left alone until then.
    Again(String, Option<Duration>),
}

impl<'a, T: Transport> Call<'a, T> {
    /// Sends one request until there is an answer that another try would not change.
    pub(crate) fn send(&self, request: &Request<'_>) -> Result<Answer<'a>, Failure> {
        let Client { transport, origin, patience, .. } = self.client;
        check_length(request)?;
        self.is_allowed()?;
        let url = format!("{}{}", self.client.url, request.target);
        let digest = self.client.credentials.digest(request.body.bytes().unwrap_or_default());
        let mut attempt = 1;
        loop {
            let left = self.deadline.saturating_sub(transport.now());
            if left < LEAST_TRY {
                let text = format!("{origin} did not answer all that a call takes within {:?}", patience.call);
                return Err(Failure::Error(Error::unavailable(text)));
            }
            let (reason, asked) = match self.try_once(&url, request, &digest, left.min(patience.one_try()))? {
                Tried::Answered(answer) => return Ok(answer),
                Tried::Again(reason, asked) => (reason, asked),
            };
            let chance = transport.random().map_err(Failure::Error)?[0];
            let pause = patience::pause(attempt, chance).max(asked.unwrap_or_default());
            let left = self.deadline.saturating_sub(transport.now());
            if attempt >= patience.attempts || pause.saturating_add(LEAST_TRY) > left {
                if let Some(asked) = asked {
                    self.client.rests_until.set(transport.now() + asked.min(LONGEST_REST));
                }
                let times = if attempt == 1 { "once".to_owned() } else { format!("{attempt} times") };
                return Err(Failure::Error(Error::unavailable(format!("{reason} (tried {times})"))));
            }
            log::debug!("{} {}: {reason}; trying again in {pause:?}", request.method, request.target.path());
            transport.sleep(pause);
            attempt += 1;
        }
    }

    fn try_once(&self, url: &str, request: &Request<'_>, digest: &str, timeout: Duration) -> Result<Tried<'a>, Failure> {
        match self.fetch(url, request, digest, timeout) {
            Ok(response) => {
                let asked = patience::retry_after(&response);
                let answer = Answer::new(response, &self.client.origin, matches!(request.body, Body::Piece(_)));
                if !patience::is_worth_another_try(answer.status()) {
                    return Ok(Tried::Answered(answer));
                }
                if let Some(now) = answer.clock() {
                    self.client.set_clock(now);
                }
                Ok(Tried::Again(answer.reason(), asked))
            }
            Err(http::Error::Unavailable(reason) | http::Error::Timeout(reason)) => Ok(Tried::Again(reason, None)),
            Err(http::Error::TooLarge(reason)) => Err(too_large(request, reason)),
            Err(http::Error::Denied(reason)) => Err(Failure::Denied(reason)),
            Err(http::Error::Invalid(reason)) => {
                Err(Failure::Error(Error::other(format!("the host does not send such a request: {reason}"))))
            }
        }
    }

    /// Unless the server has asked to be left alone.
    fn is_allowed(&self) -> Result<(), Failure> {
        let Client { transport, origin, rests_until, .. } = self.client;
        match rests_until.get().checked_sub(transport.now()) {
            Some(rest) if !rest.is_zero() => {
                let seconds = rest.as_secs() + 1;
                Err(Failure::Error(Error::unavailable(format!("{origin} has asked to be left alone for another {seconds} s"))))
            }
            _ => Ok(()),
        }
    }

    fn fetch(&self, url: &str, request: &Request<'_>, digest: &str, timeout: Duration) -> Result<Response, http::Error> {
        let Client { transport, credentials, clock, .. } = self.client;
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let Request { method, target, epoch, key, body } = request;
        let key = key.as_ref().map(|key| key.0.as_str());
        // Nobody waits for an answer after that: what is under way for longer must not be done any more, since other writes may have followed.
        let deadline = clock.read(transport.now()).map(|now| now.saturating_add(timeout_ms.into()));
        let signed = deadline.map(|deadline| Signed { method, target, deadline, epoch: *epoch, key, digest });
        let authorization = signed.and_then(|signed| credentials.authorization(&signed));
        let (deadline, epoch) = (deadline.map(|deadline| deadline.to_string()), epoch.map(|epoch| epoch.to_string()));
        let headers: [Option<Header<'_>>; 6] = [
            Some(("user-agent", USER_AGENT)),
            body.content_type().map(|value| ("content-type", value)),
            authorization.as_deref().map(|value| ("authorization", value.as_bytes())),
            deadline.as_deref().map(|value| ("request-deadline", value.as_bytes())),
            epoch.as_deref().map(|value| ("session-epoch", value.as_bytes())),
            key.map(|value| ("idempotency-key", value.as_bytes())),
        ];
        let headers: Vec<Header<'_>> = headers.into_iter().flatten().collect();
        transport.fetch(http::Request { method, url, headers: &headers, body: body.bytes(), timeout_ms: Some(timeout_ms) })
    }
}

fn check_length(request: &Request<'_>) -> Result<(), Failure> {
    let bytes = request.target.as_str().len();
    if bytes <= TARGET_BYTES {
        return Ok(());
    }
    let text = format!("its path and query would have {bytes} bytes, and servers take no more than {TARGET_BYTES}");
    Err(Failure::Error(Error::invalid(text)))
}

/// A piece could be smaller, which the operator can see to while the host keeps what is to be written; nothing else could.
fn too_large(request: &Request<'_>, reason: String) -> Failure {
    match request.body {
        Body::Piece(_) => {
            Failure::Error(Error::unavailable(format!("{reason}; the configuration key \"piece_bytes\" makes pieces smaller")))
        }
        Body::None | Body::Json(_) => Failure::TooLarge(reason),
    }
}

#[cfg(test)]
mod tests;
