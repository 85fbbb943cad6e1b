//! Databases that components may use.

use std::path::PathBuf;

use agent_host_wasm::PostgresOptions;
use secrecy::ExposeSecret as _;

use super::error::Error;
use super::node::{Node, Value};
use super::read::{Context, Read, refuse};
use super::secret::{Secret, is_reference};
use super::setting::Shape;

/// A database that a component may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// A SQLite database file, by its absolute path. Made if it is not there.
    Sqlite(PathBuf),
    /// A database of a PostgreSQL server.
    Postgresql(PostgresOptions),
}

/// What is written for a database.
const EXPECTED: &str =
    r#""sqlite:PATH", "postgres://USER@HOST/DATABASE" or a table such as { url = "postgres://USER@HOST/DATABASE", password = "env:NAME" }"#;

/// Connections at most: a server allows a hundred by default, for all its clients.
const MAX_CONNECTIONS: usize = 1000;

impl Read for Database {
    const SHAPE: Shape = Shape::Text;

    fn type_name() -> String {
        "`sqlite:PATH`, `postgres://USER@HOST/DATABASE`, or `{ url = URL, password = \"env:NAME\", connections = 10 }`".into()
    }

    fn shown(value: &Value) -> Value {
        match value {
            Value::Text(text) => Value::Text(without_password(text)),
            Value::Table(fields) => {
                let shown = |(name, field): &(String, Node)| {
                    let value = match name.as_str() {
                        "password" => super::read::without_secrets(&field.value),
                        _ => Self::shown(&field.value),
                    };
                    (name.clone(), Node { value, ..field.clone() })
                };
                Value::Table(fields.iter().map(shown).collect())
            }
            _ => value.clone(),
        }
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        match &node.value {
            Value::Text(text) => match text.strip_prefix("sqlite:") {
                Some("") => Err(refuse::<Self>(node, format!("expected {EXPECTED}"))),
                Some(path) => Ok(Self::Sqlite(context.resolve(&node.place, path))),
                None => Ok(Self::Postgresql(checked(node, PostgresOptions::new(url(node, context)?))?)),
            },
            Value::Table(fields) => {
                let (mut address, mut password, mut connections) = (None, None, None);
                for (name, field) in fields {
                    match name.as_str() {
                        "url" => address = Some(url(field, context)?),
                        "password" => password = Some(Secret::read(field, context)?.referred(field)?),
                        "connections" => connections = Some(usize::read(field, context)?),
                        _ => {
                            let hint = "a PostgreSQL database has url, password, connections".to_owned();
                            return Err(Error::UnknownKey { place: field.key_place.clone(), key: field.key.clone(), hint });
                        }
                    }
                }
                let Some(address) = address else {
                    return Err(refuse::<Self>(node, "url is missing: postgres://USER@HOST/DATABASE"));
                };
                let mut options = PostgresOptions::new(address);
                options.password = password;
                if let Some(connections) = connections {
                    if !(1..=MAX_CONNECTIONS).contains(&connections) {
                        return Err(refuse::<Self>(node, format!("connections is a number from 1 to {MAX_CONNECTIONS}")));
                    }
                    options.connections = connections;
                }
                Ok(Self::Postgresql(checked(node, options)?))
            }
            _ => Err(refuse::<Self>(node, format!("expected {EXPECTED}"))),
        }
    }
}

/// The URL that a value is or refers to. One that is written out has no password.
fn url(node: &Node, context: &Context<'_>) -> Result<String, Error> {
    let Value::Text(text) = &node.value else { return Err(refuse::<Database>(node, "expected a URL: postgres://USER@HOST/DATABASE")) };
    if is_reference(text) {
        return Ok(Secret::read(node, context)?.value().expose_secret().to_owned());
    }
    if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
        return Err(refuse::<Database>(node, format!("expected {EXPECTED}")));
    }
    if without_password(text) != *text {
        let reason = "a password is not written into the configuration, which is copied, committed and shown; \
                      write { url = \"postgres://USER@HOST/DATABASE\", password = \"env:NAME\" }, or refer to the whole URL as \"env:NAME\"";
        return Err(Error::bad_secret(node, reason));
    }
    Ok(text.clone())
}

fn checked(node: &Node, options: PostgresOptions) -> Result<PostgresOptions, Error> {
    // Its words name no part of the URL that could be secret; the URL itself could.
    options.check().map_err(|error| Error::bad_secret(node, error.to_string()))?;
    Ok(options)
}

/// The URL with its password hidden, be it in front of the host or a parameter.
pub fn without_password(url: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let mut shown = address.to_owned();
    if let Some((scheme, rest)) = address.split_once("://")
        && let Some((user, host)) = rest.split_once('/').map_or(rest, |(authority, _)| authority).rsplit_once('@')
        && let Some((name, _)) = user.split_once(':')
    {
        let behind = rest.get(user.len()..).unwrap_or(host);
        shown = format!("{scheme}://{name}:(hidden){behind}");
    }
    if let Some(query) = query {
        let hide = |pair: &str| if pair.starts_with("password=") { "password=(hidden)".to_owned() } else { pair.to_owned() };
        shown = format!("{shown}?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("postgres://a@db/b", "postgres://a@db/b"),
            ("postgres://a:s3cret@db/b", "postgres://a:(hidden)@db/b"),
            ("postgres://a:s@3cret@db:1,other:2/b?x=y", "postgres://a:(hidden)@db:1,other:2/b?x=y"),
            ("postgres://a@db/b?x=y&password=s3cret", "postgres://a@db/b?x=y&password=(hidden)"),
            ("postgres://a@db/b:c@d", "postgres://a@db/b:c@d"),
            ("sqlite:a:b@c", "sqlite:a:b@c"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
