//! Each kind of loss is planted once, and noticed.

use serde_json::json;

use super::*;

const LINE: &str = r#"{"line":1}"#;
const OTHER_LINE: &str = r#"{"line":2}"#;

fn work() -> Work {
    Work {
        session: "s".into(),
        message: "m".into(),
        deltas: 2,
        lines: 2,
        bytes: 1,
        pause: 0,
        file: Some("a.txt".into()),
        daemon: false,
        afterwards: 0,
    }
}

fn event(event: Value) -> Value {
    json!({"at": 0, "epoch": 1, "event": event})
}

/// One session with one message, of which everything is as it should be.
fn facts() -> Facts {
    let work = work();
    let text = || ("s".to_owned(), "a.txt".to_owned(), "m by p".to_owned());
    let mut evidence = vec![Evidence::Began { process: "p".into() }, Evidence::Asked(work.clone())];
    for line in [LINE, OTHER_LINE] {
        evidence.push(Evidence::Writing { session: "s".into(), line: line.into() });
        evidence.push(Evidence::Wrote { session: "s".into(), line: line.into() });
    }
    let (session, path, content) = text();
    evidence.push(Evidence::WritingFile { session, path, content });
    let (session, path, content) = text();
    evidence.push(Evidence::WroteFile { session, path, content });
    evidence.push(Evidence::Finished { message: "m".into(), interrupted: false });
    let told = Told {
        kind: crate::ledger::Kind { is_calm: true, ..crate::ledger::Kind::default() },
        messages: BTreeMap::from([("m".to_owned(), Sent { work: work.clone(), is_acknowledged: true })]),
        option: Some("model-1".into()),
        ..Told::default()
    };
    let stored = Stored {
        record: vec![
            event(json!({"type": "message-accepted", "message": {"id": "m"}})),
            event(json!({"type": "turn-started", "messageId": "m"})),
            event(json!({"type": "turn-ended", "messageId": "m", "outcome": "completed"})),
        ],
        transcripts: BTreeMap::from([("transcript/main".to_owned(), format!("{LINE}\n{OTHER_LINE}\n").into_bytes())]),
        files: BTreeMap::from([("a.txt".to_owned(), b"m by p".to_vec())]),
        options: json!({"model": "model-1"}),
    };
    let blocks =
        json!([{"id": "m", "type": "user_message", "content": "x"}, {"id": "b", "type": "assistant_text", "content": work.answer(2)}]);
    Facts {
        told: BTreeMap::from([("s".to_owned(), told)]),
        evidence: evidence.into_iter().map(|evidence| (0, evidence)).collect(),
        stored: BTreeMap::from([("s".to_owned(), stored)]),
        shown: BTreeMap::from([("s".to_owned(), json!({"blocks": blocks}))]),
        rules: Rules::default(),
    }
}

/// What is found wrong, by kind.
fn found(change: impl FnOnce(&mut Facts)) -> Vec<&'static str> {
    let mut facts = facts();
    change(&mut facts);
    let findings = Findings::default();
    check(&facts, &findings, &mut Counts::default());
    WRONG.into_iter().filter(|kind| findings.count(kind) > 0).collect()
}

fn stored(facts: &mut Facts) -> &mut Stored {
    facts.stored.get_mut("s").unwrap()
}

fn told(facts: &mut Facts) -> &mut Told {
    facts.told.get_mut("s").unwrap()
}

fn transcript(text: String) -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([("transcript/main".to_owned(), text.into_bytes())])
}

fn set_outcome(facts: &mut Facts, outcome: &str) {
    stored(facts).record[2]["event"]["outcome"] = json!(outcome);
}

fn blocks(facts: &mut Facts) -> &mut Vec<Value> {
    facts.shown.get_mut("s").unwrap()["blocks"].as_array_mut().unwrap()
}

#[test]
fn nothing_is_wrong_where_nothing_is() {
    assert_eq!(found(|_| {}), Vec::<&str>::new());
    let mut counts = Counts::default();
    check(&facts(), &Findings::default(), &mut counts);
    assert_eq!((counts.of("messages acknowledged"), counts.of("turns completed"), counts.of("blocks")), (1, 1, 2));
    assert_eq!(counts.of("transcript bytes that agents wrote"), (LINE.len() + OTHER_LINE.len() + 2) as u64);
}

#[test]
fn a_message_that_is_lost_or_doubled_is_noticed() {
    assert_eq!(found(|facts| facts.stored.clear()), [LOST, BYTES, FILES, OPTIONS]);
    assert_eq!(found(|facts| drop(blocks(facts).remove(0))), [LOST, PARTIAL, BLOCKS]);
    assert_eq!(found(|facts| drop(stored(facts).record.pop())), [ENDLESS]);
    for line in 0..3 {
        let again = |facts: &mut Facts| {
            let line = stored(facts).record[line].clone();
            stored(facts).record.push(line);
        };
        assert_eq!(found(again), [DOUBLED], "line {line}");
    }
    // One that was never acknowledged may be missing, and one that was deleted must be.
    assert!(
        !found(|facts| {
            told(facts).messages.get_mut("m").unwrap().is_acknowledged = false;
            stored(facts).record.clear();
        })
        .contains(&LOST)
    );
    assert_eq!(found(|facts| told(facts).is_deleted = true), [UNDEAD]);
}

#[test]
fn a_message_that_runs_twice_is_noticed() {
    let again = |facts: &mut Facts| facts.evidence.push((1, Evidence::Asked(work())));
    assert_eq!(found(again), [TWICE]);
    let resumed = |facts: &mut Facts| {
        facts.rules.resumes = true;
        blocks(facts).insert(1, json!({"id": "r", "type": "system", "message": "… this turn, which begins again"}));
    };
    assert_eq!(
        found(|facts| {
            resumed(facts);
            again(facts);
        }),
        Vec::<&str>::new()
    );
    assert_eq!(
        found(|facts| {
            resumed(facts);
            again(facts);
            again(facts);
        }),
        [TWICE]
    );
}

#[test]
fn a_turn_that_ends_as_it_should_not_is_noticed() {
    assert_eq!(found(|facts| set_outcome(facts, "failed")), [FAILED]);
    assert_eq!(found(|facts| set_outcome(facts, "interrupted")), [CUT]);
    let report = |facts: &mut Facts| {
        set_outcome(facts, "interrupted");
        blocks(facts).push(json!({"id": "r", "type": "system", "message": "the host stopped before this turn had ended"}));
    };
    assert_eq!(found(report), [CUT]);
    assert_eq!(
        found(|facts| {
            facts.rules.cuts_turns = true;
            report(facts);
        }),
        Vec::<&str>::new()
    );
    // An agent that never said that it had finished, and an answer that is cut off.
    assert_eq!(found(|facts| drop(facts.evidence.pop())), [PARTIAL]);
    assert_eq!(found(|facts| blocks(facts)[1]["content"] = json!(work().answer(1))), [PARTIAL]);
}

#[test]
fn a_line_of_a_transcript_that_is_lost_doubled_foreign_or_moved_is_noticed() {
    assert_eq!(found(|facts| stored(facts).transcripts = transcript(format!("{LINE}\n"))), [BYTES]);
    assert_eq!(found(|facts| stored(facts).transcripts.clear()), [BYTES]);
    assert_eq!(found(|facts| stored(facts).transcripts = transcript(format!("{LINE}\n{OTHER_LINE}\n{LINE}\n"))), [LINES]);
    assert_eq!(found(|facts| stored(facts).transcripts = transcript(format!("{LINE}\n{OTHER_LINE}\nx\n"))), [LINES]);
    assert_eq!(found(|facts| stored(facts).transcripts = transcript(format!("{OTHER_LINE}\n{LINE}\n"))), [LINES]);
    // One of which it is not known that it was written may be there or not.
    let unknown = |facts: &mut Facts| facts.evidence.push((0, Evidence::Writing { session: "s".into(), line: "x".into() }));
    assert_eq!(found(unknown), Vec::<&str>::new());
}

#[test]
fn what_an_agent_of_a_host_that_was_taken_over_went_on_to_write_may_be_missing_but_nothing_before_it() {
    let takes_over = |lines: &str| {
        found(|facts| {
            facts.rules.takes_over = true;
            stored(facts).transcripts = transcript(lines.to_owned());
        })
    };
    assert_eq!(takes_over(&format!("{LINE}\n")), Vec::<&str>::new());
    assert_eq!(takes_over(&format!("{OTHER_LINE}\n")), [BYTES]);
    let without_file = |outcome: &str| {
        found(|facts| {
            facts.rules = Rules { takes_over: true, cuts_turns: true, resumes: false };
            told(facts).kind.is_calm = false;
            set_outcome(facts, outcome);
            stored(facts).files.clear();
        })
    };
    assert_eq!(without_file("completed"), [FILES]);
    assert_eq!(without_file("interrupted"), Vec::<&str>::new());
}

#[test]
fn blocks_files_and_options_that_are_wrong_are_noticed() {
    let again = |facts: &mut Facts| {
        let block = blocks(facts)[1].clone();
        blocks(facts).push(block);
    };
    assert_eq!(found(again), [BLOCKS]);
    assert_eq!(found(|facts| blocks(facts).insert(1, json!({"id": "c", "type": "assistant_text", "content": "else"}))), [BLOCKS]);
    assert_eq!(found(|facts| stored(facts).files.clear()), [FILES]);
    assert_eq!(found(|facts| drop(stored(facts).files.insert("a.txt".into(), b"older".to_vec()))), [FILES]);
    assert_eq!(found(|facts| stored(facts).options = json!({})), [OPTIONS]);
    assert_eq!(
        found(|facts| {
            told(facts).options_since.push("model-2".into());
            stored(facts).options = json!({"model": "model-2"});
        }),
        Vec::<&str>::new()
    );
}
