//! What the operator wrote for the component, such as under `[persistence.config]`.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// The component's configuration: keys with values, both text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config(Vec<(String, String)>);

impl Config {
    /// From keys and values.
    pub fn new(entries: Vec<(String, String)>) -> Self {
        Self(entries)
    }

    /// All of it, for an adapter behind this one.
    pub fn entries(&self) -> &[(String, String)] {
        &self.0
    }

    /// Refuses keys that are not in `known`, so that a typing error is not silently ignored.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the key and those that there are.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        let Some((unknown, _)) = self.0.iter().find(|(key, _)| !known.contains(&key.as_str())) else { return Ok(()) };
        let known = if known.is_empty() { "there are none".to_owned() } else { format!("known are: {}", known.join(", ")) };
        Err(Error::invalid(format!("unknown configuration key {unknown:?}; {known}")))
    }

    /// A key's value; `None` if it is absent.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A key's value.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the key if it is absent.
    pub fn require(&self, key: &str) -> Result<&str> {
        self.get(key).ok_or_else(|| Error::invalid(format!("the configuration key {key:?} is missing")))
    }

    /// A key's value as a number, an address, or whatever can be read from text; `None` if it is absent.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the key and says what is wrong with the value, which is not repeated: it may be a secret.
    pub fn parse<T: FromStr<Err: fmt::Display>>(&self, key: &str) -> Result<Option<T>> {
        let parsed = self.get(key).map(str::parse).transpose();
        parsed.map_err(|error| Error::invalid(format!("the value of the configuration key {key:?} is invalid: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new(vec![("database".to_owned(), "main".to_owned()), ("rows".to_owned(), "many".to_owned())])
    }

    fn invalid<T: fmt::Debug>(result: Result<T>) -> String {
        match result {
            Err(Error::Invalid(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_are_found_and_read() {
        assert_eq!(config().require("database").unwrap(), "main");
        assert_eq!(config().get("absent"), None);
        assert_eq!(config().parse::<u32>("absent").unwrap(), None);
    }

    #[test]
    fn errors_name_the_key() {
        assert!(invalid(config().require("absent")).contains("\"absent\""));
        assert!(invalid(config().parse::<u32>("rows")).contains("\"rows\""));
        let unknown = invalid(config().only(&["database"]));
        assert!(unknown.contains("\"rows\"") && unknown.contains("database"), "{unknown}");
    }
}
