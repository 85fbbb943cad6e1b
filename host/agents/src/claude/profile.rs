//! A profile as the files that `claude` reads. Where it reads them was checked with version 2.1.330.

use std::collections::{BTreeMap, BTreeSet};

use agent_host_session::ports::agent::Invalid;
use agent_host_session::ports::sandbox::{File, Layout};
use agent_host_session::profile::{BundledMcp, ExternalMcp, Profile, Skill, SubagentProfile};
use serde_json::{Value, json};

use crate::place;

/// Below the home directory. A prompt is a file because an argument of a process is at most 128 KiB on Linux.
pub(super) const SYSTEM_PROMPT: &str = ".agent-host/system-prompt.md";
/// Below the home directory.
pub(super) const MCP_SERVERS: &str = ".agent-host/mcp.json";

/// The files of `profile`; `system_prompt` is the whole of what is added to the command's own.
pub(super) fn files(profile: &Profile, system_prompt: Option<&str>, layout: &Layout) -> Result<Vec<File>, Invalid> {
    let mut files = Vec::new();
    if let Some(prompt) = system_prompt {
        files.push(place::home(SYSTEM_PROMPT, prompt.to_owned())?);
    }
    if let Some(memory) = &profile.agent_md_file {
        files.push(place::home(".claude/CLAUDE.md", memory.clone())?);
    }
    for skill in &profile.skills {
        let directory = format!(".claude/skills/{}", skill.name);
        files.push(place::home(&format!("{directory}/SKILL.md"), skill_text(skill))?);
        for file in &skill.supporting_files {
            files.push(place::home(&format!("{directory}/{}", file.relative_path), file.content.clone())?);
        }
    }
    for subagent in &profile.subagents {
        files.push(place::home(&format!(".claude/agents/{}.md", subagent.name), subagent_text(subagent))?);
    }
    for command in &profile.commands {
        files.push(place::home(&format!(".claude/commands/{}.md", command.name), command.prompt.clone())?);
    }
    files.push(place::home(MCP_SERVERS, mcp_servers(profile, layout).to_string())?);
    files.extend(place::workspace(profile));

    let mut places = BTreeSet::new();
    for file in &files {
        if !places.insert((file.root as u8, &file.path)) {
            return Err(Invalid(format!("profile {}: two of its files have the same place, {}", profile.id, file.path)));
        }
    }
    Ok(files)
}

/// A text that brings front matter of its own is a whole `SKILL.md` already.
fn skill_text(skill: &Skill) -> String {
    if skill.skill_md.starts_with("---\n") || skill.skill_md.starts_with("---\r\n") {
        return skill.skill_md.clone();
    }
    let front = [("name", yaml_text(skill.name.as_str())), ("description", yaml_text(&skill.description))];
    format!("{}{}", front_matter(&front), skill.skill_md)
}

fn subagent_text(subagent: &SubagentProfile) -> String {
    let mut front = vec![("name", yaml_text(subagent.name.as_str())), ("description", yaml_text(&subagent.description))];
    if let Some(tools) = &subagent.tools {
        let tools: Vec<String> = tools.iter().map(|tool| yaml_text(tool)).collect();
        front.push(("tools", format!("[{}]", tools.join(", "))));
    }
    if let Some(model) = &subagent.model {
        front.push(("model", yaml_text(model)));
    }
    format!("{}{}", front_matter(&front), subagent.prompt)
}

fn front_matter(fields: &[(&str, String)]) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    format!("---\n{fields}---\n\n")
}

/// A JSON string is a YAML string, but for a few characters that YAML takes for line breaks or refuses.
fn yaml_text(text: &str) -> String {
    let json = Value::from(text).to_string();
    let mut yaml = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                yaml.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => yaml.push(character),
        }
    }
    yaml
}

fn mcp_servers(profile: &Profile, layout: &Layout) -> Value {
    let external = |server: &ExternalMcp| json!({"type": "stdio", "command": server.command, "args": server.args, "env": server.env});
    // A command for the shell, in the directory into which the project was copied.
    let bundled = |server: &BundledMcp| {
        let directory = format!("{}/{}", layout.projects, server.name);
        json!({"type": "stdio", "command": "sh", "args": ["-c", r#"cd -- "$1" && exec sh -c "$2""#, "sh", directory, server.start_command]})
    };
    let external = profile.external_mcps.iter().map(|server| (server.name.as_str(), external(server)));
    let bundled = profile.bundled_mcps.iter().map(|server| (server.name.as_str(), bundled(server)));
    json!({"mcpServers": external.chain(bundled).collect::<BTreeMap<_, _>>()})
}

/// The argument of `--tools`: names joined by commas. Rules such as `Bash(git *)` are about permissions, not about which tools there are.
pub(super) fn tools(profile: &Profile) -> Result<Option<String>, Invalid> {
    let Some(tools) = &profile.tools else { return Ok(None) };
    for tool in tools {
        let is_name = !tool.is_empty() && tool.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if !is_name {
            return Err(Invalid(format!("profile {}: {tool:?} is not the name of a tool", profile.id)));
        }
    }
    Ok(Some(tools.join(",")))
}
