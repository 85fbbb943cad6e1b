//! A process that is killed at every step of a write: what is there afterwards is what was there before or what was to be, what was acknowledged is what was
//! to be, and the same write can be made again.

use std::collections::BTreeMap;

use super::fuse::synced;

use super::*;

/// All that there is to see.
#[derive(Clone, Debug, PartialEq)]
struct View {
    sessions: Vec<Snapshot>,
    /// By session, and by stream or path.
    contents: BTreeMap<(String, String), Vec<u8>>,
    profiles: BTreeMap<String, Option<String>>,
}

impl View {
    fn of(adapter: &FileSystem) -> Self {
        let page = adapter.list_sessions(None, 1000).unwrap();
        let mut contents = BTreeMap::new();
        let sessions: Vec<_> = page.sessions.iter().map(|session| adapter.load_session(&session.id).unwrap().unwrap()).collect();
        for snapshot in &sessions {
            let id = &snapshot.session.id;
            for stream in &snapshot.streams {
                contents.insert((id.clone(), stream.name.clone()), adapter.read(id, &stream.name, 0, MAX_READ_BYTES).unwrap());
            }
            for info in &snapshot.files {
                let content = adapter.read_file(id, &info.path, 0, MAX_READ_BYTES).unwrap();
                assert_eq!(&FileInfo { extra: info.extra.clone(), ..file(&info.path, &content) }, info, "a file has another's content");
                contents.insert((id.clone(), info.path.clone()), content);
            }
        }
        let profiles = adapter.list_profiles().unwrap().into_iter().map(|profile| profile.id);
        Self { sessions, contents, profiles: profiles.map(|id| (id.clone(), adapter.load_profile(&id).unwrap())).collect() }
    }

    /// Without the epochs: a write may have taken the session, and nothing else.
    fn without_epochs(mut self) -> Self {
        self.sessions.iter_mut().for_each(|snapshot| snapshot.epoch = 0);
        self
    }
}

/// A session with something of everything, and an index that is about to be written anew if `is_long`.
fn prepared(is_long: bool) -> Store {
    let mut store = Store::with_session();
    store.adapter.append(5, "s", "events", 0, b"abc").unwrap();
    store.adapter.append(5, "s", MAIN, 0, b"old transcript").unwrap();
    save(&mut store.adapter, "dir/a", b"old content");
    save(&mut store.adapter, "b", b"other content");
    let profile = ProfileSummary { id: "p".to_owned(), name: "P".to_owned(), description: None };
    store.adapter.save_profile(profile, "{}".to_owned()).unwrap();
    if is_long {
        let path = store.path("sessions/s/index.jsonl");
        let index = fs::read_to_string(&path).unwrap();
        let vain = "{\"at\":1,\"epoch\":5}\n".repeat(270);
        fs::write(&path, index + &vain).unwrap();
    }
    store.reopen();
    store
}

type Write = fn(&mut FileSystem) -> Result<()>;

/// Who finds what was left.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Survivor {
    /// The adapter is opened again.
    New,
    /// An instance that was there before and knows the session as it was.
    Other,
}

fn killed_at_every_step(write: Write) {
    for survivor in [Survivor::New, Survivor::Other] {
        killed(|| prepared(false), write, survivor);
    }
}

fn killed(prepared: impl Fn() -> Store, write: Write, survivor: Survivor) {
    let before = View::of(&prepared().adapter);
    let mut done = prepared();
    write(&mut done.adapter).unwrap();
    let after = View::of(&done.adapter);
    for steps in 0.. {
        let mut store = prepared();
        let other = (survivor == Survivor::Other).then(|| store.another());
        assert!(other.as_ref().is_none_or(|other| View::of(other) == before));
        let (answer, is_enough) = fuse::with(steps, || write(&mut store.adapter));
        store.adapter = other.unwrap_or_else(|| store.another());
        let what = format!("after {steps} steps, to {survivor:?}");
        let found = View::of(&store.adapter);
        if answer.is_ok() {
            assert_eq!(found, after, "acknowledged {what}");
        } else {
            let is_before = found.clone().without_epochs() == before.clone().without_epochs();
            assert!(is_before || found == after, "{what}:\n{found:#?}\nand not\n{before:#?}\nor\n{after:#?}");
        }
        match write(&mut store.adapter) {
            Ok(()) => {}
            Err(Error::AlreadyExists(_)) if found == after => {}
            Err(error) => panic!("again {what}: {error:?}"),
        }
        assert_eq!(View::of(&store.adapter), after, "again {what}");
        store.reopen();
        assert_eq!(View::of(&store.adapter), after, "again {what}, and opened again");
        if is_enough {
            assert!(steps > 1, "nothing was done");
            break;
        }
    }
}

#[test]
fn append() {
    killed_at_every_step(|adapter| adapter.append(5, "s", "events", 3, b"defghi").map(drop));
}

#[test]
fn append_that_makes_the_index_short() {
    killed(|| prepared(true), |adapter| adapter.append(5, "s", "events", 3, b"defghi").map(drop), Survivor::New);
}

#[test]
fn append_to_a_new_stream() {
    killed_at_every_step(|adapter| adapter.append(5, "s", "transcript/new", 0, b"defghi").map(drop));
}

#[test]
fn append_under_a_new_epoch() {
    killed_at_every_step(|adapter| adapter.append(6, "s", "events", 1, b"bcdefghi").map(drop));
}

#[test]
fn replace() {
    killed_at_every_step(|adapter| adapter.replace(5, "s", MAIN, b"new".to_vec()).map(drop));
}

#[test]
fn save_a_new_file() {
    killed_at_every_step(|adapter| adapter.save_file(5, "s", file("x/y/z", b"new"), b"new".to_vec()));
}

#[test]
fn save_a_file_again() {
    killed_at_every_step(|adapter| adapter.save_file(6, "s", file("dir/a", b"new"), b"new".to_vec()));
}

#[test]
fn delete_a_file() {
    killed_at_every_step(|adapter| adapter.delete_file(5, "s", "dir/a"));
}

#[test]
fn update() {
    killed_at_every_step(|adapter| adapter.update_session(6, "s", renamed("new")));
}

#[test]
fn create() {
    // Another instance lists it when it is opened the next time.
    killed(|| prepared(false), |adapter| adapter.create_session(1, record("new", 11)), Survivor::New);
}

#[test]
fn delete() {
    killed_at_every_step(|adapter| adapter.delete_session(5, "s"));
}

#[test]
fn save_a_profile() {
    killed_at_every_step(|adapter| {
        let profile = ProfileSummary { id: "p".to_owned(), name: "new".to_owned(), description: None };
        adapter.save_profile(profile, r#"{"id":"p","name":"new"}"#.to_owned())
    });
}

#[test]
fn delete_a_profile() {
    killed_at_every_step(|adapter| adapter.delete_profile("p"));
}

#[test]
fn open_for_the_first_time() {
    for steps in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let (opened, is_enough) = fuse::with(steps, || open(directory.path()).map(drop));
        assert_eq!(opened.is_ok(), is_enough, "after {steps} steps: {opened:?}");
        open(directory.path()).unwrap().create_session(1, record("s", 1)).unwrap();
        if is_enough {
            break;
        }
    }
}

#[test]
fn what_a_line_speaks_of_is_durable_before_it() {
    let mut store = prepared(false);
    let adapter = &mut store.adapter;
    // What others have written is done to its end and made durable, once.
    let first = synced(|| adapter.append(5, "s", "events", 3, b"d"));
    assert_eq!(first, ["sessions", "s", "index.jsonl", "workspace", "events.jsonl", "index.jsonl"]);
    assert_eq!(synced(|| adapter.append(5, "s", "events", 4, b"e")), ["events.jsonl", "index.jsonl"]);
    assert_eq!(synced(|| adapter.append(5, "s", "events", 4, b"e")), [""; 0]);
    assert_eq!(synced(|| adapter.append(5, "s", "transcript/x", 0, b"a")), ["x.jsonl", "transcripts", "index.jsonl"]);
    assert_eq!(synced(|| adapter.replace(5, "s", MAIN, b"new".to_vec())), [".new-", "s", "index.jsonl", "transcripts"]);
    assert_eq!(synced(|| save(adapter, "dir/a", b"new")), [".new-", "s", "index.jsonl", "dir"]);
    assert_eq!(synced(|| save(adapter, "new/a", b"new")), [".new-", "s", "index.jsonl", "workspace", "new"]);
    assert_eq!(synced(|| adapter.delete_file(5, "s", "b")), ["index.jsonl", "workspace"]);
    assert_eq!(synced(|| adapter.update_session(5, "s", renamed("x"))), ["new-", "s"]);
    assert_eq!(synced(|| adapter.update_session(6, "s", renamed("y"))), ["index.jsonl", "new-", "s"]);
    let created = synced(|| adapter.create_session(5, record("t", 1)));
    assert_eq!(created, [".agent-host", "session.json", "index.jsonl", "new-", "sessions", "listing.jsonl"]);
    assert_eq!(synced(|| adapter.delete_session(5, "t")), [".agent-host", "sessions", "listing.jsonl"]);
}

#[test]
fn what_was_written_and_perhaps_not_made_durable_is_made_durable_when_it_is_repeated() {
    for steps in 0..20 {
        let mut store = prepared(false);
        let _ = fuse::with(steps, || store.adapter.append(5, "s", "events", 3, b"defghi"));
        store.reopen();
        let synced = synced(|| store.adapter.append(5, "s", "events", 3, b"defghi"));
        assert!(
            ["index.jsonl", "s", "sessions"].iter().all(|name| synced.iter().any(|there| there == name)),
            "after {steps} steps: {synced:?}"
        );
    }
    let mut store = prepared(false);
    assert_eq!(synced(|| store.adapter.update_session(5, "s", renamed("x")).unwrap()).last().unwrap(), "s");
    assert_eq!(synced(|| store.adapter.update_session(5, "s", renamed("x")).unwrap()), ["s"]);
    assert_eq!(synced(|| store.adapter.delete_session(5, "none")), ["sessions"]);
    assert_eq!(synced(|| store.adapter.delete_profile("none")), ["profiles"]);
}
