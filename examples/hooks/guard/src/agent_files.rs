//! The files from which `claude` runs commands that nobody is asked about.

use serde_json::{Map, Value};

/// The tools of `claude` that write files, and the fields of their inputs that say where.
const WRITERS: [&str; 4] = ["Write", "Edit", "MultiEdit", "NotebookEdit"];
const FIELDS: [&str; 2] = ["file_path", "notebook_path"];

/// Directories of skills, slash commands and subagents, whose texts can hold commands and hooks.
const DIRECTORIES: [&str; 3] = ["skills", "commands", "agents"];

/// The path of such a file, if this use of a tool would write one.
pub(crate) fn written<'a>(tool: &str, input: &'a Map<String, Value>) -> Option<&'a str> {
    if !WRITERS.contains(&tool) {
        return None;
    }
    FIELDS.iter().filter_map(|field| input.get(*field)?.as_str()).find(|path| is_agent_file(path))
}

/// Whether it is `settings*.json`, or in a directory of [`DIRECTORIES`], below any `.claude`. By its name: where links lead is known in the sandbox only.
fn is_agent_file(path: &str) -> bool {
    // Some file systems know no difference.
    let path = path.to_lowercase();
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let mut below = segments.split(|segment| *segment == ".claude").skip(1);
    below.any(|below| match below {
        [] => false,
        [file] => file.starts_with("settings") && file.ends_with(".json"),
        [directory, ..] => DIRECTORIES.contains(directory),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_skills_commands_and_agents_are_found_by_any_spelling() {
        for path in [
            "/workspace/.claude/settings.json",
            ".claude/settings.local.json",
            "/home/agent/.claude//./settings.json",
            "/workspace/.claude/x/../settings.json",
            "/workspace/.Claude/Settings.JSON",
            "/workspace/sub/.claude/skills/a/SKILL.md",
            ".claude/commands/deploy.md",
            ".claude/agents/helper.md",
            "/a/.claude/b/.claude/settings.json",
        ] {
            assert!(is_agent_file(path), "{path}");
        }
        for path in [
            "",
            "/workspace/settings.json",
            "/workspace/claude/settings.json",
            "/workspace/.claude/../settings.json",
            "/workspace/.claude/CLAUDE.md",
            "/workspace/.claude/settings.json.md",
            "/home/agent/.claude/projects/-workspace/memory/note.md",
            "/workspace/skills/a/SKILL.md",
            ".claude",
        ] {
            assert!(!is_agent_file(path), "{path}");
        }
    }

    #[test]
    fn only_tools_that_write_are_looked_at_and_only_where_they_write() {
        let path = ".claude/settings.json";
        let input = json!({"file_path": path, "content": "{}"});
        for tool in WRITERS {
            assert_eq!(written(tool, input.as_object().unwrap()), Some(path));
        }
        assert_eq!(written("Read", input.as_object().unwrap()), None);
        let input = json!({"file_path": "/workspace/README.md", "content": path});
        assert_eq!(written("Write", input.as_object().unwrap()), None);
        let input = json!({"notebook_path": "/workspace/.claude/skills/a.ipynb"});
        assert!(written("NotebookEdit", input.as_object().unwrap()).is_some());
    }
}
