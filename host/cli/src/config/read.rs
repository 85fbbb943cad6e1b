//! Reading nodes: texts, numbers, durations, sizes, addresses, paths, lists and tables.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use jiff::fmt::friendly::SpanParser;

use super::environment::Environment;
use super::error::Error;
use super::node::{Node, Place, Value};
use super::secret::is_reference;
use super::setting::{Shape, key};

/// The longest duration: a year. A deadline is the present plus a duration, which must be a time that the clock can hold.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What reading needs besides the value.
pub(super) struct Context<'a> {
    pub(super) environment: &'a dyn Environment,
    pub(super) working_dir: &'a Path,
}

impl Context<'_> {
    /// `path` as an absolute path, if `working_dir` is one: relative to the file that it stands in, or to the working directory.
    pub(super) fn resolve(&self, place: &Place, path: &str) -> PathBuf {
        let base = match place {
            Place::File { file, .. } => self.working_dir.join(file.parent().unwrap_or(Path::new(""))),
            Place::Default | Place::Variable(_) | Place::Flag(_) | Place::Request => self.working_dir.to_owned(),
        };
        // Taken apart and put together again, so that a `./` in the middle does not show up in messages.
        base.join(path).components().collect()
    }
}

/// The values of all settings, to be read.
pub(super) struct Reader<'a> {
    pub(super) nodes: &'a BTreeMap<String, Node>,
    pub(super) context: &'a Context<'a>,
}

impl Reader<'_> {
    /// The value of a setting.
    ///
    /// # Errors
    /// If it cannot be used.
    pub(super) fn setting<T: Read>(&self, section: &str, name: &str) -> Result<T, Error> {
        let key = key(section, name);
        match self.nodes.get(&key) {
            Some(node) => T::read(node, self.context),
            None => T::read(&Node::absent(&key), self.context),
        }
    }
}

/// A type of values.
pub(super) trait Read: Sized {
    /// How a flag or a variable is understood.
    const SHAPE: Shape;

    /// Whether the value must not be shown.
    const SECRET: bool = false;

    /// For people: `duration`.
    fn type_name() -> String;

    /// What may be shown of a value.
    fn shown(value: &Value) -> Value {
        if Self::SECRET { without_secrets(value) } else { value.clone() }
    }

    /// Takes the value out of `node`.
    ///
    /// # Errors
    /// [`Error::BadValue`] says what was expected.
    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error>;

    /// Checks the name that a value has in a [table](BTreeMap), and says what is wrong with it.
    ///
    /// # Errors
    /// The reason.
    fn check_name(_name: &str) -> Result<(), &'static str> {
        Ok(())
    }
}

/// The value with nothing in it but references to secrets.
pub(super) fn without_secrets(value: &Value) -> Value {
    match value {
        Value::Text(text) if is_reference(text) => value.clone(),
        Value::List(_) | Value::Table(_) => value.each(without_secrets),
        _ => Value::Text("(hidden)".to_owned()),
    }
}

/// That `node` is not a value of type `T`.
pub(super) fn refuse<T: Read>(node: &Node, reason: impl Into<String>) -> Error {
    if T::SECRET { Error::bad_secret(node, reason) } else { Error::bad_value(node, reason) }
}

/// The text of `node`.
pub(super) fn text<'a, T: Read>(node: &'a Node, expected: &str) -> Result<&'a str, Error> {
    match &node.value {
        Value::Text(text) => Ok(text),
        _ => Err(refuse::<T>(node, format!("expected {expected}"))),
    }
}

impl Read for String {
    const SHAPE: Shape = Shape::Text;

    fn type_name() -> String {
        "text".into()
    }

    fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
        text::<Self>(node, "a text in quotes").map(str::to_owned)
    }
}

impl Read for bool {
    const SHAPE: Shape = Shape::Value;

    fn type_name() -> String {
        "`true` or `false`".into()
    }

    fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
        match node.value {
            Value::Boolean(boolean) => Ok(boolean),
            _ => Err(refuse::<Self>(node, "expected true or false")),
        }
    }
}

/// A number of things.
impl Read for usize {
    const SHAPE: Shape = Shape::Value;

    fn type_name() -> String {
        "number".into()
    }

    fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
        match node.value {
            Value::Integer(number) => Self::try_from(number).ok().filter(|number| *number > 0),
            _ => None,
        }
        .ok_or_else(|| refuse::<Self>(node, "expected a whole number, at least 1"))
    }
}

/// A number that may be none.
impl Read for u32 {
    const SHAPE: Shape = Shape::Value;

    fn type_name() -> String {
        "number".into()
    }

    fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
        let number = if let Value::Integer(number) = node.value { Self::try_from(number).ok() } else { None };
        number.ok_or_else(|| refuse::<Self>(node, "expected a whole number"))
    }
}

/// A number of bytes.
impl Read for u64 {
    const SHAPE: Shape = Shape::Text;

    fn type_name() -> String {
        "size".into()
    }

    fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
        let bytes = match &node.value {
            Value::Integer(bytes) => Self::try_from(*bytes).ok(),
            Value::Text(text) => text.trim().parse::<ByteSize>().ok().map(|size| size.as_u64()),
            _ => None,
        };
        bytes
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| refuse::<Self>(node, r#"expected a size such as "10 MiB", "512 KB" or a number of bytes, at least 1"#))
    }
}

impl Read for Duration {
    const SHAPE: Shape = Shape::Text;

    fn type_name() -> String {
        "duration".into()
    }

    fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
        let expected = r#"a duration such as "15m", "1h 30m" or "500ms""#;
        let duration = SpanParser::new()
            .parse_unsigned_duration(text::<Self>(node, expected)?.trim())
            .map_err(|_| refuse::<Self>(node, format!("expected {expected}")))?;
        if duration.is_zero() || duration > MAX_DURATION {
            return Err(refuse::<Self>(node, "expected a duration of more than zero and at most 8760h"));
        }
        Ok(duration)
    }
}

impl Read for SocketAddr {
    const SHAPE: Shape = Shape::Text;

    fn type_name() -> String {
        "address".into()
    }

    fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
        let expected = r#"an IP address with a port, such as "127.0.0.1:7878" or "[::1]:7878""#;
        text::<Self>(node, expected)?.parse().map_err(|_| refuse::<Self>(node, format!("expected {expected}")))
    }
}

impl Read for PathBuf {
    const SHAPE: Shape = Shape::Text;

    fn type_name() -> String {
        "path".into()
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        match text::<Self>(node, "a path in quotes")? {
            "" => Err(refuse::<Self>(node, "expected a path, not an empty text")),
            path => Ok(context.resolve(&node.place, path)),
        }
    }
}

impl<T: Read> Read for Option<T> {
    const SHAPE: Shape = T::SHAPE;
    const SECRET: bool = T::SECRET;

    fn type_name() -> String {
        T::type_name()
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        match node.value {
            Value::Absent => Ok(None),
            _ => T::read(node, context).map(Some),
        }
    }
}

impl<T: Read> Read for Vec<T> {
    const SHAPE: Shape = Shape::List;
    const SECRET: bool = T::SECRET;

    fn type_name() -> String {
        format!("list of {}", T::type_name())
    }

    fn shown(value: &Value) -> Value {
        if matches!(value, Value::List(_)) { value.each(T::shown) } else { T::shown(value) }
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        match &node.value {
            Value::List(nodes) => nodes.iter().map(|node| T::read(node, context)).collect(),
            _ => Err(refuse::<Self>(node, r#"expected a list such as ["a", "b"]"#)),
        }
    }
}

/// Any names with a value each.
impl<T: Read> Read for BTreeMap<String, T> {
    const SHAPE: Shape = Shape::Value;
    const SECRET: bool = T::SECRET;

    fn type_name() -> String {
        format!("table of {}", T::type_name())
    }

    fn shown(value: &Value) -> Value {
        if matches!(value, Value::Table(_)) { value.each(T::shown) } else { T::shown(value) }
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        let Value::Table(nodes) = &node.value else {
            return Err(refuse::<Self>(node, r#"expected a table such as { NAME = "value" }"#));
        };
        let entry = |(name, node): &(String, Node)| {
            T::check_name(name).map_err(|reason| refuse::<T>(node, reason))?;
            Ok((name.clone(), T::read(node, context)?))
        };
        nodes.iter().map(entry).collect()
    }
}
