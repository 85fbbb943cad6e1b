//! TOML values that know their key and the place where they were given.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Error;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is the default.
    Default,
    /// In a file.
    File {
        /// As it was named.
        file: Arc<Path>,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// As a flag.
    Flag(String),
    /// In a request to the admin API.
    Request,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { file, line, column } => write!(formatter, "{}:{line}:{column}", file.display()),
            Self::Variable(name) => write!(formatter, "environment variable {name}"),
            Self::Flag(name) => write!(formatter, "flag {name}"),
            Self::Request => formatter.write_str("request"),
        }
    }
}

/// A value with its key and its place. No `Debug`: it may hold a secret.
#[derive(Clone)]
pub(super) struct Node {
    /// The whole key: `persistence.grants.dirs[0].host`.
    pub(super) key: String,
    /// Where the key is.
    pub(super) key_place: Place,
    /// Where the value is.
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A TOML value of the kinds that settings are made of.
#[derive(Clone)]
pub(super) enum Value {
    /// The setting has no value.
    Absent,
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Node>),
    /// In the order of the document.
    Table(Vec<(String, Node)>),
    /// A number with a point, a date, an integer beyond 64 bits: no setting takes one.
    Other(String),
}

impl Value {
    /// A list or a table with `change` made to each value in it; anything else as it is.
    pub(super) fn each(&self, change: impl Fn(&Self) -> Self) -> Self {
        let changed = |node: &Node| Node { value: change(&node.value), ..node.clone() };
        match self {
            Self::List(nodes) => Self::List(nodes.iter().map(changed).collect()),
            Self::Table(nodes) => Self::Table(nodes.iter().map(|(name, node)| (name.clone(), changed(node))).collect()),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Value {
    /// As TOML on one line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => formatter.write_str("(not set)"),
            Self::Text(text) => fmt_text(text, formatter),
            Self::Integer(integer) => integer.fmt(formatter),
            Self::Boolean(boolean) => boolean.fmt(formatter),
            Self::List(nodes) => {
                formatter.write_str("[")?;
                for (index, node) in nodes.iter().enumerate() {
                    formatter.write_str(if index == 0 { "" } else { ", " })?;
                    node.value.fmt(formatter)?;
                }
                formatter.write_str("]")
            }
            Self::Table(nodes) if nodes.is_empty() => formatter.write_str("{}"),
            Self::Table(nodes) => {
                for (index, (name, node)) in nodes.iter().enumerate() {
                    write!(formatter, "{}{} = {}", if index == 0 { "{ " } else { ", " }, quoted_key(name), node.value)?;
                }
                formatter.write_str(" }")
            }
            Self::Other(text) => formatter.write_str(text),
        }
    }
}

/// As a TOML basic string, whose escapes for control characters keep it on one line.
fn fmt_text(text: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    formatter.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(formatter, "\\{character}")?,
            '\n' => formatter.write_str("\\n")?,
            '\r' => formatter.write_str("\\r")?,
            '\t' => formatter.write_str("\\t")?,
            control if control.is_control() => write!(formatter, "\\u{:04X}", u32::from(control))?,
            other => write!(formatter, "{other}")?,
        }
    }
    formatter.write_str("\"")
}

/// A part of a key, in quotes if TOML needs them.
fn quoted_key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if bare { name.to_owned() } else { Value::Text(name.to_owned()).to_string() }
}

/// The key of `name` in the table `parent`, which is empty for the document itself.
pub(super) fn key_below(parent: &str, name: &str) -> String {
    if parent.is_empty() { quoted_key(name) } else { format!("{parent}.{}", quoted_key(name)) }
}

impl Node {
    /// The document in `text`, which was read from `file`.
    ///
    /// # Errors
    /// [`Error::Syntax`] if it is not TOML.
    pub(super) fn document(file: &Path, text: &str) -> Result<Self, Error> {
        let places = Places { file: file.into(), text };
        let table = DeTable::parse(text).map_err(|error| Error::Syntax {
            place: places.at(error.span().map_or(0, |span| span.start)),
            reason: error.message().replace('\n', ", "),
        })?;
        let place = places.at(0);
        let value = convert_table(table.get_ref(), "", &|offset| places.at(offset));
        Ok(Self { key: String::new(), key_place: place.clone(), place, value })
    }

    /// The value of `key` that `toml`, one TOML value, stands for; `None` if it is not TOML.
    pub(super) fn value(key: &str, place: &Place, toml: &str) -> Option<Self> {
        let value = DeValue::parse(toml.trim()).ok()?;
        let value = convert(value.get_ref(), key, &|_| place.clone());
        Some(Self { key: key.to_owned(), key_place: place.clone(), place: place.clone(), value })
    }

    /// That `key` has no value.
    pub(super) fn absent(key: &str) -> Self {
        Self { key: key.to_owned(), key_place: Place::Default, place: Place::Default, value: Value::Absent }
    }

    /// A text as the value of `key`.
    pub(super) fn text(key: &str, place: &Place, text: &str) -> Self {
        Self { key: key.to_owned(), key_place: place.clone(), place: place.clone(), value: Value::Text(text.to_owned()) }
    }
}

/// Turns offsets in a document into places.
struct Places<'a> {
    file: Arc<Path>,
    text: &'a str,
}

impl Places<'_> {
    fn at(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place::File {
            file: Arc::clone(&self.file),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).map_or(0, |line| line.chars().count()) + 1,
        }
    }
}

type PlaceOf<'a> = &'a dyn Fn(usize) -> Place;

fn convert(value: &DeValue<'_>, key: &str, place: PlaceOf<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other(integer.to_string()),
        },
        DeValue::Float(float) => Value::Other(float.to_string()),
        DeValue::Datetime(datetime) => Value::Other(datetime.to_string()),
        DeValue::Array(values) => Value::List(
            values
                .iter()
                .enumerate()
                .map(|(index, value)| {
                    let place_of_value = place(value.span().start);
                    let key = format!("{key}[{index}]");
                    let value = convert(value.get_ref(), &key, place);
                    Node { key, key_place: place_of_value.clone(), place: place_of_value, value }
                })
                .collect(),
        ),
        DeValue::Table(table) => convert_table(table, key, place),
    }
}

fn convert_table(table: &DeTable<'_>, key: &str, place: PlaceOf<'_>) -> Value {
    let mut entries: Vec<(&Spanned<_>, &Spanned<_>)> = table.iter().collect();
    // The parser sorts by name. The first error should be the first in the document.
    entries.sort_by_key(|(name, _)| name.span().start);
    let nodes = entries.into_iter().map(|(name, value)| {
        let key = key_below(key, name.get_ref());
        let node = Node {
            key_place: place(name.span().start),
            place: place(value.span().start),
            value: convert(value.get_ref(), &key, place),
            key,
        };
        (name.get_ref().to_string(), node)
    });
    Value::Table(nodes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_key_and_its_place() {
        let text = "a = 1\n[s]\n\"ü\" = 2\nlist = [\n  { x = true },\n  'y',\n]\n[s.\"q r\"]\nb = 1979-05-27\n";
        let mut seen = Vec::new();
        fn walk(node: &Node, seen: &mut Vec<String>) {
            match &node.value {
                Value::List(nodes) => nodes.iter().for_each(|node| walk(node, seen)),
                Value::Table(nodes) => nodes.iter().for_each(|(_, node)| walk(node, seen)),
                value => seen.push(format!("{} {} {value}", node.place, node.key)),
            }
        }
        walk(&Node::document(Path::new("f.toml"), text).unwrap(), &mut seen);
        assert_eq!(
            seen,
            [
                "f.toml:1:5 a 1",
                "f.toml:3:7 s.\"ü\" 2",
                "f.toml:5:9 s.list[0].x true",
                "f.toml:6:3 s.list[1] \"y\"",
                "f.toml:9:5 s.\"q r\".b 1979-05-27"
            ]
        );
    }

    #[test]
    fn a_value_is_written_as_toml_that_reads_back() {
        for toml in [r#""a \"b\" \\ \n\t\u0007 é""#, "[1, [true, {}], -7]", r#"{ a = 1, "b c" = "d" }"#] {
            let node = Node::value("k", &Place::Default, toml).unwrap();
            assert_eq!(node.value.to_string(), toml);
        }
    }
}
