//! Writes of which a part came to the disk, and files that were damaged.

use super::*;

const INDEX: &str = "sessions/s/index.jsonl";
const EVENTS: &str = "sessions/s/events.jsonl";

fn add(store: &Store, path: &str, bytes: &[u8]) {
    let there = fs::read(store.path(path)).unwrap_or_default();
    fs::write(store.path(path), [&there, bytes].concat()).unwrap();
}

#[test]
fn bytes_behind_the_end_of_a_stream_do_not_count_and_are_cut_off() {
    let mut store = Store::with_session();
    store.adapter.append(5, "s", "events", 0, b"one\n").unwrap();
    add(&store, EVENTS, b"two\nthr");
    store.reopen();
    assert_eq!(length(&store.adapter, "events"), 4);
    assert_eq!(store.adapter.read("s", "events", 0, 100).unwrap(), b"one\n");
    assert_eq!(store.adapter.read("s", "events", 4, 100).unwrap(), b"");
    assert_eq!(store.adapter.append(5, "s", "events", 8, b"x"), Err(Error::OffsetMismatch(4)));
    assert_eq!(store.adapter.append(5, "s", "events", 4, b"2\n").unwrap(), 6);
    assert_eq!(store.text(EVENTS), "one\n2\n");
    // The first append to a stream was broken off.
    fs::create_dir(store.path("sessions/s/transcripts")).unwrap();
    add(&store, "sessions/s/transcripts/main.jsonl", b"half");
    assert_eq!(store.adapter.read("s", MAIN, 0, 100).unwrap(), b"");
    assert_eq!(store.adapter.append(5, "s", MAIN, 0, b"x"), Ok(1));
    assert_eq!(store.text("sessions/s/transcripts/main.jsonl"), "x");
}

#[test]
fn a_line_of_the_index_counts_when_it_is_whole() {
    let mut store = Store::with_session();
    store.adapter.append(5, "s", "events", 0, b"one\n").unwrap();
    let before = fs::read(store.path(INDEX)).unwrap();
    store.adapter.append(6, "s", "events", 4, b"two\n").unwrap();
    let after = fs::read(store.path(INDEX)).unwrap();
    for end in before.len()..after.len() {
        fs::write(store.path(INDEX), &after[..end]).unwrap();
        store.reopen();
        assert_eq!((snapshot(&store.adapter).epoch, length(&store.adapter, "events")), (5, 4), "{end} of {}", after.len());
        // The next line is shorter than what is left, or longer.
        for (epoch, data) in [(5, &b"2"[..]), (1 << 50, b"\n3\n")] {
            let end = length(&store.adapter, "events");
            store.adapter.append(epoch, "s", "events", end, data).unwrap();
        }
        store.reopen();
        assert_eq!((snapshot(&store.adapter).epoch, store.text(EVENTS).as_str()), (1 << 50, "one\n2\n3\n"));
        fs::write(store.path(EVENTS), "one\ntwo\n").unwrap();
    }
}

#[test]
fn a_last_line_whose_beginning_was_lost_does_not_count() {
    let mut store = Store::with_session();
    store.adapter.append(5, "s", "events", 0, b"one\n").unwrap();
    add(&store, INDEX, b"\0\0\0\0\0\0\0\0\"length\":9}}}\n");
    store.reopen();
    assert_eq!(length(&store.adapter, "events"), 4);
    store.adapter.append(5, "s", "events", 4, b"two\n").unwrap();
    store.reopen();
    assert_eq!(length(&store.adapter, "events"), 8);
}

#[test]
fn a_line_that_says_something_unknown_is_not_cut_off() {
    let mut store = Store::with_session();
    add(&store, INDEX, b"{\"at\":1,\"epoch\":5,\"change\":{\"of a later version\":1}}\n");
    let before = store.text(INDEX);
    store.reopen();
    let answer = store.adapter.append(5, "s", "events", 0, b"one\n");
    assert!(matches!(&answer, Err(Error::Corrupt(text)) if text.contains("line 2") && text.contains("index.jsonl")), "{answer:?}");
    assert_eq!(store.text(INDEX), before);
}

#[test]
fn damage_is_named_and_nothing_is_written_over_it() {
    let mut store = Store::with_session();
    store.adapter.append(5, "s", "events", 0, b"0123456789").unwrap();
    save(&mut store.adapter, "a", b"content");
    fs::write(store.path(EVENTS), "01234").unwrap();
    fs::write(store.path("sessions/s/workspace/a"), "cont").unwrap();
    for answer in [
        store.adapter.read("s", "events", 0, 10).map(drop),
        store.adapter.append(5, "s", "events", 10, b"x").map(drop),
        store.adapter.append(5, "s", "events", 0, b"0123456789x").map(drop),
        store.adapter.read_file("s", "a", 0, 10).map(drop),
    ] {
        assert!(matches!(answer, Err(Error::Corrupt(_))), "{answer:?}");
    }
    assert_eq!(store.adapter.read("s", "events", 0, 5).unwrap(), b"01234", "what is there can be read");
    assert_eq!(store.text(EVENTS), "01234");
    // Saving a file again mends it.
    save(&mut store.adapter, "a", b"content");
    assert_eq!(store.adapter.read_file("s", "a", 0, 10).unwrap(), b"content");

    fs::remove_file(store.path(EVENTS)).unwrap();
    assert!(matches!(store.adapter.append(5, "s", "events", 10, b"x"), Err(Error::Corrupt(_))));
    fs::write(store.path(INDEX), "{\"at\":1,\"epoch\":5}\nrubbish\n{\"at\":1,\"epoch\":5}\n").unwrap();
    let answer = store.adapter.load_session("s");
    assert!(matches!(&answer, Err(Error::Corrupt(text)) if text.contains("line 2")), "{answer:?}");
    fs::write(store.path(INDEX), "").unwrap();
    assert!(matches!(store.adapter.load_session("s"), Err(Error::Corrupt(_))));
}

#[test]
fn a_file_that_was_not_put_in_its_place_is_put_there() {
    let mut store = Store::with_session();
    save(&mut store.adapter, "a", b"old");
    store.adapter.append(5, "s", MAIN, 0, b"old").unwrap();
    fs::write(store.path("sessions/s/.new-1"), "newer").unwrap();
    let FileInfo { sha256, .. } = file("a", b"newer");
    let line = format!(
        r#"{{"at":1,"epoch":6,"change":{{"file":{{"path":"a","size":5,"sha256":"{sha256}","createdAt":1,"modifiedAt":2,"from":".new-1"}}}}}}"#
    );
    add(&store, INDEX, format!("{line}\n").as_bytes());
    // It is noticed by whoever looks next, without being opened again.
    assert_eq!(snapshot(&store.adapter).files, [file("a", b"newer")]);
    assert_eq!(store.adapter.read_file("s", "a", 0, 10).unwrap(), b"newer");
    assert_eq!(store.text("sessions/s/workspace/a"), "newer");

    fs::write(store.path("sessions/s/.new-2"), "newer").unwrap();
    let line = r#"{"at":1,"epoch":6,"change":{"stream":{"name":"transcript/main","length":5,"from":".new-2"}}}"#;
    add(&store, INDEX, format!("{line}\n").as_bytes());
    store.reopen();
    assert_eq!(store.adapter.append(6, "s", MAIN, 5, b"!"), Ok(6));
    assert_eq!(store.adapter.read("s", MAIN, 0, 10).unwrap(), b"newer!");
}

#[test]
fn what_was_not_finished_is_removed_when_it_is_opened() {
    let mut store = Store::with_session();
    for name in ["new-1/session.json", "old-1/workspace/deep/a", "new-2", "new-under-way"] {
        let path = store.path(".agent-host").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    store.make_old(".agent-host/new-1");
    store.make_old(".agent-host/new-2");
    store.reopen();
    let mut left: Vec<_> = fs::read_dir(store.path(".agent-host")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".gitignore", "listing.jsonl", "new-under-way"]);
    assert_eq!(snapshot(&store.adapter).epoch, 5);
}

#[test]
fn a_large_session_is_removed_little_by_little() {
    let mut store = Store::with_session();
    fs::create_dir_all(store.path("sessions/s/workspace/deep")).unwrap();
    for number in 0..1500 {
        fs::write(store.path(&format!("sessions/s/workspace/deep/{number}")), "").unwrap();
    }
    store.adapter.delete_session(5, "s").unwrap();
    assert_eq!(store.adapter.load_session("s"), Ok(None));
    store.adapter.create_session(1, record("s", 1)).unwrap();
    let left = || fs::read_dir(store.path(".agent-host")).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(left(), 1, "all was removed in one call");
    store.adapter.health().unwrap();
    assert_eq!(left(), 0);
}
