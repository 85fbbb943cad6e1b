//! How often and how long a request is tried, and what is sent with each try.

use super::*;
use crate::target::Target;
use crate::transport::fake::{Asked, Fake, done, json, problem, response, unreachable, with_header};

const ORIGIN: &str = "https://store.example";

fn client() -> Client<Fake> {
    let patience = Patience { attempts: 4, call: Duration::from_secs(6) };
    let client = Client::new(Fake::default(), format!("{ORIGIN}/v1"), ORIGIN.to_owned(), Credentials::bearer("token").unwrap(), patience);
    client.set_clock(1_000_000);
    client
}

fn health() -> Request<'static> {
    Request::get(Target::new("/health"))
}

fn unavailable(result: Result<Answer<'_>, Failure>) -> String {
    match result {
        Err(Failure::Error(Error::Unavailable(text))) => text,
        other => panic!("{other:?}"),
    }
}

fn times(asked: &[Asked]) -> Vec<u128> {
    asked.iter().map(|asked| asked.at.as_millis()).collect()
}

#[test]
fn what_may_pass_is_tried_again_and_nothing_else_is() {
    for answer in [unreachable(), response(429, "", ""), response(502, "", ""), response(503, "", ""), response(504, "text/html", "<p>")] {
        let client = client();
        client.transport.answers([answer.clone(), answer.clone(), done()]);
        assert_eq!(client.call().send(&health()).unwrap().done(), Ok(()), "{answer:?}");
        assert_eq!(client.transport.seen().len(), 3, "{answer:?}");
    }
    for status in [200, 204, 302, 400, 401, 403, 404, 408, 409, 413, 425, 500, 501, 505] {
        let client = client();
        client.transport.answers([response(status, "", "")]);
        assert_eq!(client.call().send(&health()).unwrap().status(), status);
    }
    for (error, failure) in [
        (http::Error::Denied("x".to_owned()), Failure::Denied("x".to_owned())),
        (http::Error::TooLarge("x".to_owned()), Failure::TooLarge("x".to_owned())),
    ] {
        let client = client();
        client.transport.answers([Err(error)]);
        assert_eq!(client.call().send(&health()).unwrap_err(), failure);
    }
    let client = client();
    client.transport.answers([Err(http::Error::Invalid("x".to_owned()))]);
    assert!(matches!(client.call().send(&health()), Err(Failure::Error(Error::Other(_)))));
}

#[test]
fn tries_are_bounded_and_pauses_grow() {
    let client = client();
    client.transport.answers([unreachable(), unreachable(), unreachable(), unreachable()]);
    let text = unavailable(client.call().send(&health()));
    assert!(text.contains("it broke off") && text.contains("4 times"), "{text}");
    let times = times(&client.transport.seen());
    let pauses: Vec<u128> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, longest) in pauses.iter().zip([100, 200, 400]) {
        assert!((longest / 2..=longest).contains(pause), "{pauses:?}");
    }
}

#[test]
fn time_is_bounded_for_all_requests_of_a_call() {
    let client = client();
    let call = client.call();
    for _ in 0..2 {
        client.transport.answers_after(Duration::from_millis(2_950), done());
        call.send(&health()).unwrap();
    }
    let text = unavailable(call.send(&health()));
    assert!(text.contains(ORIGIN) && text.contains("6s"), "{text}");
    let timeouts: Vec<u128> = client.transport.seen().iter().map(|asked| asked.timeout.as_millis()).collect();
    assert_eq!(timeouts, [3_000, 3_000], "half of a call's time, and no try with a tenth of a second left");
    client.transport.answers([done()]);
    assert!(client.call().send(&health()).is_ok(), "the next call has its own time");
}

#[test]
fn a_server_that_hangs_is_asked_again_as_long_as_there_is_time() {
    let client = client();
    for _ in 0..2 {
        client.transport.answers_after(Duration::from_secs(60), done());
    }
    let text = unavailable(client.call().send(&health()));
    assert!(text.contains("2 times"), "{text}");
    let asked = client.transport.seen();
    assert_eq!(asked[0].timeout, Duration::from_secs(3));
    assert!(asked[1].at + asked[1].timeout <= Duration::from_secs(6));
}

#[test]
fn a_retry_after_is_kept_to_within_the_call_and_behind_it() {
    let client = client();
    client.transport.answers([with_header(response(503, "", ""), "retry-after", "2"), done()]);
    client.call().send(&health()).unwrap();
    assert_eq!(times(&client.transport.seen()), [0, 2_000]);

    client.transport.answers([with_header(response(429, "text/plain", "too often"), "retry-after", "20")]);
    let text = unavailable(client.call().send(&health()));
    assert!(text.contains("429: too often") && text.contains("once"), "{text}");
    client.transport.wait(Duration::from_secs(19));
    assert!(unavailable(client.call().send(&health())).contains("for another 2 s"), "{text}");
    assert_eq!(client.transport.seen().len(), 1, "it was left alone");
    client.transport.wait(Duration::from_secs(1));
    client.transport.answers([done()]);
    client.call().send(&health()).unwrap();
}

#[test]
fn no_server_is_left_alone_for_ever() {
    let client = client();
    client.transport.answers([with_header(response(503, "", ""), "retry-after", "18446744073709551615")]);
    unavailable(client.call().send(&health()));
    client.transport.wait(LONGEST_REST);
    client.transport.answers([done()]);
    client.call().send(&health()).unwrap();
}

#[test]
fn all_tries_of_a_write_have_its_key_and_no_other_write_has() {
    let client = client();
    for _ in 0..2 {
        client.transport.answers([unreachable(), response(504, "", ""), done()]);
        let target = Target::new("/session").with("session", "s");
        client.call().send(&Request::write("DELETE", target, &client.key().unwrap()).epoch(7)).unwrap();
    }
    let asked = client.transport.seen();
    let keys: Vec<&str> = asked.iter().map(|asked| asked.header("idempotency-key").unwrap()).collect();
    assert!(keys.iter().all(|key| key.len() == 32));
    assert_eq!((keys[0], keys[0], keys[3], keys[3]), (keys[1], keys[2], keys[4], keys[5]));
    assert_ne!(keys[0], keys[3]);
    assert!(asked.iter().all(|asked| asked.header("session-epoch") == Some("7")));
    assert_eq!((asked[0].method.as_str(), asked[0].url.as_str()), ("DELETE", "https://store.example/v1/session?session=s"));
}

#[test]
fn a_deadline_is_the_end_of_the_try_by_the_servers_clock() {
    let client = client();
    client.transport.wait(Duration::from_millis(500));
    client.transport.answers([unreachable(), done()]);
    client.call().send(&health()).unwrap();
    for asked in client.transport.seen() {
        let deadline = 1_000_000 + (asked.at + asked.timeout).as_millis();
        assert_eq!(asked.header("request-deadline").unwrap(), deadline.to_string());
        assert_eq!(asked.header("authorization"), Some("Bearer token"));
    }
}

#[test]
fn a_server_that_thinks_a_request_late_puts_the_clock_right() {
    let client = client();
    client.transport.answers([problem(503, r#"{"code":"unavailable","now":5000000}"#), done()]);
    client.call().send(&health()).unwrap();
    let asked = client.transport.seen();
    let pause = (asked[1].at - asked[0].at).as_millis();
    assert_eq!(asked[1].header("request-deadline").unwrap(), (5_000_000 + pause + 3_000).to_string());
}

#[test]
fn before_the_server_was_asked_what_time_it_is_nothing_is_shown_to_it() {
    let patience = Patience { attempts: 1, call: Duration::from_secs(1) };
    let client = Client::new(Fake::default(), ORIGIN.to_owned(), ORIGIN.to_owned(), Credentials::bearer("token").unwrap(), patience);
    client.transport.answers([json("{}")]);
    client.call().send(&Request::get(Target::new("/"))).unwrap();
    let asked = client.transport.seen();
    assert_eq!((asked[0].header("authorization"), asked[0].header("request-deadline")), (None, None));
    assert_eq!(asked[0].url, "https://store.example/");
}

#[test]
fn what_has_no_place_in_a_url_is_not_sent() {
    let client = client();
    let request = Request::get(Target::new("/file").with("path", &"💡".repeat(1_200)));
    assert!(matches!(client.call().send(&request), Err(Failure::Error(Error::Invalid(_)))));
    assert!(client.transport.seen().is_empty());
}

#[test]
fn a_piece_that_the_host_does_not_let_pass_is_kept_until_the_operator_makes_pieces_smaller() {
    let client = client();
    client.transport.answers([Err(http::Error::TooLarge("8 is the limit".to_owned()))]);
    let key = client.key().unwrap();
    let text = unavailable(client.call().send(&Request::write("PUT", Target::new("/piece"), &key).piece(b"123456789")));
    assert!(text.contains("8 is the limit") && text.contains("piece_bytes"), "{text}");
}
