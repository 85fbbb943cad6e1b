//! Rules for sockets: `db.example.org:5432`, `*.example.org:443`, `10.0.0.0/8:5432`, `[::1]:80`, `localhost:8000-8010`, `db.example.org:*`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::host::{Host, Ports, RuleError};

/// Hosts, with the TCP ports of theirs that a component may connect to.
///
/// A host that is a name is looked up, and reaches the public addresses that it resolves to; `localhost` those of the machine itself. Any other address
/// that is not public is reached only by a rule that names it, or a range of its kind: `127.0.0.1:5432`, `10.0.0.0/8:*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRule {
    host: Host,
    ports: Ports,
}

impl NetworkRule {
    /// The ports that this rule opens of whatever `name` resolves to; `None` if it is a rule for other names. The name is in its usual form.
    pub(crate) fn ports_of(&self, name: &str) -> Option<&Ports> {
        self.host.names(name).then_some(&self.ports)
    }

    /// Whether this rule names the canonical address.
    pub(crate) fn names_address(&self, address: IpAddr) -> bool {
        self.host.admits(address)
    }

    /// Whether this rule names the canonical address, and the port.
    pub(crate) fn admits(&self, address: IpAddr, port: u16) -> bool {
        self.names_address(address) && self.ports.contain(port)
    }
}

impl FromStr for NetworkRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = |reason: String| RuleError::new(text, reason);
        let (host, ports) = text.rsplit_once(':').ok_or_else(|| wrong("it has no port: write `host:port`, or `host:*`".to_owned()))?;
        if ports.ends_with(']') {
            return Err(wrong("it has no port: write `[address]:port`, or `[address]:*`".to_owned()));
        }
        Ok(Self { host: host.parse().map_err(wrong)?, ports: ports.parse().map_err(wrong)? })
    }
}

impl fmt::Display for NetworkRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> NetworkRule {
        text.parse().unwrap()
    }

    #[test]
    fn a_rule_is_shown_as_it_was_written() {
        for text in [
            "db.example.org:5432",
            "*.example.org:443",
            "*:443",
            "10.0.0.0/8:5432",
            "127.0.0.1:*",
            "[::1]:80",
            "[fd00::/8]:1-1024",
            "localhost:8000-8010",
            "xn--bcher-kva.example:443",
            "_srv.example.org:1",
        ] {
            assert_eq!(rule(text).to_string(), text);
        }
        for (written, is) in [
            ("DB.Example.Org.:5432", "db.example.org:5432"),
            ("[::ffff:10.0.0.0/104]:80", "10.0.0.0/8:80"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
            ("example.org:1-65535", "example.org:*"),
        ] {
            assert_eq!(rule(written).to_string(), is);
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "no port"),
            ("example.org", "no port"),
            ("[::1]", "no port"),
            ("::1:80", "in brackets"),
            ("[10.0.0.1", "no port"),
            ("[example.org]:80", "no IPv6 address"),
            (":80", "neither a DNS name"),
            ("exa mple.org:80", "neither a DNS name"),
            ("bücher.example:80", "ASCII form"),
            ("-x.example.org:80", "neither a DNS name"),
            ("a..b:80", "neither a DNS name"),
            ("*.*.org:80", "`*` stands for"),
            ("www.*.org:80", "`*` stands for"),
            ("*example.org:80", "`*` stands for"),
            ("127.1:80", "in its usual form"),
            ("2130706433:80", "in its usual form"),
            ("example.0x7f:80", "in its usual form"),
            ("10.0.0.1/8:80", "begins at 10.0.0.0/8"),
            ("10.0.0.0/33:80", "no range"),
            ("http://example.org:80", "no range"),
            ("[64:ff9b::/96]:80", "IPv4 addresses"),
            ("[2002::/16]:80", "IPv4 addresses"),
            ("example.org:0", "no port"),
            ("example.org:65536", "no port"),
            ("example.org:+80", "no port"),
            ("example.org:", "no port"),
            ("example.org:9-8", "end before"),
            ("example.org:8-", "no port"),
        ] {
            let error = text.parse::<NetworkRule>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn names_are_those_that_a_rule_names() {
        for (text, name, named) in [
            ("example.org:443", "example.org", true),
            ("example.org:443", "www.example.org", false),
            ("example.org:443", "example.org.evil.net", false),
            ("*.example.org:443", "www.example.org", true),
            ("*.example.org:443", "a.b.example.org", true),
            ("*.example.org:443", "example.org", false),
            ("*.example.org:443", "evilexample.org", false),
            ("*.example.org:443", ".example.org", false),
            ("*:443", "anything.net", true),
            ("*:443", "localhost", false),
            ("localhost:443", "localhost", true),
            ("10.0.0.0/8:443", "10.0.0.1", false),
        ] {
            assert_eq!(rule(text).ports_of(name).is_some(), named, "{text} and {name}");
        }
    }

    #[test]
    fn addresses_are_those_that_a_rule_names() {
        for (text, address, port, admitted) in [
            ("10.0.0.0/8:5432", "10.9.9.9", 5432, true),
            ("10.0.0.0/8:5432", "10.9.9.9", 5433, false),
            ("10.0.0.0/8:*", "11.0.0.1", 5432, false),
            ("[::1]:80", "::1", 80, true),
            ("[::1]:80", "127.0.0.1", 80, false),
            ("127.0.0.1:8000-8010", "127.0.0.1", 8010, true),
            ("127.0.0.1:8000-8010", "127.0.0.1", 8011, false),
            ("0.0.0.0/0:*", "127.0.0.1", 80, false),
            ("*:80", "1.1.1.1", 80, false),
            ("example.org:80", "1.1.1.1", 80, false),
        ] {
            assert_eq!(rule(text).admits(address.parse().unwrap(), port), admitted, "{text} and {address}:{port}");
        }
    }
}
