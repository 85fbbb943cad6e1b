//! The environment variables, as a trait, so that a test can give its own.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::error::Error;

/// Environment variables.
pub trait Environment {
    /// The value of `name`; `None` if it is not set.
    fn get(&self, name: &str) -> Option<OsString>;

    /// The names of all variables that are text.
    fn names(&self) -> Vec<String>;
}

/// The variables of this process.
#[derive(Clone, Copy, Debug)]
pub struct Process;

impl Environment for Process {
    fn get(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
    }
}

impl Environment for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<OsString> {
        BTreeMap::get(self, name).map(OsString::from)
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}

/// The value of `name`; `None` if it is not set or empty, which container tools make of a variable that is passed on but not there.
///
/// # Errors
/// [`Error::NotUnicode`] if it is not text.
pub(super) fn text(environment: &dyn Environment, name: &str) -> Result<Option<String>, Error> {
    match environment.get(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(Err(_)) => Err(Error::NotUnicode(name.to_owned())),
    }
}
