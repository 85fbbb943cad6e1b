//! Whether the promises were kept: what clients were told and what agents did, against what is stored and shown. Pure, so that it can be shown to notice what is wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agent_host_tests::text_of;
use serde_json::Value;

use crate::ledger::{Sent, Told};
use crate::report::{Counts, Findings};
use crate::store::Stored;
use crate::witness::Given;
use crate::words::{Evidence, Work};

/// What must not be, in the order of the report.
pub const WRONG: [&str; 14] =
    [LOST, DOUBLED, ENDLESS, TWICE, FAILED, CUT, PARTIAL, BYTES, LINES, BLOCKS, FILES, OPTIONS, UNDEAD, crate::follower::WRONG];
const LOST: &str = "acknowledged messages lost";
const DOUBLED: &str = "messages doubled";
const ENDLESS: &str = "acknowledged messages without an end";
const TWICE: &str = "messages that an agent got twice by accident";
const FAILED: &str = "turns failed";
const CUT: &str = "turns broken off without a word";
const PARTIAL: &str = "completed turns whose answer is not whole";
const BYTES: &str = "transcript lines lost";
const LINES: &str = "transcript lines doubled, foreign or out of order";
const BLOCKS: &str = "blocks doubled or mixed up";
const FILES: &str = "workspace files lost";
const OPTIONS: &str = "options lost";
const UNDEAD: &str = "deleted sessions that came back";

/// What was done to the host, and how it was told to deal with that.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// The host was ended in the middle of turns.
    pub cuts_turns: bool,
    /// Turns that were cut off begin again, once.
    pub resumes: bool,
    /// One host took sessions of another one over, while the agents of that one went on.
    pub takes_over: bool,
}

/// All that is known at the end.
#[derive(Debug, Default)]
pub struct Facts {
    /// What clients were told.
    pub told: BTreeMap<String, Told>,
    /// What agents did.
    pub evidence: Vec<Given>,
    /// What is stored.
    pub stored: BTreeMap<String, Stored>,
    /// What GET showed.
    pub shown: BTreeMap<String, Value>,
    /// What may be.
    pub rules: Rules,
}

/// Looks at everything.
pub fn check(facts: &Facts, findings: &Findings, counts: &mut Counts) {
    let done = Done::of(&facts.evidence);
    counts.add("agent processes", done.processes);
    counts.add("sessions", facts.told.len());
    for (id, told) in &facts.told {
        let stored = facts.stored.get(id);
        if told.is_deleted {
            if stored.is_some() {
                findings.add(UNDEAD, id);
            }
            continue;
        }
        let (empty, nothing) = (Stored::default(), Value::Null);
        let (stored, shown) = (stored.unwrap_or(&empty), facts.shown.get(id).unwrap_or(&nothing));
        let session = Session { id, told, stored, rules: facts.rules, done: &done, findings };
        session.check(&Shown::of(shown), counts);
    }
}

/// What was written to a file, one after the other, and whether each is known to be on disk.
type Contents<'a> = Vec<(&'a str, bool)>;

/// What agents did, by what it was done to.
#[derive(Default)]
struct Done<'a> {
    processes: usize,
    /// How often each message was read.
    asked: HashMap<&'a str, usize>,
    /// Messages that were answered to the end.
    answered: BTreeSet<&'a str>,
    /// By session: the process, the line, and whether it is known to be on disk.
    lines: HashMap<&'a str, Vec<(usize, &'a str, bool)>>,
    /// By session and path: contents, and whether each is known to be on disk.
    files: HashMap<&'a str, BTreeMap<&'a str, Contents<'a>>>,
}

impl<'a> Done<'a> {
    fn of(evidence: &'a [Given]) -> Self {
        let mut done = Self::default();
        for (process, evidence) in evidence {
            match evidence {
                Evidence::Began { .. } => done.processes += 1,
                Evidence::Asked(work) => *done.asked.entry(&work.message).or_default() += 1,
                Evidence::Finished { message, interrupted } => {
                    if !interrupted {
                        done.answered.insert(message);
                    }
                }
                Evidence::Writing { session, line } => done.lines.entry(session).or_default().push((*process, line, false)),
                Evidence::Wrote { session, line } => {
                    if let Some(known) = done.lines.entry(session).or_default().iter_mut().rev().find(|known| known.1 == line) {
                        known.2 = true;
                    }
                }
                Evidence::WritingFile { session, path, content } => {
                    done.files.entry(session).or_default().entry(path).or_default().push((content, false));
                }
                Evidence::WroteFile { session, path, content } => {
                    let contents = done.files.entry(session).or_default().entry(path).or_default();
                    if let Some(known) = contents.iter_mut().rev().find(|known| known.0 == content) {
                        known.1 = true;
                    }
                }
            }
        }
        done
    }
}

/// What a reload shows of a session.
#[derive(Default)]
struct Shown {
    users: HashMap<String, usize>,
    /// Of each message: what was said in its turn.
    answers: HashMap<String, Vec<String>>,
    /// Messages of which it is said that the host stopped in the middle of their turn, and that they begin again.
    reported: BTreeSet<String>,
    resumed: BTreeSet<String>,
    ids: Vec<String>,
}

impl Shown {
    fn of(session: &Value) -> Self {
        let mut shown = Self::default();
        let mut message = String::new();
        for block in session["blocks"].as_array().into_iter().flatten() {
            let id = block["id"].as_str().unwrap_or_default().to_owned();
            shown.ids.push(id.clone());
            let text = text_of(block);
            match block["type"].as_str() {
                Some("user_message") => {
                    *shown.users.entry(id.clone()).or_default() += 1;
                    message = id;
                }
                Some("assistant_text") => shown.answers.entry(message.clone()).or_default().push(text),
                Some("system") if text.contains("before this turn had ended") => drop(shown.reported.insert(message.clone())),
                Some("system") if text.contains("begins again") => drop(shown.resumed.insert(message.clone())),
                _ => {}
            }
        }
        shown
    }
}

/// What the event record says of one message.
#[derive(Clone, Copy, Debug, Default)]
struct Recorded<'a> {
    accepted: usize,
    started: usize,
    ended: usize,
    outcome: &'a str,
}

struct Session<'a> {
    id: &'a str,
    told: &'a Told,
    stored: &'a Stored,
    rules: Rules,
    done: &'a Done<'a>,
    findings: &'a Findings,
}

impl Session<'_> {
    fn check(&self, shown: &Shown, counts: &mut Counts) {
        let recorded = self.recorded();
        for sent in self.told.messages.values() {
            let recorded = recorded.get(sent.work.message.as_str()).copied().unwrap_or_default();
            self.message(sent, recorded, shown, counts);
        }
        self.blocks(shown, counts);
        self.transcript(counts);
        self.files(&recorded, counts);
        self.options();
    }

    fn wrong(&self, kind: &str, what: impl std::fmt::Display) {
        self.findings.add(kind, format!("{}: {what}", self.id));
    }

    fn recorded(&self) -> HashMap<&str, Recorded<'_>> {
        let mut recorded = HashMap::<&str, Recorded<'_>>::new();
        for line in &self.stored.record {
            let event = &line["event"];
            let id = event["messageId"].as_str().or(event["message"]["id"].as_str()).unwrap_or_default();
            match event["type"].as_str() {
                Some("message-accepted") => recorded.entry(id).or_default().accepted += 1,
                Some("turn-started") => recorded.entry(id).or_default().started += 1,
                Some("turn-ended") => {
                    let entry = recorded.entry(id).or_default();
                    entry.ended += 1;
                    entry.outcome = event["outcome"].as_str().unwrap_or_default();
                }
                _ => {}
            }
        }
        recorded
    }

    fn message(&self, sent: &Sent, recorded: Recorded<'_>, shown: &Shown, counts: &mut Counts) {
        let Sent { work, is_acknowledged } = sent;
        let message = work.message.as_str();
        let shown_times = shown.users.get(message).copied().unwrap_or(0);
        let asked = self.done.asked.get(message).copied().unwrap_or(0);
        if *is_acknowledged {
            counts.add("messages acknowledged", 1);
            if recorded.accepted == 0 || (recorded.started > 0 && shown_times == 0) {
                self.wrong(LOST, format!("{message}: {recorded:?}, shown {shown_times} times"));
            } else if recorded.ended == 0 {
                self.wrong(ENDLESS, format!("{message}: {recorded:?}"));
            }
        }
        if recorded.accepted > 1 || recorded.started > 1 || recorded.ended > 1 || shown_times > 1 {
            self.wrong(DOUBLED, format!("{message}: {recorded:?}, shown {shown_times} times"));
        }
        let may_be_asked = if self.rules.resumes && shown.resumed.contains(message) { 2 } else { 1 };
        if asked > may_be_asked {
            self.wrong(TWICE, format!("{message} was read {asked} times: {recorded:?}"));
        }
        if shown.resumed.contains(message) {
            counts.add("turns that began again", 1);
        }
        let is_reported = shown.reported.contains(message);
        match recorded.outcome {
            "completed" => {
                counts.add("turns completed", 1);
                self.whole(work, shown);
            }
            "interrupted" if is_reported => {
                counts.add("turns cut off and reported", 1);
                if !self.rules.cuts_turns {
                    self.wrong(CUT, format!("{message} is reported as cut off"));
                }
            }
            "interrupted" => {
                counts.add("turns interrupted by clients", 1);
                if self.told.kind.is_calm {
                    self.wrong(CUT, format!("{message} was interrupted by nobody"));
                }
            }
            "failed" => self.wrong(FAILED, message),
            _ => {}
        }
    }

    fn whole(&self, work: &Work, shown: &Shown) {
        let answer = shown.answers.get(&work.message).and_then(|answers| answers.last());
        if !self.done.answered.contains(work.message.as_str()) || answer.is_none_or(|answer| *answer != work.answer(work.deltas)) {
            self.wrong(PARTIAL, format!("{}: {answer:?}", work.message));
        }
    }

    fn blocks(&self, shown: &Shown, counts: &mut Counts) {
        counts.add("blocks", shown.ids.len());
        let mut seen = BTreeSet::new();
        for id in shown.ids.iter().filter(|id| !seen.insert(*id)) {
            self.wrong(BLOCKS, format!("block {id} is there twice"));
        }
        for (message, answers) in &shown.answers {
            let Some(sent) = self.told.messages.get(message) else {
                self.wrong(BLOCKS, format!("an answer to {message:?}, which nobody sent"));
                continue;
            };
            let asked = self.done.asked.get(message.as_str()).copied().unwrap_or(0);
            let whole = sent.work.answer(sent.work.deltas);
            if answers.len() > asked || answers.iter().any(|answer| !whole.starts_with(answer.as_str())) {
                self.wrong(BLOCKS, format!("{message} was read {asked} times and answered by {answers:?}"));
            }
        }
    }

    fn transcript(&self, counts: &mut Counts) {
        let written = self.done.lines.get(self.id).map_or(&[][..], Vec::as_slice);
        let stored = self.stored.transcripts.get("transcript/main").map_or(&[][..], Vec::as_slice);
        let mut places = HashMap::<&[u8], usize>::new();
        for (place, line) in stored.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            if places.insert(line, place).is_some() {
                self.wrong(LINES, format!("doubled: {}", cut(line)));
            }
        }
        let known: BTreeSet<&[u8]> = written.iter().map(|(_, line, _)| line.as_bytes()).collect();
        for line in places.keys().filter(|line| !known.contains(*line)) {
            self.wrong(LINES, format!("foreign: {}", cut(line)));
        }
        let mut last = None;
        let mut given_up = BTreeSet::new();
        for (process, line, is_written) in written {
            let place = places.get(line.as_bytes()).copied();
            if *is_written {
                counts.add("transcript bytes that agents wrote", line.len() + 1);
            }
            match place {
                // What the agent of a host that was thought dead went on to write is nobody's: but from some point on, not here and there.
                None if self.rules.takes_over => drop(given_up.insert(process)),
                None if *is_written => self.wrong(BYTES, format!("{} bytes: {}", line.len() + 1, cut(line.as_bytes()))),
                None => {}
                Some(_) if given_up.contains(process) => self.wrong(BYTES, format!("before {}", cut(line.as_bytes()))),
                Some(place) => {
                    if !self.rules.takes_over && last.is_some_and(|last| place < last) {
                        self.wrong(LINES, format!("out of order: {}", cut(line.as_bytes())));
                    }
                    last = Some(place);
                }
            }
        }
    }

    fn files(&self, recorded: &HashMap<&str, Recorded<'_>>, counts: &mut Counts) {
        for (path, contents) in self.done.files.get(self.id).into_iter().flatten() {
            let stored = self.stored.files.get(*path).map(|content| String::from_utf8_lossy(content).into_owned());
            // What the agent of a host that was thought dead wrote is nobody's, unless its turn is known to have ended.
            let counts_for = |content: &str| {
                let message = content.split_whitespace().next().unwrap_or_default();
                !self.rules.takes_over || recorded.get(message).is_some_and(|recorded| recorded.outcome == "completed")
            };
            let certain = contents.iter().rposition(|(content, is_written)| *is_written && counts_for(content));
            let Some(certain) = certain else { continue };
            counts.add("workspace files that agents wrote", 1);
            // One that was killed while it wrote may have left anything.
            let is_certain = certain + 1 == contents.len();
            let is_there = stored.as_deref().is_some_and(|stored| contents.iter().skip(certain).any(|(content, _)| *content == stored));
            if !is_there && (is_certain || stored.is_none()) {
                self.wrong(FILES, format!("{path} is {stored:?}, and was last {:?}", contents.last()));
            }
        }
    }

    fn options(&self) {
        let Told { option, options_since, .. } = self.told;
        let stored = self.stored.options["model"].as_str();
        let is_known = stored == option.as_deref() || options_since.iter().any(|value| Some(value.as_str()) == stored);
        if !is_known {
            self.wrong(OPTIONS, format!("the model is {stored:?}; confirmed {option:?}, since {options_since:?}"));
        }
    }
}

fn cut(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().take(160).collect()
}

#[cfg(test)]
#[path = "check/tests.rs"]
mod tests;
