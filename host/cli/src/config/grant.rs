//! Settings that grant something: the persistence component and what it may use, the origins of web pages. Databases are in `database`.

use std::path::PathBuf;

use agent_host_api::Origin;
use agent_host_registry::Reference;
use agent_host_wasm::grants::{HttpRule, NetworkRule, RuleError};

use super::error::Error;
use super::node::{Node, Value};
use super::read::{Context, Read, refuse, text};
use super::registry::reference;
use super::setting::Shape;

/// Which persistence component runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// The built-in one that keeps everything in a SQLite database.
    Sqlite,
    /// The same, in a PostgreSQL database.
    Postgresql,
    /// The built-in one that keeps everything in memory.
    Memory,
    /// One's own: the absolute path of a component.
    File(PathBuf),
    /// One in a registry.
    Registry(Reference),
}

impl Read for Component {
    const SHAPE: Shape = Shape::Text;

    fn type_name() -> String {
        "`\"sqlite\"`, `\"postgresql\"`, `\"memory\"`, the path of a .wasm file or `\"oci://HOST/REPOSITORY@sha256:DIGEST\"`".into()
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        let expected = r#""sqlite", "postgresql", "memory", the path of a .wasm file or oci://HOST/REPOSITORY@sha256:DIGEST"#;
        let text = text::<Self>(node, expected)?;
        if let Some(reference) = reference::<Self>(node, text)? {
            return Ok(Self::Registry(reference));
        }
        match text {
            "sqlite" => Ok(Self::Sqlite),
            "postgresql" => Ok(Self::Postgresql),
            "memory" => Ok(Self::Memory),
            path if path.ends_with(".wasm") => {
                let path = context.resolve(&node.place, path);
                if path.is_file() {
                    Ok(Self::File(path))
                } else {
                    Err(refuse::<Self>(node, format!("there is no file {}", path.display())))
                }
            }
            _ => Err(refuse::<Self>(node, format!("expected {expected}"))),
        }
    }
}

/// A hook's component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookComponent {
    /// The absolute path of a file.
    File(PathBuf),
    /// One in a registry.
    Registry(Reference),
}

impl Read for HookComponent {
    const SHAPE: Shape = Shape::Text;

    fn type_name() -> String {
        "path of a .wasm file or `\"oci://HOST/REPOSITORY@sha256:DIGEST\"`".into()
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        let text = text::<Self>(node, "the path of a .wasm file")?;
        if let Some(reference) = reference::<Self>(node, text)? {
            return Ok(Self::Registry(reference));
        }
        let path = context.resolve(&node.place, text);
        if path.is_file() { Ok(Self::File(path)) } else { Err(refuse::<Self>(node, format!("there is no file {}", path.display()))) }
    }
}

/// A directory that a component may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its absolute path on this machine.
    pub host: PathBuf,
    /// Its absolute path as the component sees it.
    pub guest: String,
    /// Whether the component may change what is in it.
    pub write: bool,
}

impl Read for Directory {
    const SHAPE: Shape = Shape::Value;

    fn type_name() -> String {
        "`{ host = PATH, guest = PATH, write = false }`".into()
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        let Value::Table(fields) = &node.value else {
            return Err(refuse::<Self>(node, r#"expected a table such as { host = "data", guest = "/data", write = true }"#));
        };
        let (mut host, mut guest, mut write) = (None, None, false);
        for (name, field) in fields {
            match name.as_str() {
                "host" => host = Some(PathBuf::read(field, context)?),
                "guest" => guest = Some(guest_path(field)?),
                "write" => write = bool::read(field, context)?,
                _ => {
                    let hint = "a directory has host, guest, write".to_owned();
                    return Err(Error::UnknownKey { place: field.key_place.clone(), key: field.key.clone(), hint });
                }
            }
        }
        match (host, guest) {
            (Some(host), Some(guest)) => Ok(Self { host, guest, write }),
            (None, _) => Err(refuse::<Self>(node, "host is missing: the directory on this machine")),
            (_, None) => Err(refuse::<Self>(node, "guest is missing: the directory as the component sees it")),
        }
    }
}

fn guest_path(node: &Node) -> Result<String, Error> {
    let expected = r#"an absolute path such as "/data""#;
    match text::<String>(node, expected)? {
        path if path.starts_with('/') => Ok(path.to_owned()),
        _ => Err(refuse::<String>(node, format!("expected {expected}"))),
    }
}

impl Read for NetworkRule {
    const SHAPE: Shape = Shape::Text;

    fn type_name() -> String {
        "`HOST:PORT`".into()
    }

    fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
        text::<Self>(node, r#"a rule such as "db.example.org:5432""#)?
            .parse()
            .map_err(|error: RuleError| refuse::<Self>(node, error.to_string()))
    }
}

impl Read for HttpRule {
    const SHAPE: Shape = Shape::Text;

    fn type_name() -> String {
        "`https://HOST/PATH/*`".into()
    }

    fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
        let text = text::<Self>(node, r#"a rule such as "https://api.example.org/v1/*""#)?;
        text.parse().map_err(|error: RuleError| refuse::<Self>(node, error.to_string()))
    }
}

impl Read for Origin {
    const SHAPE: Shape = Shape::Text;

    fn type_name() -> String {
        "`https://HOST`".into()
    }

    fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
        let expected = r#"an origin such as "https://example.org" or "http://localhost:3000", without a path"#;
        Self::new(text::<Self>(node, expected)?).map_err(|_| refuse::<Self>(node, format!("expected {expected}")))
    }
}
