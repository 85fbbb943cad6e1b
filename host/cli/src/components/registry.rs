//! Components in registries, as the configuration has them.

use std::path::PathBuf;

use agent_host_registry::{Key, Login, Options, Reference, Registry};
use agent_host_wasm::Source;
use agent_host_wasm::component::MAX_COMPONENT_BYTES;

use crate::config::schema;

/// The registries of the configuration; what is pulled from them is kept in `cache`.
///
/// # Errors
/// If a key cannot be read.
pub fn registry(configured: &schema::Registry, cache: PathBuf) -> anyhow::Result<Registry> {
    let schema::Registry { signed_by, plain_http, logins } = configured;
    let signed_by = signed_by.iter().map(|path| Key::read(path)).collect::<Result<_, _>>()?;
    let login =
        |login: &crate::config::registry::Login| Login { username: login.username.clone(), password: login.password.value().clone() };
    Ok(Registry::new(Options {
        cache,
        max_bytes: MAX_COMPONENT_BYTES,
        signed_by,
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
