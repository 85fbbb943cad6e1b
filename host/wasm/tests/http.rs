//! HTTP requests of components: only to URLs that were granted, by every redirect and to every address, and of bounded size.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use agent_host_wasm::grants::Denial;
use agent_host_wasm::limits::HttpLimits;
use agent_host_wasm::{Engine, EngineOptions, Limits, Persistence, PersistenceOptions};
use support::network::{Forbidden, Names, Web, echo, ok, redirect};
use support::{guest, options, probe, start};

fn home() -> Arc<Names> {
    Names::new(&[("localhost", &[&["127.0.0.1"]])])
}

async fn prober(rules: &[String], names: &Arc<Names>) -> Persistence {
    limited(rules, names, HttpLimits::default()).await
}

async fn limited(rules: &[String], names: &Arc<Names>, http: HttpLimits) -> Persistence {
    let engine = Engine::new(EngineOptions { resolver: Arc::<Names>::clone(names), ..options() }).unwrap();
    let mut options = PersistenceOptions { limits: Limits { http, ..Limits::default() }, ..PersistenceOptions::default() };
    options.grants.http = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    start(&engine, guest("prober"), options).await
}

fn denied(answer: &str) {
    assert!(answer.starts_with("error Error::Denied"), "{answer}");
}

#[tokio::test]
async fn a_url_that_is_granted_is_fetched_with_what_the_component_gave() {
    let web = Web::start(|path| Some(ok(&format!("this is {path}")))).await;
    let port = web.port;
    let store = prober(&[format!("http://localhost:{port}/v1/*")], &home()).await;
    let answer = probe(&store, &format!("fetch POST http://localhost:{port}/v1/x?y=z#w 3 1000 X-Mine yes")).await;
    assert_eq!(answer, "ok (200, 17, \"this is /v1/x?y=z\")");
    let request = web.requests().remove(0);
    assert!(request.starts_with("POST /v1/x?y=z HTTP/1.1\r\n") && request.ends_with("\r\n\r\nxxx"), "{request}");
    assert!(request.contains("x-mine: yes") && request.contains(&format!("host: localhost:{port}")), "{request}");
    assert_eq!(store.denials().count(Denial::Url), 0);
}

#[tokio::test]
async fn what_is_not_granted_is_refused_before_anything_is_sent() {
    let forbidden = Forbidden::new();
    let port = forbidden.port();
    let names = Names::new(&[("localhost", &[&["127.0.0.1"]]), ("other.example.org", &[&["127.0.0.1"]])]);
    let nothing = prober(&[], &names).await;
    denied(&probe(&nothing, &format!("fetch GET http://localhost:{port}/v1/x")).await);
    assert_eq!(nothing.denials().count(Denial::Url), 1);

    let store = prober(&[format!("http://localhost:{port}/v1/*")], &names).await;
    for (count, url) in [
        format!("http://localhost:{port}/"),
        format!("http://localhost:{port}/v1/../admin"),
        format!("http://localhost:{port}/v1/..%2fadmin"),
        format!("http://localhost:{}/v1/x", port ^ 1),
        format!("https://localhost:{port}/v1/x"),
        format!("http://other.example.org:{port}/v1/x"),
        format!("http://127.0.0.1:{port}/v1/x"),
        format!("http://[::ffff:127.0.0.1]:{port}/v1/x"),
        format!("http://0x7f.1:{port}/v1/x"),
        format!("http://2130706433:{port}/v1/x"),
        "file:///etc/passwd".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        denied(&probe(&store, &format!("fetch GET {url}")).await);
        assert_eq!(store.denials().count(Denial::Url), count as u64 + 1, "{url}");
    }
    assert!(names.asked().is_empty(), "{:?}", names.asked());
    assert!(forbidden.nobody_came());
}

#[tokio::test]
async fn redirects_are_followed_only_to_where_the_component_may_go() {
    let forbidden = Forbidden::new();
    let to = forbidden.port();
    let web = Web::start(move |path| {
        Some(match path.split_at(path.find('-').unwrap_or(path.len())) {
            ("/away", _) => redirect(302, &format!("http://localhost:{to}/")),
            ("/address", _) => redirect(307, &format!("http://127.0.0.1:{to}/")),
            ("/file", _) => redirect(302, "file:///etc/passwd"),
            ("/user", _) => redirect(302, "http://me:secret@localhost/"),
            ("/hop", left) if left != "-0" => redirect(301, &format!("/hop-{}", left[1..].parse::<u32>().unwrap() - 1)),
            _ => ok("arrived"),
        })
    })
    .await;
    let port = web.port;
    let store = prober(&[format!("http://localhost:{port}")], &home()).await;
    for path in ["away", "address", "file"] {
        denied(&probe(&store, &format!("fetch GET http://localhost:{port}/{path}")).await);
    }
    assert_eq!(store.denials().count(Denial::Url), 3);
    assert!(probe(&store, &format!("fetch GET http://localhost:{port}/user")).await.starts_with("error Error::Unavailable"));
    assert_eq!(probe(&store, &format!("fetch GET http://localhost:{port}/hop-10")).await, "ok (200, 7, \"arrived\")");
    let answer = probe(&store, &format!("fetch GET http://localhost:{port}/hop-11")).await;
    assert!(answer.contains("more than 10 redirects"), "{answer}");
    // A POST would become a GET without its body: whoever sent it must not take the page behind that for a receiver.
    let before = web.requests().len();
    let answer = probe(&store, &format!("fetch POST http://localhost:{port}/hop-1 5 1000 Content-Type text/plain")).await;
    assert!(answer.starts_with("ok (301,"), "{answer}");
    let requests = web.requests();
    let [post] = &requests[before..] else { panic!("{requests:?}") };
    assert!(post.starts_with("POST /hop-1") && post.contains("content-type") && post.ends_with("xxxxx"), "{post}");
    assert!(forbidden.nobody_came());
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_server() {
    let second = Web::start(|_| Some(ok("second"))).await;
    let (to, same) = (second.port, "/there");
    let first = Web::start(move |path| {
        Some(match path {
            "/away" => redirect(302, &format!("http://localhost:{to}/")),
            "/here" => redirect(302, same),
            _ => ok("first"),
        })
    })
    .await;
    let store = prober(&["http://localhost:*".to_owned()], &home()).await;
    for path in ["away", "here"] {
        probe(&store, &format!("fetch GET http://localhost:{}/{path} 0 1000 Authorization secret Cookie mine", first.port)).await;
    }
    let requests = first.requests();
    assert!(requests.iter().all(|request| request.contains("secret")) && requests.len() == 3, "{requests:?}");
    let [request] = &second.requests()[..] else { panic!("it was not followed") };
    assert!(!request.contains("secret") && !request.contains("mine"), "{request}");
}

#[tokio::test]
async fn a_host_that_resolves_to_a_private_address_is_not_reached() {
    let forbidden = Forbidden::new();
    let port = forbidden.port();
    let addresses: &[&[&str]] = &[&["127.0.0.1"], &["::1", "10.0.0.1"], &["::ffff:127.0.0.1"], &["169.254.169.254"], &["64:ff9b::7f00:1"]];
    let names = Names::new(&[("api.example.org", addresses)]);
    let store = prober(&[format!("http://api.example.org:{port}"), "http://*:*".to_owned()], &names).await;
    for (count, address) in addresses.iter().enumerate() {
        let answer = probe(&store, &format!("fetch GET http://api.example.org:{port}/")).await;
        denied(&answer);
        assert!(answer.contains(address[0]), "{answer}");
        assert_eq!(store.denials().count(Denial::Url), count as u64 + 1);
    }
    assert!(forbidden.nobody_came());
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_checked_each_time_and_asked_once_for_each_connection() {
    let web = Web::start(|_| Some(ok("home"))).await;
    let port = web.port;
    let names = Names::new(&[("localhost", &[&["10.0.0.1", "127.0.0.1"], &["10.0.0.1"]])]);
    let store = prober(&[format!("http://localhost:{port}")], &names).await;
    let fetch = format!("fetch GET http://localhost:{port}/");
    assert_eq!(probe(&store, &fetch).await, "ok (200, 4, \"home\")", "of two addresses, the one that it may reach");
    assert_eq!(names.asked(), ["localhost"], "what was checked is what was connected to");
    denied(&probe(&store, &fetch).await);
    assert_eq!(names.asked().len(), 2);
}

#[tokio::test]
async fn an_address_is_fetched_from_if_a_rule_has_it() {
    let web = Web::start(|_| Some(ok("home"))).await;
    let port = web.port;
    let store = prober(&[format!("http://127.0.0.1:{port}")], &home()).await;
    assert_eq!(probe(&store, &format!("fetch GET http://127.0.0.1:{port}/")).await, "ok (200, 4, \"home\")");
    denied(&probe(&store, &format!("fetch GET http://localhost:{port}/")).await);
}

#[tokio::test]
async fn a_component_cannot_say_what_is_the_hosts_to_say() {
    let forbidden = Forbidden::new();
    let url = format!("http://localhost:{}/", forbidden.port());
    let store = prober(&["http://localhost:*".to_owned()], &home()).await;
    for header in [
        "Host evil",
        "Connection upgrade",
        "Transfer-Encoding chunked",
        "Content-Length 1",
        "Proxy-Authorization x",
        "Upgrade h2c",
        "b@d x",
    ] {
        let answer = probe(&store, &format!("fetch GET {url} 0 1000 {header}")).await;
        assert!(answer.starts_with("error Error::Invalid"), "{header}: {answer}");
    }
    for what in [
        format!("CONNECT {url}"),
        format!("TRACE {url}"),
        format!("G=T {url}"),
        "GET no-url".to_owned(),
        "GET http://me:secret@localhost/".to_owned(),
    ] {
        let answer = probe(&store, &format!("fetch {what}")).await;
        assert!(answer.starts_with("error Error::Invalid"), "{what}: {answer}");
    }
    assert!(forbidden.nobody_came());
}

#[tokio::test]
async fn requests_and_responses_are_bounded_in_size_and_time() {
    let web = Web::start(|path| match path {
        "/long" => Some(ok(&"x".repeat(1001))),
        "/endless" => Some(format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(100_000))),
        "/lying" => Some("HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nshort".to_owned()),
        "/headers" => Some(format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(11))),
        "/header" => Some(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100_000))),
        "/garbage" => Some("SSH-2.0-nonsense\r\n".to_owned()),
        "/silence" => None,
        _ => Some(ok(&"x".repeat(1000))),
    })
    .await;
    let limits =
        HttpLimits { request_bytes: 1000, response_bytes: 1000, headers: 10, header_bytes: 500, timeout: Duration::from_millis(300) };
    let store = limited(&["http://localhost:*".to_owned()], &home(), limits).await;
    let url = format!("http://localhost:{}", web.port);
    assert!(probe(&store, &format!("fetch POST {url}/fits 1000")).await.starts_with("ok (200, 1000,"));
    for (what, error) in [
        (format!("POST {url}/ 1001"), "TooLarge"),
        (format!("GET {url}/ 0 1000 a {}", "b".repeat(500)), "TooLarge"),
        (format!("GET {url}/ 0 1000{}", " a b".repeat(11)), "TooLarge"),
        (format!("GET {url}/long"), "TooLarge"),
        (format!("GET {url}/endless"), "TooLarge"),
        (format!("GET {url}/headers"), "TooLarge"),
        (format!("GET {url}/header"), "TooLarge"),
        (format!("GET {url}/lying"), "Unavailable"),
        (format!("GET {url}/garbage"), "Unavailable"),
        (format!("GET {url}/silence"), "Timeout"),
        (format!("GET {url}/silence 0 10"), "Timeout"),
        (format!("GET {url}/silence 0 3600000"), "Timeout"),
        ("GET http://localhost:1/".to_owned(), "Unavailable"),
        (format!("GET https://localhost:{}/", web.port), "Denied"),
    ] {
        let answer = probe(&store, &format!("fetch {what}")).await;
        assert!(answer.starts_with(&format!("error Error::{error}")), "{what}: {answer}");
    }
}

#[tokio::test]
async fn https_is_not_spoken_with_a_server_that_does_not() {
    let port = echo().await;
    let store = prober(&["https://localhost:*".to_owned()], &home()).await;
    let answer = probe(&store, &format!("fetch GET https://localhost:{port}/")).await;
    assert!(answer.starts_with("error Error::Unavailable"), "{answer}");
}
