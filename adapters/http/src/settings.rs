//! What the operator has configured, checked.

use std::ops::RangeInclusive;
use std::time::Duration;

use agent_host_adapter::{Config, Error, Result, log};

use crate::credentials::Credentials;
use crate::patience::Patience;

/// The configuration's keys.
const KEYS: [&str; 7] = ["url", "auth", "secret_env", "leases", "piece_bytes", "call_ms", "attempts"];

/// Where the secret is, if the operator does not say otherwise.
const SECRET_ENV: &str = "STORE_SECRET";

/// As much as the contract reads at once: a piece that is written is one that can be read.
const PIECE_BYTES: u64 = 1024 * 1024;

/// From what is not worth a request to what the host lets pass by default (`http_request`).
const PIECE_RANGE: RangeInclusive<u64> = 64 * 1024..=8 * 1024 * 1024;

/// Less than the 10 s that the host gives a call by default (`call_timeout`): so a call ends in an error that says why, and not in the end of its instance.
const CALL_MS: u64 = 7_000;

/// From what a server next door takes to what no client waits for.
const CALL_RANGE: RangeInclusive<u64> = 500..=600_000;

/// With pauses of 1.5 s at most between them: what takes longer to mend is for the host's own retries, which are patient.
const ATTEMPTS: u64 = 5;

/// More than these have no time in a call.
const ATTEMPTS_RANGE: RangeInclusive<u64> = 1..=20;

/// What the operator has configured.
pub(crate) struct Settings {
    /// Without a slash at its end.
    pub(crate) url: String,
    /// Scheme and host of it.
    pub(crate) origin: String,
    pub(crate) credentials: Credentials,
    pub(crate) needs_leases: bool,
    pub(crate) piece_bytes: usize,
    pub(crate) patience: Patience,
}

impl Settings {
    /// `variable` gives the environment variables that were granted.
    pub(crate) fn read(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        config.only(&KEYS)?;
        let url = config.require("url")?;
        let origin = origin(url)?;
        let credentials = credentials(config, variable)?;
        if matches!(credentials, Credentials::Bearer(_)) && origin.starts_with("http://") && !is_this_machine(origin) {
            log::warn!("the token is sent to {origin} without encryption: whoever is on the way can read and use it");
        }
        let needs_leases = match config.get("leases").unwrap_or("optional") {
            "optional" => false,
            "required" => true,
            _ => return Err(Error::invalid("the value of the configuration key \"leases\" is neither \"optional\" nor \"required\"")),
        };
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            origin: origin.to_owned(),
            credentials,
            needs_leases,
            piece_bytes: usize::try_from(number(config, "piece_bytes", PIECE_BYTES, &PIECE_RANGE)?).unwrap_or(usize::MAX),
            patience: Patience {
                attempts: u32::try_from(number(config, "attempts", ATTEMPTS, &ATTEMPTS_RANGE)?).unwrap_or(u32::MAX),
                call: Duration::from_millis(number(config, "call_ms", CALL_MS, &CALL_RANGE)?),
            },
        })
    }
}

fn number(config: &Config, key: &str, default: u64, range: &RangeInclusive<u64>) -> Result<u64> {
    let number = config.parse(key)?.unwrap_or(default);
    if range.contains(&number) {
        return Ok(number);
    }
    let (least, most) = (range.start(), range.end());
    Err(Error::invalid(format!("the value {number} of the configuration key {key:?} is not {least} to {most}")))
}

fn credentials(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Credentials> {
    let kind = match config.get("auth").unwrap_or("bearer") {
        "none" if config.get("secret_env").is_some() => {
            return Err(Error::invalid("the configuration keys \"auth\" (\"none\") and \"secret_env\" contradict each other"));
        }
        "none" => return Ok(Credentials::None),
        "bearer" => Credentials::bearer,
        "hmac" => Credentials::hmac,
        _ => return Err(Error::invalid("the value of the configuration key \"auth\" is none of \"bearer\", \"hmac\" and \"none\"")),
    };
    let name = config.get("secret_env").unwrap_or(SECRET_ENV);
    let secret = variable(name).ok_or_else(|| {
        Error::invalid(format!("there is no environment variable {name:?}, which should hold the store's secret: it must be granted"))
    })?;
    kind(&secret).map_err(|reason| Error::invalid(format!("the secret in the environment variable {name:?} is none: {reason}")))
}

/// Scheme and host of the URL. Whether the rest of it is one is for the host to say, which is asked at once.
fn origin(url: &str) -> Result<&str> {
    let wrong = |what: &str| Err(Error::invalid(format!("the value of the configuration key \"url\" {what}")));
    let scheme = ["https://", "http://"].into_iter().find(|scheme| url.starts_with(scheme));
    let Some((scheme, rest)) = scheme.and_then(|scheme| Some((scheme, url.strip_prefix(scheme)?))) else {
        return wrong("does not begin with https:// or http://");
    };
    if rest.contains(['?', '#']) {
        return wrong("must have neither a query nor a fragment");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') {
        return wrong("must have a host, and neither user nor password");
    }
    Ok(url.get(..scheme.len() + authority.len()).unwrap_or(scheme))
}

fn is_this_machine(origin: &str) -> bool {
    let host = origin.trim_start_matches("http://");
    ["localhost", "127.", "[::1]"].iter().any(|local| host.starts_with(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "STORE_SECRET" => Some("a token of at least twenty-four bytes".replace(' ', "-")),
            "SPACED" => Some("geheim aber zu zweit".to_owned()),
            "EMPTY" => Some("\n".to_owned()),
            _ => None,
        }
    }

    fn read(entries: &[(&str, &str)]) -> Result<Settings> {
        let entries = [&[("url", "https://store.example/functions/v1/")][..], entries].concat();
        let entries = entries.iter().rev().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings::read(&Config::new(entries), variable)
    }

    fn refused(entries: &[(&str, &str)]) -> String {
        match read(entries) {
            Err(Error::Invalid(text)) => text,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("{entries:?} was accepted"),
        }
    }

    #[test]
    fn only_the_url_and_a_secret_are_needed() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.url.as_str(), settings.origin.as_str()), ("https://store.example/functions/v1", "https://store.example"));
        assert_eq!(settings.patience, Patience { attempts: 5, call: Duration::from_secs(7) });
        assert_eq!((settings.piece_bytes, settings.needs_leases), (1 << 20, false));
        assert!(matches!(settings.credentials, Credentials::Bearer(_)));
    }

    #[test]
    fn everything_can_be_said_otherwise() {
        let entries = [
            ("auth", "hmac"),
            ("secret_env", "SPACED"),
            ("leases", "required"),
            ("piece_bytes", "65536"),
            ("call_ms", "30000"),
            ("attempts", "1"),
        ];
        let settings = read(&entries).unwrap();
        assert_eq!(settings.patience, Patience { attempts: 1, call: Duration::from_secs(30) });
        assert_eq!((settings.piece_bytes, settings.needs_leases), (65_536, true));
        assert!(matches!(settings.credentials, Credentials::Hmac(_)));
        assert!(matches!(read(&[("auth", "none")]).unwrap().credentials, Credentials::None));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_repeated() {
        for (entries, why) in [
            (&[("secret", "x")][..], "\"secret\""),
            (&[("url", "store.example")], "https://"),
            (&[("url", "https://")], "a host"),
            (&[("url", "https:///x")], "a host"),
            (&[("url", "https://user:geheim@store.example")], "neither user"),
            (&[("url", "https://store.example/?a=b")], "query"),
            (&[("auth", "basic")], "\"bearer\""),
            (&[("auth", "none"), ("secret_env", "STORE_SECRET")], "contradict"),
            (&[("secret_env", "ABSENT")], "\"ABSENT\""),
            (&[("secret_env", "SPACED")], "\"SPACED\""),
            (&[("secret_env", "EMPTY"), ("auth", "hmac")], "\"EMPTY\""),
            (&[("leases", "true")], "\"leases\""),
            (&[("piece_bytes", "1000")], "\"piece_bytes\""),
            (&[("piece_bytes", "many")], "\"piece_bytes\""),
            (&[("call_ms", "0")], "\"call_ms\""),
            (&[("attempts", "0")], "\"attempts\""),
        ] {
            let text = refused(entries);
            assert!(text.contains(why) && !text.contains("geheim"), "{entries:?}: {text}");
        }
        assert!(matches!(Settings::read(&Config::default(), variable), Err(Error::Invalid(text)) if text.contains("\"url\"")));
    }
}
