//! A request on its way, and where redirects lead it: as the Fetch standard has it, but for those that would make a GET of something else. Such a one is an answer, since
//! what was sent would arrive nowhere, and whoever sent it would be told of a success.

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use url::Url;

use super::client::origin;
use super::wit;

/// Redirects that are followed: what the contract promises.
pub(super) const MAX_REDIRECTS: usize = 10;

/// A request, as it is sent next.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Outgoing {
    /// As the client takes it.
    pub(super) fn request(&self) -> Result<Request<Full<Bytes>>, wit::Error> {
        let request = Request::builder().method(self.method.clone()).uri(self.url.as_str()).body(Full::new(self.body.clone()));
        let mut request =
            request.map_err(|error| wit::Error::Invalid(format!("a URL of {} cannot be sent: {error}", origin(&self.url))))?;
        request.headers_mut().clone_from(&self.headers);
        Ok(request)
    }

    /// Becomes what the response asks for instead; false if it is an answer.
    pub(super) fn redirect<T>(&mut self, response: &Response<T>) -> Result<bool, wit::Error> {
        let is_followed = match response.status() {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method != Method::POST,
            StatusCode::SEE_OTHER => matches!(self.method, Method::GET | Method::HEAD),
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
            _ => false,
        };
        // Without a place to go to it is an answer, too.
        let Some(location) = response.headers().get(LOCATION).filter(|_| is_followed) else { return Ok(false) };
        let url = location.to_str().ok().and_then(|location| self.url.join(location).ok());
        let Some(mut url) = url.filter(|url| url.username().is_empty() && url.password().is_none()) else {
            return Err(wit::Error::Unavailable(format!("{} redirects to what is no URL", origin(&self.url))));
        };
        url.set_fragment(None);
        if self.url.origin() != url.origin() {
            // What was meant for one server is none of another's business.
            self.headers.remove(AUTHORIZATION);
            self.headers.remove(COOKIE);
        }
        self.url = url;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(method: Method) -> Outgoing {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, "Bearer secret".parse().unwrap());
        Outgoing { method, url: Url::parse("https://example.org/a/b").unwrap(), headers, body: Bytes::from_static(b"body") }
    }

    fn to(status: u16, location: &str) -> Response<()> {
        Response::builder().status(status).header(LOCATION, location).body(()).unwrap()
    }

    #[test]
    fn a_redirect_is_followed_if_the_request_stays_what_it_is() {
        for (method, status, is_followed) in [
            (Method::POST, 301, false),
            (Method::POST, 302, false),
            (Method::PUT, 302, true),
            (Method::PUT, 303, false),
            (Method::HEAD, 303, true),
            (Method::GET, 301, true),
            (Method::POST, 307, true),
            (Method::POST, 308, true),
        ] {
            let mut request = outgoing(method.clone());
            assert_eq!(request.redirect(&to(status, "c?d#e")).unwrap(), is_followed, "{method} {status}");
            let url = if is_followed { "https://example.org/a/c?d" } else { "https://example.org/a/b" };
            assert_eq!((request.url.as_str(), &request.method, request.body.is_empty()), (url, &method, false));
            assert!(request.headers.contains_key(AUTHORIZATION), "it is the same server");
        }
        let mut request = outgoing(Method::GET);
        assert!(request.redirect(&to(302, "https://other.example.org/")).unwrap());
        assert!(!request.headers.contains_key(AUTHORIZATION), "it is another server");
    }

    #[test]
    fn what_leads_nowhere_is_an_answer_or_an_error() {
        assert!(!outgoing(Method::GET).redirect(&to(200, "/x")).unwrap());
        assert!(!outgoing(Method::GET).redirect(&to(304, "/x")).unwrap());
        assert!(!outgoing(Method::GET).redirect(&Response::builder().status(302).body(()).unwrap()).unwrap());
        for location in ["https://", "https://user:secret@example.org/", "https://[/"] {
            assert!(outgoing(Method::GET).redirect(&to(302, location)).is_err(), "{location}");
        }
    }
}
