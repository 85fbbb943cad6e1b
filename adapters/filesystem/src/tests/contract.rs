//! What the contract says.

use super::*;

#[test]
fn every_write_with_a_stale_epoch_is_refused_and_changes_nothing() {
    let mut store = Store::with_session();
    let adapter = &mut store.adapter;
    adapter.append(5, "s", MAIN, 0, b"abc").unwrap();
    save(adapter, "a.txt", b"a");
    let before = snapshot(adapter);

    let stale = Error::StaleEpoch(5);
    assert_eq!(adapter.update_session(4, "s", renamed("x")), Err(stale.clone()));
    assert_eq!(adapter.append(4, "s", MAIN, 3, b"d"), Err(stale.clone()));
    assert_eq!(adapter.append(4, "s", MAIN, 0, b"abc"), Err(stale.clone()), "even if the bytes are there");
    assert_eq!(adapter.append(4, "s", MAIN, 9, b"d"), Err(stale.clone()), "even if it would be a gap");
    assert_eq!(adapter.replace(4, "s", MAIN, b"x".to_vec()), Err(stale.clone()));
    assert_eq!(adapter.save_file(4, "s", file("a.txt", b"b"), b"b".to_vec()), Err(stale.clone()));
    assert_eq!(adapter.delete_file(4, "s", "a.txt"), Err(stale.clone()));
    assert_eq!(adapter.delete_file(4, "s", "absent"), Err(stale.clone()));
    assert_eq!(adapter.delete_session(4, "s"), Err(stale));

    assert_eq!(snapshot(adapter), before);
    assert_eq!(adapter.read("s", MAIN, 0, 100).unwrap(), b"abc");
    assert_eq!(adapter.read_file("s", "a.txt", 0, 100).unwrap(), b"a");
}

#[test]
fn a_higher_epoch_takes_the_session_over_for_good() {
    let mut store = Store::with_session();
    store.adapter.append(6, "s", MAIN, 0, b"abc").unwrap();
    assert_eq!(snapshot(&store.adapter).epoch, 6);
    assert_eq!(store.adapter.append(5, "s", MAIN, 3, b"d"), Err(Error::StaleEpoch(6)));
    assert_eq!(store.adapter.append(7, "s", MAIN, 0, b"abc"), Ok(3), "a repeated append is a write like any other");
    assert_eq!(store.adapter.append(8, "s", MAIN, 9, b"d"), Err(Error::OffsetMismatch(3)));
    assert_eq!(snapshot(&store.adapter).epoch, 7, "a refused write changed the epoch");
    store.adapter.delete_file(9, "s", "absent").unwrap();
    store.reopen();
    assert_eq!(snapshot(&store.adapter).epoch, 9);
    assert_eq!(store.adapter.update_session(8, "s", renamed("x")), Err(Error::StaleEpoch(9)));
}

#[test]
fn writes_to_no_session_are_not_found_but_deleting_it_again_succeeds() {
    let mut store = Store::with_session();
    let adapter = &mut store.adapter;
    adapter.delete_session(5, "s").unwrap();
    adapter.delete_session(5, "s").unwrap();
    assert_eq!(adapter.load_session("s"), Ok(None));
    for id in ["s", "S", "..", "../sessions/s", ".agent-host", "a\0b", ""] {
        for result in [
            adapter.append(5, id, MAIN, 0, b"a").map(drop),
            adapter.read(id, MAIN, 0, 1).map(drop),
            adapter.replace(5, id, MAIN, Vec::new()).map(drop),
            adapter.save_file(5, id, file("a", b""), Vec::new()),
            adapter.delete_file(5, id, "a"),
            adapter.read_file(id, "a", 0, 1).map(drop),
            adapter.update_session(5, id, renamed("x")),
        ] {
            assert!(matches!(result, Err(Error::NotFound(_))), "{id:?}: {result:?}");
        }
    }
}

#[test]
fn a_taken_id_is_refused_and_a_deleted_one_begins_anew() {
    let mut store = Store::with_session();
    let adapter = &mut store.adapter;
    adapter.append(5, "s", MAIN, 0, b"abc").unwrap();
    assert!(matches!(adapter.create_session(9, record("s", 11)), Err(Error::AlreadyExists(_))));
    assert_eq!(snapshot(adapter).epoch, 5);
    adapter.delete_session(5, "s").unwrap();
    adapter.create_session(1, record("s", 11)).unwrap();
    assert_eq!(snapshot(adapter), Snapshot { epoch: 1, session: record("s", 11), streams: Vec::new(), files: Vec::new() });
}

#[test]
fn appends_are_idempotent_and_refuse_gaps_and_other_bytes() {
    let mut store = Store::with_session();
    let adapter = &mut store.adapter;
    assert_eq!(adapter.append(5, "s", MAIN, 0, b"abcd"), Ok(4));
    assert_eq!(adapter.append(5, "s", MAIN, 0, b"abcd"), Ok(4), "repeated");
    assert_eq!(adapter.append(5, "s", MAIN, 1, b"bc"), Ok(4), "inside");
    assert_eq!(adapter.append(5, "s", MAIN, 2, b"cdef"), Ok(6), "partly new");
    assert_eq!(adapter.append(5, "s", MAIN, 6, b""), Ok(6), "nothing");
    assert_eq!(adapter.append(5, "s", MAIN, 7, b"x"), Err(Error::OffsetMismatch(6)), "gap");
    assert_eq!(adapter.append(5, "s", MAIN, 4, b"eX"), Err(Error::OffsetMismatch(6)), "other bytes");
    assert_eq!(adapter.append(5, "s", MAIN, 4, b"eXg"), Err(Error::OffsetMismatch(6)), "other bytes, then new ones");
    assert_eq!(adapter.read("s", MAIN, 0, 100).unwrap(), b"abcdef");
    assert_eq!(adapter.read("s", MAIN, 2, 3).unwrap(), b"cde");
    assert_eq!(adapter.read("s", MAIN, 7, 3).unwrap(), b"", "beyond the end");
    assert_eq!(adapter.read("s", "events", 0, 3).unwrap(), b"", "never written");
    assert_eq!(adapter.replace(5, "s", MAIN, b"xy".to_vec()), Ok(2));
    assert_eq!(adapter.append(5, "s", MAIN, 2, b"z"), Ok(3));
    assert_eq!(adapter.read("s", MAIN, 0, 100).unwrap(), b"xyz");
    assert_eq!(snapshot(adapter).streams, [StreamInfo { name: MAIN.to_owned(), length: 3 }]);
    assert_eq!(adapter.replace(5, "s", MAIN, Vec::new()), Ok(0));
    assert_eq!(adapter.append(5, "s", MAIN, 0, b"new"), Ok(3));
    assert_eq!(adapter.read("s", MAIN, 0, 100).unwrap(), b"new");
}

#[test]
fn an_append_over_many_pieces_is_compared_to_its_end() {
    let mut store = Store::with_session();
    let content: Vec<u8> = (0..3_000_000_u32).map(|index| (index % 251) as u8).collect();
    assert_eq!(store.adapter.append(5, "s", "events", 0, &content), Ok(3_000_000));
    assert_eq!(store.adapter.append(5, "s", "events", 0, &content), Ok(3_000_000));
    let mut other = content.clone();
    other[2_999_999] ^= 1;
    assert_eq!(store.adapter.append(5, "s", "events", 0, &other), Err(Error::OffsetMismatch(3_000_000)));
    assert_eq!(store.adapter.read("s", "events", 1_999_990, 1_000_000).unwrap(), content[1_999_990..2_999_990]);
}

#[test]
fn changes_leave_what_they_do_not_name() {
    let mut store = Store::with_session();
    let options = SessionChanges { last_activity: Some(99), name: None, options: Some("{ }".to_owned()), extra: None };
    store.adapter.update_session(5, "s", renamed("n")).unwrap();
    store.adapter.update_session(5, "s", options).unwrap();
    let expected = SessionRecord { last_activity: 99, name: Some("n".to_owned()), options: Some("{ }".to_owned()), ..record("s", 10) };
    assert_eq!(snapshot(&store.adapter).session, expected);
}

#[test]
fn everything_that_is_said_of_a_file_comes_back() {
    let mut store = Store::with_session();
    let every_byte: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let info = FileInfo { extra: Some("{\"later\": [1]}".to_owned()), ..file("deep/ü 💡", &every_byte) };
    store.adapter.save_file(5, "s", info.clone(), every_byte.clone()).unwrap();
    store.reopen();
    assert_eq!(snapshot(&store.adapter).files, [info]);
    assert_eq!(store.adapter.read_file("s", "deep/ü 💡", 0, 1_000_000).unwrap(), every_byte);
    assert_eq!(store.adapter.read_file("s", "deep/ü 💡", 69_990, 100).unwrap(), every_byte[69_990..]);
    assert_eq!(store.adapter.read_file("s", "deep/ü 💡", 70_001, 100).unwrap(), b"");
    assert!(matches!(store.adapter.read_file("s", "deep", 0, 1), Err(Error::NotFound(_))));
    let lying = FileInfo { size: 1, ..file("a", b"ab") };
    assert!(matches!(store.adapter.save_file(5, "s", lying, b"ab".to_vec()), Err(Error::Invalid(_))));
}

#[test]
fn profiles_are_kept_and_sorted() {
    let mut store = Store::new();
    let profile = |id: &str, name: &str| ProfileSummary { id: id.to_owned(), name: name.to_owned(), description: Some("d".to_owned()) };
    let document = |id: &str, name: &str| format!(r#"{{"id":"{id}","name":"{name}","description":"d","tools":[]}}"#);
    for (id, name) in [("b", "B"), ("A", "A"), ("c", "C"), ("b", "new")] {
        store.adapter.save_profile(profile(id, name), document(id, name)).unwrap();
    }
    store.adapter.delete_profile("c").unwrap();
    store.adapter.delete_profile("c").unwrap();
    store.reopen();
    assert_eq!(store.adapter.list_profiles().unwrap(), [profile("A", "A"), profile("b", "new")]);
    assert_eq!(store.adapter.load_profile("b").unwrap(), Some(document("b", "new")));
    assert_eq!(store.adapter.load_profile("c").unwrap(), None);
    assert_eq!(store.text("profiles/%41.json"), document("A", "A"), "the document is the file");
}

#[test]
fn what_is_wrong_with_the_configuration_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let missing = open(&directory.path().join("missing"));
    assert!(matches!(missing.map(drop), Err(Error::Invalid(text)) if text.contains("granted")));
    let config = Config::new(vec![("path".to_owned(), "/data".to_owned())]);
    assert!(matches!(FileSystem::open(&config).map(drop), Err(Error::Invalid(text)) if text.contains("directory")));
    fs::write(directory.path().join("agent-host.json"), "{\"layout\":2}").unwrap();
    assert!(matches!(open(directory.path()).map(drop), Err(Error::Invalid(text)) if text.contains("layout 2")));
}
