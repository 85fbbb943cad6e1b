//! The host's components: what the configuration says of them, and the admin calls over them.

mod granted;
mod hooks;
mod operator;
mod persistence;
pub mod registry;

use std::io;
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
    let failed = || format!("failed to write {}", file.display());
    // Where there is no directory in the path, it is the working directory.
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // It is no secret. What the process creates others may read, or not, as everywhere.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut new = builder.tempfile_in(directory).with_context(failed)?;
    io::Write::write_all(&mut new, bytes).with_context(failed)?;
    new.persist(file).with_context(failed)?;
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
