//! The contract, held against the adapter as a plain struct. (The suite that every adapter must pass runs the component: `host/wasm/tests`.)

use agent_host_adapter::*;

use crate::Memory;

const MAIN: &str = "transcript/main";

fn record(id: &str, created_at: u64) -> SessionRecord {
    SessionRecord {
        id: id.to_owned(),
        created_at,
        last_activity: created_at,
        profile: "default".to_owned(),
        architecture: "echo".to_owned(),
        name: None,
        options: None,
        extra: None,
    }
}

fn file(path: &str, size: u64) -> FileInfo {
    FileInfo { path: path.to_owned(), size, sha256: "0".repeat(64), created_at: 1, modified_at: 2, extra: None }
}

/// With the session `s` of epoch 5.
fn memory() -> Memory {
    let mut memory = Memory::open(&Config::default()).unwrap();
    memory.create_session(5, record("s", 10)).unwrap();
    memory
}

fn snapshot(memory: &Memory) -> Snapshot {
    memory.load_session("s").unwrap().unwrap()
}

#[test]
fn every_write_with_a_stale_epoch_is_refused_and_changes_nothing() {
    let mut memory = memory();
    memory.append(5, "s", MAIN, 0, b"abc").unwrap();
    memory.save_file(5, "s", file("a.txt", 1), b"a".to_vec()).unwrap();
    let before = snapshot(&memory);

    let stale = Error::StaleEpoch(5);
    let changes = SessionChanges { last_activity: Some(99), name: None, options: None, extra: None };
    assert_eq!(memory.update_session(4, "s", changes), Err(stale.clone()));
    assert_eq!(memory.append(4, "s", MAIN, 3, b"d"), Err(stale.clone()));
    assert_eq!(memory.append(4, "s", MAIN, 0, b"abc"), Err(stale.clone()), "even if the bytes are there");
    assert_eq!(memory.append(4, "s", MAIN, 9, b"d"), Err(stale.clone()), "even if it would be a gap");
    assert_eq!(memory.replace(4, "s", MAIN, b"x".to_vec()), Err(stale.clone()));
    assert_eq!(memory.save_file(4, "s", file("a.txt", 1), b"b".to_vec()), Err(stale.clone()));
    assert_eq!(memory.delete_file(4, "s", "a.txt"), Err(stale.clone()));
    assert_eq!(memory.delete_file(4, "s", "absent"), Err(stale.clone()));
    assert_eq!(memory.delete_session(4, "s"), Err(stale));

    assert_eq!(snapshot(&memory), before);
    assert_eq!(memory.read("s", MAIN, 0, 100).unwrap(), b"abc");
    assert_eq!(memory.read_file("s", "a.txt", 0, 100).unwrap(), b"a");
}

#[test]
fn a_higher_epoch_takes_the_session_over() {
    let mut memory = memory();
    memory.append(6, "s", MAIN, 0, b"abc").unwrap();
    assert_eq!(snapshot(&memory).epoch, 6);
    assert_eq!(memory.append(5, "s", MAIN, 3, b"d"), Err(Error::StaleEpoch(6)));
    assert_eq!(memory.append(7, "s", MAIN, 0, b"abc"), Ok(3), "a repeated append is a write like any other");
    assert_eq!(snapshot(&memory).epoch, 7);
    assert_eq!(memory.append(8, "s", MAIN, 9, b"d"), Err(Error::OffsetMismatch(3)));
    assert_eq!(snapshot(&memory).epoch, 7, "a refused write changed the epoch");
}

#[test]
fn writes_to_no_session_are_not_found_but_deleting_it_again_succeeds() {
    let mut memory = memory();
    memory.delete_session(5, "s").unwrap();
    memory.delete_session(5, "s").unwrap();
    assert_eq!(memory.load_session("s"), Ok(None));
    for result in [
        memory.append(5, "s", MAIN, 0, b"a").map(drop),
        memory.read("s", MAIN, 0, 1).map(drop),
        memory.replace(5, "s", MAIN, Vec::new()).map(drop),
        memory.save_file(5, "s", file("a", 0), Vec::new()),
        memory.delete_file(5, "s", "a"),
        memory.read_file("s", "a", 0, 1).map(drop),
        memory.update_session(5, "s", SessionChanges { last_activity: None, name: None, options: None, extra: None }),
    ] {
        assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
    }
}

#[test]
fn a_taken_id_is_refused_and_a_deleted_one_begins_anew() {
    let mut memory = memory();
    memory.append(5, "s", MAIN, 0, b"abc").unwrap();
    assert!(matches!(memory.create_session(9, record("s", 11)), Err(Error::AlreadyExists(_))));
    assert_eq!(snapshot(&memory).epoch, 5);
    memory.delete_session(5, "s").unwrap();
    memory.create_session(1, record("s", 11)).unwrap();
    assert_eq!(snapshot(&memory), Snapshot { epoch: 1, session: record("s", 11), streams: Vec::new(), files: Vec::new() });
}

#[test]
fn appends_are_idempotent_and_refuse_gaps_and_other_bytes() {
    let mut memory = memory();
    assert_eq!(memory.append(5, "s", MAIN, 0, b"abcd"), Ok(4));
    assert_eq!(memory.append(5, "s", MAIN, 0, b"abcd"), Ok(4), "repeated");
    assert_eq!(memory.append(5, "s", MAIN, 1, b"bc"), Ok(4), "inside");
    assert_eq!(memory.append(5, "s", MAIN, 2, b"cdef"), Ok(6), "partly new");
    assert_eq!(memory.append(5, "s", MAIN, 6, b""), Ok(6), "nothing");
    assert_eq!(memory.append(5, "s", MAIN, 7, b"x"), Err(Error::OffsetMismatch(6)), "gap");
    assert_eq!(memory.append(5, "s", MAIN, 4, b"eX"), Err(Error::OffsetMismatch(6)), "other bytes");
    assert_eq!(memory.append(5, "s", MAIN, 4, b"eXg"), Err(Error::OffsetMismatch(6)), "other bytes, then new ones");
    assert_eq!(memory.read("s", MAIN, 0, 100).unwrap(), b"abcdef");
    assert_eq!(memory.read("s", MAIN, 2, 3).unwrap(), b"cde");
    assert_eq!(memory.read("s", MAIN, 7, 3).unwrap(), b"", "beyond the end");
    assert_eq!(memory.read("s", "events", 0, 3).unwrap(), b"", "never written");
    assert_eq!(memory.replace(5, "s", MAIN, b"xy".to_vec()), Ok(2));
    assert_eq!(snapshot(&memory).streams, [StreamInfo { name: MAIN.to_owned(), length: 2 }]);
}

#[test]
fn changes_leave_what_they_do_not_name() {
    let mut memory = memory();
    let changes = |name: Option<&str>, options: Option<&str>| SessionChanges {
        last_activity: None,
        name: name.map(str::to_owned),
        options: options.map(str::to_owned),
        extra: None,
    };
    memory.update_session(5, "s", changes(Some("n"), None)).unwrap();
    memory.update_session(5, "s", changes(None, Some("{}"))).unwrap();
    let expected = SessionRecord { name: Some("n".to_owned()), options: Some("{}".to_owned()), ..record("s", 10) };
    assert_eq!(snapshot(&memory).session, expected);
}

#[test]
fn a_listing_shows_each_session_once_whatever_is_added_and_removed() {
    let mut memory = Memory::open(&Config::default()).unwrap();
    for (id, created_at) in [("a", 1), ("b", 2), ("c", 2), ("d", 3), ("e", 4)] {
        memory.create_session(1, record(id, created_at)).unwrap();
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = memory.list_sessions(cursor.as_deref(), 2).unwrap();
        // What the cursor points at may be gone when the listing goes on; what is newer is not for this listing.
        memory.create_session(1, record(&format!("new-{}", seen.len()), 9)).unwrap();
        let ids: Vec<_> = page.sessions.into_iter().map(|session| session.id).collect();
        memory.delete_session(1, ids.last().unwrap()).unwrap();
        seen.extend(ids);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["e", "d", "c", "b", "a"]);
    assert!(matches!(memory.list_sessions(Some("nonsense"), 2), Err(Error::Invalid(_))));
}

#[test]
fn configuration_keys_are_refused() {
    let config = Config::new(vec![("database".to_owned(), "main".to_owned())]);
    assert!(matches!(Memory::open(&config), Err(Error::Invalid(text)) if text.contains("database")));
}
