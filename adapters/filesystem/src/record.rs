//! A session's record as a file: an object in JSON with a line for each field, always in the same order.

use std::path::Path;

use agent_host_adapter::{Error, Result, SessionChanges, SessionRecord, Timestamp};
use serde::{Deserialize, Serialize};

use crate::verbatim::Verbatim;

/// What is absent in the record is absent in the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    id: String,
    created_at: Timestamp,
    last_activity: Timestamp,
    profile: String,
    architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    options: Option<Verbatim>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extra: Option<Verbatim>,
}

pub(crate) fn to_text(record: SessionRecord) -> Result<String> {
    let SessionRecord { id, created_at, last_activity, profile, architecture, name, options, extra } = record;
    let (options, extra) = (options.map(Verbatim), extra.map(Verbatim));
    let stored = Stored { id, created_at, last_activity, profile, architecture, name, options, extra };
    let text = serde_json::to_string_pretty(&stored);
    text.map(|text| text + "\n").map_err(|error| Error::other(format!("failed to write the record as JSON: {error}")))
}

/// `path` is where it was read, for the error.
pub(crate) fn from_text(text: &[u8], path: &Path) -> Result<SessionRecord> {
    let unreadable = |error| Error::corrupt(format!("{} is no record of a session: {error}", path.display()));
    let Stored { id, created_at, last_activity, profile, architecture, name, options, extra } =
        serde_json::from_slice(text).map_err(unreadable)?;
    let (options, extra) = (options.map(|options| options.0), extra.map(|extra| extra.0));
    Ok(SessionRecord { id, created_at, last_activity, profile, architecture, name, options, extra })
}

/// The record after the changes.
pub(crate) fn changed(record: SessionRecord, changes: SessionChanges) -> SessionRecord {
    let SessionChanges { last_activity, name, options, extra } = changes;
    SessionRecord {
        last_activity: last_activity.unwrap_or(record.last_activity),
        name: name.or(record.name),
        options: options.or(record.options),
        extra: extra.or(record.extra),
        ..record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> SessionRecord {
        SessionRecord {
            id: "s".to_owned(),
            created_at: 1,
            last_activity: 2,
            profile: "default".to_owned(),
            architecture: "echo".to_owned(),
            name: Some("Ü\n\"".to_owned()),
            options: Some(r#"{"b":1, "a":[]}"#.to_owned()),
            extra: None,
        }
    }

    #[test]
    fn a_record_has_a_line_for_each_field_and_comes_back() {
        let text = to_text(record()).unwrap();
        let expected = r#"{
  "id": "s",
  "createdAt": 1,
  "lastActivity": 2,
  "profile": "default",
  "architecture": "echo",
  "name": "Ü\n\"",
  "options": {"b":1, "a":[]}
}
"#;
        assert_eq!(text, expected);
        assert_eq!(from_text(text.as_bytes(), Path::new("x")).unwrap(), record());
    }

    #[test]
    fn what_is_no_record_is_corrupt_and_named() {
        for text in ["", "{", "[]", r#"{"id":"s"}"#, &to_text(record()).unwrap().replace("profile", "profil")] {
            let answer = from_text(text.as_bytes(), Path::new("sessions/s/session.json"));
            assert!(matches!(&answer, Err(Error::Corrupt(text)) if text.contains("sessions/s/session.json")), "{answer:?}");
        }
    }
}
