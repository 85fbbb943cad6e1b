//! The adapter around one that keeps everything in memory, and what somebody may do to that behind its back.

use adapter_memory::Memory;
use agent_host_adapter::{Adapter, Concurrency, Config, Error, FileInfo, ProfileSummary, Result, SessionChanges, SessionRecord};

use crate::Encrypting;
use crate::frame::{CAPACITY, Frame, PAGE};
use crate::keys::Keyring;

const OLD: char = '1';
const NEW: char = '2';

/// What nobody but those with the key may find.
const SECRET: &str = "the treasure is under the old oak";

fn keys(digits: &[char]) -> Keyring {
    let words: Vec<_> = digits.iter().map(|digit| digit.to_string().repeat(64)).collect();
    Keyring::parse(&words.join(" ")).unwrap()
}

fn around(inner: Memory, digits: &[char]) -> Result<Encrypting<Memory>> {
    Encrypting::around(inner, keys(digits))
}

fn record(id: &str) -> SessionRecord {
    SessionRecord {
        id: id.to_owned(),
        created_at: 5,
        last_activity: 6,
        profile: "default".to_owned(),
        architecture: "echo".to_owned(),
        name: Some(SECRET.to_owned()),
        options: Some(format!("{{\"a\":\"{SECRET}\"}}")),
        extra: None,
    }
}

fn file(path: &str, content: &[u8]) -> FileInfo {
    FileInfo {
        path: path.to_owned(),
        size: content.len() as u64,
        sha256: "ab".repeat(32),
        created_at: 1,
        modified_at: 2,
        extra: Some("{}".to_owned()),
    }
}

/// A store with a session `s`.
fn store() -> Encrypting<Memory> {
    let mut store = around(Memory::open(&Config::default()).unwrap(), &[OLD]).unwrap();
    store.create_session(1, record("s")).unwrap();
    store
}

/// Bytes in which no piece is like another.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

/// All that the inner adapter has of a stream.
fn stored(store: &Encrypting<Memory>, stream: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let piece = store.inner.read("s", stream, bytes.len() as u64, 1024 * 1024).unwrap();
        if piece.is_empty() {
            return bytes;
        }
        bytes.extend(piece);
    }
}

fn read_all(store: &Encrypting<Memory>, stream: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let piece = store.read("s", stream, bytes.len() as u64, 1024 * 1024)?;
        if piece.is_empty() {
            return Ok(bytes);
        }
        bytes.extend(piece);
    }
}

fn length(store: &Encrypting<Memory>, stream: &str) -> Result<u64> {
    let found = store.load_session("s")?.unwrap();
    Ok(found.streams.iter().find(|info| info.name == stream).map_or(0, |info| info.length))
}

#[test]
fn nothing_that_was_said_is_in_what_the_inner_adapter_has() {
    let mut store = store();
    store.append(1, "s", "events", 0, SECRET.as_bytes()).unwrap();
    store.save_file(1, "s", file("a", SECRET.as_bytes()), SECRET.as_bytes().to_vec()).unwrap();
    let summary = ProfileSummary { id: "p".to_owned(), name: SECRET.to_owned(), description: Some(SECRET.to_owned()) };
    store.save_profile(summary.clone(), SECRET.to_owned()).unwrap();
    let inside = format!(
        "{:?} {:?} {:?} {:?}",
        store.inner.load_session("s").unwrap(),
        store.inner.list_sessions(None, 10).unwrap(),
        store.inner.list_profiles().unwrap(),
        store.inner.load_profile("p").unwrap()
    );
    assert!(!inside.contains("treasure") && !inside.contains("abab"), "{inside}");
    let contents = [stored(&store, "events"), store.inner.read_file("s", "a", 0, 1000).unwrap()].concat();
    assert!(!contents.windows(8).any(|window| window == b"treasure"));

    let found = store.load_session("s").unwrap().unwrap();
    assert_eq!((&found.session, &found.files[..]), (&record("s"), &[file("a", SECRET.as_bytes())][..]));
    assert_eq!(store.list_sessions(None, 10).unwrap().sessions, [record("s")]);
    assert_eq!(store.list_profiles().unwrap(), [summary]);
    assert_eq!(store.load_profile("p").unwrap().unwrap(), SECRET);
    let info = store.info();
    assert_eq!((info.name.as_str(), info.concurrency), ("encrypting+memory", Concurrency::Single));
}

#[test]
fn the_inner_adapter_knows_what_is_true_of_the_bytes_that_it_has() {
    let mut store = store();
    store.save_file(1, "s", file("a", b"abc"), b"abc".to_vec()).unwrap();
    let inside = store.inner.load_session("s").unwrap().unwrap().files.remove(0);
    assert_eq!(inside.size, store.inner.read_file("s", "a", 0, 1000).unwrap().len() as u64);
    assert!(serde_json::from_str::<serde_json::Value>(inside.extra.as_deref().unwrap()).unwrap().is_object());
}

#[test]
fn an_update_changes_what_it_names() {
    let mut store = store();
    let changes =
        SessionChanges { last_activity: Some(9), name: None, options: Some("{}".to_owned()), extra: Some("{\"x\":1}".to_owned()) };
    store.update_session(1, "s", changes).unwrap();
    let expected = SessionRecord { last_activity: 9, options: Some("{}".to_owned()), extra: Some("{\"x\":1}".to_owned()), ..record("s") };
    assert_eq!(store.load_session("s").unwrap().unwrap().session, expected);
}

#[test]
fn ranges_of_a_stream_of_many_small_and_large_appends_are_found() {
    let mut store = store();
    let all = noise(900_000);
    let mut at = 0;
    for length in [1, 1, 40, 300_000, 5].into_iter().chain((0..3_000).map(|index| index % 130)).chain([CAPACITY, 200_000, 3]) {
        let data = &all[at..at + length];
        assert_eq!(store.append(1, "s", "events", at as u64, data).unwrap(), (at + length) as u64);
        at += length;
    }
    assert_eq!(length(&store, "events").unwrap(), at as u64);
    assert!(read_all(&store, "events").unwrap() == all[..at]);
    let mut place = 12_345;
    for round in 0..500 {
        place = (place * 7_919 + 17) % (at + 100);
        let max = [0, 1, 100, 20_000, 400_000][round % 5];
        let expected = &all[place.min(at)..(place + max).min(at)];
        assert!(store.read("s", "events", place as u64, max as u32).unwrap() == expected, "{max} bytes at {place}");
    }
    for far in [at as u64 + 1_000_000, (1 << 53) - 1] {
        assert_eq!(store.read("s", "events", far, 10).unwrap(), b"");
    }
    // An instance that knows nothing of it goes on.
    let mut other = around(store.inner, &[OLD]).unwrap();
    assert_eq!(other.append(1, "s", "events", at as u64, b"more").unwrap(), at as u64 + 4);
    assert_eq!(other.read("s", "events", at as u64 - 1, 9).unwrap(), [&all[at - 1..at], b"more"].concat());
}

#[test]
fn ranges_of_a_stream_of_single_bytes_are_found() {
    let mut store = store();
    let all = noise(5_000);
    for (at, byte) in all.iter().enumerate() {
        store.append(1, "s", "events", at as u64, &[*byte]).unwrap();
    }
    for at in (0..5_000).step_by(37).chain([4_999, 5_000, 5_001]) {
        let fresh = store.read("s", "events", at, 3).unwrap();
        assert_eq!(fresh, all[all.len().min(at as usize)..all.len().min(at as usize + 3)], "at {at}");
    }
}

#[test]
fn an_append_can_be_repeated_and_differences_are_refused() {
    let mut store = store();
    let data = noise(50_000);
    assert_eq!(store.append(1, "s", "events", 0, &data).unwrap(), 50_000);
    let before = stored(&store, "events");
    for (offset, end) in [(0, 50_000), (0, 10), (20_000, 50_000), (49_999, 50_000), (50_000, 50_000)] {
        assert_eq!(store.append(1, "s", "events", offset as u64, &data[offset..end]).unwrap(), 50_000);
    }
    for (offset, bytes) in [(50_001, &b"x"[..]), (0, b"xyz"), (49_999, b"\x00\x01\x02"), (60_000, b"")] {
        assert_eq!(store.append(1, "s", "events", offset, bytes), Err(Error::OffsetMismatch(50_000)), "{bytes:?} at {offset}");
    }
    assert!(stored(&store, "events") == before, "what changes nothing has changed something");
    assert_eq!(store.append(1, "s", "events", 49_998, &[&data[49_998..], b"new"].concat()).unwrap(), 50_003);
    assert_eq!(store.append(7, "s", "events", 0, &data[..5]).unwrap(), 50_003, "what is there takes over, too");
    for offset in [0, 50_003, 99_999] {
        assert_eq!(store.append(6, "s", "events", offset, b"x"), Err(Error::StaleEpoch(7)));
    }
    assert!(matches!(store.append(7, "nobody", "events", 0, b"x"), Err(Error::NotFound(_))));
}

#[test]
fn a_stream_that_another_instance_replaced_is_seen_as_it_is() {
    let mut store = store();
    store.append(1, "s", "events", 0, &noise(100_000)).unwrap();
    read_all(&store, "events").unwrap();
    // Behind the back of the hints.
    let frames =
        crate::frame::write(&store.keys, &crate::place::Place::stream("s", "events"), &Default::default(), b"short", false).unwrap();
    store.inner.replace(1, "s", "events", frames).unwrap();
    assert_eq!(store.read("s", "events", 0, 10).unwrap(), b"short");
    assert_eq!(store.append(1, "s", "events", 100_000, b"x"), Err(Error::OffsetMismatch(5)));
    assert_eq!(store.append(1, "s", "events", 5, b"er").unwrap(), 7);
    assert_eq!(store.replace(1, "s", "events", Vec::new()).unwrap(), 0);
    assert_eq!((length(&store, "events").unwrap(), store.read("s", "events", 0, 9).unwrap()), (0, Vec::new()));
}

#[test]
fn a_wrong_key_is_told_when_the_store_is_opened() {
    let mut store = store();
    store.append(1, "s", "events", 0, b"one").unwrap();
    let id = store.keys.id().to_string();
    let Err(Error::Invalid(text)) = around(store.inner, &[NEW]) else { panic!("it was opened with a wrong key") };
    assert!(text.contains(&id) && text.contains("session \"s\"") && text.contains("ENCRYPTION_KEYS"), "{text}");

    let mut plain = Memory::open(&Config::default()).unwrap();
    plain.create_session(1, record("s")).unwrap();
    let Err(Error::Invalid(text)) = around(plain, &[NEW]) else { panic!("a store that is not encrypted was opened") };
    assert!(text.contains("not encrypted"), "{text}");
}

#[test]
fn an_earlier_key_reads_and_the_new_one_writes() {
    let mut store = store();
    store.append(1, "s", "events", 0, b"one").unwrap();
    let mut rotated = around(store.inner, &[NEW, OLD]).unwrap();
    assert_eq!(rotated.read("s", "events", 0, 9).unwrap(), b"one");
    assert_eq!(rotated.append(1, "s", "events", 1, b"netwo").unwrap(), 6);
    rotated.create_session(1, SessionRecord { created_at: 9, ..record("t") }).unwrap();
    // Without the earlier one, what was written with it is not read, and not changed.
    let without = around(rotated.inner, &[NEW]).unwrap();
    let before = stored(&without, "events");
    assert!(matches!(without.load_session("s"), Err(Error::Other(_))));
    assert!(matches!(without.read("s", "events", 0, 9), Err(Error::Other(text)) if text.contains("encrypted with the key")));
    assert_eq!(without.read("s", "events", 3, 9).unwrap(), b"two");
    assert!(stored(&without, "events") == before);
}

/// What is stored after `change`, read.
fn tampered(store: &mut Encrypting<Memory>, change: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>> {
    let original = stored(store, "events");
    let mut bytes = original.clone();
    change(&mut bytes);
    store.inner.replace(1, "s", "events", bytes).unwrap();
    let read = read_all(store, "events");
    store.inner.replace(1, "s", "events", original).unwrap();
    read
}

#[test]
fn frames_that_were_changed_swapped_or_left_out_are_corrupt() {
    let mut store = store();
    // Frames of the same length, a page of them and more.
    for at in 0..300 {
        store.append(1, "s", "events", at * 10, format!("{at:010}").as_bytes()).unwrap();
    }
    let size = 10 + PAGE - CAPACITY;
    let whole = read_all(&store, "events").unwrap();
    assert_eq!(tampered(&mut store, |_| ()).unwrap(), whole);
    type Change = Box<dyn FnOnce(&mut Vec<u8>)>;
    let changes: [(&str, Change); 6] = [
        (
            "swapped",
            Box::new(move |bytes| {
                let (one, two) = bytes.split_at_mut(size);
                one.swap_with_slice(&mut two[..size]);
            }),
        ),
        ("left out", Box::new(move |bytes| drop(bytes.drain(size..2 * size)))),
        ("doubled", Box::new(move |bytes| bytes.copy_within(..size, size))),
        ("cut off", Box::new(|bytes| bytes.truncate(bytes.len() - 1))),
        ("longer", Box::new(|bytes| bytes.push(0))),
        ("no frames at all", Box::new(|bytes| bytes.fill(b'{'))),
    ];
    for (name, change) in changes {
        let read = tampered(&mut store, change);
        assert!(matches!(read, Err(Error::Corrupt(_))), "{name}: {read:?}");
    }
    for at in (0..2 * size).chain([PAGE - 1, PAGE, PAGE + 5]) {
        let read = tampered(&mut store, |bytes| bytes[at] ^= 1);
        // A key's id that was changed names none.
        assert!(matches!(read, Err(Error::Corrupt(_) | Error::Other(_))), "byte {at}: {read:?}");
    }
    let end = stored(&store, "events").len() - 1;
    let original = stored(&store, "events");
    let mut bytes = original.clone();
    bytes[end] ^= 1;
    store.inner.replace(1, "s", "events", bytes).unwrap();
    assert!(matches!(length(&store, "events"), Err(Error::Corrupt(_))), "a length that is not proved");
    assert!(matches!(store.append(1, "s", "events", 3_000, b"x"), Err(Error::Corrupt(_))), "an append behind it");
}

#[test]
fn streams_files_and_texts_cannot_take_each_others_place() {
    let mut store = store();
    store.create_session(1, record("t")).unwrap();
    store.append(1, "s", "events", 0, b"one").unwrap();
    let frames = stored(&store, "events");
    for (session, stream) in [("s", "transcript/main"), ("t", "events")] {
        store.inner.append(1, session, stream, 0, &frames).unwrap();
        assert!(matches!(store.read(session, stream, 0, 9), Err(Error::Corrupt(_))), "{session} {stream}");
        assert!(matches!(store.load_session(session), Err(Error::Corrupt(_))));
        store.inner.replace(1, session, stream, Vec::new()).unwrap();
    }
    // Frames of the stream before it was replaced.
    store.append(1, "s", "events", 3, b"two").unwrap();
    let earlier = stored(&store, "events");
    store.replace(1, "s", "events", b"111".to_vec()).unwrap();
    store.append(1, "s", "events", 3, b"222").unwrap();
    let mixed = [&stored(&store, "events")[..frames.len()], &earlier[frames.len()..]].concat();
    store.inner.replace(1, "s", "events", mixed).unwrap();
    assert!(matches!(store.read("s", "events", 0, 9), Err(Error::Corrupt(_))));

    store.save_file(1, "s", file("a", b"x"), b"x".to_vec()).unwrap();
    let (content, info) =
        (store.inner.read_file("s", "a", 0, 999).unwrap(), store.inner.load_session("s").unwrap().unwrap().files.remove(0));
    store.inner.save_file(1, "t", FileInfo { path: "b".to_owned(), ..info }, content).unwrap();
    assert!(matches!(store.read_file("t", "b", 0, 9), Err(Error::Corrupt(_))));
    assert!(matches!(store.load_session("t"), Err(Error::Corrupt(_))));
    let stolen = store.inner.load_session("s").unwrap().unwrap().session;
    let changes = SessionChanges { last_activity: None, name: stolen.options.clone(), options: stolen.options, extra: None };
    store.inner.update_session(1, "t", changes).unwrap();
    assert!(matches!(store.list_sessions(None, 9), Err(Error::Corrupt(_))));
}

#[test]
fn a_file_that_was_cut_off_is_corrupt() {
    let mut store = store();
    let content = noise(3 * CAPACITY + 10);
    let info = file("a", &content);
    store.save_file(1, "s", info.clone(), content.clone()).unwrap();
    let all = |store: &Encrypting<Memory>| store.read_file("s", "a", 0, 1024 * 1024);
    assert!(all(&store).unwrap() == content);
    for (offset, max) in [(0, 5), (CAPACITY - 2, 5), (CAPACITY, CAPACITY), (3 * CAPACITY + 8, 5), (3 * CAPACITY + 10, 5), (1_000_000, 5)] {
        let expected = &content[offset.min(content.len())..(offset + max).min(content.len())];
        assert!(store.read_file("s", "a", offset as u64, max as u32).unwrap() == expected, "{max} at {offset}");
    }
    let inside = store.inner.read_file("s", "a", 0, 1024 * 1024).unwrap();
    for length in [0, 5, PAGE, 3 * PAGE, inside.len() - 1] {
        store.inner.save_file(1, "s", info.clone(), inside[..length].to_vec()).unwrap();
        assert!(matches!(all(&store), Err(Error::Corrupt(_))), "{length} bytes are left");
    }
    store.inner.save_file(1, "s", info.clone(), inside[..PAGE].to_vec()).unwrap();
    assert!(matches!(store.read_file("s", "a", CAPACITY as u64, 5), Err(Error::Corrupt(_))), "exactly at the cut");
    store.save_file(1, "s", info, Vec::new()).unwrap();
    assert_eq!(all(&store).unwrap(), b"");
}

#[test]
fn a_frame_says_where_it_begins_and_ends() {
    let mut store = store();
    store.append(1, "s", "events", 0, b"one").unwrap();
    store.append(1, "s", "events", 3, b"three").unwrap();
    let bytes = stored(&store, "events");
    let (first, rest) = Frame::split(&bytes).unwrap();
    let (second, rest) = Frame::split(rest).unwrap();
    assert_eq!((first.start, first.end(), second.start, second.end(), rest.len()), (0, 3, 3, 8, 0));
}
