//! Errors as clients see them: one enum, one table, one form (RFC 9457, with the `error` and `code` of the earlier system).

use agent_host_session::manager;
use agent_host_session::ports::store;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Seconds after which a client may try again what failed for a while. A store that restarts is back in about that time.
const RETRY_AFTER_SECONDS: u32 = 2;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident: $status:ident, $code:literal, $title:literal;)*) => {
        /// What went wrong, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),* }
            }

            /// The value of `code` in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// The same for all errors of this code.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }
        }
    };
}

codes! {
    /// No key was shown.
    AuthRequired: UNAUTHORIZED, "AUTH_REQUIRED", "an API key is required";
    /// The key is wrong.
    InvalidApiKey: UNAUTHORIZED, "INVALID_API_KEY", "the API key is not valid";
    /// A host without keys was addressed by a name that is not this machine's.
    HostNotAllowed: FORBIDDEN, "HOST_NOT_ALLOWED", "the host name is not allowed";
    /// A web page of this origin may not use the host.
    OriginNotAllowed: FORBIDDEN, "ORIGIN_NOT_ALLOWED", "the origin is not allowed";
    /// There is no such path.
    NotFound: NOT_FOUND, "NOT_FOUND", "there is nothing at this path";
    /// The path has other methods.
    MethodNotAllowed: METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "the method is not allowed at this path";
    /// There is no such session.
    SessionNotFound: NOT_FOUND, "SESSION_NOT_FOUND", "the session does not exist";
    /// The session was deleted while a client was joined.
    SessionDeleted: GONE, "SESSION_DELETED", "the session was deleted";
    /// There is no such agent profile.
    ProfileNotFound: NOT_FOUND, "PROFILE_NOT_FOUND", "the agent profile does not exist";
    /// A new session names an agent profile that does not exist.
    UnknownProfile: UNPROCESSABLE_ENTITY, "UNKNOWN_PROFILE", "the agent profile is not known";
    /// A new session names an architecture that does not exist.
    UnknownArchitecture: UNPROCESSABLE_ENTITY, "UNKNOWN_ARCHITECTURE", "the architecture is not known";
    /// The request is not of the form that is asked for.
    InvalidRequest: BAD_REQUEST, "INVALID_REQUEST", "the request is not valid";
    /// The request is well formed, but cannot be carried out: options that the architecture does not know, an empty message.
    Unprocessable: UNPROCESSABLE_ENTITY, "UNPROCESSABLE", "the request cannot be carried out";
    /// The body is too large.
    PayloadTooLarge: PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "the request is too large";
    /// The body took too long.
    RequestTimeout: REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "the request took too long to arrive";
    /// The id is taken by something else.
    Conflict: CONFLICT, "CONFLICT", "the request conflicts with what is there";
    /// A hook decided against it.
    Denied: FORBIDDEN, "DENIED", "the request was denied";
    /// A component was refused: it does not take over.
    ComponentRefused: UNPROCESSABLE_ENTITY, "COMPONENT_REFUSED", "the component was refused";
    /// One exchange of a component at a time.
    SwapUnderWay: CONFLICT, "SWAP_UNDER_WAY", "another component is being swapped in";
    /// There is no such hook.
    HookNotFound: NOT_FOUND, "HOOK_NOT_FOUND", "the event hook does not exist";
    /// There is no generation before the present one.
    NothingEarlier: CONFLICT, "NOTHING_EARLIER", "there is nothing to go back to";
    /// Another host has the session. `owner` says where that one is.
    SessionOwned: CONFLICT, "SESSION_OWNED", "another host has the session";
    /// The session's agent runs outside of the host.
    RunsOutside: CONFLICT, "RUNS_OUTSIDE", "the session's agent runs outside of the host";
    /// The host has adopted the session.
    SessionAdopted: CONFLICT, "SESSION_ADOPTED", "the host has adopted the session";
    /// There is no such transcript.
    TranscriptNotFound: NOT_FOUND, "TRANSCRIPT_NOT_FOUND", "the transcript does not exist";
    /// An append does not continue the transcript. `length` says how long that is.
    OffsetMismatch: CONFLICT, "OFFSET_MISMATCH", "the transcript does not continue there";
    /// Too many messages wait.
    QueueFull: TOO_MANY_REQUESTS, "QUEUE_FULL", "too many messages are waiting";
    /// A WebSocket has joined as many sessions as it may.
    TooManyJoined: TOO_MANY_REQUESTS, "TOO_MANY_JOINED", "too many sessions are joined";
    /// A client read so slowly that it missed events.
    SlowConsumer: TOO_MANY_REQUESTS, "SLOW_CONSUMER", "the client reads too slowly";
    /// The host has as many sessions in memory as it may.
    TooManySessions: SERVICE_UNAVAILABLE, "TOO_MANY_SESSIONS", "too many sessions are loaded";
    /// As many answers of this kind are being given as may be.
    Busy: SERVICE_UNAVAILABLE, "BUSY", "the host is busy";
    /// The host is stopping.
    ShuttingDown: SERVICE_UNAVAILABLE, "SHUTTING_DOWN", "the host is shutting down";
    /// The store does not answer.
    StoreUnavailable: SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE", "the store is unavailable";
    /// Another host has taken the session over.
    TakenOver: SERVICE_UNAVAILABLE, "TAKEN_OVER", "another host has taken the session over";
    /// A bug, or a store that does not keep its contract. The log says more.
    Internal: INTERNAL_SERVER_ERROR, "INTERNAL", "the host failed";
}

/// An error on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    /// What was being done, of something that is done in phases.
    phase: Option<String>,
    /// Where the host is that has the session, and for how many seconds it has it, unless it prolongs that.
    owner: Option<(String, u64)>,
    /// How long the transcript is that was not continued, in bytes.
    length: Option<u64>,
}

/// The body: RFC 9457, and beside it the two fields that clients of the earlier system read.
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    error: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
}

impl Problem {
    /// An error whose `detail` says what was wrong with what, for people.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), phase: None, owner: None, length: None }
    }

    /// The same, with the phase in which it happened.
    pub(crate) fn in_phase(self, phase: String) -> Self {
        Self { phase: Some(phase), ..self }
    }

    /// What went wrong, for programs.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// What went wrong, for people.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Something that is not the client's doing: the log gets the cause, the client does not.
    pub(crate) fn internal(doing: &str, cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "failed to {doing}");
        Self::new(Code::Internal, format!("failed to {doing}; the host's log says why"))
    }
}

impl From<manager::Error> for Problem {
    fn from(error: manager::Error) -> Self {
        use manager::Error;
        let code = match &error {
            Error::SessionNotFound(_) => Code::SessionNotFound,
            Error::ProfileNotFound(_) => Code::ProfileNotFound,
            Error::FileNotFound(_) => Code::NotFound,
            Error::UnknownArchitecture { .. } => Code::UnknownArchitecture,
            Error::Invalid(_) => Code::Unprocessable,
            Error::TooLarge { .. } => Code::PayloadTooLarge,
            Error::SessionConflict(_) | Error::MessageConflict(_) => Code::Conflict,
            Error::Denied { .. } => Code::Denied,
            Error::RunsOutside(_) => Code::RunsOutside,
            Error::Adopted(_) => Code::SessionAdopted,
            Error::TranscriptNotFound(_) => Code::TranscriptNotFound,
            Error::OffsetMismatch(length) => {
                return Self { length: Some(*length), ..Self::new(Code::OffsetMismatch, error.to_string()) };
            }
            Error::QueueFull(_) => Code::QueueFull,
            Error::TooManySessions(_) => Code::TooManySessions,
            Error::Busy(_) => Code::Busy,
            Error::ShuttingDown => Code::ShuttingDown,
            Error::Owned { address, expires_in, .. } => {
                // What is left of a second is one in which it is still taken.
                let owner = Some((address.clone(), expires_in.as_secs() + 1));
                return Self { owner, ..Self::new(Code::SessionOwned, error.to_string()) };
            }
            Error::Store(error) => return error.into(),
        };
        Self::new(code, error.to_string())
    }
}

impl From<&store::Error> for Problem {
    /// The texts of a store name files, tables and hosts: they go to the log.
    fn from(error: &store::Error) -> Self {
        use store::Error;
        match error {
            Error::NotFound(_) => Self::new(Code::SessionNotFound, "the session is not in the store any more"),
            Error::AlreadyExists(_) => Self::new(Code::Conflict, "the store has something of this id already"),
            Error::StaleEpoch(_) => Self::new(Code::TakenOver, "another host has taken the session over; ask that one"),
            Error::Invalid(_) => {
                tracing::info!(%error, "the store refused a request");
                Self::new(Code::InvalidRequest, "the store refused the request as invalid")
            }
            Error::Unavailable(_) => {
                tracing::warn!(%error, "the store did not answer a request");
                Self::new(
                    Code::StoreUnavailable,
                    "the store does not answer; the same request may succeed later. It may have been carried out, too: a message that names its messageId is accepted once, however often it is sent",
                )
            }
            Error::OffsetMismatch(_) | Error::Corrupt(_) | Error::Other(_) => Self::internal("use the store", error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = Body {
            r#type: format!("urn:agent-host:error:{}", self.code.as_str().to_ascii_lowercase().replace('_', "-")),
            title: self.code.title(),
            status: status.as_u16(),
            detail: &self.detail,
            error: &self.detail,
            code: self.code.as_str(),
            phase: self.phase.as_deref(),
            owner: self.owner.as_ref().map(|(address, _)| address.as_str()),
            length: self.length,
        };
        let mut response = (status, Json(body)).into_response();
        // For whoever counts them.
        response.extensions_mut().insert(self.code);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
            }
            StatusCode::CONFLICT => {
                if let Some((_, seconds)) = self.owner {
                    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                }
            }
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                // What is left of the body is not worth reading.
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_statuses_are_errors() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert!(Code::ALL[..index].iter().all(|other| other.as_str() != code.as_str()), "{code:?}");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
        }
    }

    #[tokio::test]
    async fn the_body_has_both_forms() {
        let response = Problem::new(Code::SessionNotFound, "there is no session \"x\"").into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&body).unwrap(),
            serde_json::json!({
                "type": "urn:agent-host:error:session-not-found", "title": "the session does not exist", "status": 404,
                "detail": "there is no session \"x\"", "error": "there is no session \"x\"", "code": "SESSION_NOT_FOUND",
            })
        );
    }

    #[test]
    fn what_a_store_says_stays_in_the_log() {
        for error in [
            store::Error::Unavailable("secret".into()),
            store::Error::Corrupt("secret".into()),
            store::Error::Other("secret".into()),
            store::Error::Invalid("secret".into()),
            store::Error::NotFound("secret".into()),
        ] {
            let problem = Problem::from(manager::Error::Store(error));
            assert!(!problem.detail().contains("secret"), "{problem:?}");
        }
    }

    #[test]
    fn what_may_succeed_later_says_when() {
        for (code, header) in [
            (Code::StoreUnavailable, header::RETRY_AFTER),
            (Code::QueueFull, header::RETRY_AFTER),
            (Code::AuthRequired, header::WWW_AUTHENTICATE),
            (Code::PayloadTooLarge, header::CONNECTION),
        ] {
            assert!(Problem::new(code, "").into_response().headers().contains_key(&header), "{code:?}");
        }
    }
}
