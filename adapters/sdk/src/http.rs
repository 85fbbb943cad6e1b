//! HTTP requests, to the URLs that the host grants: a thin layer over the import `agent-host:http`.

use crate::Error as AdapterError;

pub use crate::bindings::agent_host::http::http::{Error, Request, Response, fetch};

/// A header's name and value.
pub type Header<'a> = (&'a str, &'a [u8]);

impl<'a> Request<'a> {
    /// A `GET` without headers.
    pub fn get(url: &'a str) -> Self {
        Self { method: "GET", url, headers: &[], body: None, timeout_ms: None }
    }

    /// A `POST` of these bytes, without headers.
    pub fn post(url: &'a str, body: &'a [u8]) -> Self {
        Self { method: "POST", body: Some(body), ..Self::get(url) }
    }
}

impl Response {
    /// Whether the status is one of 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first value of a header, whose name may be in any case; `None` if it is absent.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }
}

impl From<Error> for AdapterError {
    /// What is worth another try is [`AdapterError::Unavailable`]; a URL that was not granted is [`AdapterError::Invalid`], since the configuration
    /// is wrong; anything else is [`AdapterError::Other`].
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(text) => Self::Unavailable(format!("the server is unavailable: {text}")),
            Error::Timeout(text) => Self::Unavailable(format!("the server did not answer in time: {text}")),
            Error::Denied(text) => Self::Invalid(format!("the URL is not granted: {text}")),
            Error::Invalid(text) => Self::Other(format!("the HTTP request is invalid: {text}")),
            Error::TooLarge(text) => Self::Other(format!("the HTTP request or its response is too large: {text}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_request_is_worth_another_try_if_the_server_may_answer_then() {
        let again = AdapterError::from(Error::Timeout("8 s".to_owned()));
        assert_eq!(again, AdapterError::unavailable("the server did not answer in time: 8 s"));
        let never = AdapterError::from(Error::Denied("http://x/".to_owned()));
        assert_eq!(never, AdapterError::invalid("the URL is not granted: http://x/"));
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let response = Response { status: 204, headers: vec![("Retry-After".to_owned(), b"5".to_vec())], body: Vec::new() };
        assert_eq!(response.header("retry-after"), Some(b"5".as_slice()));
        assert!(response.header("etag").is_none() && response.is_success());
    }
}
