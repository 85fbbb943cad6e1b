//! What the host tells Prometheus, read as strictly as a scraper does.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::Client;
use crate::host::Host;

/// All metrics at one moment.
#[derive(Clone, Debug)]
pub struct Metrics {
    samples: Vec<Sample>,
    /// The type of each name that has one.
    types: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Host {
    /// Its metrics, asked for with its key.
    pub async fn metrics(&self) -> Metrics {
        self.client().metrics().await
    }
}

impl Client {
    /// The metrics.
    pub async fn metrics(&self) -> Metrics {
        let body = self.get("/metrics").await.expect(200);
        Metrics::parse(body.as_str().expect("the metrics are no text"))
    }
}

impl Metrics {
    /// Reads the text format 0.0.4, and checks what scrapers rely on: each name has one HELP and one TYPE before its samples, and no sample comes twice.
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self { samples: Vec::new(), types: BTreeMap::new() };
        let (mut helped, mut seen) = (BTreeSet::new(), BTreeSet::new());
        assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                assert!(!help.is_empty() && helped.insert(name), "no help, or a second one: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                assert!(helped.contains(name), "no help before the type: {line}");
                assert!(metrics.types.insert(name.to_owned(), kind.to_owned()).is_none(), "a second type: {line}");
            } else {
                assert!(!line.starts_with('#'), "neither help nor type: {line}");
                let sample = sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
                assert!(metrics.family(&sample.name).is_some(), "no type before the sample: {line}");
                assert!(seen.insert(line.rsplit_once(' ').map(|(series, _)| series)), "a sample comes twice: {line}");
                metrics.samples.push(sample);
            }
        }
        metrics
    }

    /// The sum of the samples of that name that have these labels, whatever others they have; 0 if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &Sample| labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value));
        self.samples.iter().filter(|sample| sample.name == name && has(sample)).map(|sample| sample.value).sum()
    }

    /// The names that have a type, with it.
    pub fn types(&self) -> &BTreeMap<String, String> {
        &self.types
    }

    /// The values of a label, wherever it is.
    pub fn label_values(&self, label: &str) -> BTreeSet<&str> {
        self.samples.iter().filter_map(|sample| sample.labels.get(label)).map(String::as_str).collect()
    }

    /// All labels that there are.
    pub fn labels(&self) -> BTreeSet<&str> {
        self.samples.iter().flat_map(|sample| sample.labels.keys()).map(String::as_str).collect()
    }

    /// The name under which the type of a sample stands.
    fn family<'a>(&self, name: &'a str) -> Option<&'a str> {
        if self.types.contains_key(name) {
            return Some(name);
        }
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
        (self.types.get(of_histogram)? == "histogram").then_some(of_histogram)
    }
}

/// `name{label="value",…} value`.
fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let is_word = |text: &str| {
        let mut characters = text.chars();
        characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && characters.all(|character| character.is_ascii_alphanumeric() || character == '_')
    };
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if !is_word(key) || labels.insert(key.to_owned(), value).is_some() {
                return None;
            }
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    is_word(name).then(|| Sample { name: name.to_owned(), labels, value })
}

/// A value up to its closing quotation mark, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (end, '"') => return Some((value, text.get(end + 1..)?)),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, other) => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_and_summed_by_labels() {
        let metrics = Metrics::parse(concat!(
            "# HELP a_total Help.\n# TYPE a_total counter\na_total{x=\"1\",y=\"q\\\"}\"} 2\na_total{x=\"2\",y=\"\"} 3.5\n",
            "# HELP h Help.\n# TYPE h histogram\nh_sum 0.5\nh_count 1\nh_bucket{le=\"+Inf\"} 1\n",
        ));
        assert_eq!(metrics.sum("a_total", &[]), 5.5);
        assert_eq!(metrics.sum("a_total", &[("x", "2")]), 3.5);
        assert_eq!(metrics.sum("h_count", &[]), 1.0);
        assert_eq!(metrics.label_values("y"), BTreeSet::from(["", "q\"}"]));
    }

    #[test]
    #[should_panic(expected = "no type before the sample")]
    fn a_sample_without_a_type_is_noticed() {
        Metrics::parse("a 1\n");
    }

    #[test]
    #[should_panic(expected = "a sample comes twice")]
    fn a_sample_that_comes_twice_is_noticed() {
        Metrics::parse("# HELP a Help.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"1\"} 2\n");
    }
}
