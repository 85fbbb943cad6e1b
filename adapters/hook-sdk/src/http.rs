//! HTTP requests, to the URLs that the operator granted.
//!
//! ```no_run
//! # use agent_host_hook::{Result, http};
//! # fn example(url: &str, events: &[u8]) -> Result<()> {
//! let headers: [http::Header<'_>; 1] = [("content-type", b"application/json")];
//! let response = http::fetch(http::Request { headers: &headers, ..http::Request::post(url, events) })?;
//! # drop(response); Ok(())
//! # }
//! ```

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

/// What is worth another try is [`Unavailable`](crate::Error::Unavailable).
impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(reason) => Self::unavailable(format!("the server is unavailable: {reason}")),
            Error::Timeout(reason) => Self::unavailable(format!("the server did not answer in time: {reason}")),
            Error::Denied(reason) => Self::other(format!("the HTTP request was denied: {reason}")),
            Error::Invalid(reason) => Self::other(format!("the HTTP request is invalid: {reason}")),
            Error::TooLarge(reason) => Self::other(format!("the HTTP request or its response is too large: {reason}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_request_is_worth_another_try_if_the_server_may_answer_then() {
        let again = crate::Error::from(Error::Timeout("8 s".to_owned()));
        assert!(matches!(&again, crate::Error::Unavailable(text) if text.contains("in time: 8 s")), "{again:?}");
        let never = crate::Error::from(Error::Denied("http://x/".to_owned()));
        assert!(matches!(never, crate::Error::Other(_)), "{never:?}");
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let response = Response { status: 204, headers: vec![("Retry-After".to_owned(), b"5".to_vec())], body: Vec::new() };
        assert_eq!(response.header("retry-after"), Some(b"5".as_slice()));
        assert!(response.header("etag").is_none() && response.is_success());
    }
}
