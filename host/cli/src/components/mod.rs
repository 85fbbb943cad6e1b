//! The host's components: what the configuration says of them, and the admin calls over them.

mod granted;
mod hooks;
mod operator;
mod persistence;
pub mod registry;

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agent_host_wasm::{Engine, EngineOptions, Source};
use anyhow::Context as _;
use bytes::Bytes;
use serde_json::Value;

pub use self::granted::{Grantor, instances, memory};
pub use self::hooks::{ConfiguredHooks, spool_options};
pub use self::operator::Operator;
pub use self::persistence::Configured;
use crate::output;

/// What users call the components that ship with the host, and what the host does.
const BUILTIN: [(&str, &str); 3] = [("sqlite", "sql"), ("postgresql", "postgresql"), ("memory", "memory")];

/// What the host calls the component of a name that users know.
pub fn builtin(name: &str) -> Option<&'static str> {
    BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, component)| *component)
}

/// The names that users know.
pub fn builtin_names() -> String {
    BUILTIN.map(|(name, _)| name).join(", ")
}

/// What is said of something that is named as a component and is not there.
pub fn no_component(name: &str) -> String {
    format!(
        "there is no component {name}: it is a file, one of a registry (oci://HOST/REPOSITORY@sha256:DIGEST), or one of {}",
        builtin_names()
    )
}

fn as_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_else(|error| {
        // Only a map with keys that are not text could fail here, and there is none.
        tracing::error!(%error, "failed to write JSON");
        Value::Null
    })
}

/// Writes a component that ships with the host to a file.
pub fn export(name: &str, file: &Path) -> anyhow::Result<()> {
    let component = builtin(name).with_context(|| format!("there is no built-in component {name:?}; there are {}", builtin_names()))?;
    let bytes: Bytes = Source::Builtin(component.to_owned()).bytes()?;
    write(file, &bytes)
}

/// Writes a component into a file, which has all of it or is as it was: a host may be watching it.
pub fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    replace(file, bytes).with_context(|| format!("failed to write {}", file.display()))
}

fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link stays one, and leads to what is new.
    let target = match file.canonicalize() {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => file.to_owned(),
        Err(error) => return Err(error),
    };
    let permissions = match target.metadata() {
        Ok(metadata) if metadata.is_file() => Some(metadata.permissions()),
        // A device or a pipe, which is there for whoever reads it.
        Ok(_) => return std::fs::write(target, bytes),
        Err(_) => None,
    };
    // Where there is no directory in the path, it is the working directory.
    let directory = target.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // It is no secret: others may read it as they may whatever the process creates.
    let mut new = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o666)).tempfile_in(directory)?;
    if let Some(permissions) = permissions {
        new.as_file().set_permissions(permissions)?;
    }
    new.write_all(bytes)?;
    new.as_file().sync_all()?;
    new.persist(&target)?;
    Ok(())
}

/// Says what a component imports, exports and needs, and whether this host can run it.
pub async fn inspect(file: &Path, wants_json: bool) -> anyhow::Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
    let engine = Engine::new(EngineOptions::default())?;
    let inspection = agent_host_wasm::inspect::inspect(&engine, bytes).await;
    if wants_json {
        output::print_line(format_args!("{:#}", as_json(&inspection)))?;
    } else {
        output::print_line(&inspection)?;
    }
    anyhow::ensure!(inspection.can_run, "this host cannot run {}", file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_written_keeps_what_was_there_besides_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("a.wasm"), directory.path().join("link.wasm"));
        write(&file, b"one").unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        symlink("a.wasm", &link).unwrap();
        write(&link, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        write(Path::new("/dev/null"), b"three").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let error = write(directory.path(), b"four").unwrap_err();
        assert!(format!("{error:#}").starts_with("failed to write"), "{error:#}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
