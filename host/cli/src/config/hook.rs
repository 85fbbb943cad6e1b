//! Hooks in the configuration: tables in a list, with what a component may use in tables of their own.

use std::fmt;

use agent_host_wasm::hooks::Name;

use super::error::Error;
use super::node::{Node, Value};
use super::read::{Context, Read, refuse, text, without_secrets};
use super::schema::{ComponentLimits, Grants, Hook};
use super::setting::{Section as _, Shape};

/// A hook's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookName(pub Name);

impl fmt::Display for HookName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Read for HookName {
    const SHAPE: Shape = Shape::Text;

    fn type_name() -> String {
        "text".into()
    }

    fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
        let name = Name::new(text::<Self>(node, "a name in quotes")?);
        name.map(Self).map_err(|error| refuse::<Self>(node, error.to_string()))
    }
}

impl Read for Hook {
    const SHAPE: Shape = Shape::Value;

    fn type_name() -> String {
        "tables, see `[[hooks]]`".into()
    }

    fn shown(value: &Value) -> Value {
        within(value, "grants", Grants::shown)
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        let fields = match &node.value {
            Value::Table(fields) => fields.as_slice(),
            _ => &[],
        };
        for (required, what) in [("name", "what it is called in this host"), ("component", "the path of a .wasm file")] {
            if !fields.iter().any(|(name, _)| name == required) {
                // The table is not quoted: a secret may be in it, be it under a misspelt name.
                return Err(Error::bad_secret(node, format!("{required} is missing: {what}")));
            }
        }
        Self::read_from(node, context)
    }
}

impl Read for Grants {
    const SHAPE: Shape = Shape::Value;

    fn type_name() -> String {
        "table".into()
    }

    fn shown(value: &Value) -> Value {
        within(value, "env", without_secrets)
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        Self::read_from(node, context)
    }
}

impl Read for ComponentLimits {
    const SHAPE: Shape = Shape::Value;

    fn type_name() -> String {
        "table".into()
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        Self::read_from(node, context)
    }
}

/// A table in which one field is shown otherwise.
fn within(table: &Value, field: &str, shown: fn(&Value) -> Value) -> Value {
    let Value::Table(nodes) = table else { return table.clone() };
    let change = |(name, node): &(String, Node)| {
        let value = if name == field { shown(&node.value) } else { node.value.clone() };
        (name.clone(), Node { value, ..node.clone() })
    };
    Value::Table(nodes.iter().map(change).collect())
}
