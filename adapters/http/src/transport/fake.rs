//! A server that answers by a script, and a clock that goes only when somebody waits.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use agent_host_adapter::Result as AdapterResult;
use agent_host_adapter::http::{self, Request, Response};

use super::Transport;

/// A request as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Duration,
    pub(crate) method: String,
    pub(crate) url: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) timeout: Duration,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

type Answer = Result<Response, http::Error>;

#[derive(Default)]
pub(crate) struct Fake {
    now: Cell<Duration>,
    drawn: Cell<u8>,
    pub(crate) asked: RefCell<Vec<Asked>>,
    script: RefCell<VecDeque<(Duration, Answer)>>,
}

impl Fake {
    /// The next answers, each given at once.
    pub(crate) fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.borrow_mut().extend(answers.into_iter().map(|answer| (Duration::ZERO, answer)));
    }

    /// The next answer, and how long it takes.
    pub(crate) fn answers_after(&self, time: Duration, answer: Answer) {
        self.script.borrow_mut().push_back((time, answer));
    }

    pub(crate) fn wait(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }

    /// The requests so far, which are forgotten then.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.asked.take()
    }
}

impl Transport for Fake {
    fn fetch(&self, Request { method, url, headers, body, timeout_ms }: Request<'_>) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), String::from_utf8(value.to_vec()).unwrap())).collect();
        let (at, timeout) = (self.now.get(), Duration::from_millis(timeout_ms.unwrap().into()));
        self.asked.borrow_mut().push(Asked {
            at,
            method: method.to_owned(),
            url: url.to_owned(),
            headers,
            body: body.map(<[u8]>::to_vec),
            timeout,
        });
        let next = self.script.borrow_mut().pop_front();
        let (time, answer) = next.unwrap_or_else(|| panic!("{method} {url} was not expected"));
        self.wait(time.min(timeout));
        if time > timeout { Err(http::Error::Timeout("in vain".to_owned())) } else { answer }
    }

    fn now(&self) -> Duration {
        self.now.get()
    }

    fn sleep(&self, pause: Duration) {
        self.wait(pause);
    }

    fn random(&self) -> AdapterResult<[u8; 16]> {
        self.drawn.set(self.drawn.get().wrapping_add(1));
        Ok([self.drawn.get(); 16])
    }
}

pub(crate) fn response(status: u16, content_type: &str, body: &str) -> Answer {
    let headers = vec![("content-type".to_owned(), content_type.as_bytes().to_vec())];
    Ok(Response { status, headers, body: body.as_bytes().to_vec() })
}

pub(crate) fn json(body: &str) -> Answer {
    response(200, "application/json", body)
}

pub(crate) fn problem(status: u16, body: &str) -> Answer {
    response(status, "application/problem+json", body)
}

pub(crate) fn done() -> Answer {
    response(204, "", "")
}

pub(crate) fn with_header(answer: Answer, name: &str, value: &str) -> Answer {
    let mut response = answer?;
    response.headers.push((name.to_owned(), value.as_bytes().to_vec()));
    Ok(response)
}

pub(crate) fn unreachable() -> Answer {
    Err(http::Error::Unavailable("it broke off".to_owned()))
}
