//! The settings as Markdown, as an example file, and as they are in force.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::node::Node;
use super::setting::{SectionInfo, elements, sections};
use super::{DEFAULT_FILE, VARIABLE_PREFIX};

/// Width that comments of the example file are wrapped at.
const COMMENT_WIDTH: usize = 110;

/// The configuration reference that the README contains.
pub fn markdown() -> String {
    let mut out = format!(
        "The host reads `{DEFAULT_FILE}` from the directory it is started in, or the file that `--config PATH` or \
         `{VARIABLE_PREFIX}CONFIG` names. Every setting can also be given as a flag (`--session.idle-timeout 10m`) or as an \
         environment variable (`{VARIABLE_PREFIX}SESSION_IDLE_TIMEOUT=10m`); a list or a table is then written as in the file, and a \
         list of one element as the element itself. A flag wins over a variable, a variable over the file. An empty variable counts \
         as none.\n\n\
         Durations are like `15m`, `1h 30m` or `500ms`, sizes like `10 MiB` or `512 KB`. A relative path is relative to the file that \
         it stands in, or else to the working directory. `env:NAME` and `file:PATH` refer to secrets, which are read when the host \
         starts. `agent-host check-config` shows what is in force and where it was given, or what is wrong.\n"
    );
    for section in telling_sections() {
        if section.name.is_empty() {
            out.push('\n');
        } else {
            let _ = write!(out, "\n#### `[{}]`\n\n{}\n", section.name, section.about);
            if !section.settings.is_empty() {
                out.push('\n');
            }
        }
        markdown_table(&section, &mut out);
    }
    for element in elements() {
        let _ = write!(out, "\n#### `[[{}]]`\n\n{}\n\n", element.name, element.about);
        markdown_table(&element, &mut out);
    }
    out
}

/// All sections but those that only hold others, and so say nothing that these do not say.
fn telling_sections() -> impl Iterator<Item = SectionInfo> {
    let all = sections();
    let names: Vec<&str> = all.iter().map(|section| section.name).collect();
    let holds_others = move |name: &str| names.iter().any(|other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')));
    all.into_iter().filter(move |section| !section.settings.is_empty() || !holds_others(section.name))
}

fn markdown_table(section: &SectionInfo, out: &mut String) {
    if section.settings.is_empty() {
        return;
    }
    out.push_str("| key | type | default | meaning, and why this default |\n| --- | --- | --- | --- |\n");
    for setting in &section.settings {
        let default = setting.default.as_ref().map_or_else(|| "none".to_owned(), |default| format!("`{default}`"));
        let meaning = format!("{} *{}.*", setting.doc.replace("\n\n", " "), capitalised(setting.reason));
        let _ = writeln!(out, "| `{}` | {} | {default} | {} |", setting.name, setting.type_name, meaning.replace('|', "\\|"));
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// An example `agent-host.toml` with every setting at its default, commented out.
pub fn example() -> String {
    let mut out = String::from("# The configuration of Agent Host. What is commented out is the default.\n");
    for section in telling_sections() {
        if !section.name.is_empty() {
            out.push('\n');
            comment(&section.about, &mut out);
            let _ = writeln!(out, "[{}]", section.name);
        }
        example_settings(&section, &mut out);
    }
    for element in elements() {
        out.push('\n');
        comment(&element.about, &mut out);
        let _ = writeln!(out, "# [[{}]]", element.name);
        example_settings(&element, &mut out);
    }
    out
}

fn example_settings(section: &SectionInfo, out: &mut String) {
    for setting in &section.settings {
        out.push('\n');
        comment(&setting.doc, out);
        comment(&format!("Default: {}.", setting.reason), out);
        let _ = match &setting.default {
            Some(default) => writeln!(out, "# {} = {default}", setting.name),
            None => writeln!(out, "# {} = \"{}\"", setting.name, setting.type_name.to_uppercase()),
        };
    }
}

/// Writes `text` as comment lines of a bounded width.
fn comment(text: &str, out: &mut String) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.len() + word.len() >= COMMENT_WIDTH {
            let _ = writeln!(out, "# {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "# {line}");
}

/// The values in force as TOML, each with its place; secrets that were written out are hidden.
pub(super) fn effective(nodes: &BTreeMap<String, Node>) -> String {
    let mut out = String::new();
    for section in sections().into_iter().filter(|section| !section.settings.is_empty()) {
        if !section.name.is_empty() {
            let _ = write!(out, "\n[{}]\n", section.name);
        }
        for setting in &section.settings {
            let _ = match nodes.get(&setting.key) {
                Some(node) => writeln!(out, "{} = {}  # {}", setting.name, (setting.shown)(&node.value), node.place),
                None => writeln!(out, "# {} is not set", setting.name),
            };
        }
    }
    out
}
