//! Path and query of a request, which stand behind the store's URL.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All bytes but RFC 3986's unreserved ones, which no client, proxy or server reads as anything else. So what is signed here is, byte for byte, what the server is asked for.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path of the protocol, with the parameters behind it.
///
/// Whatever a client could have named stands in the query: there a slash, a dot or a percent sign is a byte like any other, while in a path servers and proxies decode, resolve and
/// refuse it in ways of their own, and so does the host where a grant ends in `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target(String);

impl Target {
    pub(crate) fn new(path: &'static str) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, ENCODED));
        self
    }

    pub(crate) fn with_number(self, name: &'static str, value: u64) -> Self {
        self.with(name, &value.to_string())
    }

    pub(crate) fn with_some(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the parameters, which may be long.
    pub(crate) fn path(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_that_could_mean_something_is_encoded() {
        for (value, encoded) in [
            ("plain-._~09AZaz", "plain-._~09AZaz"),
            ("a/b", "a%2Fb"),
            ("what? & 100% = +1#", "what%3F%20%26%20100%25%20%3D%20%2B1%23"),
            ("💡", "%F0%9F%92%A1"),
            ("e\u{301}é", "e%CC%81%C3%A9"),
            ("\0\r\n\t'\"\\", "%00%0D%0A%09%27%22%5C"),
            ("%41", "%2541"),
            ("", ""),
        ] {
            assert_eq!(Target::new("/file").with("path", value).as_str(), format!("/file?path={encoded}"));
        }
    }

    #[test]
    fn parameters_follow_each_other() {
        let target = Target::new("/stream").with("session", "s").with_number("offset", 7).with_some("a", None).with_some("b", Some("c"));
        assert_eq!(target.to_string(), "/stream?session=s&offset=7&b=c");
        assert_eq!(Target::new("/health").to_string(), "/health");
    }
}
