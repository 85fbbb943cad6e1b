//! The contract's functions over a server that answers by a script.

use std::time::Duration;

use agent_host_adapter::{Config, Error, FileInfo, Lease, Owner, SessionChanges, SessionRecord};

use super::*;
use crate::transport::fake::{Asked, Fake, done, json, problem, response, unreachable};
use crate::{files, leases, profiles, sessions, streams};

const CAPABILITIES: &str =
    r#"{"protocol":"agent-host-store/1","authentication":["bearer","hmac"],"leases":true,"maxBodyBytes":262144,"now":1000000,"more":[]}"#;

fn settings(entries: &[(&str, &str)]) -> Settings {
    let entries = [&[("url", "https://store.example/v1"), ("attempts", "2")][..], entries].concat();
    let entries = entries.iter().rev().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Settings::read(&Config::new(entries), |_| Some("a-token-of-at-least-twenty-four-bytes".to_owned())).unwrap()
}

fn opened(capabilities: &str, entries: &[(&str, &str)]) -> Result<Store<Fake>> {
    let fake = Fake::default();
    fake.answers([json(capabilities), done()]);
    Store::open(fake, settings(entries))
}

fn store() -> Store<Fake> {
    let store = opened(CAPABILITIES, &[]).unwrap();
    store.client.transport.seen();
    store
}

fn path(asked: &Asked) -> String {
    format!("{} {}", asked.method, asked.url.strip_prefix("https://store.example/v1").unwrap())
}

fn paths(store: &Store<Fake>) -> Vec<String> {
    store.client.transport.seen().iter().map(path).collect()
}

fn record(id: &str) -> SessionRecord {
    let (name, options) = (Some("Ü\0".to_owned()), Some(r#"{"a": 1.0}"#.to_owned()));
    SessionRecord {
        id: id.into(),
        created_at: 1,
        last_activity: 2,
        profile: "p".into(),
        architecture: "echo".into(),
        name,
        options,
        extra: None,
    }
}

#[test]
fn a_server_is_asked_what_it_can_and_whether_it_takes_the_credentials() {
    let store = opened(CAPABILITIES, &[]).unwrap();
    assert_eq!(store.server, Server { has_leases: true, body_bytes: 262_144, piece_bytes: 262_144 });
    let asked = store.client.transport.seen();
    assert_eq!((path(&asked[0]), path(&asked[1])), ("GET /".to_owned(), "GET /health".to_owned()));
    assert!(asked[0].header("authorization").is_none() && asked[1].header("authorization").is_some());
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let invalid = |opened: Result<Store<Fake>>| match opened {
        Err(Error::Invalid(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was opened"),
    };
    for (from, to, entries, why) in [
        ("store/1", "store/2", &[][..], "agent-host-store/2"),
        ("\"bearer\",", "", &[], "\"bearer\""),
        ("\"bearer\",", "", &[("auth", "none")], "\"none\""),
        ("true", "false", &[("leases", "required")], "leases"),
        ("262144", "1000", &[], "1000"),
        ("\"now\":1000000,", "", &[], "now"),
    ] {
        let text = invalid(opened(&CAPABILITIES.replace(from, to), entries));
        assert!(text.contains(why) && text.contains("https://store.example"), "{text}");
    }
    for (answer, why) in [
        (response(404, "text/html", "nothing here"), "nothing here"),
        (response(200, "text/html", "<h1>Welcome</h1>"), "no store behind"),
        (Err(agent_host_adapter::http::Error::Denied("not granted".to_owned())), "grant \"http\""),
    ] {
        let fake = Fake::default();
        fake.answers([answer]);
        let text = invalid(Store::open(fake, settings(&[])));
        assert!(text.contains(why), "{text}");
    }
    let fake = Fake::default();
    fake.answers([json(CAPABILITIES), response(401, "application/problem+json", r#"{"title":"who are you?"}"#)]);
    let text = invalid(Store::open(fake, settings(&[])));
    assert!(text.contains("credentials") && text.contains("who are you?"), "{text}");
}

#[test]
fn a_server_that_is_away_is_not_a_wrong_configuration() {
    for answers in [
        vec![unreachable(), unreachable()],
        vec![response(500, "text/html", "oops")],
        vec![json(CAPABILITIES), unreachable(), unreachable()],
    ] {
        let fake = Fake::default();
        fake.answers(answers);
        assert!(matches!(Store::open(fake, settings(&[])), Err(Error::Unavailable(_))));
    }
}

#[test]
fn records_go_as_json_and_come_back_as_they_were() {
    let store = store();
    store.client.transport.answers([done(), done()]);
    sessions::create(&store, 7, record("s")).unwrap();
    let changes = SessionChanges { last_activity: Some(9), name: None, options: Some("{}".to_owned()), extra: None };
    sessions::update(&store, 7, "s", changes).unwrap();
    let asked = store.client.transport.seen();
    let body = |asked: &Asked| String::from_utf8(asked.body.clone().unwrap()).unwrap();
    let session =
        r#"{"id":"s","createdAt":1,"lastActivity":2,"profile":"p","architecture":"echo","name":"Ü\u0000","options":"{\"a\": 1.0}"}"#;
    assert_eq!((path(&asked[0]), body(&asked[0])), ("POST /sessions".to_owned(), session.to_owned()));
    assert_eq!(
        (path(&asked[1]), body(&asked[1])),
        ("PATCH /session?session=s".to_owned(), r#"{"lastActivity":9,"options":"{}"}"#.to_owned())
    );
    assert_eq!((asked[0].header("content-type"), asked[0].header("session-epoch")), (Some("application/json"), Some("7")));

    store.client.transport.answers([json(&format!(r#"{{"sessions":[{session}],"next":null}}"#))]);
    let page = sessions::list(&store, None, 10).unwrap();
    assert_eq!((page.sessions, page.next), (vec![record("s")], None));
}

#[test]
fn a_record_that_is_larger_than_the_server_takes_is_refused_and_not_sent() {
    let store = store();
    let large = SessionRecord { options: Some("x".repeat(300_000)), ..record("s") };
    assert!(matches!(sessions::create(&store, 1, large), Err(Error::Invalid(text)) if text.contains("262144")));
    assert!(store.client.transport.seen().is_empty());
}

#[test]
fn contents_that_are_larger_than_a_piece_are_brought_in_pieces_and_written_at_once() {
    let store = store();
    let data: Vec<u8> = (0..600_000_u32).map(|index| (index % 251) as u8).collect();
    store.client.transport.answers([done(), unreachable(), done(), json(r#"{"length":600005}"#)]);
    assert_eq!(streams::append(&store, 7, "s", "transcript/main", 5, &data), Ok(600_005));
    let asked = store.client.transport.seen();
    let key = asked[3].header("idempotency-key").unwrap().to_owned();
    assert_eq!(
        asked.iter().map(path).collect::<Vec<_>>(),
        [
            format!("PUT /piece?write={key}&offset=0"),
            format!("PUT /piece?write={key}&offset=262144"),
            format!("PUT /piece?write={key}&offset=262144"),
            "POST /stream?session=s&stream=transcript%2Fmain&offset=5&staged=524288".to_owned(),
        ]
    );
    assert_eq!([0, 2, 3].map(|index: usize| asked[index].body.clone().unwrap()).concat(), data);
    assert_eq!((asked[0].header("session-epoch"), asked[3].header("session-epoch")), (None, Some("7")));
    assert_ne!(asked[0].header("idempotency-key"), asked[1].header("idempotency-key"), "each piece is a write of its own");
}

#[test]
fn contents_of_one_piece_are_one_request() {
    let store = store();
    for length in [0, 1, 262_144] {
        store.client.transport.answers([json(&format!(r#"{{"length":{length}}}"#))]);
        assert_eq!(streams::replace(&store, 7, "s", "events", &vec![0; length as usize]), Ok(length));
        assert_eq!(paths(&store), ["PUT /stream?session=s&stream=events&staged=0"]);
    }
}

#[test]
fn a_file_is_written_with_all_that_is_said_of_it() {
    let store = store();
    let (path, sha256, extra) = ("💡/a%b?c".to_owned(), "0".repeat(64), Some(r#"{"mode":"x"}"#.to_owned()));
    let file = FileInfo { path, size: 3, sha256, created_at: 4, modified_at: 5, extra };
    store.client.transport.answers([done(), done(), response(200, "application/octet-stream", "bc")]);
    files::save(&store, 7, "s", &file, b"abc").unwrap();
    files::delete(&store, 7, "s", &file.path).unwrap();
    assert_eq!(files::read(&store, "s", &file.path, 1, 9), Ok(b"bc".to_vec()));
    let place = "/file?session=s&path=%F0%9F%92%A1%2Fa%25b%3Fc";
    let zeros = "0".repeat(64);
    assert_eq!(
        paths(&store),
        [
            format!("PUT {place}&size=3&sha256={zeros}&createdAt=4&modifiedAt=5&extra=%7B%22mode%22%3A%22x%22%7D&staged=0"),
            format!("DELETE {place}"),
            format!("GET {place}&offset=1&max=9"),
        ]
    );
}

fn snapshot(version: &str, file: &str, next: &str) -> String {
    let file = format!(r#"{{"path":"{file}","size":1,"sha256":"","createdAt":1,"modifiedAt":1}}"#);
    let session = r#"{"id":"s","createdAt":1,"lastActivity":2,"profile":"p","architecture":"echo"}"#;
    format!(
        r#"{{"epoch":3,"session":{session},"streams":[{{"name":"events","length":9}}],"files":[{file}],"next":{next},"version":"{version}"}}"#
    )
}

#[test]
fn a_snapshot_is_of_one_moment_however_many_pages_it_has() {
    let store = store();
    store.client.transport.answers([json(&snapshot("1", "a", r#""a""#)), json(&snapshot("2", "b", "null"))]);
    store.client.transport.answers([json(&snapshot("2", "a", r#""a""#)), json(&snapshot("2", "b", "null"))]);
    let found = sessions::load(&store, "s").unwrap().unwrap();
    assert_eq!(found.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((found.epoch, found.streams[0].length), (3, 9));
    let (first, second) = ("GET /session?session=s", "GET /session?session=s&cursor=a");
    assert_eq!(paths(&store), [first, second, first, second]);

    store.client.transport.answers([json(&snapshot("1", "a", r#""a""#)), problem(404, r#"{"code":"not-found"}"#)]);
    store.client.transport.answers([problem(404, r#"{"code":"not-found"}"#)]);
    assert!(sessions::load(&store, "s").unwrap().is_none(), "it was deleted while its pages were read");

    for version in ["1", "2", "3", "4", "5", "6"] {
        store.client.transport.answers([json(&snapshot(version, "a", r#""a""#))]);
    }
    assert!(matches!(sessions::load(&store, "s"), Err(Error::Unavailable(_))), "it never stands still");
}

#[test]
fn a_page_that_the_host_does_not_let_pass_is_asked_for_with_fewer_sessions() {
    let store = store();
    let too_large = || Err(agent_host_adapter::http::Error::TooLarge("8 MiB".to_owned()));
    store.client.transport.answers([too_large(), too_large(), json(r#"{"sessions":[],"next":"c"}"#)]);
    assert_eq!(sessions::list(&store, Some("a/b"), 100).unwrap().next.as_deref(), Some("c"));
    let asked = [100, 50, 25].map(|limit| format!("GET /sessions?cursor=a%2Fb&limit={limit}"));
    assert_eq!(paths(&store), asked);
    store.client.transport.answers([too_large()]);
    assert!(matches!(sessions::list(&store, None, 1), Err(Error::Other(_))));
    assert!(matches!(sessions::list(&store, Some(""), 1), Err(Error::Invalid(_))));
}

#[test]
fn profiles_are_documents_of_which_nothing_is_read() {
    let store = store();
    let listed = r#"{"profiles":[{"id":"a","name":"A"},{"id":"b","name":"B","description":"für alle"}]}"#;
    store.client.transport.answers([
        json(listed),
        json(r#"{"document":"{\"id\": \"a\"}"}"#),
        problem(404, r#"{"code":"not-found"}"#),
        done(),
        done(),
    ]);
    let profiles = profiles::list(&store).unwrap();
    assert_eq!(profiles.iter().map(|profile| profile.description.as_deref()).collect::<Vec<_>>(), [None, Some("für alle")]);
    assert_eq!(profiles::load(&store, "a").unwrap().as_deref(), Some(r#"{"id": "a"}"#));
    assert_eq!(profiles::load(&store, "b").unwrap(), None);
    profiles::save(&store, profiles[0].clone(), "{}").unwrap();
    profiles::delete(&store, "a/b").unwrap();
    let asked = store.client.transport.seen();
    assert_eq!(asked[3].body.as_deref(), Some(&br#"{"profile":{"id":"a","name":"A"},"document":"{}"}"#[..]));
    assert_eq!(path(&asked[4]), "DELETE /profile?profile=a%2Fb");
}

#[test]
fn leases_are_the_servers() {
    let store = store();
    let owner = || Owner { id: "o".to_owned(), address: "http://o".to_owned() };
    let lease = r#"{"owner":{"id":"o","address":"http://o"},"expiresIn":7}"#;
    store.client.transport.answers([json(lease), json(r#"{"lost":["t"]}"#), done(), problem(404, r#"{"code":"not-found"}"#)]);
    assert_eq!(leases::acquire(&store, "s", owner(), 9), Ok(Lease { owner: owner(), expires_in: 7 }));
    assert_eq!(leases::renew(&store, "o", 9, &["s".to_owned(), "t".to_owned()]), Ok(vec!["t".to_owned()]));
    leases::release(&store, "s", "o").unwrap();
    assert_eq!(leases::get(&store, "s"), Ok(None));
    let asked = store.client.transport.seen();
    assert_eq!(asked[0].body.as_deref(), Some(&br#"{"owner":{"id":"o","address":"http://o"},"ttl":9}"#[..]));
    assert_eq!(asked[1].body.as_deref(), Some(&br#"{"owner":"o","ttl":9,"sessions":["s","t"]}"#[..]));
    let paths = ["POST /lease?session=s", "POST /leases", "DELETE /lease?session=s&owner=o", "GET /lease?session=s"];
    assert_eq!(asked.iter().map(path).collect::<Vec<_>>(), paths);
}

#[test]
fn a_server_without_leases_is_not_asked_for_any() {
    let store = opened(&CAPABILITIES.replace("true", "false"), &[]).unwrap();
    store.client.transport.seen();
    let owner = Owner { id: "o".to_owned(), address: "http://o".to_owned() };
    let refused = [
        leases::acquire(&store, "s", owner, 9).map(drop),
        leases::renew(&store, "o", 9, &[]).map(drop),
        leases::release(&store, "s", "o"),
        leases::get(&store, "s").map(drop),
    ];
    for result in refused {
        assert!(matches!(&result, Err(Error::Invalid(text)) if text.contains("no leases")), "{result:?}");
    }
    assert!(store.client.transport.seen().is_empty());
}

#[test]
fn a_call_with_many_pieces_has_the_time_of_one_call() {
    let store = opened(CAPABILITIES, &[("call_ms", "1000")]).unwrap();
    for _ in 0..3 {
        store.client.transport.answers_after(Duration::from_millis(400), done());
    }
    let began = store.client.transport.now();
    let result = streams::append(&store, 1, "s", "events", 0, &vec![0; 1_000_000]);
    assert!(matches!(&result, Err(Error::Unavailable(_))), "{result:?}");
    assert_eq!(store.client.transport.now() - began, Duration::from_secs(1));
}
