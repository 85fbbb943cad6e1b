//! In which order sessions are listed, whatever is done to the directory.

use super::*;

/// All ids, by pages of this size.
fn listed(adapter: &FileSystem, limit: u32) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = adapter.list_sessions(cursor.as_deref(), limit).unwrap();
        found.extend(page.sessions.into_iter().map(|session| session.id));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return found,
        }
    }
}

fn with_five() -> Store {
    let mut store = Store::new();
    for (id, created_at) in [("a", 1), ("c", 2), ("b", 2), ("E", 4), ("d", 3)] {
        store.adapter.create_session(1, record(id, created_at)).unwrap();
    }
    store
}

#[test]
fn the_newest_are_first_by_creation_and_then_by_id() {
    let mut store = with_five();
    for _ in 0..2 {
        for limit in [1, 2, 5, 1000] {
            assert_eq!(listed(&store.adapter, limit), ["E", "d", "c", "b", "a"]);
        }
        store.reopen();
    }
    for cursor in ["nonsense", "", "x/a"] {
        assert!(matches!(store.adapter.list_sessions(Some(cursor), 2), Err(Error::Invalid(_))));
    }
}

#[test]
fn a_listing_shows_each_session_once_whatever_is_added_and_removed() {
    let store = with_five();
    let mut other = store.another();
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.adapter.list_sessions(cursor.as_deref(), 2).unwrap();
        // What the cursor points at may be gone when the listing goes on; what is newer is not for this listing. Both are done by another instance.
        other.create_session(1, record(&format!("new-{}", seen.len()), 9)).unwrap();
        let ids: Vec<_> = page.sessions.into_iter().map(|session| session.id).collect();
        other.delete_session(1, ids.last().unwrap()).unwrap();
        seen.extend(ids);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["E", "d", "c", "b", "a"]);
}

#[test]
fn a_session_that_is_created_anew_is_at_its_new_place() {
    let mut store = with_five();
    let mut other = store.another();
    other.delete_session(1, "a").unwrap();
    other.create_session(1, record("a", 100)).unwrap();
    assert_eq!(listed(&store.adapter, 2), ["a", "E", "d", "c", "b"]);
    store.reopen();
    assert_eq!(listed(&store.adapter, 2), ["a", "E", "d", "c", "b"]);
}

#[test]
fn the_order_is_derived_and_can_be_removed() {
    let mut store = with_five();
    fs::remove_dir_all(store.path(".agent-host")).unwrap();
    store.reopen();
    assert_eq!(listed(&store.adapter, 2), ["E", "d", "c", "b", "a"]);
    for damage in ["", "{\"at\":1,", "rubbish\nrubbish\n", "{\"at\":1,\"change\":{\"created\":{\"session\":\"x\",\"createdAt\":7}}}\n"] {
        fs::write(store.path(".agent-host/listing.jsonl"), damage).unwrap();
        store.reopen();
        assert_eq!(listed(&store.adapter, 2), ["E", "d", "c", "b", "a"], "after {damage:?}");
    }
    // Also by somebody who does not wait until no adapter is at work.
    fs::remove_file(store.path(".agent-host/listing.jsonl")).unwrap();
    assert_eq!(listed(&store.adapter, 2), ["E", "d", "c", "b", "a"]);
}

#[test]
fn what_was_done_by_hand_is_found_when_it_is_opened() {
    let mut store = with_five();
    fs::remove_dir_all(store.path("sessions/c")).unwrap();
    fs::rename(store.path("sessions/b"), store.path("elsewhere")).unwrap();
    store.reopen();
    assert_eq!(listed(&store.adapter, 2), ["%45", "d", "a"].map(|id| id.replace("%45", "E")));
    fs::rename(store.path("elsewhere"), store.path("sessions/b")).unwrap();
    // None of these is a session.
    fs::create_dir(store.path("sessions/empty")).unwrap();
    fs::create_dir(store.path("sessions/Not ours")).unwrap();
    fs::write(store.path("sessions/notes.txt"), "notes").unwrap();
    fs::create_dir(store.path("sessions/copy-of-a")).unwrap();
    fs::copy(store.path("sessions/a/session.json"), store.path("sessions/copy-of-a/session.json")).unwrap();
    store.reopen();
    assert_eq!(listed(&store.adapter, 2), ["E", "d", "b", "a"]);
    store.adapter.create_session(1, record("empty", 9)).unwrap();
    assert_eq!(listed(&store.adapter, 2), ["empty", "E", "d", "b", "a"]);
}

#[test]
fn a_record_that_cannot_be_read_hides_no_other() {
    let mut store = with_five();
    fs::write(store.path("sessions/d/session.json"), "{").unwrap();
    for _ in 0..2 {
        assert_eq!(listed(&store.adapter, 2), ["E", "c", "b", "a"]);
        let answer = store.adapter.load_session("d");
        assert!(matches!(&answer, Err(Error::Corrupt(text)) if text.contains("sessions/d/session.json")), "{answer:?}");
        store.reopen();
    }
}

#[test]
fn a_page_of_large_records_is_short() {
    let mut store = Store::new();
    let options = format!("{{\"text\":\"{}\"}}", "x".repeat(1_500_000));
    for number in 0..5 {
        let session = SessionRecord { options: Some(options.clone()), ..record(&format!("s{number}"), number) };
        store.adapter.create_session(1, session).unwrap();
    }
    let page = store.adapter.list_sessions(None, 1000).unwrap();
    assert_eq!(ids(&page), ["s4", "s3", "s2"]);
    assert_eq!(listed(&store.adapter, 1000), ["s4", "s3", "s2", "s1", "s0"]);
}

#[test]
fn the_directories_are_looked_through_only_when_something_was_not_noted() {
    let mut store = with_five();
    let is_derived = |store: &mut Store| {
        let lines = |store: &Store| store.text(".agent-host/listing.jsonl").lines().count();
        let before = lines(store);
        store.reopen();
        lines(store) > before
    };
    assert!(!is_derived(&mut store));
    store.adapter.delete_session(1, "c").unwrap();
    store.adapter.create_session(1, record("new", 9)).unwrap();
    assert!(!is_derived(&mut store));
    fs::rename(store.path("sessions/b"), store.path("elsewhere")).unwrap();
    assert!(is_derived(&mut store), "by hand, while nobody looked");
    assert!(!is_derived(&mut store));
    fs::rename(store.path("elsewhere"), store.path("sessions/b")).unwrap();
    store.adapter.create_session(1, record("newer", 10)).unwrap();
    assert!(is_derived(&mut store), "by hand, and an adapter has changed the directory since");
    assert_eq!(listed(&store.adapter, 10), ["newer", "new", "E", "d", "b", "a"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_of_which_only_a_part_can_be_read_is_not_believed() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let mut store = with_five();
    let odd = store.path("sessions").join(OsStr::from_bytes(b"not \xff UTF-8"));
    fs::create_dir(&odd).unwrap();
    let answer = open(store.directory.path()).map(drop);
    assert!(matches!(&answer, Err(Error::Unavailable(text)) if text.contains("sessions") && text.contains("UTF-8")), "{answer:?}");
    fs::remove_dir(&odd).unwrap();
    store.reopen();
    assert_eq!(listed(&store.adapter, 2), ["E", "d", "c", "b", "a"]);
}
