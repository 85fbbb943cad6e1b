//! What the rules for networks and for HTTP have in common: hosts and ports.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use super::address::{admits, canonical};

/// The name that every system knows for itself.
const LOCALHOST: &str = "localhost";

/// Longest DNS name, and longest label of one, in bytes (RFC 1035).
const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// A rule that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rule {rule:?} cannot be used: {reason}")]
pub struct RuleError {
    rule: String,
    reason: String,
}

impl RuleError {
    pub(super) fn new(rule: &str, reason: impl Into<String>) -> Self {
        Self { rule: rule.to_owned(), reason: reason.into() }
    }
}

/// The hosts that a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// `*`: every name, but `localhost`.
    Any,
    /// One name.
    Name(String),
    /// `*.example.org`: every name below this one, at any depth.
    Below(String),
    /// An address, or a range of them.
    Network(IpNet),
}

impl Host {
    /// Whether the rule is for this name, as [`dns_name`] gives it.
    pub(super) fn names(&self, name: &str) -> bool {
        match self {
            Self::Any => !is_localhost(name),
            Self::Name(named) => named == name,
            Self::Below(parent) => name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            Self::Network(_) => false,
        }
    }

    /// Whether the rule is for this canonical address itself, by whatever name it is known.
    pub(super) fn admits(&self, address: IpAddr) -> bool {
        matches!(self, Self::Network(network) if admits(network, address))
    }
}

/// Whether a name may lead to the machine itself.
pub(crate) fn is_localhost(name: &str) -> bool {
    name == LOCALHOST
}

/// The name in the form in which names are compared: in lower case, without the dot at the end. `None` if it is no DNS name.
pub(crate) fn dns_name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        (1..=MAX_LABEL_BYTES).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (text.len() <= MAX_NAME_BYTES && text.split('.').all(is_label)).then(|| text.to_ascii_lowercase())
}

impl FromStr for Host {
    /// What is wrong, to be completed by the rule.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = bracketed.unwrap_or(text);
        if let Some(network) = network(address)? {
            return match network {
                IpNet::V6(_) if bracketed.is_none() => Err(format!("an IPv6 address is written in brackets, [{text}]")),
                _ => Ok(Self::Network(network)),
            };
        }
        if bracketed.is_some() {
            return Err(format!("{address:?} is no IPv6 address"));
        }
        let (parent, name) = match text.strip_prefix("*.") {
            Some(parent) => (true, parent),
            None => (false, text),
        };
        if name.contains('*') {
            return Err("`*` stands for a whole name, or for what is below one: `*`, `*.example.org`".to_owned());
        }
        let Some(name) = dns_name(name) else {
            return Err(format!("{name:?} is neither a DNS name (in its ASCII form) nor an IP address"));
        };
        // What looks like a number is an IPv4 address in one of its older forms for some, a name for others.
        if name.rsplit('.').next().is_some_and(|label| label.starts_with(|first: char| first.is_ascii_digit())) {
            return Err(format!("{name:?} is neither a DNS name nor an IP address in its usual form"));
        }
        Ok(if parent { Self::Below(name) } else { Self::Name(name) })
    }
}

/// An address, or a range such as `10.0.0.0/8`, canonical. `None` if it is something else.
fn network(text: &str) -> Result<Option<IpNet>, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Some(IpNet::from(canonical(address))));
    }
    let Ok(network) = text.parse::<IpNet>() else {
        return if text.contains('/') { Err(format!("{text:?} is no range of addresses")) } else { Ok(None) };
    };
    if network.trunc() != network {
        return Err(format!("the range {network} begins at {}", network.trunc()));
    }
    let IpNet::V6(long) = network else { return Ok(Some(network)) };
    // Addresses are compared in their canonical form, so that a range of another one would never fit.
    match canonical(IpAddr::V6(long.addr())) {
        IpAddr::V6(_) => Ok(Some(network)),
        IpAddr::V4(short) => {
            let mapped = long.addr().to_ipv4_mapped().is_some();
            let short = long.prefix_len().checked_sub(96).filter(|_| mapped).and_then(|prefix| Ipv4Net::new(short, prefix).ok());
            short.map(|short| Some(IpNet::V4(short))).ok_or_else(|| format!("{network} stands for IPv4 addresses: write those"))
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("*"),
            Self::Name(name) => formatter.write_str(name),
            Self::Below(parent) => write!(formatter, "*.{parent}"),
            Self::Network(network) => {
                let single = network.prefix_len() == network.max_prefix_len();
                match (network, single) {
                    (IpNet::V4(network), true) => network.addr().fmt(formatter),
                    (IpNet::V4(network), false) => network.fmt(formatter),
                    (IpNet::V6(network), true) => write!(formatter, "[{}]", network.addr()),
                    (IpNet::V6(network), false) => write!(formatter, "[{network}]"),
                }
            }
        }
    }
}

/// The ports that a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ports(RangeInclusive<u16>);

impl Ports {
    pub(super) fn one(port: u16) -> Self {
        Self(port..=port)
    }

    /// Every port that there is.
    fn any() -> Self {
        Self(1..=u16::MAX)
    }

    pub(crate) fn contain(&self, port: u16) -> bool {
        self.0.contains(&port)
    }
}

impl FromStr for Ports {
    /// What is wrong, to be completed by the rule.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::any());
        }
        let port = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<u16>().ok().filter(|port| digits && *port > 0);
            number.ok_or_else(|| format!("{text:?} is no port: a number from 1 to 65535, a range such as 8000-8010, or `*`"))
        };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        if first > last {
            return Err(format!("the ports {text} end before they begin"));
        }
        Ok(Self(first..=last))
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.start(), self.0.end());
        match self {
            _ if *self == Self::any() => formatter.write_str("*"),
            _ if first == last => first.fmt(formatter),
            _ => write!(formatter, "{first}-{last}"),
        }
    }
}
