//! What is at a path.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer};

/// A file, a directory or a link.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EntryKind,
    /// Its size in bytes.
    pub size: u64,
    /// Its kind and permissions, as `st_mode` has them.
    pub mode: u32,
    /// Its owner's name.
    pub owner: String,
    /// Its group's name.
    pub group: String,
    /// When it was modified last.
    #[serde(rename = "modified_time", deserialize_with = "seconds")]
    pub modified: SystemTime,
    /// Where a link leads.
    #[serde(rename = "symlink_target", default)]
    pub target: Option<String>,
}

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EntryKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Something else, such as a socket.
    #[serde(other)]
    Other,
}

fn seconds<'a, D: Deserializer<'a>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    let since = Duration::try_from_secs_f64(seconds.abs()).map_err(serde::de::Error::custom)?;
    let time = if seconds < 0.0 { UNIX_EPOCH.checked_sub(since) } else { UNIX_EPOCH.checked_add(since) };
    time.ok_or_else(|| serde::de::Error::custom(format!("{seconds} is no time")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_is_said() {
        let text = r#"{"name":"a","path":"/w/a","type":"symlink","size":3,"mode":41471,"permissions":"0777","owner":"root","group":"root",
            "modified_time":1700000000.25,"symlink_target":"b","later":1}"#;
        let entry: Entry = serde_json::from_str(text).unwrap();
        assert_eq!((entry.kind, entry.target.as_deref()), (EntryKind::Symlink, Some("b")));
        assert_eq!(entry.modified, UNIX_EPOCH + Duration::from_millis(1_700_000_000_250));
    }
}
