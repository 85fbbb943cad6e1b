//! Components in registries, as the configuration has them.

use std::path::{Path, PathBuf};

use agent_host_registry::{InvalidReference, Key, Login, Options, Reference, Registry};
use agent_host_wasm::Source;
use agent_host_wasm::component::MAX_COMPONENT_BYTES;
use agent_host_wasm::exchange::Origin;
use anyhow::ensure;

use super::{builtin, no_component};
use crate::config::schema;

/// The registries of the configuration; what is pulled from them is kept in `cache`.
///
/// # Errors
/// If a key cannot be read, or a registry is named by something else than its host.
pub fn registry(configured: &schema::Registry, cache: PathBuf) -> anyhow::Result<Registry> {
    let schema::Registry { signed_by, plain_http, logins } = configured;
    let mut keys = Vec::new();
    for path in signed_by {
        keys.extend(Key::read(path)?);
    }
    for name in plain_http.iter().chain(logins.keys()) {
        ensure!(!name.contains('/'), "components.registry: {name:?} is no registry: it is named by its host, and its port if it has one");
    }
    let login =
        |login: &crate::config::registry::Login| Login { username: login.username.clone(), password: login.password.value().clone() };
    Ok(Registry::new(Options {
        cache,
        max_bytes: MAX_COMPONENT_BYTES,
        signed_by: keys,
        plain_http: plain_http.clone(),
        logins: logins.iter().map(|(registry, configured)| (registry.clone(), login(configured))).collect(),
    })?)
}

/// A component of a registry, on this machine.
///
/// # Errors
/// If it cannot be had.
pub async fn pulled(registry: &Registry, reference: &Reference) -> Result<Source, agent_host_registry::Error> {
    Ok(Source::Kept { name: reference.to_string(), path: registry.pull(reference).await? })
}

/// A component as people name it to a command: a file, one of a registry, or one that ships with the host.
///
/// # Errors
/// If there is none, or it cannot be had.
pub async fn named(registry: &Registry, name: &str) -> anyhow::Result<(Source, Origin)> {
    if let Some(component) = builtin(name) {
        return Ok((Source::Builtin(component.to_owned()), Origin::Builtin(component.to_owned())));
    }
    if Reference::is_meant_by(name) {
        return Ok((pulled(registry, &name.parse()?).await?, Origin::Registry(name.to_owned())));
    }
    let path = Path::new(name);
    ensure!(path.exists(), no_component(name));
    ensure!(!path.is_dir(), "{name} is a directory, and a component is a file");
    Ok((Source::File(path.to_owned()), Origin::File(path.to_owned())))
}

/// That a component that came from a registry may be used, by the keys that are trusted now: also one that was pulled before, and is gone back to or begun with.
///
/// # Errors
/// If nobody who is trusted has signed it.
pub async fn check(registry: &Registry, origin: &Origin) -> Result<(), String> {
    let Origin::Registry(reference) = origin else { return Ok(()) };
    let reference: Reference = reference.parse().map_err(|error: InvalidReference| error.to_string())?;
    registry.check_signatures(&reference).await.map_err(|error| error.to_string())
}
