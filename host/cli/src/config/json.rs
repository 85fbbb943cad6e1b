//! JSON from the admin API as settings, so that both are read, checked and refused in the same words.

use serde_json::Value as Json;

use super::node::{Node, Place, Value, key_below};

/// `value` as the value of `key`.
pub(super) fn node(key: String, value: &Json) -> Node {
    let below = |name: &str, value: &Json| node(key_below(&key, name), value);
    let converted = match value {
        Json::Null => Value::Absent,
        Json::Bool(boolean) => Value::Boolean(*boolean),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::Other(number.to_string()), Value::Integer),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(values) => {
            Value::List(values.iter().enumerate().map(|(index, value)| node(format!("{key}[{index}]"), value)).collect())
        }
        Json::Object(fields) => Value::Table(fields.iter().map(|(name, value)| (name.clone(), below(name, value))).collect()),
    };
    Node { key, key_place: Place::Request, place: Place::Request, value: converted }
}
