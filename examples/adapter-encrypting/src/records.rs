//! Sessions' records, files' infos and profiles: which of their fields are encrypted, each for itself, since each can be changed for itself.

use agent_host_adapter::{FileInfo, ProfileSummary, Result, SessionChanges, SessionRecord};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::keys::Keyring;
use crate::place::Place;
use crate::text::{open_json, open_text, seal_json, seal_text};

fn name(id: &str) -> Place {
    Place::new("session name", &[id])
}

fn options(id: &str) -> Place {
    Place::new("session options", &[id])
}

fn extra(id: &str) -> Place {
    Place::new("session extra", &[id])
}

fn map<T>(field: Option<T>, change: impl FnOnce(T) -> Result<T>) -> Result<Option<T>> {
    field.map(change).transpose()
}

/// A record as it is stored. It has an `extra` in any case, by which it is seen that it is encrypted, and with which key.
pub(crate) fn seal_session(keys: &Keyring, record: SessionRecord) -> Result<SessionRecord> {
    let id = &record.id;
    Ok(SessionRecord {
        name: map(record.name, |text| seal_text(keys, &name(id), &text))?,
        options: map(record.options, |json| seal_json(keys, &options(id), &json))?,
        extra: Some(seal_json(keys, &extra(id), record.extra.as_deref().unwrap_or_default())?),
        ..record
    })
}

pub(crate) fn open_session(keys: &Keyring, record: SessionRecord) -> Result<SessionRecord> {
    let id = &record.id;
    let opened = open_json(keys, &extra(id), record.extra.as_deref().unwrap_or_default())?;
    Ok(SessionRecord {
        name: map(record.name, |text| open_text(keys, &name(id), &text))?,
        options: map(record.options, |json| open_json(keys, &options(id), &json))?,
        extra: Some(opened).filter(|extra| !extra.is_empty()),
        ..record
    })
}

pub(crate) fn seal_changes(keys: &Keyring, id: &str, changes: SessionChanges) -> Result<SessionChanges> {
    Ok(SessionChanges {
        last_activity: changes.last_activity,
        name: map(changes.name, |text| seal_text(keys, &name(id), &text))?,
        options: map(changes.options, |json| seal_json(keys, &options(id), &json))?,
        extra: map(changes.extra, |json| seal_json(keys, &extra(id), &json))?,
    })
}

/// What a file's info says of its contents, which the store is not to know.
#[derive(Deserialize, Serialize)]
struct OfContents {
    size: u64,
    sha256: String,
    extra: Option<String>,
}

fn file(session: &str, path: &str) -> Place {
    Place::new("file info", &[session, path])
}

/// A file's info as it is stored with `stored` as its contents, of which it is true.
pub(crate) fn seal_file(keys: &Keyring, session: &str, info: FileInfo, stored: &[u8]) -> Result<FileInfo> {
    let FileInfo { path, size, sha256, created_at, modified_at, extra } = info;
    let of_contents = serde_json::to_string(&OfContents { size, sha256, extra })
        .map_err(|error| agent_host_adapter::Error::other(format!("failed to write JSON: {error}")))?;
    let extra = Some(seal_json(keys, &file(session, &path), &of_contents)?);
    Ok(FileInfo { size: stored.len() as u64, sha256: hexadecimal(&Sha256::digest(stored)), path, created_at, modified_at, extra })
}

pub(crate) fn open_file(keys: &Keyring, session: &str, info: FileInfo) -> Result<FileInfo> {
    let opened = open_json(keys, &file(session, &info.path), info.extra.as_deref().unwrap_or_default())?;
    let OfContents { size, sha256, extra } = serde_json::from_str(&opened)
        .map_err(|error| agent_host_adapter::Error::corrupt(format!("what was encrypted is no info of a file: {error}")))?;
    Ok(FileInfo { size, sha256, extra, ..info })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn seal_profile(keys: &Keyring, profile: ProfileSummary) -> Result<ProfileSummary> {
    let ProfileSummary { id, name, description } = profile;
    Ok(ProfileSummary {
        name: seal_text(keys, &Place::new("profile name", &[&id]), &name)?,
        description: map(description, |text| seal_text(keys, &Place::new("profile description", &[&id]), &text))?,
        id,
    })
}

pub(crate) fn open_profile(keys: &Keyring, profile: ProfileSummary) -> Result<ProfileSummary> {
    let ProfileSummary { id, name, description } = profile;
    Ok(ProfileSummary {
        name: open_text(keys, &Place::new("profile name", &[&id]), &name)?,
        description: map(description, |text| open_text(keys, &Place::new("profile description", &[&id]), &text))?,
        id,
    })
}

/// The place of a profile's document.
pub(crate) fn document(id: &str) -> Place {
    Place::new("profile", &[id])
}
