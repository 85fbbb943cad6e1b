//! What goes wrong on demand, whatever the call: a layer below all services. It also notes every call.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use parking_lot::Mutex;
use prost::Message as _;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::proto::client::{RpcRetryPolicy, RpcStatus};

/// How long what was sent takes to leave, at most.
const FLUSH: Duration = Duration::from_millis(20);

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The call has no effect, and answers `UNAVAILABLE`.
    Unavailable,
    /// It has its effect, and answers `UNAVAILABLE`.
    LostReply,
    /// It is put off.
    Throttled(Duration),
    /// It is refused as if what authorises it had expired.
    Unauthenticated,
    /// The answer breaks off after so many bytes of its body.
    Cut(usize),
    /// The request breaks off after so many bytes of its body, which have their effect.
    CutRequest(usize),
    /// It never answers.
    Hang,
    /// It has no effect, and the answer breaks off as HTTP/2 tells a client to be calmer.
    Calm,
    /// It answers with this code.
    Status(Code),
    /// It has no effect, and answers a message with nothing in it.
    Empty,
}

/// When something goes wrong: the next so many calls of a method, after some that go well.
#[derive(Clone, Debug)]
struct Rule {
    method: String,
    after: usize,
    times: usize,
    fault: Fault,
}

/// A call that was made.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method's own name.
    pub method: String,
    /// What came with it.
    pub metadata: HeaderMap,
    /// The messages of the request, encoded.
    pub messages: Vec<Bytes>,
}

/// What goes wrong next, and what was called.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Arc<Mutex<Vec<Rule>>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Faults {
    /// The next `times` calls of a method go wrong.
    pub fn next(&self, method: &str, times: usize, fault: Fault) {
        self.after(method, 0, times, fault);
    }

    /// `times` calls of a method go wrong after `after` that go well.
    pub fn after(&self, method: &str, after: usize, times: usize, fault: Fault) {
        self.rules.lock().push(Rule { method: method.to_owned(), after, times, fault });
    }

    /// Nothing more goes wrong.
    pub fn clear(&self) {
        self.rules.lock().clear();
    }

    /// The calls since the last time, in the order in which they came.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock())
    }

    /// The fault of a call that comes now.
    fn take(&self, method: &str) -> Option<Fault> {
        let mut rules = self.rules.lock();
        let index = rules.iter().position(|rule| rule.method == method)?;
        let rule = rules.get_mut(index)?;
        if rule.after > 0 {
            rule.after -= 1;
            return None;
        }
        let fault = rule.fault.clone();
        rule.times -= 1;
        if rule.times == 0 {
            rules.remove(index);
        }
        Some(fault)
    }
}

impl<S> Layer<S> for Faults {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty { inner, faults: self.clone() }
    }
}

/// A service in which things go wrong.
#[derive(Clone, Debug)]
pub struct Faulty<S> {
    inner: S,
    faults: Faults,
}

impl<S> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (ready, faults) = (self.inner.clone(), self.faults.clone());
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            let fault = faults.take(&method);
            let (head, body) = request.into_parts();
            // A request that breaks off was not made.
            let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
                return Ok(Status::cancelled("the request broke off").into_http());
            };
            faults.calls.lock().push(Call { method, metadata: head.headers.clone(), messages: messages(body.clone()) });
            if let Some(Fault::CutRequest(bytes)) = fault {
                let frames = [Ok(Frame::data(body.slice(..body.len().min(bytes)))), Err(Status::cancelled("the request broke off"))];
                let broken = Request::from_parts(head, Body::new(StreamBody::new(stream::iter(frames))));
                drop(inner.call(broken).await?.into_body().collect().await);
                return Ok(Status::unavailable("the request broke off").into_http());
            }
            let request = Request::from_parts(head, Body::new(Full::new(body)));
            let status = match fault {
                None | Some(Fault::CutRequest(_)) => return inner.call(request).await,
                Some(Fault::Cut(bytes)) => return Ok(cut(inner.call(request).await?, bytes)),
                Some(Fault::LostReply) => {
                    let response = inner.call(request).await?;
                    // To its end, so that everything has its effect.
                    drop(response.into_body().collect().await);
                    Status::unavailable("the reply was lost")
                }
                Some(Fault::Unavailable) => Status::unavailable("not now"),
                Some(Fault::Throttled(pause)) => throttled(pause),
                Some(Fault::Unauthenticated) => Status::unauthenticated("expired"),
                Some(Fault::Status(code)) => Status::new(code, "as the test wants it"),
                Some(Fault::Hang) => std::future::pending().await,
                Some(Fault::Calm) => return Ok(calm()),
                Some(Fault::Empty) => return Ok(empty()),
            };
            Ok(status.into_http())
        })
    }
}

/// gRPC's framing: a flag, four bytes of length, the message.
fn messages(mut body: Bytes) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while body.len() >= 5 {
        let _flag = body.get_u8();
        let length = (body.get_u32() as usize).min(body.len());
        messages.push(body.split_to(length));
    }
    messages
}

fn empty() -> Response<Body> {
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    grpc([Ok(Frame::data(Bytes::from_static(&[0; 5]))), Ok(Frame::trailers(trailers))])
}

fn calm() -> Response<Body> {
    grpc([Err(h2::Error::from(h2::Reason::ENHANCE_YOUR_CALM))])
}

fn grpc<const N: usize>(frames: [Result<Frame<Bytes>, h2::Error>; N]) -> Response<Body> {
    let mut response = Response::new(Body::new(StreamBody::new(stream::iter(frames))));
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn throttled(pause: Duration) -> Status {
    let value = RpcRetryPolicy { retry_after_secs: pause.as_secs_f32() }.encode_to_vec();
    let detail = prost_types::Any { type_url: "type.googleapis.com/modal.client.RPCRetryPolicy".to_owned(), value };
    let details = RpcStatus { code: Code::ResourceExhausted as i32, message: "slow down".to_owned(), details: vec![detail] };
    Status::with_details(Code::ResourceExhausted, "slow down", details.encode_to_vec().into())
}

/// A response whose body breaks off.
fn cut(response: Response<Body>, bytes: usize) -> Response<Body> {
    let (head, body) = response.into_parts();
    let frames = stream::unfold((Some(body), bytes), |(body, left)| async move {
        let mut body = body?;
        if left > 0
            && let Some(Ok(frame)) = body.frame().await
            && let Ok(data) = frame.into_data()
        {
            let data = data.slice(..data.len().min(left));
            let left = left - data.len();
            return Some((Ok(Frame::data(data)), (Some(body), left)));
        }
        // What was sent has to arrive: breaking off takes back what has not left yet.
        tokio::time::sleep(FLUSH).await;
        Some((Err(Status::internal("the connection broke")), (None, 0)))
    });
    Response::from_parts(head, Body::new(StreamBody::new(frames)))
}
