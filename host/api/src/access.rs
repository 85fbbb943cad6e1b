//! Who may use the API: keys, and for a host without keys the rules that keep web pages of others out.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::options::{Options, Origin};
use crate::problem::{Code, Problem};

/// The rules of a host.
pub(crate) struct Access {
    /// Digests of the keys: the keys themselves need not stay in memory, and digests have one length, so that comparing them tells nothing.
    keys: Vec<[u8; 32]>,
    /// The same of the keys for the admin calls.
    admin_keys: Vec<[u8; 32]>,
    allowed_origins: Vec<Origin>,
}

/// What a request's headers say about its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// It has a key, or none is needed.
    Known,
    /// It has not shown a key yet.
    Unknown,
}

impl Access {
    pub(crate) fn new(options: &Options) -> Self {
        let digests = |keys: &[SecretString]| keys.iter().map(|key| digest(key.expose_secret())).collect();
        Self {
            keys: digests(&options.api_keys),
            admin_keys: digests(&options.admin_keys),
            allowed_origins: options.allowed_origins.clone(),
        }
    }

    pub(crate) fn needs_key(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether `key` is one of the host's. Takes the same time for each wrong key.
    pub(crate) fn accepts(&self, key: &str) -> bool {
        is_among(&self.keys, key)
    }

    /// Looks at a request to an admin call, which always needs a key, and another one than the rest of the API: agents in local sandboxes reach the host's address, too.
    ///
    /// # Errors
    /// The answer to give.
    pub(crate) fn check_admin(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        if !self.needs_key() {
            check_host(uri, headers)?;
            self.check_origin(headers)?;
        }
        match bearer(headers)? {
            Some(key) if is_among(&self.admin_keys, key) => Ok(()),
            Some(_) => Err(Problem::new(Code::InvalidApiKey, "the key is not one of this host's admin keys")),
            None => Err(Problem::new(Code::AuthRequired, "an admin key is required; send it as: Authorization: Bearer KEY")),
        }
    }

    /// Looks at a request before anything else does.
    ///
    /// A host without keys trusts whoever reaches its loopback address. A web page must not: it is kept out by its `Origin`, and one
    /// that made its own name point here (DNS rebinding) by the `Host` that the browser sends. With keys, the key is the protection; origins
    /// are looked at for WebSockets and event streams (`is_stream`), which browsers open across origins without asking, and only if some are configured.
    ///
    /// # Errors
    /// The answer to give.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap, is_stream: bool) -> Result<Sender, Problem> {
        if !self.needs_key() {
            check_host(uri, headers)?;
            self.check_origin(headers)?;
            return Ok(Sender::Known);
        }
        if is_stream && !self.allowed_origins.is_empty() {
            self.check_origin(headers)?;
        }
        match bearer(headers)? {
            Some(key) if self.accepts(key) => Ok(Sender::Known),
            Some(_) => Err(Problem::new(Code::InvalidApiKey, "the API key is not one of this host's")),
            None => Ok(Sender::Unknown),
        }
    }

    /// Whether pages of this origin may use the API.
    pub(crate) fn allows_origin(&self, origin: &HeaderValue) -> bool {
        let origin = origin.to_str().ok().and_then(|text| Origin::new(text).ok());
        origin.is_some_and(|origin| {
            let is_local = !self.needs_key() && origin.host().is_some_and(|host| is_loopback(&host));
            is_local || self.allowed_origins.contains(&origin)
        })
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        for origin in headers.get_all(header::ORIGIN) {
            if !self.allows_origin(origin) {
                return Err(Problem::new(Code::OriginNotAllowed, "web pages of this origin may not use this host (auth.allowed_origins)"));
            }
        }
        Ok(())
    }
}

fn check_host(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let refused = || {
        let detail = "a host without an API key answers to localhost, 127.0.0.1 and [::1] only; the Host header names another";
        Problem::new(Code::HostNotAllowed, detail)
    };
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(refused()) };
    let host = host.to_str().ok().and_then(|text| text.parse::<Authority>().ok()).ok_or_else(refused)?;
    // A request line may name a host as well (`GET http://host/ HTTP/1.1`), which then counts.
    let named = [Some(&host), uri.authority()];
    if named.into_iter().flatten().all(is_loopback_authority) { Ok(()) } else { Err(refused()) }
}

/// Whether it is a name of this machine with or without a port, and nothing else.
fn is_loopback_authority(authority: &Authority) -> bool {
    let host = authority.host();
    let port = authority.as_str().strip_prefix(host).map(|port| port.strip_prefix(':').unwrap_or(port));
    is_loopback(host) && port.is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok())
}

/// Whether a host, without a port, is this machine by its name alone.
fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| {
        let (scheme, key) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Problem::new(Code::AuthRequired, "the Authorization header is not of the form: Bearer KEY")),
    }
}

fn is_among(keys: &[[u8; 32]], key: &str) -> bool {
    let digest = digest(key);
    let found = keys.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&digest));
    found.into()
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(keys: &[&str], origins: &[&str]) -> Access {
        Access::new(&Options {
            api_keys: keys.iter().map(|key| SecretString::from(*key)).collect(),
            allowed_origins: origins.iter().map(|origin| Origin::new(origin).unwrap()).collect(),
            ..Options::default()
        })
    }

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn code(result: Result<Sender, Problem>) -> Code {
        result.unwrap_err().code()
    }

    #[test]
    fn without_a_key_only_this_machine_is_answered() {
        let access = access(&[], &[]);
        let uri = Uri::from_static("/sessions");
        for host in ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8080"] {
            assert_eq!(access.check(&uri, &headers(&[(header::HOST, host)]), false), Ok(Sender::Known), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "evil@localhost",
            "127.0.0.1.nip.io",
            "0.0.0.0",
            "10.0.0.1",
            "",
            "a b",
            "[::1",
            "localhost:x",
        ] {
            assert_eq!(code(access.check(&uri, &headers(&[(header::HOST, host)]), false)), Code::HostNotAllowed, "{host}");
        }
        assert_eq!(code(access.check(&uri, &HeaderMap::new(), false)), Code::HostNotAllowed, "no Host header");
        let absolute = Uri::from_static("http://evil.example/sessions");
        assert_eq!(code(access.check(&absolute, &headers(&[(header::HOST, "localhost")]), false)), Code::HostNotAllowed);
        let mut twice = headers(&[(header::HOST, "localhost")]);
        twice.append(header::HOST, HeaderValue::from_static("localhost"));
        assert_eq!(code(access.check(&uri, &twice, false)), Code::HostNotAllowed, "two Host headers");
    }

    #[test]
    fn without_a_key_web_pages_of_others_are_kept_out() {
        let access = access(&[], &["https://app.example.com"]);
        let uri = Uri::from_static("/ws");
        for origin in ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:9", "https://app.example.com"] {
            let headers = headers(&[(header::HOST, "localhost"), (header::ORIGIN, origin)]);
            assert_eq!(access.check(&uri, &headers, true), Ok(Sender::Known), "{origin}");
        }
        for origin in
            ["https://evil.example", "http://app.example.com", "https://app.example.com:8443", "null", "", "http://localhost.evil.example"]
        {
            let headers = headers(&[(header::HOST, "localhost"), (header::ORIGIN, origin)]);
            assert_eq!(code(access.check(&uri, &headers, true)), Code::OriginNotAllowed, "{origin}");
            assert_eq!(code(access.check(&uri, &headers, false)), Code::OriginNotAllowed, "{origin}");
        }
    }

    #[test]
    fn with_keys_the_key_decides() {
        let access = access(&["one", "two"], &[]);
        let uri = Uri::from_static("/sessions");
        for (value, expected) in [
            ("Bearer one", Ok(Sender::Known)),
            ("bearer two", Ok(Sender::Known)),
            ("Bearer three", Err(Code::InvalidApiKey)),
            ("Bearer ", Err(Code::InvalidApiKey)),
            ("Bearer on", Err(Code::InvalidApiKey)),
            ("one", Err(Code::AuthRequired)),
            ("Basic one", Err(Code::AuthRequired)),
        ] {
            let headers = headers(&[(header::HOST, "evil.example"), (header::AUTHORIZATION, value)]);
            assert_eq!(access.check(&uri, &headers, false).map_err(|problem| problem.code()), expected, "{value}");
        }
        assert_eq!(access.check(&uri, &HeaderMap::new(), false), Ok(Sender::Unknown));
        assert!(!access.accepts(""));
    }

    #[test]
    fn with_keys_and_origins_a_foreign_page_cannot_even_open_a_socket() {
        let access = access(&["one"], &["https://app.example.com"]);
        let uri = Uri::from_static("/ws");
        let foreign = headers(&[(header::ORIGIN, "https://evil.example"), (header::AUTHORIZATION, "Bearer one")]);
        assert_eq!(code(access.check(&uri, &foreign, true)), Code::OriginNotAllowed);
        assert_eq!(access.check(&uri, &foreign, false), Ok(Sender::Known), "the key protects REST");
        assert_eq!(access.check(&uri, &headers(&[(header::ORIGIN, "https://app.example.com")]), true), Ok(Sender::Unknown));
    }
}
