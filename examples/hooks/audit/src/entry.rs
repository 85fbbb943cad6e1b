//! A line of the trail.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An event as it is written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry<'a> {
    #[serde(borrow)]
    pub(crate) session: Cow<'a, str>,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    /// When the hook was told, in Unix milliseconds.
    pub(crate) received: u64,
    #[serde(borrow)]
    pub(crate) data: &'a RawValue,
}

impl<'a> Entry<'a> {
    pub(crate) fn read(line: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(line)
    }

    pub(crate) fn write(&self, lines: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(&mut *lines, self)?;
        lines.push(b'\n');
        Ok(())
    }

    /// The same for a repeat, and for nothing else. Session, epoch and number alone would not do: they are used again by a session that was deleted and
    /// created anew, and its events must not be missing.
    pub(crate) fn identity(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.session, self.epoch, self.seq, &self.name, self.data.get()).hash(&mut hasher);
        hasher.finish()
    }
}

/// JSON without a raw newline in it: there is none but between its parts, where a space does as well.
pub(crate) fn one_line(json: String) -> serde_json::Result<Box<RawValue>> {
    RawValue::from_string(if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ") } else { json })
}
