//! What the files look like, which of them change, and where names of all kinds come to.

use super::*;

#[test]
fn everything_is_a_readable_file_under_its_own_name() {
    let mut store = Store::new();
    let session = SessionRecord {
        name: Some("A session".to_owned()),
        options: Some(r#"{"model":"sonnet","b":[1, 2]}"#.to_owned()),
        ..record("3f2a", 1_795_330_039_110)
    };
    let adapter = &mut store.adapter;
    adapter.create_session(1, session).unwrap();
    adapter.append(1, "3f2a", "events", 0, b"{\"seq\":1}\n").unwrap();
    adapter.append(1, "3f2a", "events", 10, b"{\"seq\":2}\n").unwrap();
    adapter.append(1, "3f2a", MAIN, 0, b"no JSON \xff\0").unwrap();
    adapter.replace(1, "3f2a", "transcript/agent-a1", b"{}\n".to_vec()).unwrap();
    adapter.append(2, "3f2a", "thoughts", 0, b"of a later version").unwrap();
    adapter.save_file(2, "3f2a", file("src/main.rs", b"fn main() {}\n"), b"fn main() {}\n".to_vec()).unwrap();
    adapter.save_file(2, "3f2a", file("README.md", b"# Read me\n"), b"# Read me\n".to_vec()).unwrap();
    adapter.delete_file(2, "3f2a", "README.md").unwrap();
    adapter
        .save_profile(ProfileSummary { id: "p".to_owned(), name: "P".to_owned(), description: None }, r#"{"id":"p","name":"P"}"#.to_owned())
        .unwrap();

    assert_eq!(
        store.files(),
        [
            ".gitattributes",
            "agent-host.json",
            "profiles/p.json",
            "sessions/3f2a/events.jsonl",
            "sessions/3f2a/index.jsonl",
            "sessions/3f2a/session.json",
            "sessions/3f2a/streams/thoughts.jsonl",
            "sessions/3f2a/transcripts/agent-a1.jsonl",
            "sessions/3f2a/transcripts/main.jsonl",
            "sessions/3f2a/workspace/src/main.rs",
        ]
    );
    let expected = r#"{
  "id": "3f2a",
  "createdAt": 1795330039110,
  "lastActivity": 1795330039110,
  "profile": "default",
  "architecture": "echo",
  "name": "A session",
  "options": {"model":"sonnet","b":[1, 2]}
}
"#;
    assert_eq!(store.text("sessions/3f2a/session.json"), expected);
    assert_eq!(store.text("sessions/3f2a/events.jsonl"), "{\"seq\":1}\n{\"seq\":2}\n");
    assert_eq!(fs::read(store.path("sessions/3f2a/transcripts/main.jsonl")).unwrap(), b"no JSON \xff\0");
    assert_eq!(store.text("sessions/3f2a/workspace/src/main.rs"), "fn main() {}\n");
    assert_eq!(store.text(".agent-host/.gitignore"), "*\n");
    let index = store.text("sessions/3f2a/index.jsonl");
    let lines: Vec<_> = index.lines().map(without_what_varies).collect();
    assert_eq!(
        lines,
        [
            r#"{"at":0,"epoch":1}"#.to_owned(),
            r#"{"at":0,"epoch":1,"change":{"stream":{"name":"events","length":10}}}"#.to_owned(),
            r#"{"at":0,"epoch":1,"change":{"stream":{"name":"events","length":20}}}"#.to_owned(),
            r#"{"at":0,"epoch":1,"change":{"stream":{"name":"transcript/main","length":10}}}"#.to_owned(),
            r#"{"at":0,"epoch":1,"change":{"stream":{"name":"transcript/agent-a1","length":3,"from":""}}}"#.to_owned(),
            r#"{"at":0,"epoch":2,"change":{"stream":{"name":"thoughts","length":18}}}"#.to_owned(),
            line_of("src/main.rs", b"fn main() {}\n"),
            line_of("README.md", b"# Read me\n"),
            r#"{"at":0,"epoch":2,"change":{"removed":{"path":"README.md"}}}"#.to_owned(),
        ]
    );
}

fn line_of(path: &str, content: &[u8]) -> String {
    let FileInfo { size, sha256, .. } = file(path, content);
    format!(
        r#"{{"at":0,"epoch":2,"change":{{"file":{{"path":"{path}","size":{size},"sha256":"{sha256}","createdAt":1,"modifiedAt":2,"from":""}}}}}}"#
    )
}

/// A line without its time and the names that are drawn.
fn without_what_varies(line: &str) -> String {
    let cut = |line: &str, begin: &str, end: char, put: &str| match line.split_once(begin) {
        Some((before, after)) => format!("{before}{begin}{put}{}", &after[after.find(end).unwrap()..]),
        None => line.to_owned(),
    };
    cut(&cut(line, "\"at\":", ',', "0"), "\"from\":\"", '"', "")
}

#[test]
fn what_has_not_changed_is_not_written() {
    let mut store = Store::with_session();
    let adapter = &mut store.adapter;
    adapter.append(5, "s", "events", 0, b"abc").unwrap();
    save(adapter, "a", b"content");
    adapter.update_session(5, "s", renamed("n")).unwrap();
    let profile = ProfileSummary { id: "p".to_owned(), name: "P".to_owned(), description: None };
    let document = r#"{"id":"p","name":"P"}"#.to_owned();
    adapter.save_profile(profile.clone(), document.clone()).unwrap();
    let before = age(&store);

    let adapter = &mut store.adapter;
    adapter.append(5, "s", "events", 0, b"abc").unwrap();
    adapter.append(5, "s", "events", 3, b"").unwrap();
    save(adapter, "a", b"content");
    adapter.delete_file(5, "s", "absent").unwrap();
    adapter.update_session(5, "s", renamed("n")).unwrap();
    adapter.save_profile(profile, document).unwrap();
    snapshot(adapter);
    adapter.list_sessions(None, 10).unwrap();
    assert_eq!(times(&store), before);
    store.reopen();
    assert_eq!(times(&store), before);

    // Of a file of which only something else is known, the content stays.
    let newer = FileInfo { modified_at: 3, ..file("a", b"content") };
    store.adapter.save_file(5, "s", newer.clone(), b"content".to_vec()).unwrap();
    assert_eq!(snapshot(&store.adapter).files, [newer]);
    let changed: Vec<_> = times(&store).into_iter().zip(before).filter(|(now, before)| now != before).map(|((path, _), _)| path).collect();
    assert_eq!(changed, ["sessions/s/index.jsonl"]);
}

/// Makes all files old, so that writing one is seen.
fn age(store: &Store) -> Vec<(String, SystemTime)> {
    for path in store.files() {
        store.make_old(&path);
    }
    times(store)
}

fn times(store: &Store) -> Vec<(String, SystemTime)> {
    let modified = |path: &String| fs::metadata(store.path(path)).unwrap().modified().unwrap();
    store.files().into_iter().map(|path| (path.clone(), modified(&path))).collect()
}

#[test]
fn paths_of_all_kinds_stay_in_the_workspace_and_come_back() {
    let mut store = Store::with_session();
    let long = format!("{}/{}", "d".repeat(255), "ü".repeat(127));
    let paths = [
        "README.md",
        "readme.md",
        "../../../../escaped",
        "/etc/passwd",
        "a//b",
        "",
        ".",
        "..",
        "a/./b",
        "a\0b",
        "a\\..\\b",
        "C:/x",
        "NUL",
        "con.txt",
        "a.",
        "a ",
        "...",
        ".git/config",
        ".gitignore",
        "%41",
        "%2E",
        "50%",
        "\n",
        "e\u{301}",
        "é",
        "💡",
        &long,
    ];
    for (number, path) in paths.iter().enumerate() {
        save(&mut store.adapter, path, number.to_string().as_bytes());
    }
    store.reopen();
    for (number, path) in paths.iter().enumerate() {
        assert_eq!(store.adapter.read_file("s", path, 0, 100).unwrap(), number.to_string().as_bytes(), "{path:?}");
    }
    let mut found: Vec<_> = snapshot(&store.adapter).files.into_iter().map(|file| file.path).collect();
    found.sort();
    let mut wanted = paths.map(str::to_owned).to_vec();
    wanted.sort();
    assert_eq!(found, wanted);
    let outside: Vec<_> = store.files().into_iter().filter(|path| !path.starts_with("sessions/s/")).collect();
    assert_eq!(outside, [".gitattributes", "agent-host.json"]);
    for path in paths {
        store.adapter.delete_file(5, "s", path).unwrap();
    }
    assert!(!store.path("sessions/s/workspace").exists(), "directories without files are left");
    let endless = "*".repeat(2000);
    assert!(matches!(store.adapter.save_file(5, "s", file(&endless, b""), Vec::new()), Err(Error::Invalid(_))));
}

#[test]
fn a_name_that_the_file_system_has_already_is_written_otherwise() {
    let mut store = Store::with_session();
    // As on a file system to which `Readme` is `README`: the place is taken before.
    fs::create_dir_all(store.path("sessions/s/workspace/docs")).unwrap();
    fs::write(store.path("sessions/s/workspace/docs/Readme"), "other").unwrap();
    save(&mut store.adapter, "docs/Readme", b"ours");
    assert_eq!(store.text("sessions/s/workspace/docs/%52eadme"), "ours");
    // A file and a directory of the same name are there while one takes the place of the other.
    save(&mut store.adapter, "a", b"file");
    save(&mut store.adapter, "a/b", b"in a directory");
    save(&mut store.adapter, "c/d", b"in a directory");
    save(&mut store.adapter, "c", b"file");
    assert_eq!(store.text("sessions/s/workspace/%61/b"), "in a directory");
    assert_eq!(store.text("sessions/s/workspace/%63"), "file");
    // A directory that is empty is in nobody's way.
    fs::create_dir_all(store.path("sessions/s/workspace/empty")).unwrap();
    save(&mut store.adapter, "empty", b"file");
    assert_eq!(store.text("sessions/s/workspace/empty"), "file");

    store.reopen();
    save(&mut store.adapter, "docs/Readme", b"newer");
    for (path, content) in [("docs/Readme", "newer"), ("a", "file"), ("a/b", "in a directory"), ("c", "file"), ("c/d", "in a directory")] {
        assert_eq!(store.adapter.read_file("s", path, 0, 100).unwrap(), content.as_bytes(), "{path}");
    }
    assert_eq!(store.text("sessions/s/workspace/docs/Readme"), "other", "what is not ours was changed");
    store.adapter.delete_file(5, "s", "a").unwrap();
    save(&mut store.adapter, "a/c", b"now there is room");
    assert_eq!(store.text("sessions/s/workspace/a/c"), "now there is room");
}

#[cfg(unix)]
#[test]
fn a_link_in_the_workspace_is_not_written_through() {
    let mut store = Store::with_session();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir_all(store.path("sessions/s/workspace")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("made"), store.path("sessions/s/workspace/link")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), store.path("sessions/s/workspace/directory")).unwrap();
    fs::write(elsewhere.path().join("file"), "theirs").unwrap();
    save(&mut store.adapter, "link", b"ours");
    save(&mut store.adapter, "directory/file", b"ours");
    assert_eq!(store.text("sessions/s/workspace/%6Cink"), "ours");
    assert_eq!(fs::read_to_string(elsewhere.path().join("file")).unwrap(), "theirs");
    assert!(!elsewhere.path().join("made").exists());
    // A session that is deleted takes its links with it, and not what they point to.
    store.adapter.delete_session(5, "s").unwrap();
    assert_eq!(fs::read_to_string(elsewhere.path().join("file")).unwrap(), "theirs");
}

#[test]
fn the_index_is_written_anew_when_most_of_it_is_in_vain() {
    let mut store = Store::with_session();
    save(&mut store.adapter, "kept", b"content");
    for name in ["sessions/s/.new-broken-off", "sessions/s/.new-under-way"] {
        fs::write(store.path(name), "x").unwrap();
    }
    store.make_old("sessions/s/.new-broken-off");
    for index in 0..1000_u64 {
        store.adapter.append(5, "s", "events", index, b"x").unwrap();
    }
    let lines = store.text("sessions/s/index.jsonl").lines().count();
    assert!(lines < 300, "{lines} lines");
    assert!(!store.path("sessions/s/.new-broken-off").exists());
    assert!(store.path("sessions/s/.new-under-way").exists());
    for _ in 0..2 {
        let found = snapshot(&store.adapter);
        assert_eq!((found.epoch, found.streams), (5, vec![StreamInfo { name: "events".to_owned(), length: 1000 }]));
        assert_eq!(found.files, [file("kept", b"content")]);
        store.reopen();
    }
}

/// What an adapter of the first layout has written. It stays readable.
#[test]
fn the_first_layout_is_read() {
    let mut store = Store::new();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/layout-1"), store.directory.path());
    store.reopen();
    let adapter = &mut store.adapter;
    let page = adapter.list_sessions(None, 10).unwrap();
    assert_eq!(ids(&page), ["Second", "first"]);
    let first = adapter.load_session("first").unwrap().unwrap();
    assert_eq!(first.epoch, 3);
    let expected = SessionRecord {
        last_activity: 1_795_330_040_000,
        name: Some("Ünï \"quoted\"".to_owned()),
        options: Some(r#"{"model":"sonnet", "big":9007199254740991}"#.to_owned()),
        extra: Some("[]".to_owned()),
        ..record("first", 1_795_330_039_110)
    };
    assert_eq!(first.session, expected);
    let streams: Vec<_> = first.streams.iter().map(|stream| (stream.name.as_str(), stream.length)).collect();
    assert_eq!(streams, [("events", 20), ("transcript/agent-A1", 3), ("transcript/main", 0)]);
    assert_eq!(adapter.read("first", "events", 0, 100).unwrap(), b"{\"seq\":1}\n{\"seq\":2}\n", "what is behind it was broken off");
    assert_eq!(adapter.read("first", "transcript/agent-A1", 0, 100).unwrap(), b"{}\n");
    let files: Vec<_> = first.files.iter().map(|file| (file.path.as_str(), file.size, file.extra.as_deref())).collect();
    assert_eq!(files, [(".gitignore", 7, None), ("a", 4, None), ("a/b", 5, Some("{\"later\":1}"))]);
    for (path, content) in [(".gitignore", "target\n"), ("a", "file"), ("a/b", "below")] {
        assert_eq!(adapter.read_file("first", path, 0, 100).unwrap(), content.as_bytes(), "{path}");
    }
    let profiles: Vec<_> = adapter.list_profiles().unwrap().into_iter().map(|profile| (profile.id, profile.name)).collect();
    assert_eq!(profiles, [("Code".to_owned(), "Coder".to_owned()), ("odd".to_owned(), "Said otherwise".to_owned())]);
    assert_eq!(adapter.load_profile("odd").unwrap().as_deref(), Some("not JSON"));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { fs::copy(entry.path(), to).map(drop).unwrap() }
    }
}
