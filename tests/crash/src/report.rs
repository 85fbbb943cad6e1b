//! Counts, what is wrong, and the table of both.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;

/// So many of a kind are shown; the others are counted.
const SHOWN: usize = 12;

/// What must not be. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Findings(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl Findings {
    /// Something is wrong.
    pub fn add(&self, kind: &str, what: impl Into<String>) {
        self.0.lock().entry(kind.to_owned()).or_default().push(what.into());
    }

    /// How much of a kind is wrong.
    pub fn count(&self, kind: &str) -> usize {
        self.0.lock().get(kind).map_or(0, Vec::len)
    }

    /// Whether anything is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// What is wrong, for people; empty if nothing is.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (kind, list) in self.0.lock().iter() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{kind}: {}", list.len());
            for what in list.iter().take(SHOWN) {
                let _ = writeln!(text, "    {what}");
            }
        }
        text
    }
}

/// What was counted, in the order in which it is shown.
#[derive(Clone, Debug, Default)]
pub struct Counts(Vec<(String, u64)>);

impl Counts {
    /// Adds to a count.
    pub fn add(&mut self, what: &str, count: usize) {
        let count = count as u64;
        match self.0.iter_mut().find(|(known, _)| known == what) {
            Some((_, sum)) => *sum += count,
            None => self.0.push((what.to_owned(), count)),
        }
    }

    /// A count.
    pub fn of(&self, what: &str) -> u64 {
        self.0.iter().find(|(known, _)| known == what).map_or(0, |(_, count)| *count)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(what, count)| (what.as_str(), *count))
    }
}

/// The counts of several parts of a run side by side, in Markdown.
pub fn table(parts: &[(String, Counts)]) -> String {
    let mut table = "| |".to_owned();
    for (name, _) in parts {
        let _ = write!(table, " {name} |");
    }
    let _ = write!(table, "\n| --- |{}\n", " ---: |".repeat(parts.len()));
    let mut rows: Vec<&str> = Vec::new();
    for what in parts.iter().flat_map(|(_, counts)| counts.iter().map(|(what, _)| what)) {
        if !rows.contains(&what) {
            rows.push(what);
        }
    }
    for what in rows {
        let _ = write!(table, "| {what} |");
        for (_, counts) in parts {
            let _ = write!(table, " {} |", counts.of(what));
        }
        table.push('\n');
    }
    table
}
