//! Rules for HTTP: `https://api.example.org/v1/*`, `https://*.example.org`, `http://localhost:8000-8010/hook`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::Url;

use super::address::canonical;
use super::host::{Host, Ports, RuleError, dns_name};

/// URLs that a component may fetch.
///
/// Without a path all paths are meant; with `*` at the end all that begin so; otherwise just this one. A query may follow. What a host's name resolves to
/// must be public, but for `localhost`; an address that is not public is reached only by a rule that has it for its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRule {
    scheme: Scheme,
    host: Host,
    ports: Ports,
    path: Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Path {
    All,
    Exactly(String),
    BeginsWith(String),
}

impl HttpRule {
    /// Whether the rule is for this URL.
    pub(crate) fn admits(&self, url: &Url) -> bool {
        let Some(port) = url.port_or_known_default() else { return false };
        let host = match UrlHost::of(url) {
            Some(UrlHost::Name(name)) => self.host.names(&name),
            Some(UrlHost::Address(address)) => self.host.admits(address),
            None => false,
        };
        url.scheme() == self.scheme.as_str() && host && self.ports.contain(port) && self.path.admits(url.path())
    }

    /// Whether it is for URLs of servers that show a certificate.
    pub(crate) fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Whether the rule is for some URL of this host, whose name is in its usual form.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.host.names(name)
    }
}

/// The host of a URL, in the form in which hosts are compared.
enum UrlHost {
    Name(String),
    Address(IpAddr),
}

impl UrlHost {
    fn of(url: &Url) -> Option<Self> {
        let text = url.host_str()?;
        let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        match address.parse() {
            Ok(address) => Some(Self::Address(canonical(address))),
            Err(_) => dns_name(text).map(Self::Name),
        }
    }
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Path {
    fn admits(&self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exactly(exact) => path == exact,
            Self::BeginsWith(start) => path.starts_with(start.as_str()) && !path.split('/').any(may_climb),
        }
    }
}

/// Whether a server that decodes before it resolves dots, or that ends a segment at a `;`, could take this segment for one that leads upwards.
fn may_climb(segment: &str) -> bool {
    let lower = segment.to_ascii_lowercase();
    let hidden = ["%2f", "%5c", "%2e", "%25", "\\"].iter().any(|hidden| lower.contains(hidden));
    let dots = lower.split(';').next().is_some_and(|name| matches!(name, "." | ".."));
    hidden || dots
}

impl FromStr for HttpRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = |reason: String| RuleError::new(text, reason);
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            _ => return Err(wrong("it begins with neither `http://` nor `https://`".to_owned())),
        };
        // Not the one of a range in brackets.
        let slash = rest.char_indices().skip_while(|(_, sign)| rest.starts_with('[') && *sign != ']').find(|(_, sign)| *sign == '/');
        let (authority, path) = slash.map_or((rest, ""), |(slash, _)| rest.split_at(slash));
        if authority.contains('@') {
            return Err(wrong("it has a user name: credentials belong into a header".to_owned()));
        }
        let (host, ports) = match authority.rsplit_once(':') {
            Some((host, ports)) if !ports.ends_with(']') => (host, ports.parse().map_err(wrong)?),
            _ => (authority, Ports::one(scheme.port())),
        };
        let host: Host = host.parse().map_err(wrong)?;
        if let Host::Network(network) = host
            && network.prefix_len() != network.max_prefix_len()
        {
            return Err(wrong("the host of a URL is a name or an address, not a range".to_owned()));
        }
        Ok(Self { scheme, host, ports, path: path.parse().map_err(wrong)? })
    }
}

impl FromStr for Path {
    /// What is wrong, to be completed by the rule.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::All);
        }
        let (path, begins) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        if path.contains(['*', '?', '#']) {
            return Err("a path has `*` only at its end, and neither a query nor a fragment".to_owned());
        }
        // Paths are compared as URLs have them: one that is written otherwise would never fit.
        let usual = Url::parse("http://host").and_then(|base| base.join(path)).map_err(|error| format!("its path is none: {error}"))?;
        if usual.path() != path {
            return Err(format!("its path is written {:?} in a URL", usual.path()));
        }
        let path = path.to_owned();
        Ok(if begins { Self::BeginsWith(path) } else { Self::Exactly(path) })
    }
}

impl fmt::Display for HttpRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.ports != Ports::one(self.scheme.port()) {
            write!(formatter, ":{}", self.ports)?;
        }
        match &self.path {
            Path::All => Ok(()),
            Path::Exactly(path) => formatter.write_str(path),
            Path::BeginsWith(path) => write!(formatter, "{path}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> HttpRule {
        text.parse().unwrap()
    }

    #[test]
    fn a_rule_is_shown_as_it_was_written() {
        for text in [
            "https://api.example.org/v1/*",
            "https://api.example.org",
            "https://*.example.org:8443/hook",
            "http://localhost:8000-8010/*",
            "http://127.0.0.1:*/",
            "http://[::1]:8080/a%20b",
            "https://*",
        ] {
            assert_eq!(rule(text).to_string(), text);
        }
        assert_eq!(rule("https://API.example.org:443/V1").to_string(), "https://api.example.org/V1");
    }

    #[test]
    fn what_is_no_rule_is_refused_with_a_reason() {
        for (text, why) in [
            ("api.example.org", "neither `http://`"),
            ("ftp://example.org", "neither `http://`"),
            ("HTTPS://example.org", "neither `http://`"),
            ("https://", "neither a DNS name"),
            ("https://user:secret@example.org/", "user name"),
            ("https://[fd00::/8]/", "not a range"),
            ("https://example.org:x/", "no port"),
            ("https://::1/", "neither a DNS name"),
            ("https://example.org/a*b", "only at its end"),
            ("https://example.org/a?b=c", "neither a query"),
            ("https://example.org/a/../b", "\"/b\""),
            ("https://example.org/a b", "\"/a%20b\""),
            ("https://example.org//evil.net/", "is written"),
        ] {
            let error = text.parse::<HttpRule>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn urls_are_those_that_a_rule_names() {
        for (text, url, admitted) in [
            ("https://api.example.org/v1/*", "https://api.example.org/v1/x?y=z", true),
            ("https://api.example.org/v1/*", "https://api.example.org:443/v1/", true),
            ("https://api.example.org/v1/*", "https://API.EXAMPLE.ORG./v1/x", true),
            ("https://api.example.org/v1/*", "https://api.example.org/v1", false),
            ("https://api.example.org/v1/*", "https://api.example.org/v2/x", false),
            ("https://api.example.org/v1/*", "https://api.example.org/v1/../admin", false),
            ("https://api.example.org/v1/*", "https://api.example.org/v1/%2e%2e/admin", false),
            ("https://api.example.org/v1/*", "https://api.example.org/v1/..%2fadmin", false),
            ("https://api.example.org/v1/*", "https://api.example.org/v1/..%252fadmin", false),
            ("https://api.example.org/v1/*", "https://api.example.org/v1/..;x/admin", false),
            ("https://api.example.org/v1/*", "https://api.example.org/v1/..\\..\\admin", false),
            ("https://api.example.org/v1/*", "http://api.example.org/v1/x", false),
            ("https://api.example.org/v1/*", "https://api.example.org:8443/v1/x", false),
            ("https://api.example.org/v1/*", "https://evil.net/v1/x", false),
            ("https://api.example.org/v1/*", "https://api.example.org@evil.net/v1/x", false),
            ("https://api.example.org/v1/*", "https://api.example.org.evil.net/v1/x", false),
            ("https://api.example.org/hook", "https://api.example.org/hook?x", true),
            ("https://api.example.org/hook", "https://api.example.org/hook/x", false),
            ("https://*.example.org", "https://a.example.org/any/thing%2f", true),
            ("https://*.example.org", "https://example.org/", false),
            ("https://*", "https://example.org/", true),
            ("https://*", "https://localhost/", false),
            ("https://*", "https://127.0.0.1/", false),
            ("https://*", "https://1.1.1.1/", false),
            ("http://localhost:*", "http://localhost:8080/", true),
            ("http://localhost:*", "http://127.0.0.1:8080/", false),
            ("http://127.0.0.1:*", "http://127.0.0.1:8080/", true),
            ("http://127.0.0.1:*", "http://[::ffff:127.0.0.1]:8080/", true),
            ("http://127.0.0.1:*", "http://0x7f.1:8080/", true),
            ("http://127.0.0.1:*", "http://localhost:8080/", false),
            ("http://[::1]", "http://[::1]/", true),
        ] {
            assert_eq!(rule(text).admits(&Url::parse(url).unwrap()), admitted, "{text} and {url}");
        }
    }
}
