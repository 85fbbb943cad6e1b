//! One component's requests: checked, bounded, and sent over connections of its own.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use url::Url;

use super::connections::{Connections, connections};
use super::redirect::{MAX_REDIRECTS, Outgoing};
use super::resolve::Refused;
use super::wit;
use crate::grants::HttpRule;
use crate::grants::denials::{Denial, Denials};
use crate::limits::HttpLimits;
use crate::net::Resolver;

/// What belongs to the connection and not to the request. A component that could set it could say one thing to a proxy and another to the server behind it.
const NOT_FOR_GUESTS: [&str; 9] =
    ["connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// The HTTP client of one component, shared by its instances and by nobody else.
pub(crate) struct Client {
    rules: Arc<[HttpRule]>,
    limits: HttpLimits,
    denials: Arc<Denials>,
    /// None without rules: then there is nothing to connect to.
    connections: Option<Connections>,
}

impl Client {
    /// # Errors
    /// If a rule is for HTTPS, and this machine has no root certificates.
    pub(crate) fn new(
        rules: &[HttpRule],
        limits: HttpLimits,
        denials: Arc<Denials>,
        resolver: &Arc<dyn Resolver>,
    ) -> wasmtime::Result<Self> {
        let rules: Arc<[HttpRule]> = rules.into();
        let connections = if rules.is_empty() { None } else { Some(connections(&rules, &limits, resolver)?) };
        Ok(Self { rules, limits, denials, connections })
    }

    /// Sends the request and waits for the whole response. A refusal is counted.
    pub(super) async fn fetch(&self, request: wit::Request) -> Result<wit::Response, wit::Error> {
        let asked = request.timeout_ms.map(|timeout| Duration::from_millis(timeout.into()));
        let timeout = asked.map_or(self.limits.timeout, |asked| asked.min(self.limits.timeout));
        let outgoing = self.outgoing(request)?;
        let target = origin(&outgoing.url);
        let response = tokio::time::timeout(timeout, async {
            let (url, response) = self.follow(outgoing).await?;
            self.take(&url, response).await
        });
        response.await.unwrap_or_else(|_| Err(wit::Error::Timeout(format!("{target} did not answer within {timeout:?}"))))
    }

    fn outgoing(&self, request: wit::Request) -> Result<Outgoing, wit::Error> {
        let invalid = wit::Error::Invalid;
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid(format!("{:?} is no method", request.method)))?;
        // One makes a tunnel, which could lead anywhere; the other has servers show what proxies added.
        if matches!(method, Method::CONNECT | Method::TRACE) {
            return Err(invalid(format!("the method {method} is not for components")));
        }
        let mut url = Url::parse(&request.url).map_err(|error| invalid(format!("the URL is none: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("the URL has a user name: credentials belong into a header".to_owned()));
        }
        url.set_fragment(None);
        let headers = self.headers(&request.headers)?;
        let body = Bytes::from(request.body.unwrap_or_default());
        if body.len() > self.limits.request_bytes {
            let (is, limit) = (body.len(), self.limits.request_bytes);
            return Err(wit::Error::TooLarge(format!("the request's body has {is} bytes; {limit} is the limit")));
        }
        Ok(Outgoing { method, url, headers, body })
    }

    fn headers(&self, given: &[(String, Vec<u8>)]) -> Result<HeaderMap, wit::Error> {
        self.check_headers("request", given.len(), given.iter().map(|(name, value)| name.len() + value.len()).sum())?;
        let mut headers = HeaderMap::with_capacity(given.len());
        for (name, value) in given {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wit::Error::Invalid(format!("{name:?} is no header's name")))?;
            if NOT_FOR_GUESTS.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
                return Err(wit::Error::Invalid(format!("the header {name} is the host's affair")));
            }
            let value = HeaderValue::from_bytes(value)
                .map_err(|_| wit::Error::Invalid(format!("the header {name} has a value that no header can have")))?;
            headers.append(name, value);
        }
        Ok(headers)
    }

    fn check_headers(&self, whose: &str, headers: usize, bytes: usize) -> Result<(), wit::Error> {
        let HttpLimits { headers: most, header_bytes: most_bytes, .. } = self.limits;
        if headers > most || bytes > most_bytes {
            return Err(wit::Error::TooLarge(format!(
                "the {whose} has {headers} headers of {bytes} bytes; {most} of {most_bytes} is the limit"
            )));
        }
        Ok(())
    }

    /// Sends the request, and those that it is redirected to; with the URL that answered.
    async fn follow(&self, mut outgoing: Outgoing) -> Result<(Url, Response<Incoming>), wit::Error> {
        for _ in 0..=MAX_REDIRECTS {
            let connections = self.admit(&outgoing.url)?;
            let response = connections.request(outgoing.request()?).await.map_err(|error| self.failed(&outgoing.url, &error))?;
            if !outgoing.redirect(&response)? {
                return Ok((outgoing.url, response));
            }
        }
        Err(wit::Error::Unavailable(format!("there were more than {MAX_REDIRECTS} redirects, the last to {}", origin(&outgoing.url))))
    }

    /// The way there, if a rule names the URL.
    fn admit(&self, url: &Url) -> Result<&Connections, wit::Error> {
        match &self.connections {
            Some(connections) if self.rules.iter().any(|rule| rule.admits(url)) => Ok(connections),
            _ => {
                let target = origin(url);
                self.denials.record(Denial::Url, &target);
                Err(wit::Error::Denied(format!("this URL of {target} is not granted to this component")))
            }
        }
    }

    fn failed(&self, url: &Url, error: &(dyn StdError + 'static)) -> wit::Error {
        let target = origin(url);
        if let Some(refused) = cause::<Refused>(error) {
            self.denials.record(Denial::Url, &format!("{target}: {refused}"));
            return wit::Error::Denied(refused.to_string());
        }
        if cause::<hyper::Error>(error).is_some_and(hyper::Error::is_parse_too_large) {
            return wit::Error::TooLarge(format!("the response of {target} has larger headers than are allowed"));
        }
        wit::Error::Unavailable(format!("{target} cannot be reached: {}", root(error)))
    }

    /// The whole of the response, as far as it is within bounds.
    async fn take(&self, url: &Url, response: Response<Incoming>) -> Result<wit::Response, wit::Error> {
        let (head, body) = response.into_parts();
        let headers = &head.headers;
        self.check_headers("response", headers.len(), headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum())?;
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_owned())).collect();
        let limit = self.limits.response_bytes;
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                wit::Error::TooLarge(format!("the response of {} has more than {limit} bytes, which is the limit", origin(url)))
            } else {
                wit::Error::Unavailable(format!("the response of {} broke off: {}", origin(url), root(&*error)))
            }
        })?;
        Ok(wit::Response { status: head.status.as_u16(), headers, body: body.to_bytes().into() })
    }
}

/// What a URL may be called in a log and in an error: path and query may hold secrets.
pub(super) fn origin(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// The cause of this type, if an error has one.
fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

/// What an error comes from.
fn root<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    std::iter::successors(Some(error), |&error| error.source()).last().unwrap_or(error)
}
