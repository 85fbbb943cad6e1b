//! What the server answered, and what that is in the contract's words.

use agent_host_adapter::http::Response;
use agent_host_adapter::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// How much of a refusal's text is repeated, in characters: some sentences that say why.
const REASON_CHARS: usize = 300;

/// An answer, of whatever status.
///
/// Only what the protocol foresees is taken for the store's word. Anything else (a proxy's page, a server that is broken, a login form with status 200) says nothing of what is stored
/// and is [`Error::Unavailable`], for which the host keeps its writes and asks again: it must neither be taken for a success nor cost a session.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    response: Response,
    /// Of the server, for errors.
    origin: &'a str,
    /// Whether a piece of a stream or file was sent, which could have been a smaller one.
    was_piece: bool,
}

/// A refusal: RFC 9457, with the contract's words.
#[derive(Deserialize)]
struct Problem {
    code: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    /// With `stale-epoch`.
    epoch: Option<u64>,
    /// With `offset-mismatch`.
    length: Option<u64>,
    /// The server's clock, from a server that thinks the request late, or early.
    now: Option<u64>,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(response: Response, origin: &'a str, was_piece: bool) -> Self {
        Self { response, origin, was_piece }
    }

    pub(crate) fn status(&self) -> u16 {
        self.response.status
    }

    /// What the server's clock shows, if the answer says it because it refuses the request's deadline.
    pub(crate) fn clock(&self) -> Option<u64> {
        self.problem()?.now
    }

    /// For what has no answer but that it is done.
    pub(crate) fn done(self) -> Result<()> {
        if self.response.status == 204 { Ok(()) } else { Err(self.error()) }
    }

    pub(crate) fn json<T: DeserializeOwned>(self) -> Result<T> {
        if self.response.status != 200 || !self.is("application/json") {
            return Err(self.error());
        }
        serde_json::from_slice(&self.response.body)
            .map_err(|error| Error::unavailable(format!("the answer of {} is not what the protocol says: {error}", self.origin)))
    }

    pub(crate) fn bytes(self, max: u32) -> Result<Vec<u8>> {
        if self.response.status != 200 || !self.is("application/octet-stream") {
            return Err(self.error());
        }
        if self.response.body.len() > max as usize {
            let length = self.response.body.len();
            return Err(Error::unavailable(format!("{} gave {length} bytes when {max} were asked for", self.origin)));
        }
        Ok(self.response.body)
    }

    /// What the answer is, as an error.
    pub(crate) fn error(&self) -> Error {
        let reason = self.reason();
        let Some(problem) = self.problem() else { return self.foreign(reason) };
        match (problem.code.as_deref(), problem.epoch, problem.length) {
            (Some("not-found"), ..) => Error::NotFound(reason),
            (Some("already-exists"), ..) => Error::AlreadyExists(reason),
            (Some("stale-epoch"), Some(epoch), _) => Error::StaleEpoch(epoch),
            (Some("offset-mismatch"), _, Some(length)) => Error::OffsetMismatch(length),
            (Some("invalid"), ..) => Error::Invalid(reason),
            (Some("unavailable"), ..) => Error::Unavailable(reason),
            (Some("corrupt"), ..) => Error::Corrupt(reason),
            (Some("other"), ..) => Error::Other(reason),
            _ => self.foreign(reason),
        }
    }

    /// An answer that is none of the protocol.
    fn foreign(&self, reason: String) -> Error {
        match self.response.status {
            // What is too large as a whole stays so. A piece is so large as the configuration says, which can be mended while the host keeps it.
            413 if !self.was_piece => Error::Invalid(reason),
            413 => Error::Unavailable(format!("{reason} (the configuration key \"piece_bytes\" makes pieces smaller)")),
            414 | 431 => Error::Invalid(reason),
            401 | 403 => Error::Unavailable(format!("the credentials are not accepted: {reason}")),
            _ => Error::Unavailable(format!("that is no answer of the protocol: {reason}")),
        }
    }

    /// The server's own words, or what there is of them.
    pub(crate) fn reason(&self) -> String {
        let status = self.response.status;
        let said = match self.problem() {
            Some(problem) => problem.detail.or(problem.title).unwrap_or_default(),
            None => String::from_utf8_lossy(&self.response.body).into_owned(),
        };
        let said: String = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS).collect();
        let separator = if said.is_empty() { "" } else { ": " };
        format!("{} answered with the status {status}{separator}{said}", self.origin)
    }

    fn problem(&self) -> Option<Problem> {
        if self.response.status < 400 || !self.is("application/problem+json") {
            return None;
        }
        serde_json::from_slice(&self.response.body).ok()
    }

    fn is(&self, media_type: &str) -> bool {
        let content_type = self.response.header("content-type").and_then(|value| std::str::from_utf8(value).ok());
        content_type.and_then(|value| value.split(';').next()).is_some_and(|value| value.trim().eq_ignore_ascii_case(media_type))
    }
}

/// `None` for what does not exist, where that is an answer like another.
pub(crate) fn if_found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "https://store.example";

    fn answer(status: u16, content_type: &str, body: &str) -> Answer<'static> {
        let headers = vec![("Content-Type".to_owned(), content_type.as_bytes().to_vec())];
        Answer::new(Response { status, headers, body: body.as_bytes().to_vec() }, ORIGIN, false)
    }

    fn problem(status: u16, body: &str) -> Error {
        answer(status, "application/problem+json; charset=utf-8", body).done().unwrap_err()
    }

    #[test]
    fn a_code_is_the_contracts_error() {
        let text = |status: u16| format!("{ORIGIN} answered with the status {status}: why");
        for (status, code, expected) in [
            (404, "not-found", Error::NotFound(text(404))),
            (409, "already-exists", Error::AlreadyExists(text(409))),
            (400, "invalid", Error::Invalid(text(400))),
            (409, "unavailable", Error::Unavailable(text(409))),
            (500, "corrupt", Error::Corrupt(text(500))),
            (500, "other", Error::Other(text(500))),
        ] {
            assert_eq!(problem(status, &format!(r#"{{"code":"{code}","title":"no","detail":"why"}}"#)), expected);
        }
        assert_eq!(problem(409, r#"{"code":"stale-epoch","epoch":7}"#), Error::StaleEpoch(7));
        assert_eq!(problem(409, r#"{"code":"offset-mismatch","length":9007199254740991}"#), Error::OffsetMismatch((1 << 53) - 1));
        assert_eq!(
            problem(400, r#"{"code":"invalid","title":"no\nway"}"#),
            Error::invalid(format!("{ORIGIN} answered with the status 400: no way"))
        );
    }

    #[test]
    fn what_is_no_answer_of_the_protocol_is_no_word_of_the_store() {
        for (status, content_type, body) in [
            (404, "text/html", "<h1>not found</h1>"),
            (404, "application/json", r#"{"code":"not-found"}"#),
            (404, "application/problem+json", r#"{"title":"not found"}"#),
            (404, "application/problem+json", r#"{"code":"gone"}"#),
            (404, "application/problem+json", "{"),
            (409, "application/problem+json", r#"{"code":"stale-epoch"}"#),
            (409, "application/problem+json", r#"{"code":"offset-mismatch","length":-1}"#),
            (200, "text/html", "<h1>log in</h1>"),
            (200, "application/problem+json", r#"{"code":"not-found"}"#),
            (201, "application/json", "{}"),
            (302, "text/html", ""),
            (401, "text/plain", "who?"),
            (500, "text/html", "oops"),
        ] {
            let answers = [
                answer(status, content_type, body).done().unwrap_err(),
                answer(status, content_type, body).json::<u64>().unwrap_err(),
                answer(status, content_type, body).bytes(10).unwrap_err(),
            ];
            for error in answers {
                assert!(matches!(&error, Error::Unavailable(text) if text.contains(ORIGIN)), "{status} {content_type} {body}: {error:?}");
            }
        }
    }

    #[test]
    fn a_success_has_the_form_that_was_asked_for() {
        assert_eq!(answer(204, "", "").done(), Ok(()));
        assert_eq!(answer(200, "application/json", "7").json::<u64>(), Ok(7));
        assert_eq!(answer(200, "Application/Octet-Stream", "abc").bytes(3), Ok(b"abc".to_vec()));
        assert!(answer(200, "application/octet-stream", "abcd").bytes(3).is_err(), "it is more than was asked for");
        assert!(answer(204, "", "").json::<u64>().is_err());
        assert!(answer(200, "application/json", "[").json::<u64>().is_err());
        assert_eq!(if_found(Ok(7)), Ok(Some(7)));
        assert_eq!(if_found::<u64>(Err(Error::no_such_session("s"))), Ok(None));
        assert!(if_found::<u64>(Err(Error::other("x"))).is_err());
    }

    #[test]
    fn what_is_too_large_is_refused_for_good_unless_it_could_be_sent_in_smaller_pieces() {
        let too_large = |was_piece| Answer::new(Response { status: 413, headers: Vec::new(), body: Vec::new() }, ORIGIN, was_piece).error();
        assert!(matches!(too_large(false), Error::Invalid(_)));
        assert!(matches!(too_large(true), Error::Unavailable(text) if text.contains("piece_bytes")));
    }

    #[test]
    fn only_so_much_is_repeated_as_people_read() {
        let long = answer(500, "text/plain", &"x\0".repeat(10_000)).done().unwrap_err();
        assert!(matches!(&long, Error::Unavailable(text) if text.len() < 500 && !text.contains('\0')), "{long:?}");
    }
}
