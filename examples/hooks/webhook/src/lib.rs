//! An event hook that posts events to a URL, signed by the [Standard Webhooks](https://www.standardwebhooks.com) convention.
//!
//! ```text
//! POST /hooks/agent-host HTTP/1.1
//! content-type: application/json
//! webhook-id: msg_9f2c…                      the same whenever the same events are sent again
//! webhook-timestamp: 1795812202              when this try was made, in Unix seconds
//! webhook-signature: v1,g0hM9SsE…            HMAC-SHA256 of "ID.TIMESTAMP.BODY" in base64; one for each secret, separated by spaces
//!
//! {"type":"agent-host.events","data":{"events":[{"session":"s1","epoch":3,"seq":41,"name":"session:status","data":{…}}]}}
//! ```
//!
//! # Configuration
//!
//! | key | what it is | default |
//! | --- | --- | --- |
//! | `url` | Where events are posted to. | must be there |
//! | `events` | Names of events, separated by commas; `*` at the end stands for any rest. | all that there are but deltas, whose text is in the block that completes |
//! | `secret_env` | The environment variable that holds the secret. Several, separated by commas, each give a signature: so a secret is changed without a gap. | `WEBHOOK_SECRET` |
//! | `unsigned` | `true` sends without a signature. | `false` |
//!
//! A secret is `whsec_` and base64, as the convention has it, or any other text, whose bytes then are the key. It is an environment variable, granted
//! by reference, since the configuration is shown to operators.
//!
//! # Grants
//!
//! The URL itself and no wider pattern, and the secret.
//!
//! ```toml
//! [[hooks]]
//! name = "webhook"
//! component = "examples/hooks/target/wasm32-wasip2/release/hook_webhook.wasm"
//! config = { url = "https://example.org/hooks/agent-host" }
//! grants = { http = ["https://example.org/hooks/agent-host"], env = { WEBHOOK_SECRET = "env:WEBHOOK_SECRET" } }
//! ```
//!
//! A redirect by 307 or 308 is followed by the host, to where the grant allows. One by 301, 302 or 303 would make a GET of it, without the events: it is a failure for all
//! to see.
//!
//! # What a receiver can rely on
//!
//! - Every event comes, at least once, those of a session in order, unless so much was waiting that the host had to skip the oldest, which it counts.
//!   Events have been received when the answer is a 2xx.
//! - A request that is sent again has the same `webhook-id` and the same body. After a restart of the host the same events can come in other portions, and so under
//!   other ids: who wants each event once goes by its `session`, `epoch` and `seq`.
//! - What is larger than the receiver takes (413) comes in smaller portions. A single event that is still too large comes with `"data":null` and `"omittedBytes"`,
//!   and can be looked up with the REST API.
//!
//! # When a receiver fails
//!
//! A network error, a timeout and the statuses 408, 425, 429 and 5xx are tried again a few times at once, and then by the host, which brings the same
//! events after a pause that grows to half a minute. A `Retry-After` in seconds is kept to, ten minutes of it at most.
//!
//! Every other answer means that trying alone will not help: a wrong URL, a secret that is not known there, a hook that was switched off (410). The hook then does
//! not try again at once, but neither does it let events go: it fails each time that the host brings them, which the host's log tells, and they wait in the
//! host, where the backlog shows. Who mends the receiver gets them all; who does not want them any more removes the hook.

#![forbid(unsafe_code)]

mod body;
mod courier;
mod signature;
mod transport;

use agent_host_hook::{Config, Error, Event, Hook, HookInfo, Result, export_hook, log};

use crate::courier::Courier;
use crate::signature::Key;
use crate::transport::Host;

/// All events that there are, but `session:block:delta`.
const EVENTS: &str = "session:block:start,session:block:update,session:block:complete,session:block:removed,session:subagent:*,\
    session:metadata:*,session:options:*,session:file:*,session:status,error,hook:*";

/// Where the secret is, if the operator does not say otherwise.
const SECRET_ENV: &str = "WEBHOOK_SECRET";

/// Posts events to a URL.
pub struct Webhook {
    courier: Courier<Host>,
    events: Vec<String>,
}

export_hook!(Webhook);

impl Hook for Webhook {
    fn open(config: &Config) -> Result<Self> {
        config.only(&["url", "events", "secret_env", "unsigned"])?;
        let events: Vec<String> = list(config.get("events").unwrap_or(EVENTS)).map(str::to_owned).collect();
        if events.is_empty() {
            return Err(Error::invalid("the configuration key \"events\" names no events"));
        }
        let keys = keys(config, |name| std::env::var(name).ok())?;
        Ok(Self { courier: Courier::new(Host::default(), config.require("url")?, keys)?, events })
    }

    fn info(&self) -> HookInfo {
        HookInfo::new("webhook", env!("CARGO_PKG_VERSION")).wants(&self.events)
    }

    fn on_events(&mut self, events: Vec<Event>) -> Result<()> {
        self.courier.deliver(&events)
    }
}

/// The keys that requests are signed with, from the environment.
fn keys(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Vec<Key>> {
    if config.parse("unsigned")?.unwrap_or(false) {
        if config.get("secret_env").is_some() {
            return Err(Error::invalid("the configuration keys \"unsigned\" and \"secret_env\" contradict each other"));
        }
        log::warn!("the webhook is not signed: its receiver cannot know who sends the events");
        return Ok(Vec::new());
    }
    let names = list(config.get("secret_env").unwrap_or(SECRET_ENV));
    let key = |name| {
        let secret = variable(name).ok_or_else(|| {
            Error::invalid(format!("there is no environment variable {name:?}, which should hold the webhook's secret: it must be granted"))
        })?;
        Key::new(&secret).map_err(|reason| Error::invalid(format!("the secret in the environment variable {name:?} is none: {reason}")))
    };
    let keys: Vec<Key> = names.map(key).collect::<Result<_>>()?;
    if keys.is_empty() {
        return Err(Error::invalid("the configuration key \"secret_env\" names no environment variable"));
    }
    Ok(keys)
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(entries: &[(&str, &str)]) -> Config {
        Config::new(entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    fn variable(name: &str) -> Option<String> {
        match name {
            "WEBHOOK_SECRET" => Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
            "OLD" => Some("a plain text of some length".to_owned()),
            "BROKEN" => Some("whsec_geheim!".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn secrets_come_from_the_environment_and_are_never_repeated() {
        let count = |entries: &[(&str, &str)]| keys(&config(entries), variable).map(|keys| keys.len());
        assert_eq!(count(&[]), Ok(1));
        assert_eq!(count(&[("secret_env", "WEBHOOK_SECRET, OLD")]), Ok(2));
        assert_eq!(count(&[("unsigned", "true")]), Ok(0));
        assert_eq!(count(&[("unsigned", "false")]), Ok(1));
        let refused = |entries: &[(&str, &str)]| match count(entries) {
            Err(Error::Invalid(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(refused(&[("secret_env", "ABSENT")]).contains("\"ABSENT\""));
        assert!(refused(&[("secret_env", " ,")]).contains("\"secret_env\""));
        assert!(refused(&[("unsigned", "yes")]).contains("\"unsigned\""));
        assert!(refused(&[("unsigned", "true"), ("secret_env", "OLD")]).contains("contradict"));
        let broken = refused(&[("secret_env", "BROKEN")]);
        assert!(broken.contains("\"BROKEN\"") && !broken.contains("geheim"), "{broken}");
    }

    #[test]
    fn what_is_wrong_with_the_configuration_is_said_at_once() {
        let refused = |entries: &[(&str, &str)]| match Webhook::open(&config(&[&[("unsigned", "true")], entries].concat())) {
            Err(Error::Invalid(text)) => text,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("it was opened"),
        };
        assert!(refused(&[]).contains("\"url\""));
        assert!(refused(&[("secret", "x")]).contains("\"secret\""));
        assert!(refused(&[("url", "https://example.org/"), ("events", ",")]).contains("\"events\""));
        assert!(refused(&[("url", "example.org")]).contains("http"));
        let opened = Webhook::open(&config(&[("unsigned", "true"), ("url", "https://example.org/"), ("events", "error")])).unwrap();
        assert_eq!(opened.info().events, ["error"]);
    }
}
