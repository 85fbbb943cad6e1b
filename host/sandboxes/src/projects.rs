//! Bundled MCP servers: projects of this machine that are copied into sandboxes and installed there.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_host_session::path::RelativePath;
use agent_host_session::ports::sandbox::{Error, Project};
use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _};

/// What is made again by installing, or is nobody's business.
const LEFT_OUT: [&str; 5] = [".git", "node_modules", ".venv", "__pycache__", "target"];

/// All files of a project together: a server's sources are far below that, and they are held in memory.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Files of a project.
const MAX_FILES: usize = 5000;

/// Runs a command in a directory.
pub(crate) const RUN_IN: &str = r#"cd -- "$1" && exec sh -c "$2""#;

/// Where projects may be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Projects(Option<Arc<Path>>);

/// A file of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProjectFile {
    /// Where it is in the project.
    pub(crate) path: RelativePath,
    pub(crate) content: Bytes,
    pub(crate) executable: bool,
}

impl Projects {
    /// Only what is in this directory is copied: profiles come over the API, and could name anything. Without one there are no projects.
    pub(crate) fn new(root: Option<&PathBuf>) -> Self {
        Self(root.map(|root| root.as_path().into()))
    }

    /// The files of a project, sorted by path.
    ///
    /// # Errors
    /// If it is not in the directory, cannot be read, or is too large; then a link may lead out of it.
    pub(crate) async fn read(&self, project: &Project) -> Result<Vec<ProjectFile>, Error> {
        let Project { name, path, .. } = project;
        let failed = |reason: String| Error::Failed(format!("the bundled MCP server {name} cannot be copied: {reason}"));
        let Some(root) = self.0.clone() else {
            return Err(failed("no directory of projects is configured (profiles.projects)".to_owned()));
        };
        let path = PathBuf::from(path);
        let read = tokio::task::spawn_blocking(move || read(&root, &path)).await;
        read.unwrap_or_else(|error| Err(error.to_string())).map_err(failed)
    }
}

fn read(root: &Path, path: &Path) -> Result<Vec<ProjectFile>, String> {
    let io = |error: io::Error| format!("{}: {error}", path.display());
    let relative = if path.is_absolute() {
        path.strip_prefix(root).map_err(|_| format!("{} is not in {}", path.display(), root.display()))?
    } else {
        path
    };
    // Whatever the path or a link says, nothing outside of the root is opened.
    let root = Dir::open_ambient_dir(root, ambient_authority()).map_err(|error| format!("{}: {error}", root.display()))?;
    let project = if relative.as_os_str().is_empty() { root } else { root.open_dir(relative).map_err(io)? };
    let mut files = Vec::new();
    let mut bytes = 0;
    walk(&project, "", &mut files, &mut bytes)?;
    if files.is_empty() {
        return Err(format!("{} has no files", path.display()));
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn walk(directory: &Dir, prefix: &str, files: &mut Vec<ProjectFile>, bytes: &mut u64) -> Result<(), String> {
    let io = |error: io::Error| format!("{prefix}: {error}");
    for entry in directory.entries().map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().into_string().map_err(|name| format!("{prefix}{} is not UTF-8", name.display()))?;
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        let io = |error: io::Error| format!("{path}: {error}");
        if entry.file_type().map_err(io)?.is_dir() {
            walk(&directory.open_dir(&name).map_err(io)?, &format!("{path}/"), files, bytes)?;
            continue;
        }
        let metadata = directory.metadata(&name).map_err(io)?;
        if !metadata.is_file() {
            continue;
        }
        *bytes += metadata.len();
        if *bytes > MAX_BYTES || files.len() >= MAX_FILES {
            return Err(format!("it has more than {} MiB or {MAX_FILES} files", MAX_BYTES / (1024 * 1024)));
        }
        let mut content = Vec::new();
        directory.open(&name).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut content)).map_err(io)?;
        let executable = metadata.mode() & 0o100 != 0;
        let path = RelativePath::new(path.as_str()).map_err(|error| error.to_string())?;
        files.push(ProjectFile { path, content: content.into(), executable });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn project(path: &str) -> Project {
        Project { name: "own".to_owned(), path: path.to_owned(), install: "true".to_owned() }
    }

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("projects/own");
        fs::create_dir_all(own.join("src")).unwrap();
        fs::create_dir_all(own.join("node_modules/x")).unwrap();
        fs::write(own.join("node_modules/x/index.js"), "").unwrap();
        fs::write(own.join("src/main.py"), "print()").unwrap();
        fs::write(own.join("run"), "#!/bin/sh").unwrap();
        fs::set_permissions(own.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        root
    }

    #[tokio::test]
    async fn a_project_is_read_with_its_modes_and_without_what_installing_makes() {
        let root = tree();
        let projects = Projects::new(Some(&root.path().join("projects")));
        for path in ["own", root.path().join("projects/own").to_str().unwrap()] {
            let files = projects.read(&project(path)).await.unwrap();
            let shown: Vec<(&str, bool)> = files.iter().map(|file| (file.path.as_str(), file.executable)).collect();
            assert_eq!(shown, [("run", true), ("src/main.py", false)]);
            assert_eq!(files.first().unwrap().content.as_ref(), b"#!/bin/sh");
        }
    }

    #[tokio::test]
    async fn nothing_outside_of_the_directory_is_copied() {
        let root = tree();
        let projects = Projects::new(Some(&root.path().join("projects")));
        for path in ["..", "../projects/own/../..", "/", root.path().to_str().unwrap(), "own/../../", "nothing"] {
            let error = projects.read(&project(path)).await.unwrap_err().to_string();
            assert!(error.contains("the bundled MCP server own cannot be copied"), "{path}: {error}");
        }
        symlink(root.path().join("secret"), root.path().join("projects/own/link")).unwrap();
        assert!(projects.read(&project("own")).await.is_err());
        let error = Projects::new(None).read(&project("own")).await.unwrap_err().to_string();
        assert!(error.contains("profiles.projects"), "{error}");
    }
}
