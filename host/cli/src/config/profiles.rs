//! Agent profiles out of files: a directory of JSON and TOML files, one profile each. And the one that is built in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_host_session::id::{InvalidId, ProfileId};
use agent_host_session::profile::{InvalidProfile, Profile};

/// Why the profiles of a directory cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory or a file cannot be read.
    #[error("failed to read the agent profiles {}: {reason}", path.display())]
    Read {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A file is not a profile.
    #[error("{}:{line}:{column}: not an agent profile: {at}{reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The key with a colon and a space, such as `skills[0].name: `; empty if it is the whole file.
        at: String,
        /// What is wrong.
        reason: String,
    },
    /// Two files have a profile of the same id.
    #[error("{}: the profile id {id} is also that of {}", path.display(), other.display())]
    Duplicate {
        /// The id.
        id: ProfileId,
        /// The file that comes later.
        path: PathBuf,
        /// The file that comes first.
        other: PathBuf,
    },
}

/// The profile that exists out of the box: the agent as it is, with all its tools.
///
/// # Errors
/// None in fact: its id is valid.
pub fn builtin() -> Result<Profile, InvalidId> {
    let description = "The agent as it comes: its own system prompt, all its tools.";
    Ok(Profile { description: Some(description.to_owned()), ..Profile::named(ProfileId::new("default")?, "Default") })
}

/// The profiles in the `.json` and `.toml` files of `dir`, in the order of the files' names. Other files, and hidden ones, are left alone.
///
/// # Errors
/// The first file that cannot be read, is no profile, or has the id of another.
pub fn load_dir(dir: &Path) -> Result<Vec<Profile>, Error> {
    let unreadable = |reason| Error::Read { path: dir.to_owned(), reason };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            files.push(entry.path());
        }
    }
    files.sort();

    let mut seen: BTreeMap<ProfileId, PathBuf> = BTreeMap::new();
    let mut profiles = Vec::new();
    for file in files {
        let Some(profile) = load_file(&file)? else { continue };
        if let Some(other) = seen.insert(profile.id.clone(), file.clone()) {
            return Err(Error::Duplicate { id: profile.id, path: file, other });
        }
        profiles.push(profile);
    }
    Ok(profiles)
}

/// The profile in `file`; `None` if its name does not end as a profile's does.
fn load_file(file: &Path) -> Result<Option<Profile>, Error> {
    let parse: fn(&str) -> Result<Profile, Problem> = match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => parse_json,
        Some("toml") => parse_toml,
        _ => return Ok(None),
    };
    let text = std::fs::read_to_string(file).map_err(|reason| Error::Read { path: file.to_owned(), reason })?;
    // What only the whole profile tells has no line of its own.
    let checked = |profile: Profile| match profile.check() {
        Ok(()) => Ok(profile),
        Err(InvalidProfile { field, reason }) => Err(Problem { line: 1, column: 1, at: format!("{field}: "), reason }),
    };
    parse(&text).and_then(checked).map(Some).map_err(|Problem { line, column, at, reason }| Error::Invalid {
        path: file.to_owned(),
        line,
        column,
        at,
        reason,
    })
}

/// What is wrong with a file, as [`Error::Invalid`] has it.
struct Problem {
    line: usize,
    column: usize,
    at: String,
    reason: String,
}

fn parse_json(text: &str) -> Result<Profile, Problem> {
    let problem = |at: String, error: &serde_json::Error| {
        // The parser writes the place at the end of its text, where it would stand twice.
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or(&reason).to_owned();
        Problem { line: error.line(), column: error.column().max(1), at, reason }
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let profile = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| problem(key(error.path()), error.inner()))?;
    deserializer.end().map_err(|error| problem(String::new(), &error))?;
    Ok(profile)
}

fn parse_toml(text: &str) -> Result<Profile, Problem> {
    let problem = |at: String, error: &toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        Problem { line: before.matches('\n').count() + 1, column, at, reason: error.message().replace('\n', ", ") }
    };
    let deserializer = toml::Deserializer::parse(text).map_err(|error| problem(String::new(), &error))?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| problem(key(error.path()), error.inner()))
}

fn key(path: &serde_path_to_error::Path) -> String {
    // The whole document is written as a dot, a key that was not read to its end as a question mark.
    match path.to_string().trim_end_matches(['.', '?']) {
        "" => String::new(),
        path => format!("{path}: "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn json_and_toml_files_are_loaded_and_others_left_alone() {
        let dir = dir(&[
            ("b.json", r#"{"id": "b", "name": "B", "systemPrompt": "be brief"}"#),
            ("a.toml", "id = 'a'\nname = 'A'\n[[skills]]\nname = 'pdf'\ndescription = 'd'\nskillMd = 'm'\n"),
            ("README.md", "# profiles"),
            (".b.json.swp", "x"),
            (".hidden.json", "x"),
        ]);
        let profiles = load_dir(dir.path()).unwrap();
        assert_eq!(profiles.iter().map(|profile| profile.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(profiles[0].skills[0].name.as_str(), "pdf");
        assert_eq!(profiles[1].system_prompt.as_deref(), Some("be brief"));
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        for (name, text, expected) in [
            (
                "p.json",
                "{\"id\": \"p\",\n \"name\": 5}",
                "p.json:2:10: not an agent profile: name: invalid type: integer `5`, expected a string",
            ),
            (
                "p.json",
                "{\"id\": \"p\",\n \"nam\": \"P\"}",
                "p.json:2:6: not an agent profile: nam: unknown field `nam`, expected one of `id`",
            ),
            ("p.json", "{\"id\": \"p\",\n", "p.json:2:1: not an agent profile: EOF while parsing"),
            ("p.json", "{\"id\": \"p\", \"name\": \"P\"}\n{}", "p.json:2:1: not an agent profile: trailing characters"),
            ("p.json", "{\"name\": \"P\"}", "p.json:1:13: not an agent profile: missing field `id`"),
            (
                "p.toml",
                "id = 'p'\nname = 'P'\n[[skills]]\nname = '../x'\n",
                "p.toml:4:8: not an agent profile: skills[0].name: invalid path \"../x\": it has a '.' or '..' segment",
            ),
            ("p.toml", "id = 'p'\nnam = 'P'", "p.toml:2:1: not an agent profile: nam: unknown field `nam`, expected one of `id`"),
            ("p.toml", "id = 'p'\nname = P", "p.toml:2:8: not an agent profile: "),
        ] {
            let dir = dir(&[(name, text)]);
            let error = load_dir(dir.path()).unwrap_err().to_string();
            let expected = format!("{}/{expected}", dir.path().display());
            assert!(error.starts_with(&expected), "{error}\n{expected}");
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_refused() {
        let error = load_dir(Path::new("/nonexistent/profiles")).unwrap_err();
        assert!(error.to_string().starts_with("failed to read the agent profiles /nonexistent/profiles: No such file"), "{error}");
    }

    #[test]
    fn two_files_cannot_have_the_same_profile() {
        let dir = dir(&[("a.json", r#"{"id": "x", "name": "A"}"#), ("b.toml", "id = 'x'\nname = 'B'")]);
        let path = dir.path().display();
        assert_eq!(load_dir(dir.path()).unwrap_err().to_string(), format!("{path}/b.toml: the profile id x is also that of {path}/a.json"));
    }

    #[test]
    fn the_builtin_profile_leaves_the_agent_as_it_is() {
        let json = serde_json::to_value(builtin().unwrap()).unwrap();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["description", "id", "name"]);
    }
}
