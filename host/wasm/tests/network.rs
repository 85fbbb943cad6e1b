//! Sockets and names: a component reaches what it was granted, by name and by address, and nothing else.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use agent_host_wasm::grants::Denial;
use agent_host_wasm::{Engine, EngineOptions, Persistence, PersistenceOptions};
use support::network::{Forbidden, Names, echo};
use support::{guest, options, probe, start};

const REFUSED: &str = "error PermissionDenied";
const NO_ADDRESS: &str = "error \"no address\"";

/// The prober, with these rules, among these names.
async fn prober(rules: &[String], names: &Arc<Names>) -> Persistence {
    let engine = Engine::new(EngineOptions { resolver: Arc::<Names>::clone(names), ..options() }).unwrap();
    granted(&engine, rules).await
}

async fn granted(engine: &Engine, rules: &[String]) -> Persistence {
    let mut options = PersistenceOptions::default();
    options.grants.network = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    start(engine, guest("prober"), options).await
}

#[tokio::test]
async fn without_a_grant_there_is_no_network_and_every_try_is_counted() {
    let names = Names::new(&[("localhost", &[&["127.0.0.1"]])]);
    let store = prober(&[], &names).await;
    let forbidden = Forbidden::new();
    let port = forbidden.port();
    assert_eq!(probe(&store, &format!("connect 127.0.0.1:{port}")).await, REFUSED);
    assert_eq!(probe(&store, &format!("udp 127.0.0.1:{port}")).await, REFUSED);
    assert_eq!(probe(&store, "listen 127.0.0.1:0").await, REFUSED);
    assert_eq!(store.denials().count(Denial::Address), 3);
    assert_eq!(probe(&store, "lookup localhost").await, NO_ADDRESS);
    assert_eq!(probe(&store, "lookup secret-data.evil.example").await, NO_ADDRESS);
    assert_eq!(store.denials().count(Denial::Name), 2);
    assert!(names.asked().is_empty(), "a question is a message");
    assert!(forbidden.nobody_came());
}

#[tokio::test]
async fn an_address_that_is_granted_is_reached_and_no_other() {
    let (port, forbidden) = (echo().await, Forbidden::new());
    let other = forbidden.port();
    let store = prober(&[format!("127.0.0.1:{port}")], &Names::new(&[])).await;
    assert_eq!(probe(&store, &format!("echo 127.0.0.1:{port}")).await, "ok \"hello\"");
    assert_eq!(store.denials().count(Denial::Address), 0);
    for (what, target) in [
        ("another port", format!("connect 127.0.0.1:{other}")),
        ("another address", format!("connect 127.0.0.2:{port}")),
        ("the same machine by IPv6", format!("connect [::1]:{port}")),
        ("UDP", format!("udp 127.0.0.1:{port}")),
        ("listening where it says", "listen 127.0.0.1:0".to_owned()),
        ("listening anywhere", "listen 0.0.0.0:0".to_owned()),
    ] {
        let before = store.denials().count(Denial::Address);
        assert_eq!(probe(&store, &target).await, REFUSED, "{what}");
        assert_eq!(store.denials().count(Denial::Address), before + 1, "{what}");
    }
    let mapped = probe(&store, &format!("connect [::ffff:127.0.0.1]:{other}")).await;
    assert!(mapped.starts_with("error"), "{mapped}");
    assert!(forbidden.nobody_came());
}

#[tokio::test]
async fn a_range_of_addresses_is_reached_if_a_rule_names_it() {
    let port = echo().await;
    let store = prober(&[format!("127.0.0.0/8:{port}")], &Names::new(&[])).await;
    assert_eq!(probe(&store, &format!("echo 127.0.0.1:{port}")).await, "ok \"hello\"");
    let store = prober(&[format!("0.0.0.0/0:{port}"), "*:*".to_owned()], &Names::new(&[])).await;
    assert_eq!(probe(&store, &format!("connect 127.0.0.1:{port}")).await, REFUSED, "the whole internet is not this machine");
}

#[tokio::test]
async fn only_names_that_a_rule_names_are_looked_up() {
    let names = Names::new(&[
        ("db.example.org", &[&["1.1.1.1", "2606:4700::1111"]]),
        ("www.example.org", &[&["1.0.0.1"]]),
        ("example.org", &[&["1.0.0.1"]]),
    ]);
    let store = prober(&["db.example.org:5432".to_owned(), "*.example.org:443".to_owned()], &names).await;
    assert_eq!(probe(&store, "lookup DB.example.org.").await, "ok [\"1.1.1.1\", \"2606:4700::1111\"]");
    assert_eq!(probe(&store, "lookup www.example.org").await, "ok [\"1.0.0.1\"]");
    for name in ["example.org", "data.evil.example", "db.example.org.evil.example"] {
        assert_eq!(probe(&store, &format!("lookup {name}")).await, NO_ADDRESS, "{name}");
    }
    assert_eq!(probe(&store, "lookup unknown.example.org").await, NO_ADDRESS);
    assert_eq!(names.asked(), ["db.example.org", "www.example.org", "unknown.example.org"]);
    assert_eq!(store.denials().count(Denial::Name), 3, "nobody knowing a name is no denial");
}

#[tokio::test]
async fn a_name_that_is_granted_does_not_lead_to_a_private_address() {
    let forbidden = Forbidden::new();
    let port = forbidden.port();
    let addresses: &[&[&str]] = &[&["127.0.0.1"], &["::ffff:127.0.0.1"], &["64:ff9b::7f00:1"], &["10.0.0.1", "169.254.169.254", "::1"]];
    let names = Names::new(&[("db.example.org", addresses)]);
    let store = prober(&[format!("db.example.org:{port}")], &names).await;
    for address in addresses {
        let answer = probe(&store, &format!("connect db.example.org:{port}")).await;
        assert!(answer.starts_with("error"), "{address:?}: {answer}");
    }
    assert_eq!(names.asked().len(), addresses.len());
    assert_eq!(probe(&store, &format!("connect 127.0.0.1:{port}")).await, REFUSED, "looking it up has opened nothing");
    assert_eq!(store.denials().count(Denial::Name), 4);
    assert!(forbidden.nobody_came());
}

#[tokio::test]
async fn a_name_leads_to_a_private_address_that_another_rule_names() {
    let (port, forbidden) = (echo().await, Forbidden::new());
    let names = Names::new(&[("db.example.org", &[&["127.0.0.1", "10.0.0.1"]])]);
    let store = prober(&["db.example.org:*".to_owned(), format!("127.0.0.1:{port}")], &names).await;
    assert_eq!(probe(&store, "lookup db.example.org").await, "ok [\"127.0.0.1\"]", "the other address is none of its business");
    assert_eq!(probe(&store, &format!("echo db.example.org:{port}")).await, "ok \"hello\"");
    let answer = probe(&store, &format!("connect db.example.org:{}", forbidden.port())).await;
    assert_eq!(answer, REFUSED, "the rule that names the address is for one port");
    assert!(forbidden.nobody_came());
}

#[tokio::test]
async fn localhost_is_this_machine_as_the_system_knows_it() {
    let (port, forbidden) = (echo().await, Forbidden::new());
    let engine = Engine::new(options()).unwrap();
    let store = granted(&engine, &[format!("localhost:{port}")]).await;
    assert_eq!(probe(&store, &format!("echo localhost:{port}")).await, "ok \"hello\"");
    let answer = probe(&store, &format!("connect localhost:{}", forbidden.port())).await;
    assert_eq!(answer, REFUSED);
    assert!(forbidden.nobody_came());
}

#[tokio::test]
async fn what_one_instance_has_found_is_not_open_to_another_component() {
    let (port, names) = (echo().await, Names::new(&[("localhost", &[&["127.0.0.1"]])]));
    let engine = Engine::new(EngineOptions { resolver: Arc::<Names>::clone(&names), ..options() }).unwrap();
    let (granted, other) = (granted(&engine, &[format!("localhost:{port}")]).await, granted(&engine, &["localhost:1".to_owned()]).await);
    assert_eq!(probe(&granted, &format!("echo localhost:{port}")).await, "ok \"hello\"");
    assert_eq!(probe(&other, &format!("connect 127.0.0.1:{port}")).await, REFUSED);
}
