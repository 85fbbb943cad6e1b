//! Reading what clients send: bounded in size and time, typed, and strict, with errors that name the field.

use std::str::FromStr;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Request};
use axum::http::header;
use axum::http::request::Parts;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::problem::{Code, Problem};

/// How much of a body that is too large is read and thrown away, in bytes, so that a client that writes before it reads gets to see the answer.
const DISCARD_BYTES: usize = 64 * 1024 * 1024;

/// For how long.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// Reads a body of JSON.
///
/// # Errors
/// If it is larger than `limit`, takes longer than `time`, breaks off, or is not what is asked for.
pub(crate) async fn read<T: DeserializeOwned>(request: Request, limit: usize, time: Duration) -> Result<T, Problem> {
    parse(&bytes(request, limit, time).await?)
}

/// Reads a body as it is.
///
/// # Errors
/// If it is larger than `limit`, takes longer than `time`, or breaks off.
pub(crate) async fn bytes(request: Request, limit: usize, time: Duration) -> Result<Bytes, Problem> {
    match tokio::time::timeout(time, collect(request, limit)).await {
        Ok(bytes) => bytes,
        Err(_) => Err(Problem::new(Code::RequestTimeout, format!("the body did not arrive within {time:?}"))),
    }
}

async fn collect(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let headers = request.headers();
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| usize::from_str(value.to_str().ok()?).ok()).unwrap_or(0);
    let waits_for_answer = headers.contains_key(header::EXPECT);
    let mut body = request.into_body().into_data_stream();
    let mut collected = BytesMut::with_capacity(announced.min(limit));
    let mut is_too_large = announced > limit;
    while !is_too_large {
        match body.next().await {
            Some(Ok(chunk)) if collected.len() + chunk.len() > limit => is_too_large = true,
            Some(Ok(chunk)) => collected.extend_from_slice(&chunk),
            Some(Err(error)) => return Err(Problem::new(Code::InvalidRequest, format!("failed to read the body: {error}"))),
            None => return Ok(collected.freeze()),
        }
    }
    drop(collected);
    if !waits_for_answer {
        let discard = async {
            let mut discarded = 0;
            while let Some(Ok(chunk)) = body.next().await {
                discarded += chunk.len();
                if discarded > DISCARD_BYTES {
                    break;
                }
            }
        };
        // Whether it came to its end makes no difference to the answer.
        drop(tokio::time::timeout(DISCARD_TIME, discard).await);
    }
    Err(Problem::new(Code::PayloadTooLarge, format!("the body has more than {limit} bytes")))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // A list would be read as the fields in their order, which nobody means.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::new(Code::InvalidRequest, "the body must be a JSON object, not a list"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| invalid(&error))?;
    deserializer.end().map_err(|error| Problem::new(Code::InvalidRequest, format!("the body is not JSON: {error}")))?;
    Ok(value)
}

/// Reads a JSON value that was parsed before.
pub(crate) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| invalid(&error))
}

fn invalid(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let (path, inner) = (error.path().to_string(), error.inner());
    let detail = match (inner.classify(), path.as_str()) {
        (serde_json::error::Category::Data, ".") => inner.to_string(),
        (serde_json::error::Category::Data, path) => format!("{path}: {inner}"),
        _ => format!("the body is not JSON: {inner}"),
    };
    Problem::new(Code::InvalidRequest, short(detail))
}

/// The beginning of an error's text: it may quote what was sent, which may be long.
pub(crate) fn short(mut detail: String) -> String {
    const LONGEST: usize = 1000;
    if detail.len() > LONGEST {
        detail.truncate(detail.floor_char_boundary(LONGEST));
        detail.push('…');
    }
    detail
}

/// An id in the path. One that cannot be an id is one that does not exist.
pub(crate) struct Id<T>(pub(crate) T);

/// Which error stands for an id that does not exist.
pub(crate) trait Named: TryFrom<String, Error: std::fmt::Display> {
    const NOT_FOUND: Code;
}

impl Named for agent_host_session::id::SessionId {
    const NOT_FOUND: Code = Code::SessionNotFound;
}

impl Named for agent_host_session::id::ProfileId {
    const NOT_FOUND: Code = Code::ProfileNotFound;
}

impl<S: Send + Sync, T: Named> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|error| Problem::new(T::NOT_FOUND, error.body_text()))?;
        T::try_from(text).map(Self).map_err(|error| Problem::new(T::NOT_FOUND, error.to_string()))
    }
}

/// The query, of which each field must be known.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: for<'de> Deserialize<'de>> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|error| Problem::new(Code::InvalidRequest, error.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::stream;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[expect(dead_code, reason = "only its type matters")]
        count: u32,
    }

    async fn problem(body: Body) -> (Code, String) {
        let problem = read::<Asked>(Request::new(body), 100, Duration::from_secs(5)).await.unwrap_err();
        (problem.code(), problem.detail().to_owned())
    }

    #[tokio::test]
    async fn an_error_says_what_is_wrong_where() {
        for (body, text) in [
            (r#"{"count": "x"}"#, "count: invalid type: string \"x\", expected u32 at line 1"),
            (r#"{"count": 1, "cuont": 2}"#, "unknown field `cuont`"),
            ("{}", "missing field `count`"),
            ("{\n\"count\": }", "the body is not JSON: expected value at line 2 column 10"),
            (r#"{"count": 1} x"#, "trailing characters at line 1 column 14"),
            ("", "the body is not JSON: EOF"),
            ("\u{0}", "the body is not JSON"),
        ] {
            let (code, detail) = problem(Body::from(body)).await;
            assert_eq!(code, Code::InvalidRequest, "{body}");
            assert!(detail.contains(text), "{body}: {detail}");
        }
    }

    #[tokio::test]
    async fn a_body_is_refused_when_it_has_grown_too_large_and_not_later() {
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 64])));
        assert_eq!(problem(Body::from_stream(endless.take(1000))).await.0, Code::PayloadTooLarge);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stays_away_is_not_waited_for() {
        let silent = stream::pending::<Result<Bytes, std::io::Error>>();
        assert_eq!(problem(Body::from_stream(silent)).await.0, Code::RequestTimeout);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_error() {
        let broken = stream::iter([Ok(Bytes::from_static(b"{\"count\": 1}")), Err(std::io::Error::other("cut"))]);
        assert_eq!(problem(Body::from_stream(broken)).await.0, Code::InvalidRequest);
    }

    #[tokio::test]
    async fn nesting_is_bounded() {
        let (code, detail) = problem(Body::from("[".repeat(100))).await;
        assert_eq!(code, Code::InvalidRequest, "{detail}");
        assert!(serde_json::from_str::<Value>(&"[".repeat(100_000)).unwrap_err().to_string().contains("recursion limit"));
    }
}
