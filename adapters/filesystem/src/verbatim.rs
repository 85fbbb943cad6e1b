//! A JSON document of the host inside a document of this adapter: readable where that is possible, and given back byte for byte.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A text that should be a JSON document. An object or a list is embedded as it is; anything else, also what is no JSON at all, as a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verbatim(pub(crate) String);

impl Verbatim {
    /// The text, if it can stand in a document without being changed: in one line, since lines are what is counted in a journal.
    fn embedded(&self) -> Option<&RawValue> {
        let is_one = self.0.starts_with(['{', '[']) && !self.0.contains(['\n', '\r']);
        let raw: &RawValue = if is_one { serde_json::from_str(&self.0).ok()? } else { return None };
        // It has no space behind it.
        (raw.get().len() == self.0.len()).then_some(raw)
    }
}

impl Serialize for Verbatim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.embedded() {
            Some(raw) => raw.serialize(serializer),
            None => serializer.serialize_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Verbatim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: Box<RawValue> = Deserialize::deserialize(deserializer)?;
        let text = raw.get();
        Ok(Self(if text.starts_with('"') { serde_json::from_str(text).map_err(D::Error::custom)? } else { text.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_as_it_was() {
        for (text, written) in [
            (r#"{"b":1, "a":[1.50, null]}"#, r#"{"b":1, "a":[1.50, null]}"#),
            ("[]", "[]"),
            ("", r#""""#),
            ("{", r#""{""#),
            (r#""text""#, r#""\"text\"""#),
            ("5", r#""5""#),
            ("{} ", r#""{} ""#),
            (" {}", r#"" {}""#),
            ("{\n}", r#""{\n}""#),
            ("{}{}", r#""{}{}""#),
        ] {
            let verbatim = Verbatim(text.to_owned());
            assert_eq!(serde_json::to_string(&verbatim).unwrap(), written);
            assert_eq!(serde_json::from_str::<Verbatim>(written).unwrap(), verbatim);
        }
    }
}
