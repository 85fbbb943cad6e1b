//! Agent profiles: what an agent is. `wit/0.1/persistence/profile.schema.json` is this as a JSON Schema.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::ProfileId;
use crate::path::RelativePath;

/// What an agent is. Unknown fields are refused, so that a typing error is not silently ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// Names the profile.
    pub id: ProfileId,
    /// For people.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Added to the agent's own system prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// The agent's memory file (`CLAUDE.md` for Claude).
    #[serde(default, rename = "agentMDFile", skip_serializing_if = "Option::is_none")]
    pub agent_md_file: Option<String>,
    /// The tools that the agent has; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// Skills.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<Skill>,
    /// Subagents that the agent may start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subagents: Vec<SubagentProfile>,
    /// Slash commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<SlashCommand>,
    /// MCP servers that are copied into the sandbox and installed there.
    #[serde(default, rename = "bundledMCPs", skip_serializing_if = "Vec::is_empty")]
    pub bundled_mcps: Vec<BundledMcp>,
    /// MCP servers that are started by a command.
    #[serde(default, rename = "externalMCPs", skip_serializing_if = "Vec::is_empty")]
    pub external_mcps: Vec<ExternalMcp>,
    /// npm packages that the sandbox has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub npm_dependencies: Vec<String>,
    /// Python packages that the sandbox has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pip_dependencies: Vec<String>,
    /// The agent's environment variables, besides those of the host's configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment_variables: BTreeMap<String, String>,
    /// Files that a new session's workspace begins with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default_workspace_files: Vec<WorkspaceFile>,
}

/// A skill: a text that the agent reads when it needs it, with the files that go with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Skill {
    /// Also the name of its directory.
    pub name: RelativeName,
    /// When to use it.
    pub description: String,
    /// The skill's text.
    pub skill_md: String,
    /// Files beside the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supporting_files: Vec<SupportingFile>,
    /// npm packages that the skill needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub npm_dependencies: Vec<String>,
    /// Python packages that the skill needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pip_dependencies: Vec<String>,
}

/// A file beside a skill's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SupportingFile {
    /// Below the skill's directory.
    pub relative_path: RelativePath,
    /// The file's text.
    pub content: String,
}

/// A subagent that the agent may start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubagentProfile {
    /// Its type's name.
    pub name: RelativeName,
    /// When to use it.
    pub description: String,
    /// Its system prompt.
    pub prompt: String,
    /// Its model, if not the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its tools, if not the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
}

/// A slash command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlashCommand {
    /// What the user writes after the slash.
    pub name: RelativeName,
    /// What the agent is told.
    pub prompt: String,
}

/// An MCP server that is copied into the sandbox and installed there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundledMcp {
    /// Its name to the agent.
    pub name: RelativeName,
    /// For people.
    pub description: String,
    /// Where it is on the host.
    pub local_project_path: String,
    /// Starts it.
    pub start_command: String,
    /// Installs it.
    pub install_command: String,
}

/// An MCP server that is started by a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalMcp {
    /// Its name to the agent.
    pub name: RelativeName,
    /// The program.
    pub command: String,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// A file that a new session's workspace begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkspaceFile {
    /// Below the workspace.
    pub path: RelativePath,
    /// The file's text.
    pub content: String,
}

/// A name that is used as the name of a file or a directory: a [`RelativePath`] of one segment, at most 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativeName(RelativePath);

/// Why a text cannot be the name of a file.
#[derive(Debug, thiserror::Error)]
pub enum InvalidName {
    /// It is not even a path.
    #[error(transparent)]
    Path(#[from] crate::path::InvalidPath),
    /// It is a path of several segments.
    #[error("invalid name {0:?}: it contains a '/'")]
    Segments(String),
    /// It is too long.
    #[error("invalid name {0:?}: it is longer than 128 bytes")]
    Long(String),
}

impl RelativeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for RelativeName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        let path = RelativePath::new(text)?;
        if path.as_str().contains('/') {
            return Err(InvalidName::Segments(path.into()));
        }
        if path.as_str().len() > crate::id::MAX_ID_BYTES {
            return Err(InvalidName::Long(path.into()));
        }
        Ok(Self(path))
    }
}

impl From<RelativeName> for String {
    fn from(name: RelativeName) -> Self {
        name.0.into()
    }
}

impl std::fmt::Display for RelativeName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The part of a profile that a list shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileSummary {
    /// Names the profile.
    pub id: ProfileId,
    /// For people.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Profile {
    /// A profile that changes nothing of what the agent is by itself.
    pub fn named(id: ProfileId, name: impl Into<String>) -> Self {
        Self {
            id,
            name: name.into(),
            description: None,
            system_prompt: None,
            agent_md_file: None,
            tools: None,
            skills: Vec::new(),
            subagents: Vec::new(),
            commands: Vec::new(),
            bundled_mcps: Vec::new(),
            external_mcps: Vec::new(),
            npm_dependencies: Vec::new(),
            pip_dependencies: Vec::new(),
            environment_variables: BTreeMap::new(),
            default_workspace_files: Vec::new(),
        }
    }

    /// Checks what the types cannot say: that no two things have the same name or place, and that the environment can be given to a process.
    ///
    /// # Errors
    /// Names the field and the value that is wrong.
    pub fn check(&self) -> Result<(), InvalidProfile> {
        unique("skills", self.skills.iter().map(|skill| skill.name.as_str()))?;
        for skill in &self.skills {
            let field = format!("skills.{}.supportingFiles", skill.name);
            places(&field, skill.supporting_files.iter().map(|file| file.relative_path.as_str()))?;
        }
        unique("subagents", self.subagents.iter().map(|subagent| subagent.name.as_str()))?;
        unique("commands", self.commands.iter().map(|command| command.name.as_str()))?;
        let bundled = self.bundled_mcps.iter().map(|server| server.name.as_str());
        let external = self.external_mcps.iter().map(|server| server.name.as_str());
        unique("bundledMCPs and externalMCPs", bundled.chain(external))?;
        environment("environmentVariables", &self.environment_variables)?;
        for server in &self.external_mcps {
            environment(&format!("externalMCPs.{}.env", server.name), &server.env)?;
        }
        places("defaultWorkspaceFiles", self.default_workspace_files.iter().map(|file| file.path.as_str()))
    }

    /// The part that a list shows.
    pub fn summary(&self) -> ProfileSummary {
        ProfileSummary { id: self.id.clone(), name: self.name.clone(), description: self.description.clone() }
    }
}

/// What is wrong with a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidProfile {
    /// Where.
    pub field: String,
    /// Why.
    pub reason: String,
}

fn invalid(field: &str, reason: String) -> InvalidProfile {
    InvalidProfile { field: field.to_owned(), reason }
}

fn unique<'a>(field: &str, names: impl Iterator<Item = &'a str>) -> Result<(), InvalidProfile> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(invalid(field, format!("the name {name:?} is there twice")));
        }
    }
    Ok(())
}

/// No two files have the same path, and none is in the place of another one's directory.
fn places<'a>(field: &str, paths: impl Iterator<Item = &'a str> + Clone) -> Result<(), InvalidProfile> {
    unique(field, paths.clone())?;
    let files: BTreeSet<&str> = paths.clone().collect();
    for path in paths {
        let mut parents = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
        if let Some(parent) = parents.find(|parent| files.contains(parent)) {
            return Err(invalid(field, format!("{parent:?} is a file, so {path:?} cannot be below it")));
        }
    }
    Ok(())
}

/// Variables that a process can be given: the system takes no others.
fn environment(field: &str, variables: &BTreeMap<String, String>) -> Result<(), InvalidProfile> {
    for (name, value) in variables {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(invalid(field, format!("{name:?} cannot be the name of a variable")));
        }
        if value.contains('\0') {
            return Err(invalid(field, format!("the value of {name:?} contains a NUL")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_laid_down_or_started_is_refused() {
        let check = |fields: serde_json::Value| {
            let mut profile = serde_json::json!({"id": "p", "name": "P"});
            profile.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            serde_json::from_value::<Profile>(profile).unwrap().check().map_err(|error| error.to_string())
        };
        let skill = serde_json::json!({"name": "pdf", "description": "", "skillMd": ""});
        let mcp = serde_json::json!({"name": "db", "command": "x", "env": {"A=B": ""}});
        let file = |path: &str| serde_json::json!({"path": path, "content": ""});
        assert_eq!(check(serde_json::json!({"skills": [skill], "environmentVariables": {"A": "b"}})), Ok(()));
        assert_eq!(check(serde_json::json!({"defaultWorkspaceFiles": [file("a/b"), file("a.b"), file("a/c")]})), Ok(()));
        for (fields, wrong) in [
            (serde_json::json!({"skills": [skill, skill]}), "skills: the name \"pdf\" is there twice"),
            (serde_json::json!({"environmentVariables": {"": "x"}}), "environmentVariables: \"\" cannot be the name of a variable"),
            (serde_json::json!({"environmentVariables": {"A": "\0"}}), "environmentVariables: the value of \"A\" contains a NUL"),
            (serde_json::json!({"externalMCPs": [mcp]}), "externalMCPs.db.env: \"A=B\" cannot be the name of a variable"),
            (serde_json::json!({"defaultWorkspaceFiles": [file("a"), file("a")]}), "defaultWorkspaceFiles: the name \"a\" is there twice"),
            (
                serde_json::json!({"defaultWorkspaceFiles": [file("a/b/c"), file("a/b")]}),
                "defaultWorkspaceFiles: \"a/b\" is a file, so \"a/b/c\" cannot be below it",
            ),
        ] {
            assert_eq!(check(fields), Err(wrong.to_owned()));
        }
    }

    #[test]
    fn names_and_paths_cannot_leave_their_directory() {
        let with_skill = |name: &str, file: &str| {
            serde_json::from_value::<Profile>(serde_json::json!({
                "id": "p", "name": "P",
                "skills": [{"name": name, "description": "", "skillMd": "", "supportingFiles": [{"relativePath": file, "content": ""}]}],
            }))
        };
        assert!(with_skill("pdf", "scripts/a.py").is_ok());
        assert!(with_skill("../../.ssh", "a").is_err());
        assert!(with_skill("a/b", "a").is_err());
        assert!(with_skill("pdf", "../../x").is_err());
        assert!(with_skill("pdf", "/etc/x").is_err());
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        let error = serde_json::from_str::<Profile>(r#"{"id":"p","name":"P","sytemPrompt":"x"}"#).unwrap_err();
        assert!(error.to_string().contains("sytemPrompt"), "{error}");
    }
}
