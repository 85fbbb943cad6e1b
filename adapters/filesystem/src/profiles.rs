//! Agent profiles: a file each, which is the profile's document.

use std::path::{Path, PathBuf};

use agent_host_adapter::{Error, ProfileSummary, Result, log};
use serde::{Deserialize, Serialize};

use crate::disk::{self, Scratch};
use crate::names;
use crate::verbatim::Verbatim;

/// What the names of files end with.
const SUFFIX: &str = ".json";

/// What a document says of itself.
#[derive(Deserialize)]
struct Document {
    id: String,
    name: String,
    #[serde(default)]
    description: Option<String>,
}

/// A document that says something else of itself than the host says of it, with what the host says. No profile has these fields.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    summary: Summary,
    document: Verbatim,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Summary {
    id: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

/// What a file holds.
fn parse(text: &str) -> serde_json::Result<(ProfileSummary, String)> {
    if let Ok(Described { summary: Summary { id, name, description }, document }) = serde_json::from_str(text) {
        return Ok((ProfileSummary { id, name, description }, document.0));
    }
    let Document { id, name, description } = serde_json::from_str(text)?;
    Ok((ProfileSummary { id, name, description }, text.to_owned()))
}

fn write(profile: ProfileSummary, document: String) -> Result<String> {
    if parse(&document).is_ok_and(|(said, given)| said == profile && given == document) {
        return Ok(document);
    }
    let ProfileSummary { id, name, description } = profile;
    let described = Described { summary: Summary { id, name, description }, document: Verbatim(document) };
    let text = serde_json::to_string_pretty(&described);
    text.map(|text| text + "\n").map_err(|error| Error::other(format!("failed to write the profile as JSON: {error}")))
}

fn path(directory: &Path, id: &str) -> Result<PathBuf> {
    let name = names::of_id(id) + SUFFIX;
    disk::check_length(&name)?;
    Ok(directory.join(name))
}

fn read(path: &Path) -> Result<Option<(ProfileSummary, String)>> {
    let unreadable = |reason: String| Error::corrupt(format!("{} is no profile: {reason}", path.display()));
    let Some(bytes) = disk::read_from(path, 0)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))?;
    parse(&text).map(Some).map_err(|error| unreadable(error.to_string()))
}

pub(crate) fn list(directory: &Path) -> Result<Vec<ProfileSummary>> {
    let mut profiles = Vec::new();
    for id in names::ids(directory, SUFFIX)? {
        // One that cannot be read must not hide all others.
        match read(&path(directory, &id)?) {
            Ok(Some((profile, _))) if profile.id == id => profiles.push(profile),
            Ok(Some((profile, _))) => log::error!("the profile {id} is not listed: its document is that of {:?}", profile.id),
            Ok(None) => {}
            Err(error) => log::error!("the profile {id} is not listed: {error:?}"),
        }
    }
    Ok(profiles)
}

pub(crate) fn load(directory: &Path, id: &str) -> Result<Option<String>> {
    Ok(read(&path(directory, id)?)?.map(|(_, document)| document))
}

pub(crate) fn save(directory: &Path, profile: ProfileSummary, document: String, scratch: &Scratch) -> Result<()> {
    let path = path(directory, &profile.id)?;
    let text = write(profile, document)?;
    let is_there = disk::read_from(&path, 0)?.is_some_and(|there| there == text.as_bytes());
    // That it is there was perhaps not made durable.
    if is_there { disk::sync_parent(&path) } else { scratch.replace(&path, text.as_bytes()) }
}

pub(crate) fn delete(directory: &Path, id: &str) -> Result<()> {
    disk::remove_file(&path(directory, id)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(id: &str, name: &str, description: Option<&str>) -> ProfileSummary {
        ProfileSummary { id: id.to_owned(), name: name.to_owned(), description: description.map(str::to_owned) }
    }

    #[test]
    fn a_document_that_speaks_for_itself_is_the_file() {
        let document = r#"{ "name":"P", "id":"p","tools":["Bash"]}"#;
        assert_eq!(write(summary("p", "P", None), document.to_owned()).unwrap(), document);
    }

    #[test]
    fn every_document_comes_back_with_its_summary() {
        let described = r#"{"summary":{"id":"p","name":"P"},"document":{}}"#;
        for document in
            [r#"{"id":"p","name":"P","description":"d"}"#, r#"{"id":"p","name":"other"}"#, "{}", "", "{\n}", "no JSON", described]
        {
            let given = (summary("p", "P", Some("d")), document.to_owned());
            let text = write(given.0.clone(), given.1.clone()).unwrap();
            assert_eq!(parse(&text).unwrap(), given, "{text}");
        }
    }
}
