//! `agent-host adapter new`, `agent-host hook new`: projects that build and work at once, to be changed from there.
//!
//! They are the examples and adapters of this repository, under another name, with the contract beside them.

mod templates;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;

use self::templates::Template;
use crate::wit;

/// A language that projects are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Rust, with the SDK in the project.
    Rust,
    /// Python, made a component by componentize-py.
    Python,
    /// TypeScript, made a component by jco with the engine QuickJS.
    #[value(name = "typescript")]
    TypeScript,
    /// C, compiled by clang.
    C,
}

/// What a project is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A persistence adapter.
    Adapter,
    /// An event hook.
    Hook,
}

/// A project that was written.
#[derive(Debug)]
pub struct Project {
    /// Where it is.
    pub directory: PathBuf,
    /// What to do next, a command a line.
    pub next: String,
}

/// Writes a project into the directory of its name in `parent`.
///
/// # Errors
/// If the name cannot be one, the directory has something in it, or a file cannot be written.
pub fn create(kind: Kind, name: &str, language: Language, parent: &Path) -> anyhow::Result<Project> {
    check_name(name)?;
    let template = templates::find(kind, language);
    let directory = parent.join(name);
    match fs::read_dir(&directory) {
        Ok(mut entries) => ensure!(entries.next().is_none(), "{} is not empty", directory.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => bail!("failed to look into {}: {error}", directory.display()),
    }
    for (path, content) in template.files {
        write(&directory.join(path), &named(template, name, content))?;
    }
    wit::write(&directory.join(template.wit))?;
    let build = template.build.replace("NAME", &name.replace('-', "_"));
    let component = template.component.replace("NAME", &name.replace('-', "_"));
    let next = match kind {
        Kind::Adapter => format!(
            "cd {name}\n{build}\nagent-host adapter test {component} --grants '{{\"databases\": {{\"main\": \"sqlite:test.db\"}}}}'\n\
             agent-host swap persistence {component} --migrate --grants '{{\"databases\": {{\"main\": \"sqlite:sessions.db\"}}}}'\n"
        ),
        Kind::Hook => format!(
            "cd {name}\n{build}\nagent-host component inspect {component}\nagent-host hook add {name} {component} --set tools=WebFetch\n"
        ),
    };
    Ok(Project { directory, next })
}

/// Crates, packages of Python and npm, and components have such names.
fn check_name(name: &str) -> anyhow::Result<()> {
    let begins = name.starts_with(|character: char| character.is_ascii_lowercase());
    let valid = name.split('-').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    ensure!(
        begins && valid && name.len() <= 64,
        "{name:?} is no name of a project: it is of the form my-adapter, and has at most 64 characters"
    );
    Ok(())
}

/// The content with the project's name in the place of the template's. What is not text is left as it is.
fn named(template: &Template, name: &str, content: &[u8]) -> Vec<u8> {
    let Ok(text) = str::from_utf8(content) else { return content.to_vec() };
    let mut text = text.to_owned();
    for (placeholder, form) in template.placeholders {
        text = text.replace(placeholder, &form.replace("NAME", name));
    }
    text.into_bytes()
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("failed to write {}", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(failed)?;
    }
    fs::write(path, content).with_context(failed)?;
    #[cfg(unix)]
    if content.starts_with(b"#!") {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).with_context(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_name_is_one_that_all_languages_take() {
        for name in ["a", "my-adapter", "s3-store2"] {
            check_name(name).unwrap();
        }
        for name in ["", "A", "1a", "-a", "a-", "a--b", "a_b", "../a", "a/b", "ä", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn templates_have_all_files_of_what_they_are_made_of() {
        for (kind, language, template) in templates::all() {
            for (source, below) in template.sources {
                let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(source);
                let walk = ignore::WalkBuilder::new(&root).hidden(false).require_git(false).build();
                let there: BTreeSet<String> = walk
                    .map(|entry| entry.unwrap())
                    .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
                    .map(|entry| format!("{below}{}", entry.path().strip_prefix(&root).unwrap().display()))
                    .filter(|path| !template.own.contains(&path.as_str()))
                    .collect();
                let here: BTreeSet<String> =
                    template.files.iter().map(|(path, _)| (*path).to_owned()).filter(|path| path.starts_with(below)).collect();
                let missing: Vec<_> = there.difference(&here).collect();
                assert!(missing.is_empty(), "{kind:?} in {language:?}: {source} has {missing:?} besides");
            }
        }
    }

    #[test]
    fn a_project_has_its_name_everywhere_and_is_not_written_over_another() {
        for (kind, language, template) in templates::all() {
            let parent = tempfile::tempdir().unwrap();
            let project = create(kind, "my-thing", language, parent.path()).unwrap();
            let text = |path: &str| fs::read(project.directory.join(path)).unwrap();
            for (path, _) in template.files {
                let written = String::from_utf8_lossy(&text(path)).into_owned();
                for (placeholder, _) in template.placeholders {
                    assert!(!written.contains(placeholder), "{kind:?} in {language:?}: {path} has {placeholder} in it");
                }
            }
            assert!(project.next.starts_with("cd my-thing\n"), "{}", project.next);
            let error = create(kind, "my-thing", language, parent.path()).unwrap_err().to_string();
            assert!(error.contains("is not empty"), "{error}");
        }
    }
}
