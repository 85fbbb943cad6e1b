use std::collections::VecDeque;

use serde_json::Value;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What was asked of the receiver.
struct Asked {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    at: Duration,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        &self.headers.iter().find(|(header, _)| header == name).unwrap().1
    }

    fn numbers(&self) -> Vec<u64> {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["data"]["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
    }
}

/// A receiver that answers as told, and 200 when it was not told. Its clock goes on when somebody waits.
#[derive(Default)]
struct Receiver {
    answers: VecDeque<Result<Response, http::Error>>,
    /// What is larger is refused with 413.
    limit: Option<usize>,
    asked: Vec<Asked>,
    now: Duration,
    /// How long it takes to answer.
    delay: Duration,
}

impl Transport for Receiver {
    fn post(&mut self, url: &str, headers: &[Header<'_>], body: &[u8], timeout: Duration) -> Result<Response, http::Error> {
        assert_eq!(url, "https://example.org/secret-path");
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), String::from_utf8(value.to_vec()).unwrap())).collect();
        self.asked.push(Asked { headers, body: body.to_owned(), at: self.now });
        self.now += self.delay.min(timeout);
        if self.delay > timeout {
            return Err(http::Error::Timeout("https://example.org did not answer".to_owned()));
        }
        if self.limit.is_some_and(|limit| body.len() > limit) {
            return answer(413);
        }
        self.answers.pop_front().unwrap_or_else(|| answer(200))
    }

    fn now(&self) -> Duration {
        self.now
    }

    fn unix_time(&self) -> u64 {
        1_614_265_330 + self.now.as_secs()
    }

    fn sleep(&mut self, pause: Duration) {
        self.now += pause;
    }
}

fn answer(status: u16) -> Result<Response, http::Error> {
    Ok(Response { status, headers: Vec::new(), body: b" because\nof that ".to_vec() })
}

fn later(status: u16, seconds: &str) -> Result<Response, http::Error> {
    let headers = vec![("Retry-After".to_owned(), seconds.as_bytes().to_vec())];
    Ok(Response { status, headers, body: Vec::new() })
}

fn courier(answers: impl IntoIterator<Item = Result<Response, http::Error>>) -> Courier<Receiver> {
    let receiver = Receiver { answers: answers.into_iter().collect(), ..Receiver::default() };
    let key = Key::new(SECRET).unwrap_or_else(|reason| panic!("{reason}"));
    Courier::new(receiver, "https://example.org/secret-path", vec![key]).unwrap()
}

fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<Event> {
    let event = |seq| Event {
        session: "s".to_owned(),
        epoch: 7,
        seq,
        name: "session:status".to_owned(),
        data: format!(r#"{{"n": 1.50, "text":"{}"}}"#, "x".repeat(100)),
    };
    numbers.into_iter().map(event).collect()
}

fn failure(result: Result<()>) -> Error {
    result.unwrap_err()
}

#[test]
fn events_come_signed_and_as_they_are() {
    let mut courier = courier([]);
    let event = Event { data: r#"{"n": 1.50}"#.to_owned(), ..events([41]).remove(0) };
    courier.deliver(&[event]).unwrap();
    let asked = &courier.transport.asked[0];
    let body =
        r#"{"type":"agent-host.events","data":{"events":[{"session":"s","epoch":7,"seq":41,"name":"session:status","data":{"n": 1.50}}]}}"#;
    assert_eq!(String::from_utf8_lossy(&asked.body), body);
    assert_eq!(asked.header("content-type"), "application/json");
    assert_eq!(asked.header("webhook-timestamp"), "1614265330");
    let id = asked.header("webhook-id");
    assert!(id.starts_with("msg_") && id.len() == 68 && !id.contains('.'), "{id}");
    let key = Key::new(SECRET).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(asked.header("webhook-signature"), key.sign(id, 1_614_265_330, body.as_bytes()));
}

#[test]
fn each_key_gives_a_signature_and_none_gives_no_header() {
    let key = || Key::new(SECRET).unwrap_or_else(|reason| panic!("{reason}"));
    for count in 0..3 {
        let keys = std::iter::repeat_with(key).take(count).collect();
        let mut courier = Courier { keys, ..courier([]) };
        courier.deliver(&events([1])).unwrap();
        let signature = courier.transport.asked[0].headers.iter().find(|(name, _)| name == "webhook-signature");
        assert_eq!(signature.map_or(0, |(_, value)| value.split(' ').count()), count);
    }
}

#[test]
fn a_repeat_has_the_same_id_and_body_and_its_own_time() {
    let mut courier = courier([answer(503), Err(http::Error::Unavailable("no route".to_owned())), answer(204)]);
    courier.deliver(&events([1, 2])).unwrap();
    courier.deliver(&events([3])).unwrap();
    let asked = &courier.transport.asked;
    let at: Vec<Duration> = asked.iter().map(|asked| asked.at).collect();
    assert_eq!(at, [0, 250, 1250, 1250].map(Duration::from_millis));
    assert_eq!(asked[0].header("webhook-id"), asked[2].header("webhook-id"));
    assert_eq!(asked[0].body, asked[2].body);
    assert_ne!(asked[0].header("webhook-timestamp"), asked[2].header("webhook-timestamp"));
    assert_ne!(asked[0].header("webhook-signature"), asked[2].header("webhook-signature"));
    assert_ne!(asked[0].header("webhook-id"), asked[3].header("webhook-id"), "other events are another message");
}

#[test]
fn after_three_tries_it_is_for_the_host_to_try_again() {
    for status in [408, 425, 429, 500, 502, 599] {
        let mut courier = courier([answer(status), answer(status), answer(status)]);
        let error = failure(courier.deliver(&events([1])));
        let text = format!("https://example.org answered with the status {status}: because of that");
        assert_eq!(error, Error::Unavailable(text));
        courier.deliver(&events([1])).unwrap();
        assert_eq!(courier.transport.asked.len(), 4);
    }
}

#[test]
fn what_trying_does_not_help_is_not_tried_again_at_once_and_not_let_go() {
    for status in [301, 400, 401, 403, 404, 410, 422] {
        let mut courier = courier([answer(status), answer(status)]);
        for tries in 1..=2 {
            let error = failure(courier.deliver(&events([1])));
            assert!(matches!(&error, Error::Other(text) if text.contains(&status.to_string()) && text.contains("mended")), "{error:?}");
            assert_eq!(courier.transport.asked.len(), tries);
        }
    }
    let mut denied = courier([Err(http::Error::Denied("this URL is not granted".to_owned()))]);
    assert!(matches!(failure(denied.deliver(&events([1]))), Error::Invalid(text) if text.contains("not granted")));
    assert_eq!(denied.transport.asked.len(), 1);
}

#[test]
fn errors_do_not_tell_what_may_be_secret_in_the_url() {
    for answers in [[answer(404)], [later(503, "60")]] {
        let error = failure(courier(answers).deliver(&events([1])));
        assert!(!format!("{error:?}").contains("secret-path"), "{error:?}");
    }
}

#[test]
fn a_short_wish_to_be_left_alone_is_waited_for() {
    let mut courier = courier([later(429, "2"), later(503, "0")]);
    courier.deliver(&events([1])).unwrap();
    let at: Vec<u64> = courier.transport.asked.iter().map(|asked| asked.at.as_millis() as u64).collect();
    assert_eq!(at, [0, 2000, 3000]);
}

#[test]
fn a_long_wish_to_be_left_alone_is_kept_to_between_calls() {
    let mut courier = courier([later(429, "60")]);
    assert!(matches!(failure(courier.deliver(&events([1]))), Error::Unavailable(_)));
    courier.transport.now += Duration::from_secs(59);
    let error = failure(courier.deliver(&events([1])));
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("left alone")), "{error:?}");
    assert_eq!(courier.transport.asked.len(), 1);
    courier.transport.now += Duration::from_secs(1);
    courier.deliver(&events([1])).unwrap();
}

#[test]
fn a_senseless_wish_is_kept_to_for_ten_minutes() {
    for (seconds, rest) in [("99999999999999", LONGEST_REST), ("Fri, 31 Dec 1999 23:59:59 GMT", Duration::ZERO)] {
        let mut courier = courier([later(503, seconds), later(503, seconds), later(503, seconds)]);
        failure(courier.deliver(&events([1])));
        let now = courier.transport.now;
        assert_eq!(courier.rests_until.map_or(Duration::ZERO, |until| until - now), rest, "{seconds}");
    }
}

#[test]
fn a_slow_receiver_does_not_take_more_than_the_budget() {
    let mut courier = courier([]);
    courier.transport.delay = Duration::from_secs(3600);
    assert!(matches!(failure(courier.deliver(&events([1]))), Error::Unavailable(_)));
    assert!(courier.transport.now <= BUDGET, "{:?}", courier.transport.now);
    assert!(courier.transport.asked.len() >= 2, "it is tried again");
}

#[test]
fn what_is_too_large_comes_in_smaller_portions() {
    let mut courier = courier([]);
    courier.transport.limit = Some(600);
    courier.deliver(&events(1..=7)).unwrap();
    let accepted = courier.transport.asked.iter().filter(|asked| asked.body.len() <= 600);
    assert_eq!(accepted.flat_map(Asked::numbers).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn one_event_that_is_too_large_comes_without_its_data() {
    let mut courier = courier([]);
    courier.transport.limit = Some(200);
    courier.deliver(&events([1])).unwrap();
    let body: Value = serde_json::from_slice(&courier.transport.asked[1].body).unwrap();
    let event = &body["data"]["events"][0];
    assert_eq!((&event["seq"], &event["data"], &event["omittedBytes"]), (&Value::from(1), &Value::Null, &Value::from(122)));
    courier.transport.limit = Some(10);
    let error = failure(courier.deliver(&events([2])));
    assert!(matches!(&error, Error::Other(text) if text.contains("413")), "{error:?}");
}

#[test]
fn portions_that_were_received_are_not_sent_again() {
    let mut courier = courier([answer(200), answer(404)]);
    courier.transport.limit = Some(600);
    failure(courier.deliver(&events(1..=4)));
    courier.deliver(&events(1..=4)).unwrap();
    let sent: Vec<Vec<u64>> = courier.transport.asked.iter().map(Asked::numbers).collect();
    assert_eq!(sent, [vec![1, 2, 3, 4], vec![1, 2], vec![3, 4], vec![1, 2, 3, 4], vec![3, 4]]);
    courier.deliver(&events(1..=4)).unwrap();
    let sent: Vec<Vec<u64>> = courier.transport.asked.iter().skip(5).map(Asked::numbers).collect();
    assert_eq!(sent, [vec![1, 2, 3, 4], vec![1, 2], vec![3, 4]], "once all are there it is forgotten");
}

#[test]
fn data_that_is_no_json_is_not_sent() {
    let mut courier = courier([]);
    let broken = Event { data: "{".to_owned(), ..events([5]).remove(0) };
    assert!(matches!(failure(courier.deliver(&[broken])), Error::Invalid(text) if text.contains("7/5")));
    assert!(courier.transport.asked.is_empty());
}

#[test]
fn a_url_is_told_without_what_may_be_secret() {
    for (url, expected) in [
        ("https://example.org/a?b", "https://example.org"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://[::1]:1?x=http://y", "https://[::1]:1"),
    ] {
        assert_eq!(origin(url).unwrap(), expected);
    }
    for url in ["", "example.org", "ftp://example.org", "https://", "https:///x", "https://user:secret@example.org/"] {
        let error = origin(url).unwrap_err();
        assert!(matches!(&error, Error::Invalid(text) if !text.contains("secret")), "{url}: {error:?}");
    }
}
