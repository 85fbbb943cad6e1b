//! The settings' types that are about traces.

use std::str::FromStr as _;

use http::Uri;

use super::error::Error;
use super::node::{Node, Value};
use super::read::{Context, Read, refuse, text};
use super::setting::Shape;

/// Where traces are taken by OTLP over HTTP, without the path that the protocol adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    base: String,
    is_https: bool,
}

impl Endpoint {
    /// The URL for traces.
    pub fn traces(&self) -> String {
        format!("{}/v1/traces", self.base)
    }

    /// Whether TLS is spoken there.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    fn parse(text: &str) -> Option<Self> {
        let uri = Uri::from_str(text).ok()?;
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?.as_str();
        // A password would be shown by `check-config`.
        let is_plain = !authority.contains('@') && uri.query().is_none() && !text.contains('#');
        (is_plain && !uri.host()?.is_empty()).then(|| Self { base: text.trim_end_matches('/').to_owned(), is_https })
    }
}

impl Read for Endpoint {
    const SHAPE: Shape = Shape::Text;

    fn type_name() -> String {
        "`http://HOST:PORT`".into()
    }

    fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
        let expected = r#"a URL such as "http://localhost:4318", without user, query or fragment"#;
        // One with a user in it is refused, and must not be shown for that.
        Self::parse(text::<Self>(node, expected)?).ok_or_else(|| Error::bad_secret(node, format!("expected {expected}")))
    }
}

/// A part of a whole: 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

impl Ratio {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Read for Ratio {
    const SHAPE: Shape = Shape::Value;

    fn type_name() -> String {
        "number from 0 to 1".into()
    }

    fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
        let number = match &node.value {
            Value::Integer(0) => Some(0.0),
            Value::Integer(1) => Some(1.0),
            // A number with a point.
            Value::Other(text) => text.parse().ok(),
            _ => None,
        };
        number.filter(|number| (0.0..=1.0).contains(number)).map(Self).ok_or_else(|| refuse::<Self>(node, "expected a number from 0 to 1"))
    }
}
