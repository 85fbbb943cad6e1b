//! Secrets: referred to in the configuration, resolved when it is loaded, never shown.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::environment;
use super::error::Error;
use super::node::{Node, Place};
use super::read::{Context, Read, refuse, text};
use super::setting::Shape;

/// A text that may be secret: the value of a reference, or one that was written out.
#[derive(Clone)]
pub struct Secret {
    /// `env:NAME` or `file:PATH` as it was written; `None` if the value itself was.
    reference: Option<String>,
    value: SecretString,
}

impl Secret {
    /// The text.
    pub fn value(&self) -> &SecretString {
        &self.value
    }

    /// The text, if it is the value of a reference.
    pub(super) fn referred(self, node: &Node) -> Result<String, Error> {
        match self.reference {
            Some(_) => Ok(self.value.expose_secret().to_owned()),
            None => Err(Error::bad_secret(node, "it is not written into the configuration; refer to it as \"env:NAME\" or \"file:PATH\"")),
        }
    }
}

impl fmt::Debug for Secret {
    /// The reference, never the text.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.reference.as_deref().unwrap_or("(hidden)"))
    }
}

/// Whether `text` refers to a secret and does not hold one.
pub(super) fn is_reference(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
}

/// What `text`, the value of `node`, refers to; `None` if it is no reference.
fn resolve(node: &Node, text: &str, context: &Context<'_>) -> Result<Option<SecretString>, Error> {
    // A reference is no secret, and naming it is what helps.
    let fail = |reason: String| Error::bad_value(node, reason);
    if let Some(name) = text.strip_prefix("env:") {
        return match environment::text(context.environment, name) {
            Ok(Some(value)) => Ok(Some(value.into())),
            Ok(None) => Err(fail(format!("the environment variable {name} is not set, or is empty"))),
            Err(error) => Err(fail(error.to_string())),
        };
    }
    let Some(path) = text.strip_prefix("file:") else { return Ok(None) };
    let path = context.resolve(&node.place, path);
    let value = match std::fs::read_to_string(&path) {
        Ok(content) => content,
        Err(error) => return Err(fail(format!("failed to read {}: {error}", path.display()))),
    };
    // Editors and `echo` end a file with a newline that is no part of the secret.
    let value = value.strip_suffix('\n').unwrap_or(&value);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() { Err(fail(format!("{} is empty", path.display()))) } else { Ok(Some(value.into())) }
}

/// The value of an environment variable for a program.
impl Read for Secret {
    const SHAPE: Shape = Shape::Text;
    const SECRET: bool = true;

    fn type_name() -> String {
        "`env:NAME`, `file:PATH` or text".into()
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        let text = text::<Self>(node, r#""env:NAME", "file:PATH" or a text in quotes"#)?;
        match resolve(node, text, context)? {
            Some(value) => Ok(Self { reference: Some(text.to_owned()), value }),
            None if node.place == Place::Request => {
                let reason = "what a request says is stored and shown; refer to a value as \"env:NAME\" or \"file:PATH\"";
                Err(refuse::<Self>(node, reason))
            }
            None => Ok(Self { reference: None, value: text.into() }),
        }
    }

    fn check_name(name: &str) -> Result<(), &'static str> {
        let valid = !name.is_empty() && !name.contains(['=', '\0']);
        if valid { Ok(()) } else { Err("the name of an environment variable is not empty and has no '=' in it") }
    }
}

/// A key that clients show to the API.
#[derive(Clone, Debug)]
pub struct ApiKey(Secret);

impl ApiKey {
    /// The key: at least one character, all of them printable ASCII, as an HTTP header can carry them.
    pub fn value(&self) -> &SecretString {
        self.0.value()
    }
}

impl Read for ApiKey {
    const SHAPE: Shape = Shape::Text;
    const SECRET: bool = true;

    fn type_name() -> String {
        "`env:NAME` or `file:PATH`".into()
    }

    fn read(node: &Node, context: &Context<'_>) -> Result<Self, Error> {
        let text = text::<Self>(node, r#""env:NAME" or "file:PATH""#)?;
        let Some(value) = resolve(node, text, context)? else {
            let reason = "a key is not written into the configuration, which is copied, committed and shown; \
                          refer to it as \"env:NAME\" or \"file:PATH\"";
            return Err(refuse::<Self>(node, reason));
        };
        if !value.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::bad_value(node, "the key has a space, a line break or another character that an HTTP header cannot carry"));
        }
        Ok(Self(Secret { reference: Some(text.to_owned()), value }))
    }
}
