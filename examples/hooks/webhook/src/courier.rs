//! Brings events to the receiver: in portions that it takes, with a few tries each, within the time that a call has.

use std::collections::HashSet;
use std::time::Duration;

use agent_host_hook::http::{self, Header, Response};
use agent_host_hook::{Error, Event, Result};

use crate::body::{Body, Form};
use crate::signature::Key;
use crate::transport::Transport;

/// How long a call may take: less than the 10 s that the host gives it by default, so that it ends in an error that says why, not in the end of its instance, which knows what
/// was received of a batch that is too large for one request.
const BUDGET: Duration = Duration::from_secs(7);

/// How long a try waits for an answer. A receiver that works through events before it answers is slower than this at its own cost.
const TIMEOUT: Duration = Duration::from_secs(3);

/// With less time than this left no try is begun.
const LEAST_TIMEOUT: Duration = Duration::from_millis(500);

/// The pauses between the tries of one request: what is over in a moment is not worth the longer pause of the host.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// The longest `Retry-After` that is waited for in the call; a longer one is kept to between calls.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The longest `Retry-After` that is kept to: a receiver's mistake must not stop its events for days.
const LONGEST_REST: Duration = Duration::from_secs(10 * 60);

/// How much of a refusal's text is repeated, in characters: enough for a sentence that says why.
const REASON_CHARS: usize = 200;

/// Brings events to one receiver.
pub(crate) struct Courier<T> {
    transport: T,
    url: String,
    /// The URL without path and query, which may hold secrets.
    origin: String,
    keys: Vec<Key>,
    /// Until when the receiver wants to be left alone.
    rests_until: Option<Duration>,
    /// The events that could not all be brought, as their body's id, and the ids of those portions that were.
    begun: Option<(String, HashSet<String>)>,
}

/// What became of a request that was answered.
enum Answer {
    Received,
    /// It would be, if it were smaller.
    TooLarge(String),
}

impl<T: Transport> Courier<T> {
    pub(crate) fn new(transport: T, url: &str, keys: Vec<Key>) -> Result<Self> {
        let origin = origin(url)?.to_owned();
        Ok(Self { transport, url: url.to_owned(), origin, keys, rests_until: None, begun: None })
    }

    /// Brings all events, or fails: then all are to come again. Portions that were received are not sent again by the same instance.
    pub(crate) fn deliver(&mut self, events: &[Event]) -> Result<()> {
        let start = self.transport.now();
        if let Some(rest) = self.rests_until.and_then(|until| until.checked_sub(start)).filter(|rest| !rest.is_zero()) {
            return Err(Error::unavailable(format!("{} asked to be left alone for another {} s", self.origin, rest.as_secs() + 1)));
        }
        let body = Body::new(events, Form::Whole)?;
        let mut received = match self.begun.take() {
            Some((id, received)) if id == body.id => received,
            _ => HashSet::new(),
        };
        let id = body.id.clone();
        let result = self.bring(events, body, start + BUDGET, &mut received);
        if result.is_err() {
            self.begun = Some((id, received));
        }
        result
    }

    fn bring(&mut self, events: &[Event], body: Body, deadline: Duration, received: &mut HashSet<String>) -> Result<()> {
        if received.contains(&body.id) {
            return Ok(());
        }
        let reason = match self.post(&body, deadline)? {
            Answer::Received => {
                received.insert(body.id);
                return Ok(());
            }
            Answer::TooLarge(reason) => reason,
        };
        // Smaller portions need the memory.
        drop(body);
        match events {
            [_] => {
                let body = Body::new(events, Form::WithoutData)?;
                match self.post(&body, deadline)? {
                    Answer::Received => {
                        received.insert(body.id);
                        Ok(())
                    }
                    Answer::TooLarge(_) => Err(Error::other(format!("not even an event without its data can be sent: {reason}"))),
                }
            }
            _ => {
                let (first, second) = events.split_at(events.len() / 2);
                self.bring(first, Body::new(first, Form::Whole)?, deadline, received)?;
                self.bring(second, Body::new(second, Form::Whole)?, deadline, received)
            }
        }
    }

    /// Sends one request, a few times if need be.
    fn post(&mut self, body: &Body, deadline: Duration) -> Result<Answer> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let left = deadline.saturating_sub(self.transport.now());
            if left < LEAST_TIMEOUT {
                return Err(Error::unavailable(format!("{} did not receive all events within {BUDGET:?}", self.origin)));
            }
            let (reason, retry_after) = match self.try_once(body, left.min(TIMEOUT)) {
                Ok(response) if response.is_success() => return Ok(Answer::Received),
                Ok(response) if response.status == 413 => return Ok(Answer::TooLarge(self.refusal(&response))),
                Ok(response) if is_worth_another_try(response.status) => (self.refusal(&response), retry_after(&response)),
                Ok(response) => {
                    let refusal = self.refusal(&response);
                    return Err(Error::other(format!("{refusal}; until that is mended nothing is delivered, and the events wait")));
                }
                Err(http::Error::TooLarge(reason)) => return Ok(Answer::TooLarge(reason)),
                Err(error @ (http::Error::Denied(_) | http::Error::Invalid(_))) => return Err(error.into()),
                Err(http::Error::Unavailable(reason) | http::Error::Timeout(reason)) => (reason, None),
            };
            let pause = pauses.next().map(|pause| retry_after.map_or(pause, |asked| asked.max(pause)));
            let left = deadline.saturating_sub(self.transport.now());
            match pause.filter(|pause| *pause <= LONGEST_PAUSE && *pause + LEAST_TIMEOUT <= left) {
                Some(pause) => self.transport.sleep(pause),
                None => {
                    self.rests_until = retry_after.map(|asked| self.transport.now() + asked.min(LONGEST_REST));
                    return Err(Error::unavailable(reason));
                }
            }
        }
    }

    fn try_once(&mut self, body: &Body, timeout: Duration) -> Result<Response, http::Error> {
        const USER_AGENT: &str = concat!("agent-host-webhook/", env!("CARGO_PKG_VERSION"));
        // The time of the try, not of the first one: receivers refuse what is older than some minutes.
        let timestamp = self.transport.unix_time();
        let signatures: Vec<String> = self.keys.iter().map(|key| key.sign(&body.id, timestamp, &body.json)).collect();
        let (timestamp, signatures) = (timestamp.to_string(), signatures.join(" "));
        let mut headers: Vec<Header<'_>> = vec![
            ("content-type", b"application/json"),
            ("user-agent", USER_AGENT.as_bytes()),
            ("webhook-id", body.id.as_bytes()),
            ("webhook-timestamp", timestamp.as_bytes()),
        ];
        if !signatures.is_empty() {
            headers.push(("webhook-signature", signatures.as_bytes()));
        }
        self.transport.post(&self.url, &headers, &body.json, timeout)
    }

    fn refusal(&self, response: &Response) -> String {
        let text = String::from_utf8_lossy(&response.body);
        let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS).collect();
        let separator = if text.is_empty() { "" } else { ": " };
        format!("{} answered with the status {}{separator}{text}", self.origin, response.status)
    }
}

fn is_worth_another_try(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// In seconds, as nearly all servers write it; that it may be a date is not worth the code to read one.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = std::str::from_utf8(response.header("retry-after")?).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Scheme and host of a URL. Whether the rest of it is one is for the host to say.
fn origin(url: &str) -> Result<&str> {
    let scheme = ["https://", "http://"].into_iter().find(|scheme| url.starts_with(scheme));
    let rest = scheme.and_then(|scheme| Some((scheme, url.strip_prefix(scheme)?)));
    let Some((scheme, rest)) = rest else {
        return Err(Error::invalid("the value of the configuration key \"url\" does not begin with https:// or http://"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') {
        return Err(Error::invalid("the value of the configuration key \"url\" must have a host, and neither user nor password"));
    }
    Ok(url.get(..scheme.len() + authority.len()).unwrap_or(scheme))
}

#[cfg(test)]
mod tests;
