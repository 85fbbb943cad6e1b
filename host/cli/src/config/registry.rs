//! Components in OCI registries.

use agent_host_registry::{InvalidReference, Reference};

use super::error::Error;
use super::node::{Node, Value};
use super::read::{Context, Read, refuse, without_secrets};
use super::secret::Secret;
use super::setting::Shape;

/// The component in a registry that a text names; `None` if it is meant to be something else.
pub(super) fn reference<T: Read>(node: &Node, text: &str) -> Result<Option<Reference>, Error> {
    if !Reference::is_meant_by(text) {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: InvalidReference| refuse::<T>(node, error.to_string()))
}

/// Who the host is for a registry.
#[derive(Clone, Debug)]
pub struct Login {
    /// A name.
    pub username: String,
    /// A password or a token.
    pub password: Secret,
}

impl Read for Login {
    const SHAPE: Shape = Shape::Value;

    fn type_name() -> String {
        "`{ username = NAME, password = \"env:NAME\" }`".into()
    }

    fn shown(value: &Value) -> Value {
        let Value::Table(fields) = value else { return value.clone() };
        let shown = |(name, field): &(String, Node)| {
            let value = if name == "password" { without_secrets(&field.value) } else { field.value.clone() };
            (name.clone(), Node { value, ..field.clone() })
        };
        Value::Table(fields.iter().map(shown).collect())
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        let Value::Table(fields) = &node.value else {
            return Err(refuse::<Self>(node, r#"expected a table such as { username = "acme", password = "env:REGISTRY_TOKEN" }"#));
        };
        let (mut username, mut password) = (None, None);
        for (name, field) in fields {
            match name.as_str() {
                "username" => username = Some(String::read(field, context)?),
                "password" => {
                    let secret = Secret::read(field, context)?;
                    secret.clone().referred(field)?;
                    password = Some(secret);
                }
                _ => {
                    let hint = "a login has username, password".to_owned();
                    return Err(Error::UnknownKey { place: field.key_place.clone(), key: field.key.clone(), hint });
                }
            }
        }
        match (username, password) {
            (Some(username), Some(password)) => Ok(Self { username, password }),
            (None, _) => Err(refuse::<Self>(node, "username is missing")),
            (_, None) => Err(refuse::<Self>(node, "password is missing")),
        }
    }
}
