use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::*;

/// A directory for trails, which is removed at the end.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("audit.jsonl")
    }

    fn config(&self, more: &[(&str, &str)]) -> Config {
        let file = self.file();
        let entries = [&[("file", file.to_str().unwrap())], more].concat();
        Config::new(entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    fn open(&self, more: &[(&str, &str)]) -> Audit {
        Audit::open(&self.config(more)).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    /// The numbers of the events that are in the file, in order.
    fn numbers(&self) -> Vec<u64> {
        numbers(&self.file())
    }

    /// What was put aside, oldest first.
    fn put_aside(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = files.filter(|path| *path != self.file()).collect();
        files.sort();
        files
    }
}

fn numbers(file: &Path) -> Vec<u64> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect()
}

fn event(seq: u64) -> Event {
    Event { session: "s".to_owned(), epoch: 7, seq, name: "session:status".to_owned(), data: format!(r#"{{"number":{seq}}}"#) }
}

fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<Event> {
    numbers.into_iter().map(event).collect()
}

fn text_of(error: Error) -> String {
    match error {
        Error::Invalid(text) | Error::Unavailable(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_event_is_a_line_with_its_data_as_it_came() {
    let scratch = Scratch::new();
    let data = "{\"n\":1.50,\r\n \"text\":\"a \\u00e9 \\n\"}".to_owned();
    scratch.open(&[]).record(vec![Event { data, ..event(1) }, event(2)], 1234).unwrap();
    let lines = [
        r#"{"session":"s","epoch":7,"seq":1,"name":"session:status","received":1234,"data":{"n":1.50,   "text":"a \u00e9 \n"}}"#,
        r#"{"session":"s","epoch":7,"seq":2,"name":"session:status","received":1234,"data":{"number":2}}"#,
    ];
    assert_eq!(scratch.text(), format!("{}\n{}\n", lines[0], lines[1]));
}

#[test]
fn what_was_written_of_late_is_not_written_again() {
    let scratch = Scratch::new();
    let mut audit = scratch.open(&[]);
    audit.on_events(events([1, 2])).unwrap();
    audit.on_events(events([1, 2])).unwrap();
    audit.on_events(events([2, 3])).unwrap();
    assert_eq!(scratch.numbers(), [1, 2, 3]);
    let mut restarted = scratch.open(&[]);
    restarted.on_events(events([2, 3, 4])).unwrap();
    assert_eq!(scratch.numbers(), [1, 2, 3, 4], "a new instance learns from the file");
}

#[test]
fn a_session_that_is_created_anew_is_not_taken_for_the_one_before() {
    let scratch = Scratch::new();
    let mut audit = scratch.open(&[]);
    audit.on_events(events([1])).unwrap();
    audit.on_events(vec![Event { data: r#"{"number":"another"}"#.to_owned(), ..event(1) }]).unwrap();
    assert_eq!(scratch.numbers(), [1, 1]);
}

#[test]
fn a_line_that_was_torn_is_ended_before_the_next() {
    let scratch = Scratch::new();
    scratch.open(&[]).on_events(events([1, 2])).unwrap();
    let whole = scratch.text();
    fs::write(scratch.file(), &whole[..whole.len() - 10]).unwrap();
    scratch.open(&[]).on_events(events([1, 2, 3])).unwrap();
    let text = scratch.text();
    let read: Vec<Option<u64>> =
        text.lines().map(|line| Some(serde_json::from_str::<Value>(line).ok()?["seq"].as_u64().unwrap())).collect();
    assert_eq!(read, [Some(1), None, Some(2), Some(3)], "the torn event was not known, and came again: {text}");
    assert!(text.ends_with('\n'));
}

#[test]
fn only_the_end_of_a_large_file_is_read() {
    let scratch = Scratch::new();
    let trail = Trail::new(scratch.file().to_str().unwrap(), None).unwrap();
    trail.append(b"first line\nsecond\nthird\n".to_vec(), 0).unwrap();
    for (bytes, tail) in [(100, "first line\nsecond\nthird\n"), (15, "second\nthird\n"), (13, "third\n"), (6, ""), (3, ""), (0, "")] {
        assert_eq!(String::from_utf8(trail.tail(bytes).unwrap()).unwrap(), tail, "{bytes}");
    }
}

#[test]
fn a_full_file_is_put_aside_and_never_overwritten() {
    let scratch = Scratch::new();
    let mut audit = scratch.open(&[("max_bytes", "200")]);
    for number in 1..=6 {
        // All at the same time, as after a clock was set back.
        audit.record(events([number]), 5).unwrap();
    }
    let aside = scratch.put_aside();
    assert_eq!(aside.iter().map(|file| numbers(file)).collect::<Vec<_>>(), [[1, 2], [3, 4]]);
    assert!(aside[0].ends_with("audit.jsonl.5") && aside[1].ends_with("audit.jsonl.5+"), "{aside:?}");
    assert_eq!(scratch.numbers(), [5, 6]);
}

#[test]
fn a_batch_that_is_larger_than_a_file_may_be_has_one_of_its_own() {
    let scratch = Scratch::new();
    let mut audit = scratch.open(&[("max_bytes", "10")]);
    audit.record(events([1, 2]), 1).unwrap();
    audit.record(events([3]), 2).unwrap();
    assert_eq!((numbers(&scratch.put_aside()[0]), scratch.numbers()), (vec![1, 2], vec![3]));
}

#[test]
fn a_file_that_was_moved_away_is_begun_anew() {
    let scratch = Scratch::new();
    let mut audit = scratch.open(&[]);
    audit.on_events(events([1])).unwrap();
    fs::rename(scratch.file(), scratch.0.path().join("moved")).unwrap();
    audit.on_events(events([2])).unwrap();
    assert_eq!(scratch.numbers(), [2]);
}

#[test]
fn what_cannot_be_written_is_refused_and_written_when_it_comes_again() {
    let scratch = Scratch::new();
    let mut audit = scratch.open(&[]);
    fs::remove_file(scratch.file()).unwrap();
    fs::create_dir(scratch.file()).unwrap();
    let error = audit.on_events(events([1])).unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("audit.jsonl")), "{error:?}");
    fs::remove_dir(scratch.file()).unwrap();
    audit.on_events(events([1])).unwrap();
    assert_eq!(scratch.numbers(), [1]);
}

#[test]
fn all_events_but_deltas_are_wanted_unless_the_operator_says_otherwise() {
    let scratch = Scratch::new();
    let wanted = scratch.open(&[]).info().events;
    let wants = |name: &str| {
        let matches = |pattern: &String| pattern.strip_suffix('*').map_or(pattern == name, |beginning| name.starts_with(beginning));
        wanted.iter().any(matches)
    };
    for name in ["block:start", "block:update", "block:complete", "block:removed", "subagent:discovered", "subagent:completed"] {
        assert!(wants(&format!("session:{name}")), "{name}");
    }
    for name in ["metadata:update", "options:update", "file:created", "file:modified", "file:deleted", "status"] {
        assert!(wants(&format!("session:{name}")), "{name}");
    }
    assert!(wants("error") && wants("hook:guard:denied") && !wants("session:block:delta"));
    assert_eq!(scratch.open(&[("events", "session:status, hook:* ,")]).info().events, ["session:status", "hook:*"]);
}

#[test]
fn what_is_wrong_with_the_configuration_is_said_at_once() {
    let scratch = Scratch::new();
    let refused = |config: &[(&str, &str)]| {
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        text_of(Audit::open(&Config::new(config)).err().unwrap())
    };
    assert!(refused(&[("path", "/x")]).contains("\"path\""));
    assert!(refused(&[("events", " , ")]).contains("\"events\""));
    assert!(refused(&[("max_bytes", "1GB")]).contains("\"max_bytes\""));
    for path in ["audit.jsonl", "/", ""] {
        assert!(refused(&[("file", path)]).contains("absolute path"), "{path:?}");
    }
    let missing = scratch.0.path().join("missing/audit.jsonl");
    let refused = refused(&[("file", missing.to_str().unwrap())]);
    assert!(refused.contains("failed to open") && refused.contains("a grant of the directory"), "{refused}");
}
